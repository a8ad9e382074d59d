"""Inspection of any classifier: one pass over the data, then maps of every layer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from math import isfinite
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect.capture import Recording, record_outputs
from tinysignal.inspect.hooks import is_layer
from tinysignal.inspect.maps import (
    FEWEST_POINTS,
    Options,
    components,
    knn_accuracy,
    make_maps,
    nearest,
    parse_methods,
)
from tinysignal.inspect.result import Inspection, LayerView
from tinysignal.inspect.sampling import MOST_VALUES, grey_images, project
from tinysignal.inspect.weights import table_of_layers
from tinysignal.nets.introspection import Forward

MOST_POINTS = 10_000  # bounds the memory of pairwise distances
LEAST_PERPLEXITY = 2.0

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Space:
    """Inputs, or outputs of a layer, for the points on the maps."""

    name: str
    title: str
    values: int
    rows: NDArray[np.float32]  # (points, at most 4096)


def inspect(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    classes: Sequence[str] | None = None,
    points: int = 2000,
    methods: Sequence[str] = ("PCA", "t-SNE"),
    perplexity: float = 30.0,
    seed: int = 0,
    layers: Iterable[str] | None = None,
    forward: Forward | None = None,
    best: int = 10,
    image_shape: tuple[int, int] | None = None,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> Inspection:
    """Inspect a classifier: maps of its layers, spectra of its weights, best and worst examples.

    It uses hooks on any module, which are removed at the end. Results depend on the arguments only
    and are bit-identical on one machine for any number of jobs.

    Parameters
    ----------
    model : nn.Module
        Network that returns logits, log-probabilities or probabilities (examples, classes), on any
        device.
    loader : iterable
        Batches, such as a ``DataLoader``, read once: (inputs, labels); longer tuples that begin
        with the inputs of the network, followed by labels; or dicts, passed by name, with
        ``labels``, ``label``, ``targets``, ``target`` or ``y``. Examples are on the first axis,
        labels are integers (examples,). Of several inputs, the first of floating-point numbers is
        shown.
    classes : sequence of str or None
        Class names in the order of the outputs; None for ``0``, ``1``, ...
    points : int
        Number of randomly drawn examples on the maps, 25 to 10,000.
    methods : sequence of str
        Map methods: ``PCA``, ``t-SNE``, ``UMAP`` (needs the extra 'umap').
    perplexity : float
        Perplexity of t-SNE, 2 or more; it is reduced to a third of the number of points.
    seed : int
        Random seed of the sample and of the maps.
    layers : iterable of str or None
        Names of the modules to map; None for every module with parameters except normalisations.
        The output of a layer is taken after the activation, normalisation, dropout and pooling
        *modules* that follow it directly; activation functions are not included.
    forward : callable or None
        ``forward(model, inputs)`` gives the logits, for batches other than (inputs, labels)
        ``forward(model, batch)``; None to call the model. Of several outputs, the only one of the
        shape (examples, classes) is taken.
    best : int
        Number of best, and of worst, examples per class.
    image_shape : (int, int) or None
        Rows and columns of the pictures of flattened examples.
    jobs : int or None
        Number of threads that make maps; None for one per processor.
    on_progress : callable or None
        ``on_progress(done, steps, title)`` is called in the caller's thread: first with
        (0, 1, "outputs") before the pass over the data, then after each step.

    Returns
    -------
    Inspection
        ``title`` is the class of the model; ``data`` and ``split`` are empty.

    Raises
    ------
    ConfigError
        An option is out of its bounds, or a layer is unknown.
    DataError
        The data have no labels or too few examples or classes, or an output holds NaN.
    MissingExtraError
        scikit-learn, openTSNE or umap-learn is not installed.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.inspect import inspect
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> batches = [(torch.randn(60, 4), torch.arange(60) % 3)]
    >>> found = inspect(net, batches, points=50, methods=["PCA"])
    >>> [layer.title for layer in found.layers]
    ['input', 'hidden 1', 'output']
    """
    start = time.perf_counter()
    chosen = parse_methods(methods)
    _check_numbers(points=points, perplexity=perplexity, seed=seed, best=best, jobs=jobs)
    report = on_progress or (lambda _done, _steps, _what: None)
    report(0, 1, "outputs")
    recording = record_outputs(
        model, loader, points=points, best=best, seed=seed, layers=layers, forward=forward
    )
    names = _class_names(classes, recording.probabilities.shape[1])
    _check_sample(recording)
    _check_image_shape(recording, image_shape)
    most = (len(recording.sample) - 1) / 3  # t-SNE uses 3 * perplexity neighbours
    options = Options(chosen, min(float(perplexity), most), seed, Event())
    labels = recording.labels[recording.sample]
    table = partial(table_of_layers, model, recording.seen)
    views = [(s.title, partial(_view, s, labels, options)) for s in _spaces(model, recording)]
    rows, *found = _run_all([("spectra", table), *views], options.stop, jobs, report)
    return Inspection(
        title=type(model).__name__,
        data="",
        split="",
        seed=seed,
        seconds=time.perf_counter() - start,
        classes=names,
        examples=recording.examples,
        accuracy=recording.correct / recording.examples,
        images=grey_images(recording.inputs, image_shape),
        labels=recording.labels,
        predicted=recording.probabilities.argmax(axis=1).astype(np.int64),
        probabilities=recording.probabilities,
        positions=recording.positions,
        sample=recording.sample,
        layers=tuple(found),
        table=rows,
        rankings=recording.rankings,
        notes=_notes(recording, points, perplexity, options),
    )


def _check_numbers(
    *, points: int, perplexity: float, seed: int, best: int, jobs: int | None
) -> None:
    if not FEWEST_POINTS <= points <= MOST_POINTS:
        raise ConfigError(f"points is {points}, expected {FEWEST_POINTS} to {MOST_POINTS}.")
    if not isfinite(perplexity) or perplexity < LEAST_PERPLEXITY:
        raise ConfigError(f"perplexity is {perplexity}, expected {LEAST_PERPLEXITY:g} or more.")
    if not 0 <= seed < 2**32:
        raise ConfigError(f"seed is {seed}, expected 0 to 4294967295.")
    if best < 1:
        raise ConfigError(f"best is {best}, expected 1 or more examples per class.")
    if jobs is not None and jobs < 1:
        raise ConfigError(f"jobs is {jobs}, expected 1 or more.")


def _class_names(classes: Sequence[str] | None, outputs: int) -> tuple[str, ...]:
    if classes is None:
        return tuple(map(str, range(outputs)))
    if len(classes) != outputs:
        raise ConfigError(
            f"{len(classes)} class names, expected {outputs}, the number of outputs of the network."
        )
    return tuple(map(str, classes))


def _check_sample(recording: Recording) -> None:
    labels = recording.labels[recording.sample]
    if len(labels) < FEWEST_POINTS:
        raise DataError(
            f"{len(labels)} examples, expected {FEWEST_POINTS} or more for measures of "
            "neighbourhoods."
        )
    found = len(np.unique(labels))
    if not 2 <= found < len(labels):
        raise DataError(
            f"{found} class{'es' if found > 1 else ''} in {len(labels)} examples on the maps, "
            "expected 2 or more, and fewer than examples."
        )


def _check_image_shape(recording: Recording, image_shape: tuple[int, int] | None) -> None:
    values = int(np.prod(recording.inputs.shape[1:]))
    if image_shape is None:
        return
    if min(image_shape) < 1 or image_shape[0] * image_shape[1] != values:
        raise ConfigError(
            f"image_shape is {image_shape[0]} x {image_shape[1]}, expected a shape of {values} "
            "values, as an example has."
        )


def _spaces(model: nn.Module, recording: Recording) -> list[_Space]:
    flat = recording.inputs[recording.sample].reshape(len(recording.sample), -1)
    spaces = [_Space("input", "input", flat.shape[1], project(flat))]
    titles = _titles(model, list(recording.outputs))
    for name, rows in recording.outputs.items():
        shown_name = name or type(model).__name__
        spaces.append(_Space(shown_name, titles[name], recording.values[name], rows))
    return spaces


def _titles(model: nn.Module, names: list[str]) -> dict[str, str]:
    """Titles ``hidden 1`` ... ``output`` for networks of Linear layers, else type and name."""
    modules = dict(model.named_modules())
    layers = [name for name, module in modules.items() if is_layer(module)]
    plain = all(isinstance(modules[name], nn.Linear) for name in layers)
    titles = {}
    for name in names:
        kind = type(modules[name]).__name__.removeprefix("Parametrized")
        titles[name] = f"{kind} {name}".strip()
        if plain and name in layers:
            last = name == layers[-1]
            titles[name] = "output" if last else f"hidden {layers.index(name) + 1}"
    return titles


def _view(space: _Space, labels: NDArray[np.int64], options: Options) -> LayerView:
    rows = space.rows.astype(np.float64)
    found, order = components(rows), nearest(rows)
    note = ""
    if space.values > MOST_VALUES:
        note = f"random projection of {space.values} values to {MOST_VALUES}"
    if not found.variances.any():
        note = "identical for all examples"
    return LayerView(
        name=space.name,
        title=space.title,
        values=space.values,
        note=note,
        knn_accuracy=knn_accuracy(order, labels),
        effective_dimensions=found.effective_dimensions,
        maps=make_maps(found, order, labels, options),
    )


def _run_all(
    work: list[tuple[str, Callable[[], Any]]], stop: Event, jobs: int | None, report: Progress
) -> list[Any]:
    """Results in the order of the tasks, computed in threads, which need no pickling.

    The slow parts release Python's lock: t-SNE, matrix products and decompositions, sorting.
    """
    # threadpoolctl comes with scikit-learn and has no types.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # noqa: PLC0415

    # One thread per matrix product fixes the order of its sums for any number of jobs.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(jobs or _processors()) as pool:
        futures: dict[Future[Any], str] = {pool.submit(do): what for what, do in work}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                report(done, len(work), futures[future])
            return [future.result() for future in futures]
        finally:  # after an error or an interrupt, pending tasks are cancelled
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # processors of this process; not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _notes(
    recording: Recording, points: int, perplexity: float, options: Options
) -> tuple[str, ...]:
    notes = []
    shown = len(recording.sample)
    if shown < points:
        notes.append(f"The maps show all {shown} examples, fewer than the {points} requested.")
    if "t-SNE" in options.methods and options.perplexity < perplexity:
        notes.append(
            f"Perplexity is {options.perplexity:.3g} instead of {perplexity:g}, because there are "
            f"only {shown} points."
        )
    for name, why in recording.left_out.items():
        notes.append(f"Layer '{name}' is left out: {why}.")
    return tuple(notes)
