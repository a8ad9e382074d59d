"""Transposed convolutions, in the decompositions of convolutions.

A transposed convolution with stride s is a convolution with the kernel reversed, of its input with
s - 1 zeros between neighbours. Its matrix (filters, inputs * kernel) multiplies patches of that.
"""

from __future__ import annotations

from math import prod
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.factorize import Factors
from tinysignal.compress.layers.convolution import (
    SPATIAL,
    TUCKER,
    Convolution,
    batched,
    some_of,
    tucker_inputs,
    unfolded,
)
from tinysignal.compress.layers.factored import FactoredConvTranspose
from tinysignal.compress.layers.family import on_cpu, register

_ALONG = ("stride", "padding", "output_padding", "dilation")
_NEUTRAL = {"stride": 1, "padding": 0, "output_padding": 0, "dilation": 1}


class _Transposed(Convolution):
    kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d)

    def matrix(self, module: Any) -> Tensor:
        """See `Family.matrix`; the weight has inputs first."""
        return on_cpu(module.weight).transpose(0, 1).flatten(1)

    def macs(self, module: Any) -> float:
        """See `Family.macs`; every input, not every output, is multiplied by the kernel."""
        return float(self.weights(module) / prod(module.stride))

    def some_rows(self, module: Any, given: Tensor, start: int, step: int) -> Tensor:
        """See `Family.some_rows`; one row for each output position."""
        columns = (_columns(module, one[None]) for one in batched(module, given))
        return on_cpu(some_of(columns, start, step))

    def count(self, module: Any, given: Tensor) -> int:
        """See `Family.count`."""
        given = batched(module, given)
        sizes = [
            (size - 1) * module.stride[axis]
            - 2 * module.padding[axis]
            + module.dilation[axis] * (module.kernel_size[axis] - 1)
            + module.output_padding[axis]
            + 1
            for axis, size in enumerate(given.shape[2:])
        ]
        return int(len(given) * prod(sizes))

    def write(self, module: Any, dense: Tensor, bias: Tensor) -> None:
        """See `Family.write`."""
        weight = module.weight
        inputs, outputs, *kernel = weight.shape
        turned = dense.reshape(outputs, inputs, *kernel).transpose(0, 1)
        super().write(module, turned, bias)

    def cost(self, module: Any, decomposition: str, rank: int) -> tuple[int, float]:
        """See `Family.cost`; per output position."""
        inputs, outputs, kernel = module.in_channels, module.out_channels, module.kernel_size
        stride = prod(module.stride)
        if decomposition == SPATIAL:
            first, second = rank * inputs * kernel[0], rank * outputs * kernel[-1]
            return first + second, first / stride + second / module.stride[-1]
        if decomposition == TUCKER:
            within = tucker_inputs(module, rank)
            before = inputs * within + within * rank * prod(kernel)
        else:
            before = rank * inputs * prod(kernel)
        return before + rank * outputs, before / stride + rank * outputs

    def build(self, module: Any, factors: Factors) -> nn.Sequential:
        """Convolutions of which one, or two, are transposed; output paddings are kept too."""
        flat = len(module.kernel_size) == 1
        plain: Any = nn.Conv1d if flat else nn.Conv2d
        turned: Any = nn.ConvTranspose1d if flat else nn.ConvTranspose2d
        place = {"device": module.weight.device, "dtype": module.weight.dtype}
        kept = {name: getattr(module, name) for name in _ALONG} | place
        inputs, outputs = module.in_channels, module.out_channels
        rank = factors.parts[-1].shape[1]
        if factors.decomposition == SPATIAL:
            height, width = module.kernel_size
            parts = [
                turned(inputs, rank, (height, 1), bias=False, **_one_way(module, 0), **place),
                turned(rank, outputs, (1, width), **_one_way(module, 1), **place),
            ]
        elif factors.decomposition == TUCKER:
            within = len(factors.parts[0])
            parts = [
                plain(inputs, within, 1, bias=False, **place),
                turned(within, rank, module.kernel_size, bias=False, **kept),
                plain(rank, outputs, 1, **place),
            ]
        else:
            parts = [
                turned(inputs, rank, module.kernel_size, bias=False, **kept),
                plain(rank, outputs, 1, **place),
            ]
        for part, values in zip(parts, factors.parts, strict=True):
            weight = part.weight.data
            if isinstance(part, turned):
                weight = weight.transpose(0, 1)
            weight.copy_(values.reshape(weight.shape))
        parts[-1].bias.data.copy_(factors.bias)
        return FactoredConvTranspose(*parts, like=module)


def _one_way(module: Any, axis: int) -> dict[str, Any]:
    return {
        name: tuple(
            size if along == axis else _NEUTRAL[name]
            for along, size in enumerate(getattr(module, name))
        )
        for name in _ALONG
    }


def _columns(module: Any, one: Tensor) -> Tensor:
    """Patches of one example (1, inputs, ...), in the order of the kernel as it is stored."""
    sizes = [(n - 1) * s + 1 for n, s in zip(one.shape[2:], module.stride, strict=True)]
    apart = one.new_zeros(*one.shape[:2], *sizes)
    apart[_apart(module)] = one
    around: list[int] = []
    for axis in reversed(range(len(sizes))):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1)
        before = reach - module.padding[axis]
        around += [before, before + module.output_padding[axis]]
    rows = unfolded(module, functional.pad(apart, around), (1,) * len(sizes))
    return rows.view(len(rows), module.in_channels, -1).flip(-1).flatten(1)


def _apart(module: Any) -> tuple[Any, ...]:
    return (..., *(slice(None, None, stride) for stride in module.stride))


TRANSPOSED_CONVOLUTION = register(_Transposed())
