"""Profile of a network: statistics of all its layers on calibration data, in one pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import MomentSum
from tinysignal.compress.layer_profile import LayerProfile, Skipped
from tinysignal.compress.layers import Family, family_of
from tinysignal.compress.structure import candidates, is_within, prepare
from tinysignal.compress.trial import unreplaceable
from tinysignal.errors import ConfigError, DataError, ModelError
from tinysignal.nets.batches import Batch, heads, read_batch, run
from tinysignal.nets.checks import check_network
from tinysignal.nets.introspection import (
    Forward,
    evaluating,
    first_input,
    first_tensor,
    layer_macs,
    shape_text,
)

Batches = tuple[Batch, ...]
Score = Callable[[Any, Any], Any]
"""``score(outputs, batch)``, higher is better; the batch as the loader yielded it."""

_MOST_ROWS_A_CALL = 16_384  # subsamples the many similar positions of a convolution
_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Tanh, nn.Sigmoid)


@dataclass(frozen=True, repr=False)
class Profile:
    """Network with the statistics of its layers on calibration data; made by `profile`.

    Parameters
    ----------
    layers : tuple of LayerProfile
        Factorable layers in the order of their calls.
    skipped : tuple of Skipped
        Layers that cannot be factored.
    parameters : int
        Parameters of the whole network.
    macs : float
        Multiply-accumulates of the known layers for one example.
    outputs : dict of str to str
        Shapes of all outputs that a cut is held to, by name.
    batches : tuple of Batch
        Calibration batches.
    forward : callable or None
        ``forward(network, batch)`` gives the outputs.
    score : callable or None
        ``score(outputs, batch)``, see `profile`.
    network : nn.Module
        Copy of the network in which every factorable matrix is a module.
    replaced : dict of str to nn.Module
        Original modules that this copy holds in another form.
    """

    layers: tuple[LayerProfile, ...]
    skipped: tuple[Skipped, ...]
    parameters: int
    macs: float
    outputs: dict[str, str]
    batches: Batches = field(repr=False)
    forward: Forward | None = field(repr=False)
    score: Score | None = field(repr=False)
    network: nn.Module = field(repr=False)
    replaced: dict[str, nn.Module] = field(repr=False)

    def __repr__(self) -> str:
        left = f", {len(self.skipped)} left whole" if self.skipped else ""
        held = ", ".join(f"{name} {shape}".strip() for name, shape in self.outputs.items())
        return (
            f"Profile({len(self.layers)} layers to factor{left}; {self.parameters} parameters, "
            f"{self.macs:.4g} multiply-accumulates an example; {len(self.batches)} batches; "
            f"outputs {held})"
        )

    def layer(self, name: str) -> LayerProfile:
        """Factorable layer by its name.

        Raises
        ------
        KeyError
            No factorable layer has this name.
        """
        return {layer.name: layer for layer in self.layers}[name]


def profile(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    forward: Forward | None = None,
    score: Score | None = None,
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
) -> Profile:
    """Collect statistics of every layer of a network on calibration data.

    A copy of the network runs in evaluation mode without gradients.

    Parameters
    ----------
    model : nn.Module
        Trained network; it is not changed.
    batches : iterable
        Inputs; tuples that begin with the inputs, such as (inputs, labels) or (inputs, targets,
        index), where integers that follow the inputs are labels; or dicts, passed by name. They
        are kept in memory for `plan` and `apply`; a few thousand examples are enough.
    forward : callable or None
        ``forward(model, batch)`` gives the outputs for a batch as it came; None to call the model.
    score : callable or None
        ``score(outputs, batch)`` for ``max_accuracy_drop`` and reports, higher is better; None for
        the accuracy on the labels in percent.
    ignore : sequence of str
        Names or patterns (``head``, ``encoder.*``) of layers to leave whole, with their submodules.
    only : sequence of str
        Names or patterns of the only layers to factor; empty for all.

    Returns
    -------
    Profile

    Raises
    ------
    DataError
        There is no batch, the network does not take the inputs, or a layer gets NaN or infinity.
    ModelError
        No layer can be factored.
    ConfigError
        A pattern matches no layer, or the network cannot be taken apart: it is scripted, traced,
        compiled, quantised, without sizes or weights, or no module.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress import profile
    >>> net = torch.nn.Sequential(torch.nn.Linear(20, 30), torch.nn.ReLU(), torch.nn.Linear(30, 5))
    >>> profile(net, [torch.randn(200, 20)], ignore=["2"])
    Profile(1 layers to factor, 1 left whole; 785 parameters, 750 multiply-accumulates an example; \
1 batches; outputs 200 x 5)
    """
    check_network(model)
    held = tuple(read_batch(model, batch, forward) for batch in batches)
    if not held:
        raise DataError("0 calibration batches, expected 1 or more with a few hundred examples.")
    network, replaced = prepare(model)
    found = list(candidates(network))
    left = _left_whole(_all_names(network, found), ignore, only)
    usable = [name for name, _, reason in found if reason is None and name not in left]
    left |= unreplaceable(network, usable, held[0], forward)
    return _profiled(
        network,
        replaced,
        held,
        (forward, score),
        parameters=sum(p.numel() for p in model.parameters()),
        left=left,
    )


def on_batches(profiled: Profile, held: Batches) -> Profile:
    """Profile of the same network on other batches."""
    return _profiled(
        profiled.network,
        profiled.replaced,
        held,
        (profiled.forward, profiled.score),
        parameters=profiled.parameters,
        left={one.name: one.reason for one in profiled.skipped},
    )


def _profiled(
    network: nn.Module,
    replaced: dict[str, nn.Module],
    held: Batches,
    given: tuple[Forward | None, Score | None],
    *,
    parameters: int,
    left: dict[str, str],
) -> Profile:
    found = [
        (name, module, reason or left.get(name)) for name, module, reason in candidates(network)
    ]
    factorable = {name: module for name, module, reason in found if reason is None}
    skipped = [Skipped(name, type(m).__name__, r) for name, m, r in found if r is not None]
    forward, score = given
    seen = _watch(network, factorable, held, forward)
    skipped += [
        Skipped(name, type(module).__name__, "not reached in calibration")
        for name, module in factorable.items()
        if seen.sums[name].rows == 0
    ]
    examples = max(1, sum(batch.examples for batch in held))
    profiled = tuple(
        _layer(name, factorable[name], seen, (examples, len(held)), replaced)
        for name in seen.order
        if seen.sums[name].rows
    )
    if not profiled:
        reasons = "; ".join(f"{s.name or 'the network'}: {s.reason}" for s in skipped[:5])
        raise ModelError(
            f"no layer can be factored ({reasons or 'none has a weight matrix'}), expected at "
            "least one."
        )
    macs = sum(layer.macs for layer in profiled) + seen.other_macs / examples
    return Profile(
        profiled,
        tuple(skipped),
        parameters,
        macs,
        seen.outputs,
        held,
        forward,
        score,
        network,
        replaced,
    )


def _all_names(
    network: nn.Module, found: list[tuple[str, nn.Module, str | None]]
) -> dict[str, list[str]]:
    """All names of every layer, such as those of an Embedding that looks its rows up in it."""
    names: dict[nn.Module, list[str]] = {}
    for name, module in network.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    return {name: names[module] for name, module, _ in found}


def _left_whole(
    names: dict[str, list[str]], ignore: Sequence[str], only: Sequence[str]
) -> dict[str, str]:
    """Layers that ``ignore`` and ``only`` exclude, with the reason."""

    def fitting(pattern: str) -> set[str]:
        found = {
            name
            for name, aliases in names.items()
            if any(fnmatchcase(n, pattern) or is_within(n, pattern) for n in aliases)
        }
        if not found or not pattern:
            shown = ", ".join([*names][:10]) + (", ..." if len(names) > 10 else "")
            raise ConfigError(f"no layer matches '{pattern}', expected some of {shown}.")
        return found

    left = {name: "ignored" for pattern in ignore for name in fitting(pattern)}
    if only:
        wanted = set().union(*(fitting(pattern) for pattern in only))
        left |= {name: "not in only=" for name in names if name not in wanted}
    return left


class _Seen:
    """Statistics that the hooks collect."""

    def __init__(self, names: Iterable[str]) -> None:
        self.sums = {name: MomentSum() for name in names}
        self.uses = dict.fromkeys(self.sums, 0)  # number of rows before subsampling
        self.calls = dict.fromkeys(self.sums, 0)
        self.order: list[str] = []
        self.activations: dict[str, nn.Module | None] = {}
        self.other_macs = 0.0
        self.latest: tuple[Any, str] = (None, "")  # output and name of the layer called last
        self.latest_rows = 0
        self.outputs: dict[str, str] = {}


def _watch(
    network: nn.Module,
    factorable: dict[str, nn.Module],
    held: Batches,
    forward: Forward | None,
) -> _Seen:
    seen = _Seen(factorable)
    named = {module: name for name, module in factorable.items()}

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        name = named[module]
        family, given = _family(module), first_input(args, kwargs)
        if not torch.isfinite(first_tensor(given)).all():
            raise DataError(
                f"the inputs of layer '{name}' hold NaN or infinity on the calibration data, "
                "expected finite numbers."
            )
        count = family.count(module, given)
        seen.uses[name] += count
        seen.latest_rows = count
        seen.calls[name] += 1
        step = math.ceil(count / _MOST_ROWS_A_CALL) or 1
        seen.sums[name].add(family.some_rows(module, given, 0, step))
        if name not in seen.order:
            seen.order.append(name)

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if module in named:
            name = named[module]
            if not torch.isfinite(first_tensor(output)).all():
                raise DataError(
                    f"the outputs of layer '{name}' hold NaN or infinity on the calibration data, "
                    "expected finite numbers."
                )
            seen.latest = output, name
            seen.activations.setdefault(name, None)
            # Recurrent weights are not factored.
            beside = layer_macs(module, output, given=_tensor(args)) or 0
            seen.other_macs += beside - seen.latest_rows * _family(module).macs(module)
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
        for batch in held:
            found = heads(run(network, batch, forward))
            if not found:
                raise DataError(
                    "the network's outputs hold no tensor of floating-point numbers. Return one "
                    "from forward=."
                )
            seen.outputs = seen.outputs or {
                name: shape_text(output.shape) for name, output in found.items()
            }
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
    # The cost of a merged pair of Linears is that of the pair.
    parameters = family.weights(module)
    if isinstance(held, nn.Sequential):
        parameters = sum(_family(part).weights(part) for part in held)
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


def _tensor(args: tuple[Any, ...]) -> Tensor | None:
    return args[0] if args and isinstance(args[0], Tensor) else None
