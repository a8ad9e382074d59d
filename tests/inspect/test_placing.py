"""Claims about maps on which new examples are placed."""

from __future__ import annotations

import numpy as np
import pytest

from tinysignal.errors import ConfigError
from tinysignal.inspect.placing import placing_map

pytest.importorskip("sklearn")
pytest.importorskip("openTSNE")

from tinysignal.inspect.maps import components


def clusters(points: int = 90, values: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds far apart, float32 (points, values), and which point is of which."""
    rng = np.random.default_rng(0)
    labels = np.arange(points) % 3
    centres = 8 * rng.normal(size=(3, values))
    return (centres[labels] + rng.normal(size=(points, values))).astype(np.float32), labels


def test_the_pca_map_is_that_of_the_inspection() -> None:
    values, _ = clusters()
    expected = components(values.astype(np.float64)).scores[:, :2]
    np.testing.assert_allclose(placing_map(values).points, expected, atol=1e-9)


@pytest.mark.parametrize(("points", "values"), [(5, 40), (40, 1), (30, 2), (40, 600)])
def test_pca_places_what_it_was_made_of_where_it_was(points: int, values: int) -> None:
    rows = np.random.default_rng(0).normal(size=(points, values))
    found = placing_map(rows)
    assert found.points.shape == (points, 2)
    np.testing.assert_allclose(found.place(rows), found.points, atol=1e-9)


@pytest.mark.parametrize("method", ["PCA", "t-SNE"])
def test_a_new_example_lands_among_its_like(method: str) -> None:
    values, labels = clusters()
    found = placing_map(values[10:], method, perplexity=10)
    places = found.place(values[:10])
    for place, label in zip(places, labels[:10], strict=True):
        nearest = np.square(found.points - place).sum(axis=1).argmin()
        assert labels[10:][nearest] == label


def test_outputs_that_are_all_the_same_have_a_map() -> None:
    found = placing_map(np.ones((20, 4)), "t-SNE")
    assert found.method == "PCA"
    np.testing.assert_array_equal(found.place(np.ones((1, 4))), [[0, 0]])


def test_another_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected PCA or t-SNE"):
        placing_map(np.ones((3, 3)), "UMAP")
