"""Embeddings, alone or with a head that has the same weight.

An Embedding with rows E is followed by the identity, whose factors UU' make it a narrow Embedding
EU and a Linear U. Where a Linear's weight is an Embedding's, both are factored as one pair: E = AB,
with A for the rows and the outputs, and B, a side of both.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.factorize import Covariance, Factors, blended, squared_error
from tinysignal.compress.layers.factored import FactoredEmbedding
from tinysignal.compress.layers.family import Family, on_cpu, register
from tinysignal.compress.layers.linear import LinearFamily


class _Embedding(Family):
    kinds: ClassVar[tuple[type[nn.Module], ...]] = (nn.Embedding,)

    def why_not(self, module: nn.Embedding) -> str | None:
        """See `Family.why_not`."""
        if module.max_norm is not None:
            return "an Embedding that renormalises its rows is not factored"
        return None

    def matrix(self, module: nn.Embedding) -> Tensor:
        """The identity, of the rows that are looked up."""
        return torch.eye(module.embedding_dim)

    def weights(self, module: nn.Embedding) -> int:
        """See `Family.weights`."""
        return module.weight.numel()

    def macs(self, module: nn.Embedding) -> float:
        """Nothing: rows are looked up."""
        return 0.0

    def usual_inputs(self, module: nn.Embedding) -> Tensor:
        """All rows alike, float64 (embedding_dim, embedding_dim)."""
        rows = on_cpu(module.weight).double()
        return rows.T @ rows / len(rows)

    def bias(self, module: nn.Embedding) -> Tensor:
        """Zeros, see `Family.bias`."""
        return torch.zeros(module.embedding_dim, dtype=torch.float64)

    def has_bias(self, module: nn.Embedding) -> bool:
        """A factored Embedding has a bias, unless a row of zeros stands for padding."""
        return module.padding_idx is not None

    def rows(self, module: nn.Embedding, given: Tensor) -> Tensor:
        """The rows that are looked up."""
        return on_cpu(module.weight.detach()[given.reshape(-1)])

    def some_rows(self, module: nn.Embedding, given: Tensor, start: int, step: int) -> Tensor:
        """See `Family.some_rows`."""
        return self.rows(module, given.reshape(-1)[start::step])

    def count(self, module: nn.Embedding, given: Tensor) -> int:
        """See `Family.count`."""
        return given.numel()

    def write(self, module: nn.Embedding, dense: Tensor, bias: Tensor) -> None:
        """See `Family.write`; the original's rows are mapped."""
        rows = on_cpu(module.weight).double() @ dense.double().T
        module.weight.data.copy_(rows if module.padding_idx is not None else rows + bias)

    def full_rank(self, module: nn.Embedding, decomposition: str) -> int:
        """See `Family.full_rank`."""
        return min(module.weight.shape)

    def cost(self, module: nn.Embedding, decomposition: str, rank: int) -> tuple[int, float]:
        """See `Family.cost`."""
        return rank * sum(module.weight.shape), rank * module.embedding_dim

    def factor(
        self,
        module: nn.Embedding,
        decomposition: str,
        weight: Tensor,
        rank: int,
        *,
        covariance: Covariance | None,
        bias: Tensor,
    ) -> Factors:
        """See `Family.factor`; rows that the data have not count as much as those they have."""
        usual = self.usual_inputs(module)
        if covariance is not None:
            usual = _evenly(weight, covariance, usual)  # type: ignore[assignment]
        return super().factor(module, decomposition, weight, rank, covariance=usual, bias=bias)

    def build(self, module: nn.Embedding, factors: Factors) -> nn.Sequential:
        """An Embedding of the rank, and a Linear."""
        first, second = factors.parts
        place: dict[str, Any] = {"device": module.weight.device, "dtype": module.weight.dtype}
        table = nn.Embedding(
            module.num_embeddings,
            len(first),
            padding_idx=module.padding_idx,
            scale_grad_by_freq=module.scale_grad_by_freq,
            sparse=module.sparse,
            **place,
        )
        up = nn.Linear(len(first), len(second), bias=module.padding_idx is None, **place)
        table.weight.data.copy_(on_cpu(module.weight).double() @ first.T)
        up.weight.data.copy_(second)
        if module.padding_idx is None:
            up.bias.data.copy_(factors.bias)
        return FactoredEmbedding(table, up)


def _evenly(weight: Tensor, covariance: Covariance, usual: Tensor) -> Covariance:
    """Sum of two covariances of inputs, scaled to outputs of the same size."""
    sizes = [squared_error(weight, torch.zeros(()), one) for one in (covariance, usual)]
    if not min(sizes) > 0:
        return usual if sizes[1] > 0 else covariance
    return blended(covariance, 1 / sizes[0], usual, 1 / sizes[1])


class TiedLinear(nn.Linear):
    """A Linear whose weight is also the rows of an Embedding."""


class Lookup(nn.Module):
    """An Embedding whose rows are the weight of a head, which may be factored.

    Parameters
    ----------
    embedding : nn.Embedding
        Its settings are taken over.
    head : TiedLinear
        The head, which holds the weight; the network holds the same module elsewhere.
    """

    def __init__(self, embedding: nn.Embedding, head: nn.Module) -> None:
        super().__init__()
        self.num_embeddings, self.embedding_dim = embedding.weight.shape
        self.padding_idx = embedding.padding_idx
        self.head = head

    @property
    def weight(self) -> Any:
        """All rows, computed if the head is factored."""
        return self.head.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Rows (..., embedding_dim) of the tokens (...)."""
        head: Any = self.head
        if isinstance(head, nn.Linear):
            return functional.embedding(tokens, head.weight, self.padding_idx)
        rows: Tensor = functional.embedding(tokens, head[1].weight, self.padding_idx)
        mixed: Tensor = rows @ head[0].weight
        return mixed


class _Tied(LinearFamily):
    kinds = (TiedLinear,)

    def cost(self, module: nn.Linear, decomposition: str, rank: int) -> tuple[int, float]:
        """See `Family.cost`; what is looked up is multiplied too."""
        weights = rank * sum(module.weight.shape)
        return weights, weights + rank * module.in_features

    def factor(
        self,
        module: nn.Linear,
        decomposition: str,
        weight: Tensor,
        rank: int,
        *,
        covariance: Covariance | None,
        bias: Tensor,
    ) -> Factors:
        """See `Family.factor`; the rows count as much as the outputs."""
        if covariance is not None:
            alike = torch.eye(weight.shape[1], dtype=torch.float64)
            covariance = _evenly(weight, covariance, alike)
        return super().factor(module, decomposition, weight, rank, covariance=covariance, bias=bias)


EMBEDDING = register(_Embedding())
TIED = register(_Tied())
