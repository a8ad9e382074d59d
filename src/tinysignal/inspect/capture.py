"""What is kept of a network's outputs while the batches go by."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect.batches import Runner, checked_batches
from tinysignal.inspect.hooks import Call, Watch
from tinysignal.inspect.result import Ranking
from tinysignal.inspect.sampling import Extremes, RandomSample, probabilities, project
from tinysignal.nets.introspection import Forward, evaluating, shape_text

Array = NDArray[np.float32]


@dataclass
class Shown:
    """One example that is kept: its input, what is true, what came out."""

    input: Array
    label: int
    logits: NDArray[np.float64]
    outputs: dict[str, Array] = field(default_factory=dict)  # of a sampled one, a row a layer


@dataclass
class Seen:
    """What was seen of a module with parameters over all batches."""

    macs: int | None  # for one example
    output_shape: tuple[int, ...]  # of one example
    fired: NDArray[np.bool_] | None  # (units,): above zero for any example; None without a ReLU


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A network's outputs for a random sample, and its surest and least sure examples.

    Parameters
    ----------
    examples, correct : int
        Of all the data.
    positions : int64 (shown,)
        Of the kept examples in the data, ascending.
    inputs : float32 (shown, ...)
    labels : int64 (shown,)
    probabilities : float32 (shown, classes)
    sample : int64 (points,)
        Which of the kept are the random sample.
    outputs : dict of str to float32 (points, values)
        Of the sample, a layer an entry, in the order of the computation.
    values : dict of str to int
        Numbers per example that the layer gives, before any projection.
    rankings : tuple of Ranking
    seen : dict of str to Seen
        Modules with parameters of their own that were called.
    left_out : dict of str to str
        Layers whose output cannot be told apart by examples, and why.
    """

    examples: int
    correct: int
    positions: NDArray[np.int64]
    inputs: Array
    labels: NDArray[np.int64]
    probabilities: Array
    sample: NDArray[np.int64]
    outputs: dict[str, Array]
    values: dict[str, int]
    rankings: tuple[Ranking, ...]
    seen: dict[str, Seen]
    left_out: dict[str, str]


@dataclass
class Recorder:
    """What is kept of the batches so far.

    Parameters
    ----------
    wanted : set of str or None
        Layers that must be there; None for those that are.
    sample : RandomSample
    extremes : Extremes
    """

    wanted: set[str] | None
    sample: RandomSample
    extremes: Extremes
    correct: int = 0
    kept: dict[int, Shown] = field(default_factory=dict)  # by position
    values: dict[str, int] = field(default_factory=dict)
    seen: dict[str, Seen] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # and why

    def add(
        self,
        inputs: Tensor,
        labels: NDArray[np.int64],
        logits: NDArray[np.float64],
        calls: dict[str, list[Call]],
    ) -> None:
        """Take in a batch: inputs (examples, ...), logits (examples, classes), what was watched.

        Raises
        ------
        DataError
        """
        start, n = self.sample.seen, len(labels)
        outputs = self._outputs(calls, n)
        _check_finite(outputs, logits, start)
        if labels.min() < 0 or labels.max() >= logits.shape[1]:
            wrong = next(int(v) for v in labels if not 0 <= v < logits.shape[1])
            raise DataError(
                f"label {wrong}, but the network's {logits.shape[1]} outputs are for the labels "
                f"0 to {logits.shape[1] - 1}."
            )
        self.correct += int((logits.argmax(axis=1) == labels).sum())
        self.sample.add(n)
        self.extremes.add(start, labels, logits)
        self._keep(start, inputs.float().cpu().numpy(), labels, logits, outputs)
        for name, called in calls.items():
            _see(self.seen, name, called, n)

    def _outputs(self, calls: dict[str, list[Call]], n: int) -> dict[str, Tensor]:
        """Outputs (examples, values) of the wanted layers; several calls side by side."""
        found = {}
        for name, called in calls.items():
            parts = [call.value for call in called if call.value is not None]
            if not parts:
                continue
            if any(part.ndim < 1 or len(part) != n for part in parts):
                shape = shape_text(next(p.shape for p in parts if p.ndim < 1 or len(p) != n))
                self.left_out[name] = f"its output {shape} does not begin with the {n} examples"
                continue
            rows = torch.cat([part.reshape(n, -1) for part in parts], dim=1).float()
            width = self.values.setdefault(name, rows.shape[1])
            if width != rows.shape[1]:
                raise DataError(
                    f"layer '{name}' gives {width} numbers per example, then {rows.shape[1]}: "
                    "expected batches of inputs of one size."
                )
            found[name] = rows
        return found

    def _keep(
        self,
        start: int,
        inputs: Array,
        labels: NDArray[np.int64],
        logits: NDArray[np.float64],
        outputs: dict[str, Tensor],
    ) -> None:
        sampled = self.sample.positions[self.sample.positions >= start]
        rows = torch.from_numpy(sampled - start)
        # Only what the sample takes leaves the device.
        taken = {k: project(v[rows.to(v.device)].cpu().numpy()) for k, v in outputs.items()}
        needed = self.extremes.positions() | set(self.sample.positions.tolist())
        for position in needed:
            if position >= start:
                i = position - start
                self.kept[position] = Shown(inputs[i].copy(), int(labels[i]), logits[i])
        for row, position in enumerate(sampled.tolist()):
            self.kept[position].outputs = {k: v[row].copy() for k, v in taken.items()}
        for position in self.kept.keys() - needed:
            del self.kept[position]

    def finish(self) -> Recording:
        """All that was kept, as arrays.

        Raises
        ------
        DataError, ConfigError
        """
        if not self.kept:
            raise DataError("the loader gives no example, expected batches of (inputs, labels).")
        positions = np.array(sorted(self.kept), np.int64)
        shown = [self.kept[p] for p in positions.tolist()]
        if len({(one.input.shape, one.logits.shape) for one in shown}) > 1:
            raise DataError("examples of different sizes, expected all of one.")
        sampled = [self.kept[p] for p in self.sample.positions.tolist()]
        names = [n for n in self.values if all(n in one.outputs for one in sampled)]
        self._check_wanted(names)
        logits = np.stack([one.logits for one in shown])
        return Recording(
            examples=self.sample.seen,
            correct=self.correct,
            positions=positions,
            inputs=np.stack([one.input for one in shown]),
            labels=np.array([one.label for one in shown], np.int64),
            probabilities=probabilities(logits).astype(np.float32),
            sample=np.searchsorted(positions, self.sample.positions).astype(np.int64),
            outputs={name: np.stack([one.outputs[name] for one in sampled]) for name in names},
            values={name: self.values[name] for name in names},
            rankings=self.extremes.rankings(positions),
            seen=self.seen,
            left_out=self.left_out,
        )

    def _check_wanted(self, names: list[str]) -> None:
        for name in sorted((self.wanted or set()) - set(names)):
            why = self.left_out.get(name, "the network does not call it, or it gives no tensor")
            raise ConfigError(f"layer '{name}': {why}. Choose another one.")
        if not names:
            raise ConfigError(
                "the network calls no module with parameters, so there is nothing to look into."
            )


def _check_finite(outputs: dict[str, Tensor], logits: NDArray[np.float64], start: int) -> None:
    for name, rows in outputs.items():
        finite = torch.isfinite(rows).all(dim=1)
        if not bool(finite.all()):
            first = start + int((~finite).nonzero()[0])
            raise DataError(f"layer '{name}' gives NaN or infinite values for example {first}.")
    finite_rows = np.isfinite(logits).all(axis=1)
    if not finite_rows.all():
        first = start + int(np.argmin(finite_rows))
        raise DataError(f"the network gives NaN or infinite logits for example {first}.")


def _see(seen: dict[str, Seen], name: str, calls: list[Call], n: int) -> None:
    """Add one batch to what was seen of a module."""
    macs = [call.macs for call in calls]
    known = [m for m in macs if m is not None]
    fired = [call.fired.cpu().numpy() for call in calls if call.fired is not None]
    first = Seen(
        macs=sum(known) // n if len(known) == len(macs) else None,
        output_shape=calls[0].shape,
        fired=None,
    )
    entry = seen.setdefault(name, first)
    # A module that is called several times counts as dead where no call fires.
    if len(fired) == len(calls):
        for one in fired:
            entry.fired = one if entry.fired is None else entry.fired | one


def record_outputs(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    points: int = 2000,
    best: int = 10,
    seed: int = 0,
    layers: Iterable[str] | None = None,
    forward: Forward | None = None,
) -> Recording:
    """Run a network over all batches, in evaluation mode, and keep what is to be looked at.

    The network is left as it was: its mode, its hooks, its gradients; torch's random state too.

    Parameters
    ----------
    model : nn.Module
        Gives logits (examples, classes); any device.
    loader : iterable of (inputs, labels)
        Gone through once. Inputs: a tensor or array, examples first; labels: integers (examples,).
    points : int
        Size of the random sample.
    best : int
        Examples kept at each end of a class.
    seed : int
        Of the sample, and of torch while the network runs.
    layers : iterable of str or None
        Names of modules whose outputs are kept; None for every module with parameters. A layer's
        output is taken after the activation, normalisation, dropout and pooling modules right
        behind it.
    forward : callable or None
        Computes the logits from the model and a batch's inputs; by default ``model(inputs)``.

    Raises
    ------
    ConfigError
        A layer that is not there, or whose output cannot be told apart by examples.
    DataError
        No batch, no labels, labels out of range, NaN (the layer is named), outputs of another
        shape, a batch that the network does not take.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise ConfigError("the network has not seen data: its sizes are open. Run one batch first.")
    wanted = None if layers is None else _check_names(model, layers)
    recorder = Recorder(wanted, RandomSample(points, seed), Extremes(best))
    run = Runner(model, forward)
    with evaluating(model, seed=seed), Watch(model, wanted) as watch:
        for inputs, labels in checked_batches(loader):
            watch.clear()
            recorder.add(inputs, labels, run(inputs), watch.calls)
    return recorder.finish()


def _check_names(model: nn.Module, layers: Iterable[str]) -> set[str]:
    wanted = [layers] if isinstance(layers, str) else list(layers)
    there = [name for name, _ in model.named_modules() if name]
    for name in wanted:
        if name not in there:
            raise ConfigError(f"layer '{name}': the network has {_few(there)}.")
    if not wanted:
        raise ConfigError("layers is empty, expected names of modules, or None for all.")
    return set(wanted)


def _few(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
