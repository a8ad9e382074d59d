"""Layers in two or three factors that answer for the layer they replace.

Networks read attributes of their layers: ``fc1.weight.dtype``, ``conv.stride``,
``lstm.flatten_parameters()``. A factored layer answers with those of the layer that it stands for;
its weight is computed from the factors when it is asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn


class FactoredLinear(nn.Sequential):
    """Two Linears in the place of one: fewer weights of a lower rank.

    Attributes
    ----------
    in_features, out_features : int
    weight : Tensor (outputs, inputs)
        Product of the factors.
    bias : Tensor (outputs,) or None
    """

    __jit_unused_properties__: ClassVar[tuple[str, ...]] = (
        "in_features",
        "out_features",
        "weight",
        "bias",
    )

    @property
    def in_features(self) -> int:
        """Number of inputs."""
        return int(self[0].in_features)  # type: ignore[arg-type]

    @property
    def out_features(self) -> int:
        """Number of outputs."""
        return int(self[-1].out_features)  # type: ignore[arg-type]

    @property
    def weight(self) -> Tensor:
        """Product of the factors."""
        first, second = (part.weight for part in self)
        return second @ first  # type: ignore[operator]

    @property
    def bias(self) -> Any:
        """Bias of the last factor."""
        return self[-1].bias


class FactoredConv1D(FactoredLinear):
    """The same in the place of Hugging Face's ``Conv1D``, a Linear with a transposed weight."""

    __jit_unused_properties__ = (*FactoredLinear.__jit_unused_properties__, "nf", "nx")

    @property
    def nf(self) -> int:
        """Number of outputs."""
        return self.out_features

    @property
    def nx(self) -> int:
        """Number of inputs."""
        return self.in_features

    @property
    def weight(self) -> Tensor:
        """Product of the factors, (inputs, outputs)."""
        return super().weight.T


class FactoredConv(nn.Sequential):
    """Two or three convolutions in the place of one.

    Parameters
    ----------
    parts : nn.Module
        An optional padding, then the convolutions.
    like : nn.Conv1d or nn.Conv2d
        The convolution that they replace, for its settings.
    """

    __jit_unused_properties__ = ("weight", "bias")

    def __init__(self, *parts: nn.Module, like: Any = None) -> None:
        super().__init__(*parts)
        for name in _SETTINGS if like is not None else ():
            setattr(self, name, getattr(like, name))

    def _factors(self) -> list[Tensor]:
        return [part.weight for part in self if isinstance(part, nn.Conv1d | nn.Conv2d)]

    @property
    def weight(self) -> Tensor:
        """Product of the factors, (filters, inputs, kernel)."""
        weights = self._factors()
        whole = weights[0]
        if len(weights) == 3:  # 1 x 1, a kernel, 1 x 1
            whole = torch.einsum("rs...,si->ri...", weights[1], weights[0].flatten(1))
        last = weights[-1]
        if len(weights) == 2 and last.shape[-1] > 1 and whole.ndim == 4:  # a column, then a row
            return torch.einsum("drw,rih->dihw", last[:, :, 0], whole[..., 0])
        return torch.einsum("or,ri...->oi...", last.flatten(1), whole)

    @property
    def bias(self) -> Any:
        """Bias of the last factor."""
        return self[-1].bias


_SETTINGS = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)
