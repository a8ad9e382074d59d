"""Run a network over data once and keep what is to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from tinysignal.errors import ConfigError
from tinysignal.inspect.choose import Extremes, RandomSample
from tinysignal.inspect.forward import Forward, Runner, checked_batches, left_as_it_was
from tinysignal.inspect.recorder import Recorder, Recording
from tinysignal.inspect.watch import Watch


def record_outputs(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    points: int = 2000,
    best: int = 10,
    seed: int = 0,
    layers: Iterable[str] | None = None,
    forward: Forward | None = None,
    on_batch: Callable[[int], None] | None = None,
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
    on_batch : callable or None
        Told after every batch how many examples are done.

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
    with left_as_it_was(model, seed), Watch(model, wanted) as watch:
        for inputs, labels in checked_batches(loader):
            watch.clear()
            recorder.add(inputs, labels, run(inputs), watch.calls)
            if on_batch is not None:
                on_batch(recorder.sample.seen)
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
