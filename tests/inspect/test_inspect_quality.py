"""Maps and their figures agree with independent references."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import manifold
from sklearn.model_selection import LeaveOneOut, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from tinysignal.errors import ConfigError
from tinysignal.inspect.maps import (
    Components,
    Options,
    components,
    knn_accuracy,
    make_maps,
    nearest,
    parse_methods,
    trustworthiness,
)
from tinysignal.inspect.sampling import MOST_VALUES, project
from tinysignal.inspect.weights import Spectrum


def blobs(points: int = 90, values: int = 12, classes: int = 3, seed: int = 0) -> tuple:
    """Clouds that overlap a little, float64 (points, values), and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(points) % classes
    centres = rng.normal(0, 1.2, (classes, values))
    return centres[labels] + rng.normal(0, 1, (points, values)), labels


def options(*methods: str, perplexity: float = 10.0, seed: int = 0) -> Options:
    return Options(methods, perplexity, seed, threading.Event())


def maps(values: NDArray[np.float64], labels: NDArray[np.int64], chosen: Options) -> tuple:
    return make_maps(components(values), nearest(values), labels, chosen)


@given(seed=st.integers(0, 1000), points=st.integers(30, 60), values=st.integers(1, 6))
@settings(max_examples=10)
def test_leave_one_out_accuracy_is_that_of_scikit_learn(
    seed: int, points: int, values: int
) -> None:
    x, y = blobs(points, values, classes=4, seed=seed)
    reference = cross_val_score(KNeighborsClassifier(10), x, y, cv=LeaveOneOut()).mean()
    assert knn_accuracy(nearest(x), y) == pytest.approx(reference, abs=1e-12)


@given(seed=st.integers(0, 1000), points=st.integers(25, 60))
@settings(max_examples=10)
def test_trustworthiness_is_that_of_scikit_learn(seed: int, points: int) -> None:
    x, _ = blobs(points, seed=seed)
    plane = np.random.default_rng(seed).normal(size=(points, 2)) + x[:, :2]
    reference = manifold.trustworthiness(x, plane, n_neighbors=12)
    assert trustworthiness(nearest(x), nearest(plane)) == pytest.approx(reference, abs=1e-12)


def test_a_space_trusts_itself_and_equal_points_come_in_their_order() -> None:
    x, _ = blobs()
    assert trustworthiness(nearest(x), nearest(x)) == 1
    same = nearest(np.ones((5, 3)))
    assert same.tolist() == [[j for j in range(5) if j != i] for i in range(5)]


@pytest.mark.parametrize(("points", "values"), [(90, 12), (30, 80), (40, 1)])
def test_principal_components_are_the_singular_vectors_up_to_sign(points: int, values: int) -> None:
    x, _ = blobs(points, values)
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = components(x)
    kept = min(50, len(s)) - (values > points)  # centring leaves one direction empty
    np.testing.assert_allclose(np.abs(found.scores[:, :kept]), np.abs(u * s)[:, :kept], atol=1e-9)
    np.testing.assert_allclose(found.variances, s**2 / (points - 1), atol=1e-9)
    assert found.explained[0] == pytest.approx(s[0] ** 2 / np.sum(s**2))
    assert found.scores.shape[1] >= 2


def test_effective_dimensions_count_the_directions_that_vary() -> None:
    flat = Components(np.zeros((3, 2)), np.array([2.0, 2, 2, 2, 0, 0]))
    assert flat.effective_dimensions == pytest.approx(4)
    line = Components(np.zeros((3, 2)), np.array([7.0, 0, 0]))
    assert line.effective_dimensions == pytest.approx(1)


def test_maps_keep_clear_classes_apart_and_are_the_same_every_time() -> None:
    x, y = blobs(120)
    x = x + 20 * np.eye(3, 12)[y]
    first, again = (maps(x, y, options("PCA", "t-SNE", seed=3)) for _ in range(2))
    assert [one.method for one in first] == ["PCA", "t-SNE"]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.points, other.points)
        assert one.knn_accuracy == 1
        assert one.silhouette > 0.5
        assert one.trustworthiness > 0.7
    pca, tsne = first
    assert pca.explained_variance is not None
    assert pca.perplexity is None
    assert tsne.explained_variance is None
    assert (tsne.perplexity, tsne.seed) == (10, 3)
    assert tsne.trustworthiness > pca.trustworthiness
    (other_seed,) = maps(x, y, options("t-SNE", seed=4))
    assert not np.array_equal(other_seed.points, tsne.points)


@pytest.mark.parametrize("scale", [1e-18, 1.0, 1e18])
def test_scale_does_not_matter(scale: float) -> None:
    x, y = blobs(60)
    plain, scaled = (maps(v, y, options("PCA", "t-SNE")) for v in (x, x * scale))
    for one, other in zip(plain, scaled, strict=True):
        assert np.isfinite(other.points).all()
        assert other.knn_accuracy == pytest.approx(one.knn_accuracy, abs=0.1)
        assert other.trustworthiness == pytest.approx(one.trustworthiness, abs=0.05)


def test_equal_outputs_equal_points_and_single_numbers_are_laid_out_all_the_same() -> None:
    _, y = blobs(40)
    rng = np.random.default_rng(0)
    for x in (np.full((40, 5), 3.0), np.repeat(rng.normal(size=(4, 5)), 10, axis=0), y[:, None]):
        for one in maps(np.asarray(x, np.float64), y, options("PCA", "t-SNE")):
            assert np.isfinite(one.points).all()
            assert 0 <= one.trustworthiness <= 1
            assert -1 <= one.silhouette <= 1


def test_fifty_components_do_not_hurt_tsne() -> None:
    x, y = blobs(100, 300)
    (one,) = maps(x, y, options("t-SNE"))
    reference = manifold.TSNE(perplexity=10, random_state=0, init="pca").fit_transform(x)
    whole = trustworthiness(nearest(x), nearest(reference.astype(np.float64)))
    assert one.trustworthiness > whole - 0.03


def test_umap_is_made_when_asked_for() -> None:
    pytest.importorskip("umap", reason="umap-learn is not installed")
    x, y = blobs(60)
    x = x + 20 * np.eye(3, 12)[y]
    first, again = (maps(x, y, options("UMAP")) for _ in range(2))
    np.testing.assert_array_equal(first[0].points, again[0].points)
    assert first[0].method == "UMAP"
    assert first[0].knn_accuracy == 1


def test_methods_are_known_by_any_spelling_and_refused_by_name() -> None:
    assert parse_methods(["tsne", "PCA", "T-SNE"]) == ("t-SNE", "PCA")
    for wrong in ([], "PCA", ["isomap"]):
        with pytest.raises(ConfigError, match="PCA, t-SNE, UMAP"):
            parse_methods(wrong)


def test_projection_keeps_distances_within_a_few_percent() -> None:
    rng = np.random.default_rng(0)
    rows = (rng.random((20, 3 * MOST_VALUES + 17)) ** 4).astype(np.float32)
    small = project(rows)
    assert small.shape == (20, MOST_VALUES)
    assert project(small) is small
    np.testing.assert_array_equal(project(rows[5:9]), small[5:9])  # batches make no difference
    pairs = np.triu_indices(20, 1)
    before = np.linalg.norm(rows[pairs[0]] - rows[pairs[1]], axis=1)
    after = np.linalg.norm(small[pairs[0]] - small[pairs[1]], axis=1)
    assert np.abs(after / before - 1).max() < 0.1  # 2 % each; the largest of 190
    # What has nothing in common stays apart, though all its values are positive.
    halves = rows[:2] * (np.arange(rows.shape[1]) % 2 == np.array([[0], [1]]))
    one, other = project(halves.astype(np.float32))
    assert abs(one @ other) < 0.1 * np.linalg.norm(one) * np.linalg.norm(other)


def test_ranks_of_known_spectra() -> None:
    identity = Spectrum(np.ones(8))
    assert identity.effective_rank == pytest.approx(8)
    assert identity.rank_energy_95 == 8
    one = Spectrum(np.array([3.0, 0, 0, 0]))
    assert one.effective_rank == pytest.approx(1)
    assert one.rank_energy_95 == 1
    # Roy & Vetterli: exp of the entropy of (3/4, 1/4); energy of the first is 9/10.
    two = Spectrum(np.array([3.0, 1.0]))
    assert two.effective_rank == pytest.approx(4 / 3**0.75)
    assert two.rank_energy_95 == 2
    assert Spectrum(np.array([5.0, 1.0])).rank_energy_95 == 1  # 25 / 26
    assert Spectrum(np.zeros(4)).effective_rank == 0
