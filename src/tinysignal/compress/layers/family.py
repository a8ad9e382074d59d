"""Interface of a family of factorable layers, and its registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import Covariance, Factors, project, truncate

LOW_RANK = "low_rank"
Block = tuple[slice, slice]  # of outputs, of inputs


class Family(ABC):
    """Kind of layer: its weight matrix, its decompositions and their modules.

    Every method takes the layer; a family has no state. `register` adds a family.

    Attributes
    ----------
    kinds : tuple of types
        Module types of the family, with subclasses that have their ``forward``.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress.layers import family_of
    >>> layer = torch.nn.Linear(30, 40)
    >>> family = family_of(layer)
    >>> family.decompositions(layer), family.cost(layer, "low_rank", 5)
    (('low_rank',), (350, 350))
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]]

    def why_not(self, module: Any) -> str | None:
        """Reason why this layer cannot be factored; None if it can."""
        return None

    def matrix(self, module: Any) -> Tensor:
        """Weight matrix (outputs, inputs), detached, on the CPU."""
        return on_cpu(module.weight).flatten(1)

    def blocks(self, module: Any) -> tuple[Block, ...]:
        """Blocks of the matrix outside which it is zero, each with factors of its own."""
        outputs, inputs = self.matrix(module).shape
        return ((slice(0, outputs), slice(0, inputs)),)

    def weights(self, module: Any) -> int:
        """Number of weights of the layer, without biases."""
        return self.matrix(module).numel()

    def macs(self, module: Any) -> float:
        """Multiply-accumulates of the layer per input row of its matrix."""
        return self.weights(module)

    def usual_inputs(self, module: Any) -> Tensor | None:
        """Covariance of the inputs without data; None for inputs that are equally likely."""
        return None

    def bias(self, module: Any) -> Tensor:
        """Bias of `matrix`, float64 (outputs,); zeros for a layer without bias."""
        if module.bias is None:
            return torch.zeros(len(self.matrix(module)), dtype=torch.float64)
        return on_cpu(module.bias).double()

    def has_bias(self, module: Any) -> bool:
        """Whether the layer has a bias; a factored layer always has one."""
        return module.bias is not None

    @abstractmethod
    def rows(self, module: Any, given: Any) -> Tensor:
        """Input rows of the matrix in a call, float (rows, inputs), from the first argument."""

    def some_rows(self, module: Any, given: Any, start: int, step: int) -> Tensor:
        """The rows ``start``, ``start + step``, ...; a family may avoid making the others."""
        return self.rows(module, given)[start::step]

    def count(self, module: Any, given: Any) -> int:
        """Number of all rows in a call."""
        return len(self.rows(module, given))

    def write(self, module: Any, dense: Tensor, bias: Tensor) -> None:
        """Set the weight matrix of an original layer and its bias in place."""
        weight = module.weight.data
        weight.copy_(dense.reshape(weight.shape))
        if module.bias is None:
            module.bias = nn.Parameter(bias.to(weight))
        else:
            module.bias.data.copy_(bias)

    def decompositions(self, module: Any) -> tuple[str, ...]:
        """Names of the possible decompositions, the default one first."""
        return (LOW_RANK,)

    def full_rank(self, module: Any, decomposition: str) -> int:
        """Rank at which a decomposition is exact."""
        return min(self.matrix(module).shape)

    def cost(self, module: Any, decomposition: str, rank: int) -> tuple[int, float]:
        """Weights of a decomposition without biases, and multiply-accumulates per input row."""
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
        """Factors of a weight matrix.

        Parameters
        ----------
        module : nn.Module
            Layer, for its sizes.
        decomposition : str
        weight : Tensor (outputs, inputs)
            Matrix to factor.
        rank : int
        covariance : Covariance (inputs, inputs) or None
            Covariance of the input rows, to minimise the error of the outputs; None to minimise
            that of the weights.
        bias : float64 Tensor (outputs,)
        """
        pair = truncate(weight, rank) if covariance is None else project(weight, covariance, rank)
        return Factors(decomposition, pair, pair[1] @ pair[0], bias)

    def empty(self, module: Any, decomposition: str, rank: int) -> Factors:
        """Zero factors in the shapes of a decomposition."""
        outputs, inputs = self.matrix(module).shape
        return zeros(decomposition, outputs, [(rank, inputs), (outputs, rank)])

    @abstractmethod
    def build(self, module: Any, factors: Factors) -> nn.Sequential:
        """Plain torch modules of these factors, for `replacement`."""

    def replacement(self, module: Any, factors: Factors) -> nn.Sequential:
        """Plain torch modules that replace the layer, in its training or evaluation mode."""
        made = self.build(module, factors)
        made.train(module.training)
        weights = [p for p in module.parameters(recurse=False) if p.ndim > 1]
        made.requires_grad_(any(weight.requires_grad for weight in weights))
        return made


class Splitter(ABC):
    """Kind of module that holds several matrices, which are made layers of their own.

    `register_splitter` adds one.

    Attributes
    ----------
    kinds : tuple of types
        Module types, with subclasses that have their ``forward``.
    """

    kinds: ClassVar[tuple[type[nn.Module], ...]]

    def why_not(self, module: Any) -> str | None:
        """Reason why this module cannot be split; None if it can."""
        return None

    @abstractmethod
    def split(self, module: Any) -> nn.Module:
        """Equivalent module with a submodule for every matrix, and copied weights."""


def zeros(decomposition: str, outputs: int, sizes: list[tuple[int, ...]]) -> Factors:
    """Zero factors in the given sizes."""
    parts = tuple(torch.zeros(size, dtype=torch.float64) for size in sizes)
    return Factors(decomposition, parts, parts[0], torch.zeros(outputs, dtype=torch.float64))


def on_cpu(values: Tensor) -> Tensor:
    """Values detached on the CPU, which has float64, in single precision at least."""
    values = values.detach()
    return values.cpu().to(torch.promote_types(values.dtype, torch.float32))


_FAMILIES: dict[type[nn.Module], Family] = {}
_NAMES: dict[str, Family] = {}
_TESTS: dict[Family, list[Callable[[Any], Family | None]]] = {}
_VARIANTS: dict[Family, list[tuple[Callable[[Any], bool], Family]]] = {}
_SPLITTERS: dict[type[nn.Module], Splitter] = {}
_KNOWN: WeakKeyDictionary[nn.Module, Family | None] = WeakKeyDictionary()


def register(family: Family) -> Family:
    """Add a family to the registry; it replaces earlier ones of the same types.

    Parameters
    ----------
    family : Family

    Returns
    -------
    Family
        The same family.
    """
    for kind in family.kinds:
        _FAMILIES[kind] = family
    return family


def register_name(name: str, family: Family) -> None:
    """Add a family for a type by its full name, for types of packages that may be absent."""
    _NAMES[name] = family


def family_of(module: nn.Module) -> Family | None:
    """Family of a module; None if there is none.

    A subclass belongs to the family of the type whose ``forward`` it has. One with a ``forward``
    of its own belongs to a family that recognises what it computes, see `register_test`.
    """
    found = _by_type(module)
    if found is None:
        return None
    variants = (variant for applies, variant in _VARIANTS.get(found, []) if applies(module))
    return next(variants, found)


def _by_type(module: nn.Module) -> Family | None:
    kind = type(module)
    if kind in _FAMILIES:
        return _FAMILIES[kind]
    named = _NAMES.get(f"{kind.__module__}.{kind.__qualname__}")
    if named is not None:
        return named
    for base in kind.__mro__:
        known = _FAMILIES.get(base)
        if known is not None:
            same = getattr(kind, "forward", None) is getattr(base, "forward", None)
            return known if same else _recognised(module, known)
    return None


def register_test(base: Family, test: Callable[[Any], Family | None]) -> None:
    """Add a test that recognises subclasses with a ``forward`` of their own.

    Parameters
    ----------
    base : Family
        Of the type that they are subclasses of.
    test : callable
        Gives the family of a module, or None.
    """
    _TESTS.setdefault(base, []).append(test)


def register_variant(base: Family, applies: Callable[[Any], bool], family: Family) -> Family:
    """Add a family for the layers of another one for which ``applies(layer)`` is true."""
    _VARIANTS.setdefault(base, []).append((applies, family))
    return family


def register_splitter(splitter: Splitter) -> Splitter:
    """Add a kind of module that is split into layers."""
    for kind in splitter.kinds:
        _SPLITTERS[kind] = splitter
    return splitter


def splitter_of(module: nn.Module) -> Splitter | None:
    """Splitter of a module, or of the type whose ``forward`` it has; None if there is none."""
    kind = type(module)
    for base in kind.__mro__:
        known = _SPLITTERS.get(base)
        if known is not None:
            same = getattr(kind, "forward", None) is getattr(base, "forward", None)
            return known if same else None
    return None


def _recognised(module: nn.Module, base: Family) -> Family | None:
    if module not in _KNOWN:
        found = (test(module) for test in _TESTS.get(base, []))
        _KNOWN[module] = next((family for family in found if family is not None), None)
    return _KNOWN[module]


def largest_rank(family: Family, module: nn.Module, decomposition: str) -> int:
    """Largest rank at which a decomposition has fewer weights than the layer; 0 for none."""
    whole = family.weights(module)
    low, high = 0, family.full_rank(module, decomposition)
    while low < high:
        middle = (low + high + 1) // 2
        fewer = family.cost(module, decomposition, middle)[0] < whole
        low, high = (middle, high) if fewer else (low, middle - 1)
    return low


def families() -> Iterator[Family]:
    """All registered families."""
    yield from dict.fromkeys(_FAMILIES.values())
