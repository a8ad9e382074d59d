"""Decompositions of a convolution into two or three cheaper ones.

======== ================================================================ ======================
channel  a convolution with d filters, then 1 x 1                          Denton et al. (2014),
                                                                           Zhang et al. (2016)
spatial  a column k x 1 with d filters, then a row 1 x k                   Jaderberg et al. (2014)
tucker   1 x 1 to fewer inputs, a convolution with d filters, then 1 x 1   Kim et al. (2016)
======== ================================================================ ======================

Strides, paddings and dilations are kept. The matrix of a convolution is its weight of shape
(filters, inputs * kernel), which multiplies the patches of its input.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, prod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.factorize import (
    Covariance,
    Factors,
    outputs_covariance,
    top_eigenvectors,
    truncate,
    variances,
)
from tinysignal.compress.layers.factored import FactoredConv
from tinysignal.compress.layers.family import Family, on_cpu, register, register_test, zeros

Conv = nn.Conv1d | nn.Conv2d
CHANNEL, SPATIAL, TUCKER = "channel", "spatial", "tucker"


def patches(module: Conv, given: Tensor, start: int = 0, step: int = 1) -> Tensor:
    """Input patches of output positions, float (positions, inputs * kernel).

    One example is unfolded after the other, and only the positions ``start``, ``start + step``, ...
    are kept.
    """
    return some_of((_columns(module, one[None]) for one in batched(module, given)), start, step)


def some_of(columns: Iterable[Tensor], start: int, step: int) -> Tensor:
    """The rows ``start``, ``start + step``, ... of all examples, of which one is made at a time."""
    found = []
    for rows in columns:
        found.append(rows[start::step].clone() if step > 1 else rows)
        start = (start - len(rows)) % step if start < len(rows) else start - len(rows)
    return torch.cat(found)


def _columns(module: Conv, one: Tensor) -> Tensor:
    around = list(module._reversed_padding_repeated_twice)
    if any(around):
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        one = functional.pad(one, around, mode=mode)
    return unfolded(module, one, module.stride)


def unfolded(module: Any, one: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Patches of a padded example (1, inputs, ...), float (positions, inputs * kernel)."""
    columns: Tensor = functional.unfold(
        one[:, :, None] if one.ndim == 3 else one,
        _plane(module.kernel_size),
        dilation=_plane(module.dilation),
        stride=_plane(stride),
    )
    return columns[0].T


def positions(module: Conv, given: Tensor) -> int:
    """Number of output positions of all examples."""
    given = batched(module, given)
    sides = len(module.kernel_size)
    around = list(module._reversed_padding_repeated_twice)
    count = len(given)
    for axis in range(sides):
        before, after = around[2 * (sides - 1 - axis) : 2 * (sides - axis)]
        size = given.shape[2 + axis] + before + after
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        count *= (size - reach) // module.stride[axis] + 1
    return count


def batched(module: Any, given: Tensor) -> Tensor:
    """Input with an axis of examples."""
    return given[None] if given.ndim == len(module.kernel_size) + 1 else given


def _plane(sizes: tuple[int, ...]) -> tuple[int, int]:
    return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])


def tucker_inputs(module: Conv, rank: int) -> int:
    """Number of inputs in a Tucker decomposition, in proportion to its number of filters."""
    return ceil(rank * module.in_channels / module.out_channels)


def _spatial(module: Conv, weight: Tensor, rank: int, bias: Tensor) -> Factors:
    outputs, inputs = module.out_channels, module.in_channels
    height, width = module.kernel_size
    full = weight.view(outputs, inputs, height, width)
    columns, rows = truncate(full.permute(0, 3, 1, 2).reshape(outputs * width, -1), rank)
    first = columns.view(rank, inputs, height)
    second = rows.view(outputs, width, rank)
    dense = torch.einsum("dnh,mwd->mnhw", first, second).reshape(outputs, -1)
    return Factors(SPATIAL, (first[..., None], second.transpose(1, 2)[:, :, None]), dense, bias)


def _tucker(
    module: Conv, weight: Tensor, covariance: Covariance | None, rank: int, bias: Tensor
) -> Factors:
    outputs, inputs, kernel = module.out_channels, module.in_channels, prod(module.kernel_size)
    if covariance is None:
        covariance = torch.eye(inputs * kernel, dtype=torch.float64)
    left = top_eigenvectors(outputs_covariance(weight, covariance), rank)
    # Energy of the filters along each direction of the inputs, relative to that of the inputs.
    power = variances(covariance).view(inputs, kernel).mean(dim=1)
    scale = power.clamp_min(max(1e-6 * float(power.mean()), 1e-30)).sqrt()
    full = weight.view(outputs, inputs, kernel)
    seen = (full * scale[:, None]).transpose(0, 1).flatten(1)
    within = top_eigenvectors(seen @ seen.T, tucker_inputs(module, rank))
    down = within.T * scale.reciprocal()  # the core multiplies by the scale again
    core = torch.einsum("mr,mnk,n,ns->rsk", left, full, scale, within)
    dense = torch.einsum("mr,rsk,sn->mnk", left, core, within.T / scale).reshape(outputs, -1)
    return Factors(TUCKER, (down, core.view(rank, -1, *module.kernel_size), left), dense, bias)


def why_not_groups(module: Any) -> str:
    """Reason against convolutions in groups that no family takes."""
    if module.groups == module.in_channels:
        return "a depthwise convolution: no rank is smaller than its one input a filter"
    return f"a {type(module).__name__} in {module.groups} groups is not factored"


def _one_way(module: Conv, axis: int) -> dict[str, Any]:
    def only(sizes: tuple[int, ...], neutral: int) -> tuple[int, int]:
        return (sizes[0], neutral) if axis == 0 else (neutral, sizes[1])

    padding = module.padding
    return {
        "stride": only(module.stride, 1),
        "padding": padding if isinstance(padding, str) else only(padding, 0),
        "dilation": only(module.dilation, 1),
    }


class Convolution(Family):
    """Family of plain convolutions."""

    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.Conv1d, nn.Conv2d)

    def why_not(self, module: Any) -> str | None:
        """Reason against groups, which have a family of their own, see `Family.why_not`."""
        return None if module.groups == 1 else why_not_groups(module)

    def rows(self, module: Conv, given: Tensor) -> Tensor:
        """See `Family.rows`; one row for each output position."""
        return self.some_rows(module, given, 0, 1)

    def some_rows(self, module: Conv, given: Tensor, start: int, step: int) -> Tensor:
        """See `Family.some_rows`."""
        return on_cpu(patches(module, given, start, step))

    def count(self, module: Conv, given: Tensor) -> int:
        """See `Family.count`."""
        return positions(module, given)

    def decompositions(self, module: Conv) -> tuple[str, ...]:
        """Decompositions for the size of the kernel, see `Family.decompositions`."""
        if prod(module.kernel_size) == 1:
            return (CHANNEL,)
        both = len(module.kernel_size) == 2 and min(module.kernel_size) > 1
        return (CHANNEL, SPATIAL, TUCKER) if both else (CHANNEL, TUCKER)

    def full_rank(self, module: Conv, decomposition: str) -> int:
        """See `Family.full_rank`."""
        if decomposition == SPATIAL:
            height, width = module.kernel_size
            return min(module.in_channels * height, module.out_channels * width)
        if decomposition == TUCKER:
            return module.out_channels
        return min(module.out_channels, module.in_channels * prod(module.kernel_size))

    def cost(self, module: Conv, decomposition: str, rank: int) -> tuple[int, float]:
        """See `Family.cost`; strides make the convolutions before the last one more expensive."""
        inputs, outputs, kernel = module.in_channels, module.out_channels, module.kernel_size
        if decomposition == SPATIAL:
            first, second = rank * inputs * kernel[0], rank * outputs * kernel[-1]
            return first + second, first * module.stride[-1] + second
        if decomposition == TUCKER:
            within = tucker_inputs(module, rank)
            first, rest = inputs * within, within * rank * prod(kernel) + rank * outputs
            return first + rest, first * prod(module.stride) + rest
        weights = rank * (inputs * prod(kernel) + outputs)
        return weights, weights

    def factor(
        self,
        module: Conv,
        decomposition: str,
        weight: Tensor,
        rank: int,
        *,
        covariance: Covariance | None,
        bias: Tensor,
    ) -> Factors:
        """See `Family.factor`; the spatial decomposition uses the weights only."""
        weight = weight.double()
        if decomposition == SPATIAL:
            return _spatial(module, weight, rank, bias)
        if decomposition == TUCKER:
            return _tucker(module, weight, covariance, rank, bias)
        return super().factor(module, decomposition, weight, rank, covariance=covariance, bias=bias)

    def empty(self, module: Conv, decomposition: str, rank: int) -> Factors:
        """See `Family.empty`."""
        inputs, outputs, kernel = module.in_channels, module.out_channels, module.kernel_size
        if decomposition == SPATIAL:
            sizes: list[tuple[int, ...]] = [
                (rank, inputs, kernel[0], 1),
                (outputs, rank, 1, kernel[-1]),
            ]
            return zeros(decomposition, outputs, sizes)
        if decomposition == TUCKER:
            within = tucker_inputs(module, rank)
            sizes = [(within, inputs), (rank, within, *kernel), (outputs, rank)]
            return zeros(decomposition, outputs, sizes)
        return super().empty(module, decomposition, rank)

    def build(self, module: Conv, factors: Factors) -> nn.Sequential:
        """Two or three convolutions; strides, paddings and dilations are kept."""
        kind: Any = nn.Conv1d if isinstance(module, nn.Conv1d) else nn.Conv2d
        ones = (1,) * len(module.kernel_size)
        place = {"device": module.weight.device, "dtype": module.weight.dtype}
        inputs, outputs = module.in_channels, module.out_channels
        rank = factors.parts[-1].shape[1]
        kept = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "padding_mode": module.padding_mode,
        }
        if factors.decomposition == SPATIAL:
            # Strides, paddings and dilations are kept per axis. Columns come first.
            (height, width), place = (
                module.kernel_size,
                place | {"padding_mode": module.padding_mode},
            )
            parts = [
                kind(inputs, rank, (height, 1), bias=False, **_one_way(module, 0), **place),
                kind(rank, outputs, (1, width), **_one_way(module, 1), **place),
            ]
        elif factors.decomposition == TUCKER:
            within = factors.parts[0].shape[0]
            parts = [
                kind(inputs, within, ones, bias=False, **place),
                kind(within, rank, module.kernel_size, bias=False, **kept, **place),
                kind(rank, outputs, ones, **place),
            ]
        else:
            parts = [
                kind(inputs, rank, module.kernel_size, bias=False, **kept, **place),
                kind(rank, outputs, ones, **place),
            ]
        for part, values in zip(parts, factors.parts, strict=True):
            part.weight.data.copy_(values.reshape(part.weight.shape))
        parts[-1].bias.data.copy_(factors.bias)
        return FactoredConv(*parts, like=module)


class SamePadding(nn.Module):
    """Zeros around a picture for ceil(size / stride) outputs, more of them after it (TensorFlow's).

    Parameters
    ----------
    conv : nn.Conv1d or nn.Conv2d
        The convolution that follows.
    """

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self.kernel_size, self.stride = conv.kernel_size, conv.stride
        self.dilation = conv.dilation

    def forward(self, given: Tensor) -> Tensor:
        """Pad (..., height, width) or (..., time)."""
        around: list[int] = []
        for axis in range(len(self.kernel_size) - 1, -1, -1):
            size = given.shape[given.ndim - len(self.kernel_size) + axis]
            outputs = -(-size // self.stride[axis])
            reach = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
            more = max(0, (outputs - 1) * self.stride[axis] + reach - size)
            around += [more // 2, more - more // 2]
        return functional.pad(given, around)


class _Padded(Convolution):
    """Subclasses of convolutions that pad their input and then convolve."""

    kinds = ()

    def some_rows(self, module: Conv, given: Tensor, start: int, step: int) -> Tensor:
        """See `Family.some_rows`."""
        return super().some_rows(module, padding_of(module)(given), start, step)

    def count(self, module: Conv, given: Tensor) -> int:
        """See `Family.count`."""
        return super().count(module, padding_of(module)(given))

    def build(self, module: Conv, factors: Factors) -> nn.Sequential:
        """See `Family.build`."""
        return FactoredConv(padding_of(module), *super().build(module, factors), like=module)


def padding_of(module: Any) -> nn.Module:
    """The padding of a convolution that pads by itself."""
    own = getattr(module, "static_padding", None)
    return own if isinstance(own, nn.Module) else SamePadding(module)


CONVOLUTION = register(Convolution())
PADDED_CONVOLUTION = _Padded()


def _what_it_computes(module: Conv) -> Family | None:
    """The family of a subclass with a ``forward`` of its own, by what it makes of noise."""
    sides = len(module.kernel_size)
    sizes = [3 * reach + 4 + axis for axis, reach in enumerate(module.kernel_size)]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, module.in_channels, *sizes, generator=generator).to(module.weight)
    conv = functional.conv1d if sides == 1 else functional.conv2d
    training, module.training = module.training, False
    try:
        with torch.no_grad():
            found = module(noise)
            weights = (module.weight, module.bias, module.stride)
            rest = (module.dilation, module.groups)
            plain = conv(noise, *weights, module.padding, *rest)
            if found.shape == plain.shape and torch.allclose(found, plain, atol=1e-5):
                return CONVOLUTION
            padded = conv(padding_of(module)(noise), *weights, 0, *rest)
            if found.shape == padded.shape and torch.allclose(found, padded, atol=1e-5):
                return (
                    PADDED_CONVOLUTION if not any(module._reversed_padding_repeated_twice) else None
                )
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return None
    finally:
        module.training = training
    return None


register_test(CONVOLUTION, _what_it_computes)
