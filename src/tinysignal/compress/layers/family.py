"""What a kind of layer must tell so that it can be factored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import Covariance, Factors, project, truncate

LOW_RANK = "low_rank"


class Family(ABC):
    """A kind of layer as a matrix, the ways to factor it, and what replaces it.

    Every method takes the layer; a family holds no state. `register` makes one known.

    Attributes
    ----------
    kinds : tuple of types
        Exactly these types of modules are of the family; subclasses are not.
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]]

    def why_not(self, module: Any) -> str | None:
        """Why this layer cannot be factored; None if it can."""
        return None

    def matrix(self, module: Any) -> Tensor:
        """The matrix (outputs, inputs) that is factored, detached, on the CPU."""
        return on_cpu(module.weight).flatten(1)

    def bias(self, module: Any) -> Tensor:
        """The bias (outputs,) that goes with `matrix`, float64; zero where there is none."""
        if module.bias is None:
            return torch.zeros(len(self.matrix(module)), dtype=torch.float64)
        return on_cpu(module.bias).double()

    def has_bias(self, module: Any) -> bool:
        """Whether the layer has a bias; a factored layer always has one."""
        return module.bias is not None

    @abstractmethod
    def rows(self, module: Any, given: Any) -> Tensor:
        """What the matrix multiplies in a call, float (rows, inputs), of the first input."""

    def write(self, module: Any, dense: Tensor, bias: Tensor) -> None:
        """Set the matrix and its bias in place."""
        weight = module.weight.data
        weight.copy_(dense.reshape(weight.shape))
        if module.bias is None:
            module.bias = nn.Parameter(bias.to(weight))
        else:
            module.bias.data.copy_(bias)

    def decompositions(self, module: Any) -> tuple[str, ...]:
        """Names of the ways to factor the layer, the usual one first."""
        return (LOW_RANK,)

    def full_rank(self, module: Any, decomposition: str) -> int:
        """The rank at which a decomposition is exact."""
        return min(self.matrix(module).shape)

    def cost(self, module: Any, decomposition: str, rank: int) -> tuple[int, float]:
        """Weights, and multiply-accumulates for a row of inputs; biases are not counted."""
        weights = rank * sum(self.matrix(module).shape)
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
        """A matrix of the layer's size in a decomposition.

        Parameters
        ----------
        module : nn.Module
            Its sizes count; its weight is given apart.
        decomposition : str
        weight : Tensor (outputs, inputs)
        rank : int
        covariance : Covariance (inputs, inputs) or None
            Of the rows; None for errors of weights instead of outputs.
        bias : float64 Tensor (outputs,)
        """
        pair = truncate(weight, rank) if covariance is None else project(weight, covariance, rank)
        return Factors(decomposition, pair, pair[1] @ pair[0], bias)

    def empty(self, module: Any, decomposition: str, rank: int) -> Factors:
        """Factors of zeros in the shapes of a decomposition."""
        outputs, inputs = self.matrix(module).shape
        return zeros(decomposition, outputs, [(rank, inputs), (outputs, rank)])

    @abstractmethod
    def build(self, module: Any, factors: Factors) -> nn.Sequential:
        """The plain torch modules of these factors, for `replacement`."""

    def replacement(self, module: Any, factors: Factors) -> nn.Sequential:
        """The plain torch modules that replace the layer, in its mode."""
        made = self.build(module, factors)
        made.train(module.training)
        return made

    def split(self, module: Any) -> nn.Module | None:
        """The same computation with a module for every matrix; None where one module has one."""
        return None


def zeros(decomposition: str, outputs: int, sizes: list[tuple[int, ...]]) -> Factors:
    """Factors of zeros in these sizes."""
    parts = tuple(torch.zeros(size, dtype=torch.float64) for size in sizes)
    return Factors(decomposition, parts, parts[0], torch.zeros(outputs, dtype=torch.float64))


def on_cpu(values: Tensor) -> Tensor:
    """Detached, on the CPU, where float64 is available, and in single precision at least."""
    values = values.detach()
    return values.cpu().to(torch.promote_types(values.dtype, torch.float32))


_FAMILIES: dict[type[nn.Module], Family] = {}


def register(family: Family) -> Family:
    """Make a family known, in place of any before it for the same types."""
    for kind in family.kinds:
        _FAMILIES[kind] = family
    return family


def family_of(module: nn.Module) -> Family | None:
    """The family of a module's exact type; None if there is none."""
    return _FAMILIES.get(type(module))


def largest_rank(family: Family, module: nn.Module, decomposition: str) -> int:
    """The largest rank at which a decomposition has fewer weights than the layer; 0 for none."""
    whole = family.matrix(module).numel()
    low, high = 0, family.full_rank(module, decomposition)
    while low < high:
        middle = (low + high + 1) // 2
        fewer = family.cost(module, decomposition, middle)[0] < whole
        low, high = (middle, high) if fewer else (low, middle - 1)
    return low


def families() -> Iterator[Family]:
    """All families that are known."""
    yield from dict.fromkeys(_FAMILIES.values())
