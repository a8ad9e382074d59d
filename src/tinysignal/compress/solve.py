"""Factors of one layer, from its inputs and its target outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from tinysignal.compress.factorize import (
    Covariance,
    Factors,
    Moments,
    ThinCovariance,
    balanced_pair,
    corrected_bias,
    covariance_of,
    moments_of,
    regress,
    regress_rows,
    squared_error,
    thin,
)
from tinysignal.compress.layer_profile import LayerProfile
from tinysignal.compress.timing import one_thread

_CHUNK = 4096
_REFINE_BATCH = 256
_REFINE_RATE = 3e-3


def from_moments(layer: LayerProfile, decomposition: str, rank: int, *, method: str) -> Factors:
    """Factors from the statistics of a layer in the original network.

    Parameters
    ----------
    layer : LayerProfile
    decomposition : str
    rank : int
    method : {"activation", "svd"}
        ``activation`` minimises the error of the outputs, ``svd`` that of the weights, without a
        change of the bias.
    """
    if method == "svd":
        return _factor(layer, decomposition, rank, weight=layer.weight, bias=layer.bias)
    found = _projected(layer, decomposition, rank)
    bias = corrected_bias(layer.bias, layer.weight, found.dense, layer.inputs.mean)
    return replace(found, bias=bias)


def _factor(
    layer: LayerProfile,
    decomposition: str,
    rank: int,
    *,
    weight: Tensor,
    bias: Tensor,
    covariance: Covariance | None = None,
) -> Factors:
    return layer.family.factor(
        layer.module, decomposition, weight, rank, covariance=covariance, bias=bias
    )


def prefix(factors: Factors, layer: LayerProfile, rank: int, *, corrected: bool) -> Factors:
    """Two factors at a lower rank, for factors whose components are in descending order."""
    first, second = factors.parts[0][:rank], factors.parts[1][:, :rank]
    dense, bias = second @ first, layer.bias
    if corrected:
        bias = corrected_bias(bias, layer.weight, dense, layer.inputs.mean)
    return Factors(factors.decomposition, (first, second), dense, bias)


def _projected(layer: LayerProfile, decomposition: str, rank: int) -> Factors:
    return _factor(
        layer,
        decomposition,
        rank,
        weight=layer.weight,
        bias=layer.bias,
        covariance=layer.inputs.covariance,
    )


def from_rows(
    layer: LayerProfile,
    decomposition: str,
    rank: int | None,
    *,
    given: Tensor,
    target: Tensor,
    refine: int,
    seed: int,
) -> Factors | tuple[Tensor, Tensor]:
    """Factors that map inputs in the compressed network to outputs of the original layer.

    The factored matrix is the original weight or a regression from ``given`` to ``target``: the one
    with the smaller error on one half of the rows, after a fit on the other half.

    Parameters
    ----------
    layer : LayerProfile
    decomposition : str
    rank : int or None
        Rank; None for the dense weight and bias.
    given : Tensor (rows, inputs)
        Inputs in the compressed network.
    target : Tensor (rows, outputs)
        Outputs of the original layer for the same rows.
    refine : int
        Number of steps of `refined`; 0 for none.
    """
    weight = layer.weight

    fit, held = _halves(len(given))
    half = moments_of(given[fit])
    choices = [weight.double(), _regression(layer, half, given[fit], target[fit])]
    centred = rank is not None or layer.family.has_bias(layer.module)
    errors = [_error(choice, given[held], target[held], centred=centred) for choice in choices]
    moments = moments_of(given)
    best = weight.double()
    if errors[1] < errors[0]:
        best = _regression(layer, moments, given, target)
    mean = target.mean(dim=0, dtype=torch.float64)
    if rank is None:
        return best, mean - best @ moments.mean
    found = _factor(
        layer, decomposition, rank, weight=best, bias=mean, covariance=moments.covariance
    )
    found = replace(found, bias=mean - found.dense @ moments.mean)
    shapes = [part.shape for part in found.parts]
    two = len(shapes) == 2 and shapes[0][:1] == shapes[1][1:]  # their product is the matrix
    if refine and layer.activation is not None and two:
        return refined(found, given, target, layer.activation, steps=refine, seed=seed)
    return found


def _halves(rows: int) -> tuple[Tensor, Tensor]:
    """Two halves of the rows in blocks, which keeps positions of one picture in one half."""
    first = (torch.arange(rows) // 64) % 2 == 0
    if rows < 128:
        first = torch.arange(rows) % 2 == 0
    if rows < 2:
        return torch.arange(rows), torch.arange(rows)
    return first.nonzero()[:, 0], (~first).nonzero()[:, 0]


def _regression(layer: LayerProfile, moments: Moments, given: Tensor, target: Tensor) -> Tensor:
    """Regression of `regress`, for each block of the matrix."""
    blocks = layer.family.blocks(layer.module)
    if len(blocks) == 1:
        return _block_regression(layer.weight, moments, given, target)
    dense = torch.zeros(layer.weight.shape, dtype=torch.float64)
    for outputs, inputs in blocks:
        covariance = covariance_of(moments.covariance, inputs)
        part = Moments(moments.mean[inputs], covariance, moments.rows)
        dense[outputs, inputs] = _block_regression(
            layer.weight[outputs, inputs], part, given[:, inputs], target[:, outputs]
        )
    return dense


def _block_regression(weight: Tensor, moments: Moments, given: Tensor, target: Tensor) -> Tensor:
    cross = torch.zeros(given.shape[1], target.shape[1], dtype=torch.float64)
    mean = target.mean(dim=0, dtype=torch.float64)
    centre = moments.mean
    offset = (mean - weight.double() @ centre).to(given.dtype)
    if isinstance(moments.covariance, ThinCovariance):
        left = target - given @ weight.T - offset
        return regress_rows(weight, left / math.sqrt(len(given)), thin(given, centre).root)
    for start in range(0, len(given), _CHUNK):
        part = given[start : start + _CHUNK]
        left = target[start : start + _CHUNK] - part @ weight.T - offset
        cross += ((part - centre.to(part.dtype)).T @ left).double()
    return regress(weight, cross / len(given), moments.covariance)


def _error(dense: Tensor, given: Tensor, target: Tensor, *, centred: bool) -> float:
    """Mean squared error, summed over the outputs; without their mean, which a bias corrects."""
    gap = target - given @ dense.to(given.dtype).T
    return float((gap - gap.mean(dim=0) if centred else gap).square().sum()) / len(gap)


def refined(
    factors: Factors,
    given: Tensor,
    target: Tensor,
    activation: Callable[[Tensor], Tensor],
    *,
    steps: int,
    seed: int,
) -> Factors:
    """Two factors fitted by Adam to the outputs after the activation, which hides some errors.

    The loss is the mean squared error after the activation on the rows of this layer; labels and
    other layers are not used. It runs in one thread, because the steps are small.

    References
    ----------
    Zhang et al. (2016), "Accelerating very deep convolutional networks", sec. 3.2, the nonlinear
    case, which is solved there by alternating steps.
    """
    if len(given) == 0:
        return factors
    generator = torch.Generator().manual_seed(seed)
    first, second = balanced_pair(*factors.parts)
    values = [v.to(given.dtype).requires_grad_() for v in (first, second, factors.bias)]
    goal = activation(target)

    def loss(at: Tensor | slice) -> Tensor:
        outputs = (given[at] @ values[0].T) @ values[1].T + values[2]
        return (activation(outputs) - goal[at]).square().sum(dim=1).mean()

    with one_thread(), torch.enable_grad():
        optimiser = torch.optim.Adam(values, _REFINE_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        with torch.no_grad():
            before = loss(slice(None))
        for _ in range(steps):
            at = torch.randint(0, len(given), (_REFINE_BATCH,), generator=generator)
            optimiser.zero_grad()
            loss(at).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        if not loss(slice(None)) < before:
            return factors
    first, second, bias = (v.detach().double() for v in values)
    return Factors(factors.decomposition, (first, second), second @ first, bias)


def cheapest_decomposition(layer: LayerProfile, rank: int) -> tuple[str, int]:
    """Decomposition and rank with the fewest multiply-accumulates at no larger error.

    Parameters
    ----------
    layer : LayerProfile
    rank : int
        Rank of the layer's default decomposition, whose error is the bound.
    """
    usual = layer.decompositions[0]
    if len(layer.decompositions) == 1:
        return usual, rank

    def error(decomposition: str, at: int) -> float:
        dense = _projected(layer, decomposition, at).dense
        return squared_error(layer.weight, dense, layer.inputs.covariance)

    allowed = error(usual, rank) * (1 + 1e-9)
    best = usual, rank
    for other in layer.decompositions[1:]:
        low, high = 1, layer.exact_rank(other)
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if error(other, middle) <= allowed else (middle + 1, high)
        cheaper = layer.cost(other, low)[1] < layer.cost(*best)[1]
        if cheaper and error(other, low) <= allowed:
            best = other, low
    return best
