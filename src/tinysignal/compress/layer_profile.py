"""Statistics of one layer on calibration data, and layers that cannot be factored."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor, nn

from tinysignal.compress.factorize import Moments
from tinysignal.compress.layers import Family, family_of, largest_rank


@dataclass(frozen=True)
class LayerProfile:
    """Layer that can be factored, with its statistics.

    Parameters
    ----------
    name : str
        Name in the network; stacked recurrent layers are separate: ``gru.layers.0``.
    module : nn.Module
        Layer in the network of the profile.
    weight : Tensor (outputs, inputs)
        Weight matrix; of a convolution (filters, inputs * kernel).
    bias : float64 Tensor (outputs,)
    inputs : Moments
        Moments of the inputs on the calibration data, float64.
    parameters : int
        Weights of the matrix in the original network, without biases.
    rows_per_example : float
        Number of uses of the matrix for one example.
    calls : float
        Number of calls of the layer for one batch.
    activation : nn.Module or None
        Elementwise activation module that follows directly, if there is one.
    """

    name: str
    module: nn.Module = field(repr=False)
    weight: Tensor = field(repr=False)
    bias: Tensor = field(repr=False)
    inputs: Moments = field(repr=False)
    parameters: int
    rows_per_example: float
    calls: float
    activation: nn.Module | None = None

    @property
    def kind(self) -> str:
        """Type of the layer: ``Linear``, ``Conv2d``, ``GRU``, ..."""
        return type(self.module).__name__

    @property
    def family(self) -> Family:
        """Family of the layer, which knows its decompositions."""
        family = family_of(self.module)
        assert family is not None
        return family

    @property
    def decompositions(self) -> tuple[str, ...]:
        """Names of the possible decompositions, the default one first."""
        return self.family.decompositions(self.module)

    @property
    def full_rank(self) -> int:
        """Rank at which the default decomposition is exact."""
        return self.exact_rank(self.decompositions[0])

    def exact_rank(self, decomposition: str) -> int:
        """Rank at which a decomposition is exact."""
        return self.family.full_rank(self.module, decomposition)

    def cost(self, decomposition: str, rank: int) -> tuple[int, float]:
        """Weights of a decomposition at a rank, and its multiply-accumulates per row of inputs."""
        return self.family.cost(self.module, decomposition, rank)

    def largest_rank(self, decomposition: str) -> int:
        """Largest rank at which a decomposition has fewer weights; 0 if there is none."""
        largest = largest_rank(self.family, self.module, decomposition)
        while largest and self.cost(decomposition, largest)[0] >= self.parameters:
            largest -= 1  # only for a pair of Linears that was merged
        return largest

    def shrinks(self, decomposition: str, rank: int) -> bool:
        """Whether a decomposition at a rank is possible and has fewer weights than the layer."""
        possible = rank <= self.exact_rank(decomposition)
        return possible and self.cost(decomposition, rank)[0] < self.parameters

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the matrix for one example."""
        share = self.family.macs(self.module) / self.family.weights(self.module)
        return self.parameters * self.rows_per_example * share


@dataclass(frozen=True)
class Skipped:
    """Layer with weights that is not factored.

    Parameters
    ----------
    name, kind : str
        Name in the network, and type of the layer.
    reason : str
        Reason why it is not factored.
    """

    name: str
    kind: str
    reason: str
