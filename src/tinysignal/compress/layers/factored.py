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
            if hasattr(like, name):
                setattr(self, name, getattr(like, name))

    def _factors(self) -> list[Tensor]:
        return [part.weight for part in self if isinstance(part, nn.Conv1d | nn.Conv2d)]

    @property
    def weight(self) -> Tensor:
        """Product of the factors, (filters, inputs, kernel)."""
        weights = self._factors()
        whole = weights[0]
        groups = getattr(self, "groups", 1)
        if groups > 1:  # a kernel, 1 x 1, in each group
            first = whole.view(groups, -1, *whole.shape[1:])
            last = weights[-1].view(groups, -1, weights[-1].shape[1])
            return torch.einsum("gor,gri...->goi...", last, first).flatten(0, 1)
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


class FactoredConvTranspose(FactoredConv):
    """Two or three convolutions in the place of a transposed one."""

    @property
    def weight(self) -> Tensor:
        """Product of the factors, (inputs, filters, kernel)."""
        weights = [part.weight for part in self]
        if isinstance(self[-1], nn.ConvTranspose1d | nn.ConvTranspose2d):  # a column, then a row
            first, second = weights
            return torch.einsum("idh,dow->iohw", first[..., 0], second[:, :, 0])  # type: ignore[index]
        *before, core, last = weights
        if before:  # 1 x 1 before the kernel
            core = torch.einsum("sr...,si->ir...", core, before[0].flatten(1))  # type: ignore[operator]
        return torch.einsum("or,ir...->io...", last.flatten(1), core)  # type: ignore[operator]

    def forward(self, given: Tensor, output_size: Any = None) -> Tensor:
        """Outputs, of a size if one is given, as of the transposed convolution."""
        for part in self:
            if output_size is None or not isinstance(part, nn.ConvTranspose1d | nn.ConvTranspose2d):
                given = part(given)
                continue
            sides = len(part.kernel_size)
            sizes = [
                wanted if part.kernel_size[axis] > 1 or part.stride[axis] > 1 else now
                for axis, (wanted, now) in enumerate(
                    zip(list(output_size)[-sides:], given.shape[-sides:], strict=True)
                )
            ]
            given = part(given, output_size=sizes)
        return given


class FactoredEmbedding(nn.Sequential):
    """A narrow Embedding and a Linear in the place of an Embedding.

    Attributes
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int or None
    weight : Tensor (num_embeddings, embedding_dim)
        All rows, computed.
    """

    __jit_unused_properties__: ClassVar[tuple[str, ...]] = (
        "num_embeddings",
        "embedding_dim",
        "padding_idx",
        "weight",
    )

    @property
    def num_embeddings(self) -> int:
        """Number of rows."""
        return int(self[0].num_embeddings)  # type: ignore[arg-type]

    @property
    def embedding_dim(self) -> int:
        """Numbers a row."""
        return int(self[-1].out_features)  # type: ignore[arg-type]

    @property
    def padding_idx(self) -> Any:
        """Row that stands for padding, or None."""
        return self[0].padding_idx

    @property
    def weight(self) -> Tensor:
        """All rows, computed."""
        rows: Tensor = self[-1](self[0].weight)
        return rows


_SETTINGS = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
    "output_padding",
)
