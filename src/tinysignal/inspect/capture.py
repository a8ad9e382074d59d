"""Recording of a network's outputs on a sample of the data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect.batches import Runner, checked_batches
from tinysignal.inspect.hooks import Call, Watch
from tinysignal.inspect.result import Ranking
from tinysignal.inspect.sampling import Extremes, RandomSample, probabilities, project
from tinysignal.nets.checks import check_network
from tinysignal.nets.introspection import Forward, evaluating, shape_text

Array = NDArray[np.float32]


@dataclass
class KeptExample:
    """Recorded example: its input, label, logits and outputs of layers."""

    input: Array
    label: int
    logits: NDArray[np.float64]
    outputs: dict[str, Array] = field(default_factory=dict)  # one row per layer; sample only


@dataclass
class ModuleRecord:
    """Statistics of a module with parameters over all batches."""

    macs: int | None  # for one example
    output_shape: tuple[int, ...]  # of one example
    fired: NDArray[np.bool_] | None  # (units,): above zero for an example; None without a ReLU


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Outputs of a network for a random sample, and the best and worst examples of each class.

    Parameters
    ----------
    examples, correct : int
        Number of all examples, and of correctly classified ones.
    positions : int64 (shown,)
        Positions of the recorded examples in the data, ascending.
    inputs : float32 (shown, ...)
        Their inputs.
    labels : int64 (shown,)
        Their labels.
    probabilities : float32 (shown, classes)
        Their class probabilities.
    sample : int64 (points,)
        Indices of the random sample in the recorded examples.
    outputs : dict of str to float32 (points, values)
        Outputs of each layer for the sample, in the order of computation.
    values : dict of str to int
        Number of output values of each layer for one example, before any projection.
    rankings : tuple of Ranking
        Best and worst examples of each class.
    seen : dict of str to ModuleRecord
        Statistics of the called modules with parameters.
    left_out : dict of str to str
        Layers whose outputs have no axis of examples, with the reason.
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
    seen: dict[str, ModuleRecord]
    left_out: dict[str, str]


@dataclass
class Recorder:
    """Accumulation of a `Recording` over batches.

    Parameters
    ----------
    wanted : set of str or None
        Required layers; None for all layers that have outputs.
    sample : RandomSample
    extremes : Extremes
    """

    wanted: set[str] | None
    sample: RandomSample
    extremes: Extremes
    correct: int = 0
    kept: dict[int, KeptExample] = field(default_factory=dict)  # by position
    values: dict[str, int] = field(default_factory=dict)
    seen: dict[str, ModuleRecord] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)  # reasons by layer

    def add(
        self,
        inputs: Tensor,
        labels: NDArray[np.int64],
        logits: NDArray[np.float64],
        calls: dict[str, list[Call]],
    ) -> None:
        """Add a batch: inputs (examples, ...), logits (examples, classes) and calls of layers.

        Raises
        ------
        DataError
            A label is out of range, or an output holds NaN or infinity.
        """
        start, n = self.sample.seen, len(labels)
        outputs = self._outputs(calls, n)
        _check_finite(outputs, logits, start)
        if labels.min() < 0 or labels.max() >= logits.shape[1]:
            wrong = next(int(v) for v in labels if not 0 <= v < logits.shape[1])
            raise DataError(
                f"label {wrong}, expected 0 to {logits.shape[1] - 1} for a network of "
                f"{logits.shape[1]} outputs."
            )
        self.correct += int((logits.argmax(axis=1) == labels).sum())
        self.sample.add(n)
        self.extremes.add(start, labels, logits)
        self._keep(start, inputs.float().cpu().numpy(), labels, logits, outputs)
        for name, called in calls.items():
            _see(self.seen, name, called, n)

    def _outputs(self, calls: dict[str, list[Call]], n: int) -> dict[str, Tensor]:
        """Outputs (examples, values) of the wanted layers; those of several calls concatenated."""
        found = {}
        for name, called in calls.items():
            parts = [call.value for call in called if call.value is not None]
            if not parts:
                continue
            if any(part.ndim < 1 or len(part) != n for part in parts):
                shape = shape_text(next(p.shape for p in parts if p.ndim < 1 or len(p) != n))
                self.left_out[name] = f"its output {shape} has no first axis of {n} examples"
                continue
            rows = torch.cat([part.reshape(n, -1) for part in parts], dim=1).float()
            width = self.values.setdefault(name, rows.shape[1])
            if width != rows.shape[1]:
                raise DataError(
                    f"layer '{name}' returns {width} values per example, then {rows.shape[1]}, "
                    "expected equal numbers. Give inputs of one size."
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
        # Only the rows of the sample are copied from the device.
        taken = {k: project(v[rows.to(v.device)].cpu().numpy()) for k, v in outputs.items()}
        needed = self.extremes.positions() | set(self.sample.positions.tolist())
        for position in needed:
            if position >= start:
                i = position - start
                self.kept[position] = KeptExample(inputs[i].copy(), int(labels[i]), logits[i])
        for row, position in enumerate(sampled.tolist()):
            self.kept[position].outputs = {k: v[row].copy() for k, v in taken.items()}
        for position in self.kept.keys() - needed:
            del self.kept[position]

    def finish(self) -> Recording:
        """Recording of all batches.

        Raises
        ------
        DataError
            There are no examples, or examples of different sizes.
        ConfigError
            A wanted layer has no outputs.
        """
        if not self.kept:
            raise DataError("the loader has 0 examples, expected batches of (inputs, labels).")
        positions = np.array(sorted(self.kept), np.int64)
        shown = [self.kept[p] for p in positions.tolist()]
        if len({(one.input.shape, one.logits.shape) for one in shown}) > 1:
            raise DataError("the examples have different sizes, expected one size.")
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
            why = self.left_out.get(name, "the network does not call it, or it returns no tensor")
            raise ConfigError(f"layer '{name}': {why}. Choose another one.")
        if not names:
            raise ConfigError(
                "the network calls no module with parameters, expected at least one layer."
            )


def _check_finite(outputs: dict[str, Tensor], logits: NDArray[np.float64], start: int) -> None:
    for name, rows in outputs.items():
        finite = torch.isfinite(rows).all(dim=1)
        if not bool(finite.all()):
            first = start + int((~finite).nonzero()[0])
            raise DataError(
                f"layer '{name}' returns NaN or infinity for example {first}, expected finite "
                "numbers."
            )
    finite_rows = np.isfinite(logits).all(axis=1)
    if not finite_rows.all():
        first = start + int(np.argmin(finite_rows))
        raise DataError(
            f"the network returns NaN or infinity for example {first}, expected finite logits."
        )


def _see(seen: dict[str, ModuleRecord], name: str, calls: list[Call], n: int) -> None:
    """Add a batch to the statistics of a module."""
    macs = [call.macs for call in calls]
    known = [m for m in macs if m is not None]
    fired = [call.fired.cpu().numpy() for call in calls if call.fired is not None]
    first = ModuleRecord(
        macs=sum(known) // n if len(known) == len(macs) else None,
        output_shape=calls[0].shape,
        fired=None,
    )
    entry = seen.setdefault(name, first)
    # A unit of a module with several calls is dead if it is above zero in none of them.
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
    """Run a classifier on all batches in evaluation mode, and record outputs of its layers.

    Mode, hooks and gradients of the network and torch's random state are restored.

    Parameters
    ----------
    model : nn.Module
        Network that returns logits (examples, classes), on any device.
    loader : iterable
        Batches, read once: (inputs, labels); longer tuples that begin with the inputs of the
        network, followed by labels; or dicts, passed by name, with ``labels``, ``label``,
        ``targets``, ``target`` or ``y``. Examples are on the first axis, labels are integers
        (examples,).
    points : int
        Number of examples in the random sample.
    best : int
        Number of best, and of worst, examples per class.
    seed : int
        Random seed of the sample, and of torch while the network runs.
    layers : iterable of str or None
        Names of the modules to record; None for every module with parameters. The output of a layer
        is taken after the activation, normalisation, dropout and pooling modules that follow it
        directly.
    forward : callable or None
        ``forward(model, inputs)`` gives the logits, for batches other than (inputs, labels)
        ``forward(model, batch)``; None to call the model.

    Returns
    -------
    Recording

    Raises
    ------
    ConfigError
        A layer is unknown, or its output has no axis of examples.
    DataError
        There are no batches or labels, labels are out of range, the network does not take a batch,
        or outputs have another shape or hold NaN.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.inspect import record_outputs
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> batches = [(torch.randn(60, 4), torch.arange(60) % 3)]
    >>> {name: rows.shape for name, rows in record_outputs(net, batches, points=50).outputs.items()}
    {'0': (50, 8), '2': (50, 3)}
    """
    check_network(model)
    wanted = None if layers is None else _check_names(model, layers)
    recorder = Recorder(wanted, RandomSample(points, seed), Extremes(best))
    run = Runner(model, forward)
    with evaluating(model, seed=seed), Watch(model, wanted) as watch:
        for one in checked_batches(model, loader, forward):
            watch.clear()
            recorder.add(one.shown, one.labels, run(one), watch.calls)
    return recorder.finish()


def _check_names(model: nn.Module, layers: Iterable[str]) -> set[str]:
    wanted = [layers] if isinstance(layers, str) else list(layers)
    there = [name for name, _ in model.named_modules() if name]
    for name in wanted:
        if name not in there:
            raise ConfigError(f"layer '{name}': no such module, expected one of {_few(there)}.")
    if not wanted:
        raise ConfigError("layers is empty, expected names of modules, or None for all.")
    return set(wanted)


def _few(names: list[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
