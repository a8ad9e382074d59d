"""Layers of many inputs or outputs: compressed without a square matrix of that size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tinysignal.compress import apply, plan, profile
from tinysignal.compress import factorize as factors
from tinysignal.compress.factorize import (
    ThinCovariance,
    moments_of,
    output_spectrum,
    project,
    regress,
    regress_rows,
    squared_error,
)

INPUTS = 5000


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wide_inputs(seed: int, rows: int) -> Tensor:
    """Near a plane of 12 dimensions, with a mean, float (rows, INPUTS)."""
    return draw(seed, rows, 12) @ draw(99, 12, INPUTS) + 0.2 * draw(seed + 1, rows, INPUTS) + 1.0


def relative_error(net: nn.Module, small: nn.Module, inputs: Tensor) -> float:
    with torch.no_grad():
        wanted, found = net(inputs), small(inputs)
    return float((found - wanted).square().sum() / (wanted - wanted.mean(dim=0)).square().sum())


@pytest.fixture
def decomposed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The smaller sides of all matrices that are decomposed or solved: these decide the time."""
    sides: list[int] = []

    def watch(name: str) -> None:
        own = getattr(torch.linalg, name)

        def watched(matrix: Tensor, *args: Any, **options: Any) -> Any:
            sides.append(min(matrix.shape[-2:]))
            return own(matrix, *args, **options)

        monkeypatch.setattr(torch.linalg, name, watched)

    for name in ("eigh", "svd", "svdvals", "solve", "cholesky", "cholesky_ex", "qr"):
        watch(name)
    return sides


def test_a_wide_layer_is_cut_by_small_matrices_and_better_than_by_svd(
    decomposed: list[int],
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(INPUTS, 48), nn.ReLU(), nn.Linear(48, 5))
    batches = list(wide_inputs(0, 900).split(300))
    errors = {}
    for method in ("svd", "activation", "sequential"):
        profiled = profile(net, batches)
        small = apply(net, plan(profiled, rank=4, method=method), profiled)
        errors[method] = relative_error(net, small, wide_inputs(10, 200))
    assert errors["sequential"] < errors["activation"] < errors["svd"] / 2
    assert decomposed
    assert max(decomposed) <= 900  # rows, where the covariance has 5000


def test_a_layer_wide_on_both_sides_is_cut_by_small_matrices(decomposed: list[int]) -> None:
    torch.manual_seed(0)
    net = nn.Linear(INPUTS, 4500)
    profiled = profile(net, [wide_inputs(0, 600)])
    small = apply(net, plan(profiled, rank=12), profiled)
    assert decomposed
    assert max(decomposed) <= 600  # rows
    assert relative_error(net, small, wide_inputs(10, 100)) < 0.1


def test_a_wide_layer_after_a_cut_one_makes_up_for_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(20, INPUTS), nn.Tanh(), nn.Linear(INPUTS, 30))
    batches = list((draw(0, 600, 20) * torch.linspace(2, 0.1, 20)).split(200))
    held = draw(5, 200, 20) * torch.linspace(2, 0.1, 20)
    profiled = profile(net, batches)
    errors = {
        method: relative_error(
            net, apply(net, plan(profiled, rank=8, method=method), profiled, refine=0), held
        )
        for method in ("activation", "sequential")
    }
    assert errors["sequential"] < errors["activation"]


def test_a_thin_covariance_gives_what_the_square_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, weight, target = draw(0, 60, 30).double(), draw(1, 9, 30).double(), draw(2, 60, 9)
    square = moments_of(rows)
    left = (target - target.mean(dim=0)).double()
    centred = rows - rows.mean(dim=0)
    monkeypatch.setattr(factors, "WIDE", 20)
    thin = moments_of(rows)
    assert isinstance(thin.covariance, ThinCovariance)
    torch.testing.assert_close(thin.mean, square.mean)
    pairs = [project(weight, one.covariance, 4) for one in (square, thin)]
    torch.testing.assert_close(pairs[0][1] @ pairs[0][0], pairs[1][1] @ pairs[1][0])
    errors = [squared_error(weight, weight / 2, one.covariance) for one in (square, thin)]
    assert errors[0] == pytest.approx(errors[1])
    expected = regress(weight, centred.T @ left / 60, square.covariance)
    found = regress_rows(weight, left / 60**0.5, centred / 60**0.5)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("wide", [8, 25])  # below both sides, and between them
def test_the_spectrum_of_many_outputs_is_that_of_their_covariance(
    wide: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, weight = draw(0, 60, 12).double(), draw(1, 30, 12).double()
    values, vectors = output_spectrum(weight, moments_of(rows).covariance)
    monkeypatch.setattr(factors, "WIDE", wide)
    found, axes = output_spectrum(weight, moments_of(rows).covariance)
    torch.testing.assert_close(found[:12], values[:12])
    torch.testing.assert_close(axes[:, :12], vectors[:, :12])


def test_of_many_rows_some_are_kept_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "WIDE", 2)
    monkeypatch.setattr(factors, "WIDE_ROWS", 50)
    rows = torch.linspace(-1, 1, 999)[:, None].repeat(1, 3)
    total = factors.MomentSum()
    for part in rows.split(70):
        total.add(part)
    covariance = total.moments().covariance
    assert isinstance(covariance, ThinCovariance)
    assert 25 <= len(covariance.root) <= 50
    assert float(covariance.root.square().sum(dim=0)[0]) == pytest.approx(1 / 3, rel=0.15)


def test_more_ranks_than_rows_are_filled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "WIDE", 8)
    weight, rows = draw(0, 20, 16), draw(1, 5, 16)
    first, second = project(weight, moments_of(rows).covariance, 9)
    assert first.shape == (9, 16)
    assert second.shape == (20, 9)
    outputs = (rows - rows.mean(dim=0)).double() @ weight.double().T
    found = (rows - rows.mean(dim=0)).double() @ (second @ first).T
    torch.testing.assert_close(found, outputs, atol=1e-5, rtol=1e-5)
