"""What every layer of a network sees on calibration data, in one pass."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import Moments, MomentSum
from tinysignal.compress.layers import families as layers
from tinysignal.errors import DataError, ModelError
from tinysignal.nets.introspection import (
    Forward,
    _macs,
    _recurrent_macs,
    first_input,
    first_tensor,
    guarded,
    watching,
)

Held = tuple[tuple[Any, Tensor | None], ...]  # batches: inputs, and labels or None
_MOST_ROWS_A_CALL = 16_384  # positions of a convolution are many and alike
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True)
class LayerProfile:
    """One layer that can be factored.

    Parameters
    ----------
    name : str
        In the network, with stacked recurrent layers taken apart: ``gru.layers.0``.
    kind : str
        ``Linear``, ``Conv1d``, ``Conv2d``, ``RNN``, ``GRU`` or ``LSTM``.
    weight : Tensor (outputs, inputs)
        What is factored; of a convolution (filters, inputs * kernel).
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
    kind: str
    weight: Tensor
    bias: Tensor
    inputs: Moments
    parameters: int
    rows_per_example: float
    calls: float
    activation: nn.Module | None = None

    @property
    def full_rank(self) -> int:
        """Smaller side of the matrix."""
        return min(self.weight.shape)

    @property
    def macs(self) -> float:
        """Multiply-accumulates of the matrix for one example."""
        return self.parameters * self.rows_per_example

    @property
    def output_mean(self) -> Tensor:
        """Mean output, float64 (outputs,)."""
        return self.weight.double() @ self.inputs.mean + self.bias


@dataclass(frozen=True)
class Skipped:
    """A layer with weights that is not factored, and why."""

    name: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Profile:
    """What `profile` found.

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
    batches: Held = field(repr=False)
    forward: Forward = field(repr=False)
    network: nn.Module = field(repr=False)
    replaced: dict[str, nn.Module] = field(repr=False)

    def layer(self, name: str) -> LayerProfile:
        """A layer by its name.

        Raises
        ------
        KeyError
        """
        return {layer.name: layer for layer in self.layers}[name]


def profile(model: nn.Module, batches: Iterable[Any], *, forward: Forward | None = None) -> Profile:
    """Look at every layer of a network while it works on calibration data.

    The network is copied; it is run in evaluation mode and without gradients.

    Parameters
    ----------
    model : nn.Module
    batches : iterable
        Inputs, or pairs (inputs, labels) where the labels are an integer Tensor. They are kept for
        the steps that follow; some thousand examples are enough.
    forward : callable or None
        ``forward(model, inputs)`` gives the outputs; None for ``model(inputs)``.

    Returns
    -------
    Profile

    Raises
    ------
    DataError
        No batch, inputs that the network does not take, or NaN in what a layer sees.
    ModelError
        No layer can be factored.
    """
    run = _call if forward is None else forward
    held = tuple(_split(batch) for batch in batches)
    if not held:
        raise DataError("no calibration batch. Give at least one with some hundred examples.")
    network, replaced = layers.prepare(model, copy.deepcopy)
    count = sum(p.numel() for p in model.parameters())
    return _profiled(network, replaced, held, run, parameters=count)


def on_batches(profiled: Profile, held: Held) -> Profile:
    """The profile of the same network on other batches."""
    return _profiled(
        profiled.network, profiled.replaced, held, profiled.forward, parameters=profiled.parameters
    )


def _profiled(
    network: nn.Module,
    replaced: dict[str, nn.Module],
    held: Held,
    run: Forward,
    *,
    parameters: int,
) -> Profile:
    found = list(layers.candidates(network))
    factorable = {name: module for name, module, reason in found if reason is None}
    skipped = [Skipped(name, type(m).__name__, r) for name, m, r in found if r is not None]
    seen = _watch(network, factorable, held, run)
    skipped += [
        Skipped(name, layers.kind_of(module), "not reached in calibration")
        for name, module in factorable.items()
        if seen.sums[name].rows == 0
    ]
    examples = max(1, sum(_examples(inputs) for inputs, _ in held))
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


def _call(model: nn.Module, inputs: Any) -> Any:
    return model(inputs)


def _split(batch: Any) -> tuple[Any, Tensor | None]:
    if isinstance(batch, list | tuple) and len(batch) == 2:
        inputs, labels = batch
        if isinstance(labels, Tensor) and not labels.is_floating_point():
            return inputs, labels
    return batch, None


def _examples(inputs: Any) -> int:
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else 1
    if isinstance(inputs, dict):
        return _examples(next(iter(inputs.values()), None))
    if isinstance(inputs, list | tuple) and inputs:
        return _examples(inputs[0])
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


def _watch(network: nn.Module, factorable: dict[str, nn.Module], held: Held, run: Forward) -> _Seen:
    seen = _Seen(factorable)
    named = {module: name for name, module in factorable.items()}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        name = named[module]
        rows = layers.rows(module, first_input(args, kwargs))
        if not torch.isfinite(rows).all():
            raise DataError(f"NaN or infinity goes into layer '{name}' on the calibration data.")
        seen.uses[name] += len(rows)
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
            seen.other_macs += _recurrent_macs(module, output)
        elif isinstance(module, _ACTIVATIONS):
            value, name = seen.latest
            if value is not None and first_input(args, kwargs) is value:
                seen.activations[name] = module
        else:
            seen.other_macs += _macs(module, output)

    with watching(network) as handles:
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
    weight = layers.matrix(module)
    # A pair that was multiplied out costs what the pair costs.
    parameters = weight.numel()
    if held is not None and isinstance(held, nn.Sequential):
        parameters = sum(layers.matrix(part).numel() for part in held)
    return LayerProfile(
        name,
        layers.kind_of(module),
        weight,
        layers.bias(module),
        seen.sums[name].moments(),
        parameters,
        seen.uses[name] / examples,
        seen.calls[name] / batches,
        seen.activations.get(name),
    )
