"""What every layer of a network sees on calibration data, in one pass."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import Moments, MomentSum
from tinysignal.compress.layers import Family, family_of, largest_rank
from tinysignal.compress.structure import candidates, is_within, prepare
from tinysignal.errors import ConfigError, DataError, ModelError
from tinysignal.nets.introspection import (
    Forward,
    call,
    evaluating,
    first_input,
    first_tensor,
    guarded,
    layer_macs,
)

Batches = tuple[tuple[Any, Tensor | None], ...]  # batches: inputs, and labels or None
_MOST_ROWS_A_CALL = 16_384  # positions of a convolution are many and alike
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True)
class LayerProfile:
    """One layer that can be factored.

    Parameters
    ----------
    name : str
        In the network, with stacked recurrent layers taken apart: ``gru.layers.0``.
    module : nn.Module
        The layer in the network of the profile.
    weight : Tensor (outputs, inputs)
        The matrix that is factored; of a convolution (filters, inputs * kernel).
    bias : float64 Tensor (outputs,)
    inputs : Moments
        Of the inputs on the calibration data, float64.
    parameters : int
        Weights of that matrix as the network holds them now; biases are not counted.
    rows_per_example : float
        How often the matrix is used for one example.
    calls : float
        How often the layer is called for one batch.
    activation : nn.Module or None
        What follows it directly, if that is a module known to act on single values.
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
        """The type of the layer: ``Linear``, ``Conv2d``, ``GRU``, ..."""
        return type(self.module).__name__

    @property
    def family(self) -> Family:
        """How layers of this kind are factored."""
        family = family_of(self.module)
        assert family is not None
        return family

    @property
    def decompositions(self) -> tuple[str, ...]:
        """Names of the ways to factor it, the usual one first."""
        return self.family.decompositions(self.module)

    @property
    def full_rank(self) -> int:
        """Smaller side of the matrix."""
        return min(self.weight.shape)

    def exact_rank(self, decomposition: str) -> int:
        """The rank at which a decomposition is exact."""
        return self.family.full_rank(self.module, decomposition)

    def cost(self, decomposition: str, rank: int) -> tuple[int, float]:
        """Weights of a decomposition, and its multiply-accumulates for a row of inputs."""
        return self.family.cost(self.module, decomposition, rank)

    def largest_rank(self, decomposition: str) -> int:
        """The largest rank at which a decomposition has fewer weights; 0 if there is none."""
        largest = largest_rank(self.family, self.module, decomposition)
        while largest and self.cost(decomposition, largest)[0] >= self.parameters:
            largest -= 1  # of a pair that was multiplied out
        return largest

    def shrinks(self, decomposition: str, rank: int) -> bool:
        """Whether a rank is possible and has fewer weights than the layer."""
        possible = rank <= self.exact_rank(decomposition)
        return possible and self.cost(decomposition, rank)[0] < self.parameters

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the matrix for one example."""
        return self.parameters * self.rows_per_example


@dataclass(frozen=True)
class Skipped:
    """A layer with weights that is not factored, and why."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True, repr=False)
class Profile:
    """A network with what every layer sees on calibration data; made by `profile`.

    Parameters
    ----------
    layers : tuple of LayerProfile
        In the order in which the network calls them.
    skipped : tuple of Skipped
    parameters : int
        Trained numbers of the whole network.
    macs : float
        Multiply-accumulates of the known layers for one example.
    batches : tuple
        The calibration batches: (inputs, labels or None).
    forward : callable
    network : nn.Module
        A copy whose every factorable matrix is a module of its own.
    replaced : dict of str to nn.Module
        The modules that this copy holds in another form, as they were.
    """

    layers: tuple[LayerProfile, ...]
    skipped: tuple[Skipped, ...]
    parameters: int
    macs: float
    batches: Batches = field(repr=False)
    forward: Forward = field(repr=False)
    network: nn.Module = field(repr=False)
    replaced: dict[str, nn.Module] = field(repr=False)

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left whole" if self.skipped else ""
        return (
            f"Profile({len(self.layers)} layers to factor{left}; {self.parameters} parameters, "
            f"{self.macs:.4g} multiply-accumulates an example; {len(self.batches)} batches)"
        )

    def layer(self, name: str) -> LayerProfile:
        """A layer by its name.

        Raises
        ------
        KeyError
        """
        return {layer.name: layer for layer in self.layers}[name]


def profile(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Profile:
    """Watch every layer of a network while it runs on calibration data.

    The network is copied; it is run in evaluation mode and without gradients.

    Parameters
    ----------
    model : nn.Module
    batches : iterable
        Inputs, or pairs (inputs, labels) where the labels are an integer Tensor. They are kept for
        the steps that follow; some thousand examples are enough.
    forward : callable or None
        ``forward(model, inputs)`` gives the outputs; None for ``model(inputs)``.
    ignore : sequence of str
        Names or patterns (``head``, ``encoder.*``) of layers to leave whole, with all inside them.
    only : sequence of str
        The same of the only layers to factor; empty for all.

    Returns
    -------
    Profile

    Raises
    ------
    DataError
        No batch, inputs that the network does not take, or NaN in what a layer sees.
    ModelError
        No layer can be factored.
    ConfigError
        A pattern fits no layer.

    Example
    -------
    >>> import torch
    >>> from tinysignal.compress import profile
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    >>> profile(net, [torch.randn(200, 20)], ignore=["2"])
    Profile(1 layers to factor, 1 left whole; 785 parameters, 750 multiply-accumulates an example; \
1 batches)
    """
    run = call if forward is None else forward
    held = tuple(_split(batch) for batch in batches)
    if not held:
        raise DataError("no calibration batch. Give at least one with some hundred examples.")
    network, replaced = prepare(model)
    found = list(candidates(network))
    left = _left_whole([name for name, _, _ in found], ignore, only)
    return _profiled(
        network,
        replaced,
        held,
        run,
        parameters=sum(p.numel() for p in model.parameters()),
        left=left,
    )


def on_batches(profiled: Profile, held: Batches) -> Profile:
    """The profile of the same network on other batches."""
    return _profiled(
        profiled.network,
        profiled.replaced,
        held,
        profiled.forward,
        parameters=profiled.parameters,
        left={one.name: one.reason for one in profiled.skipped},
    )


def _profiled(
    network: nn.Module,
    replaced: dict[str, nn.Module],
    held: Batches,
    run: Forward,
    *,
    parameters: int,
    left: dict[str, str],
) -> Profile:
    found = [
        (name, module, reason or left.get(name)) for name, module, reason in candidates(network)
    ]
    factorable = {name: module for name, module, reason in found if reason is None}
    skipped = [Skipped(name, type(m).__name__, r) for name, m, r in found if r is not None]
    seen = _watch(network, factorable, held, run)
    skipped += [
        Skipped(name, type(module).__name__, "not reached in calibration")
        for name, module in factorable.items()
        if seen.sums[name].rows == 0
    ]
    examples = max(1, sum(examples_in(inputs) for inputs, _ in held))
    profiled = tuple(
        _layer(name, factorable[name], seen, (examples, len(held)), replaced)
        for name in seen.order
        if seen.sums[name].rows
    )
    if not profiled:
        reasons = "; ".join(f"{s.name or 'the network'}: {s.reason}" for s in skipped[:5])
        raise ModelError(f"no layer can be factored ({reasons or 'none has a weight matrix'}).")
    macs = sum(layer.macs for layer in profiled) + seen.other_macs / examples
    return Profile(profiled, tuple(skipped), parameters, macs, held, run, network, replaced)


def _left_whole(names: list[str], ignore: Sequence[str], only: Sequence[str]) -> dict[str, str]:
    """Layers that are not to be factored, with the reason."""

    def fitting(pattern: str) -> set[str]:
        found = {n for n in names if fnmatchcase(n, pattern) or is_within(n, pattern)}
        if not found or not pattern:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise ConfigError(f"no layer is called '{pattern}'. The network's are {shown}.")
        return found

    left = {name: "ignored" for pattern in ignore for name in fitting(pattern)}
    if only:
        wanted = set().union(*(fitting(pattern) for pattern in only))
        left |= {name: "not among those asked for" for name in names if name not in wanted}
    return left


def _split(batch: Any) -> tuple[Any, Tensor | None]:
    if isinstance(batch, list | tuple) and len(batch) == 2:
        inputs, labels = batch
        if isinstance(labels, Tensor) and not labels.is_floating_point():
            return inputs, labels
    return batch, None


def examples_in(inputs: Any) -> int:
    """Number of examples in a batch, by the first axis of its first tensor."""
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else 1
    if isinstance(inputs, dict):
        return examples_in(next(iter(inputs.values()), None))
    if isinstance(inputs, list | tuple) and inputs:
        return examples_in(inputs[0])
    return 1


class _Seen:
    """What the hooks gather."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums = {name: MomentSum() for name in names}
        self.uses = dict.fromkeys(self.sums, 0)  # rows, those left out of the sums included
        self.calls = dict.fromkeys(self.sums, 0)
        self.order: list[str] = []
        self.activations: dict[str, nn.Module | None] = {}
        self.other_macs = 0
        self.latest: tuple[Any, str] = (None, "")  # the output of a layer, and its name
        self.latest_rows = 0


def _watch(
    network: nn.Module, factorable: dict[str, nn.Module], held: Batches, run: Forward
) -> _Seen:
    seen = _Seen(factorable)
    named = {module: name for name, module in factorable.items()}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        name = named[module]
        rows = _rows(module, first_input(args, kwargs))
        if not torch.isfinite(rows).all():
            raise DataError(f"NaN or infinity goes into layer '{name}' on the calibration data.")
        seen.uses[name] += len(rows)
        seen.latest_rows = len(rows)
        seen.calls[name] += 1
        seen.sums[name].add(rows[:: math.ceil(len(rows) / _MOST_ROWS_A_CALL) or 1])
        if name not in seen.order:
            seen.order.append(name)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module in named:
            name = named[module]
            if not torch.isfinite(first_tensor(output)).all():
                raise DataError(f"layer '{name}' gives NaN or infinity on the calibration data.")
            seen.latest = output, name
            seen.activations.setdefault(name, None)
            beside = layer_macs(module, output) or 0  # recurrent weights are not factored
            seen.other_macs += beside - seen.latest_rows * _matrix_size(module)
        elif isinstance(module, _ACTIVATIONS):
            value, name = seen.latest
            if value is not None and first_input(args, kwargs) is value:
                seen.activations[name] = module
        else:
            seen.other_macs += layer_macs(module, output, given=_tensor(args)) or 0

    with evaluating(network) as handles:
        for module in network.modules():
            if module in named:
                handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
            handles.append(module.register_forward_hook(after, with_kwargs=True))
        for inputs, _ in held:
            guarded(run, network, inputs)
    return seen


def _layer(
    name: str,
    module: nn.Module,
    seen: _Seen,
    amounts: tuple[int, int],
    replaced: dict[str, nn.Module],
) -> LayerProfile:
    examples, batches = amounts
    held = replaced.get(name)
    family = _family(module)
    weight = family.matrix(module)
    # A pair that was multiplied out costs what the pair costs.
    parameters = weight.numel()
    if isinstance(held, nn.Sequential):
        parameters = sum(_matrix_size(part) for part in held)
    return LayerProfile(
        name,
        module,
        weight,
        family.bias(module),
        seen.sums[name].moments(),
        parameters,
        seen.uses[name] / examples,
        seen.calls[name] / batches,
        seen.activations.get(name),
    )


def _family(module: nn.Module) -> Family:
    family = family_of(module)
    assert family is not None
    return family


def _rows(module: nn.Module, given: Any) -> Tensor:
    return _family(module).rows(module, given)


def _matrix_size(module: nn.Module) -> int:
    return _family(module).matrix(module).numel()


def _tensor(args: tuple[Any, ...]) -> Tensor | None:
    return args[0] if args and isinstance(args[0], Tensor) else None
