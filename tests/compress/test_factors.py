"""The algebra: each method's error is what the theory says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tinysignal.compress.factorize import (
    MomentSum,
    balanced_pair,
    moments_of,
    project,
    regress,
    squared_error,
    truncate,
)

sizes = st.integers(2, 12)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(sizes, sizes, st.integers(0, 99), st.data())
def test_truncation_errs_by_the_singular_values_left_out(
    m: int, n: int, seed: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, min(m, n)))
    weight = draw(seed, m, n)
    first, second = truncate(weight, rank)
    assert first.shape == (rank, n)
    assert second.shape == (m, rank)
    left = torch.linalg.svdvals(weight)[rank:].square().sum()
    torch.testing.assert_close((weight - second @ first).square().sum(), left, atol=1e-9, rtol=1e-9)


@given(sizes, sizes, st.integers(2, 40), st.integers(0, 99), st.data())
def test_projection_errs_by_the_eigenvalues_left_out_and_never_more_than_truncation(
    m: int, n: int, rows: int, seed: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(1, min(m, n)))
    weight, seen = draw(seed, m, n), draw(seed + 1, rows, n) * draw(seed + 2, n)
    covariance = moments_of(seen).covariance
    first, second = project(weight, covariance, rank)
    outputs = seen @ weight.T
    outputs = outputs - outputs.mean(dim=0)
    energy = torch.linalg.svdvals(outputs).square() / rows  # an independent way to the spectrum
    error = squared_error(weight, second @ first, covariance)
    assert error == pytest.approx(float(energy[rank:].sum()), rel=1e-6, abs=1e-8)
    plain_first, plain_second = truncate(weight, rank)
    plain = squared_error(weight, plain_second @ plain_first, covariance)
    assert error <= plain * (1 + 1e-9) + 1e-9


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 99))
def test_moments_summed_over_batches_are_those_of_all_rows(counts: list[int], seed: int) -> None:
    rows = draw(seed, sum(counts) + 1, 5) + 1000  # a mean that a naive sum of squares drowns in
    total = MomentSum()
    for part in rows.split([*counts, 1]):
        total.add(part)
    found = total.moments()
    assert found.rows == len(rows)
    torch.testing.assert_close(found.mean, rows.mean(dim=0))
    torch.testing.assert_close(found.covariance, torch.cov(rows.T, correction=0).view(5, 5))


def test_a_balanced_pair_has_the_same_product_and_equal_lengths() -> None:
    first, second = draw(0, 4, 9) * 1000, draw(1, 7, 4)
    a, b = balanced_pair(first, second)
    torch.testing.assert_close(b @ a, second @ first)
    torch.testing.assert_close(a.norm(dim=1), b.norm(dim=0))


def test_regression_recovers_a_map_that_the_weight_is_not() -> None:
    seen, true, weight = draw(0, 300, 6), draw(1, 4, 6), draw(2, 4, 6)
    left = seen @ (true - weight).T
    centred = seen - seen.mean(dim=0)
    cross = centred.T @ (left - left.mean(dim=0)) / len(seen)
    found = regress(weight, cross, moments_of(seen).covariance, ridge=1e-9)
    torch.testing.assert_close(found, true, atol=1e-6, rtol=1e-6)


def test_regression_on_constant_inputs_is_the_weight_itself() -> None:
    weight, zero = draw(0, 3, 5), torch.zeros(5, 5, dtype=torch.float64)
    assert torch.equal(regress(weight, torch.zeros(5, 3, dtype=torch.float64), zero), weight)


def test_factors_do_not_depend_on_the_signs_of_an_eigensolver() -> None:
    weight, covariance = draw(0, 6, 5), moments_of(draw(1, 50, 5)).covariance
    _, vectors = project(weight, covariance, 3)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    assert (largest > 0).all()
