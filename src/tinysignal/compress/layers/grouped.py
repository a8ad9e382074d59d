"""Convolutions in groups, whose matrix is block-diagonal.

Each group gets factors of its own, of the same rank d: a convolution with d filters a group, then a
1 x 1 convolution in the same groups.
"""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import Covariance, Factors, covariance_of
from tinysignal.compress.layers.convolution import CHANNEL, CONVOLUTION, Convolution, why_not_groups
from tinysignal.compress.layers.factored import FactoredConv
from tinysignal.compress.layers.family import Block, register_variant, zeros

GROUPED = "grouped"


class _Grouped(Convolution):
    kinds = ()

    def why_not(self, module: Any) -> str | None:
        """Reason against depthwise convolutions, see `Family.why_not`."""
        filters, inputs = _sides(module)
        return why_not_groups(module) if min(filters, inputs) == 1 else None

    def matrix(self, module: Any) -> Tensor:
        """Block-diagonal matrix (filters, inputs * kernel)."""
        own = super().matrix(module)
        filters, inputs = _sides(module)
        whole: Tensor = torch.block_diag(*own.view(module.groups, filters, inputs))  # type: ignore[no-untyped-call]
        return whole

    def blocks(self, module: Any) -> tuple[Block, ...]:
        """One block a group."""
        filters, inputs = _sides(module)
        return tuple(
            (slice(g * filters, (g + 1) * filters), slice(g * inputs, (g + 1) * inputs))
            for g in range(module.groups)
        )

    def weights(self, module: Any) -> int:
        """See `Family.weights`."""
        return int(module.weight.numel())

    def write(self, module: Any, dense: Tensor, bias: Tensor) -> None:
        """See `Family.write`."""
        super().write(module, torch.cat([dense[block] for block in self.blocks(module)]), bias)

    def decompositions(self, module: Any) -> tuple[str, ...]:
        """See `Family.decompositions`."""
        return (GROUPED,)

    def full_rank(self, module: Any, decomposition: str) -> int:
        """Full rank of one group."""
        return min(_sides(module))

    def cost(self, module: Any, decomposition: str, rank: int) -> tuple[int, float]:
        """See `Family.cost`."""
        weights = rank * module.groups * sum(_sides(module))
        return weights, weights

    def factor(
        self,
        module: Any,
        decomposition: str,
        weight: Tensor,
        rank: int,
        *,
        covariance: Covariance | None,
        bias: Tensor,
    ) -> Factors:
        """See `Family.factor`; each group on its own."""
        dense = torch.zeros(weight.shape, dtype=torch.float64)
        firsts, seconds = [], []
        for outputs, inputs in self.blocks(module):
            part = None if covariance is None else covariance_of(covariance, inputs)
            block = weight[outputs, inputs].double()
            made = super().factor(module, CHANNEL, block, rank, covariance=part, bias=bias[outputs])
            dense[outputs, inputs] = made.dense
            firsts.append(made.parts[0])
            seconds.append(made.parts[1])
        return Factors(GROUPED, (torch.cat(firsts), torch.cat(seconds)), dense, bias)

    def empty(self, module: Any, decomposition: str, rank: int) -> Factors:
        """See `Family.empty`."""
        _, inputs = _sides(module)
        sizes: list[tuple[int, ...]] = [
            (module.groups * rank, inputs),
            (module.out_channels, rank),
        ]
        return zeros(GROUPED, module.out_channels, sizes)

    def build(self, module: Any, factors: Factors) -> nn.Sequential:
        """Two convolutions in groups."""
        kind = nn.Conv1d if len(module.kernel_size) == 1 else nn.Conv2d
        first, second = factors.parts
        options: dict[str, Any] = {
            "groups": module.groups,
            "device": module.weight.device,
            "dtype": module.weight.dtype,
        }
        down = kind(
            module.in_channels,
            len(first),
            module.kernel_size,
            stride=module.stride,
            padding=module.padding,
            dilation=module.dilation,
            padding_mode=module.padding_mode,
            bias=False,
            **options,
        )
        up = kind(len(first), module.out_channels, 1, **options)
        down.weight.data.copy_(first.reshape(down.weight.shape))
        up.weight.data.copy_(second.reshape(up.weight.shape))
        assert up.bias is not None
        up.bias.data.copy_(factors.bias)
        return FactoredConv(down, up, like=module)


def _sides(module: Any) -> tuple[int, int]:
    """Filters, and inputs times kernel, of one group."""
    inputs = module.in_channels // module.groups * prod(module.kernel_size)
    return module.out_channels // module.groups, inputs


GROUPED_CONVOLUTION = register_variant(CONVOLUTION, lambda conv: conv.groups > 1, _Grouped())
