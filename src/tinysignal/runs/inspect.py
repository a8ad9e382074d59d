"""Look inside the network of a training run, on examples that it has not learnt from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from tinysignal.datasets import Dataset, load_dataset
from tinysignal.datasets.dataset import Examples
from tinysignal.errors import ConfigError, DataError, ModelError
from tinysignal.inspect.inspection import Progress, inspect
from tinysignal.inspect.result import Inspection
from tinysignal.model import read_spec
from tinysignal.runs.load import load_run
from tinysignal.spec import ClassifierSpec, DenoiserSpec
from tinysignal.train.classification.config import ClassifierConfig, read_classifier_config
from tinysignal.train.folder import CONFIG, MODEL

_AT_ONCE = 500  # examples


def inspect_run(
    run: Path,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    points: int = 2000,
    methods: Sequence[str] = ("PCA", "t-SNE"),
    perplexity: float = 30.0,
    seed: int = 0,
    layers: Iterable[str] | None = None,
    best: int = 10,
    jobs: int | None = None,
    on_progress: Progress | None = None,
) -> Inspection:
    """Look inside a run's network: see `tinysignal.inspect.inspect`.

    Parameters
    ----------
    run : Path
        A folder made by ``tinysignal train classifier`` or ``tinysignal compress``.
    data : str or None
        What to look at it with, see `tinysignal.datasets.load_dataset`; None for the data set that
        it was trained on. Its test side is taken; where there is none, its validation side.
    data_dir : Path or None
        Where the files of known data sets are.
    points, methods, perplexity, seed, layers, best, jobs, on_progress
        See `tinysignal.inspect.inspect`.

    Raises
    ------
    ModelError
        Not a classifier's run folder, or one that is damaged.
    DataError
        Data that is missing, or has other classes or examples of another size.
    ConfigError, MissingExtraError
    """
    _check_is_classifier(run)
    net, spec = load_run(run)
    assert isinstance(spec, ClassifierSpec)
    config = _read_config(run)
    # The run's own share and seed: its validation side is then the one it was not trained on.
    dataset = load_dataset(
        data or config.data,
        data_dir=data_dir,
        valid_share=config.valid_share,
        seed=config.seed,
        as_input=spec.input,
    )
    _check_fits(dataset, spec)
    side, examples = dataset.held_out()
    found = inspect(
        net,
        _batches(examples),
        classes=spec.classes,
        points=points,
        methods=methods,
        perplexity=perplexity,
        seed=seed,
        layers=layers,
        best=best,
        jobs=jobs,
        on_progress=on_progress,
    )
    notes = found.notes
    if side == "valid":
        notes = ("There is no test side; the network's weights were chosen by these.", *notes)
    return replace(found, title=spec.name, data=dataset.name, side=side, notes=notes)


def _check_is_classifier(run: Path) -> None:
    model = run / MODEL
    if model.is_file() and isinstance(read_spec(model), DenoiserSpec):
        raise ModelError(
            f"{run}: a denoiser's run, but inspect looks at classifiers. "
            "Train one with 'tinysignal train classifier'."
        )


def _read_config(run: Path) -> ClassifierConfig:
    try:
        return read_classifier_config(run / CONFIG, {})
    except ConfigError as error:
        raise ModelError(str(error)) from None


def _check_fits(dataset: Dataset, spec: ClassifierSpec) -> None:
    if dataset.classes != spec.classes:
        raise DataError(
            f"{dataset.name}: classes {_few(dataset.classes)}, but {spec.name} tells apart "
            f"{_few(spec.classes)}. Take the data set that it was trained on."
        )
    if dataset.input.shape != spec.input.shape:
        found, expected = dataset.input.shape, spec.input.shape
        raise DataError(
            f"{dataset.name}: examples of {found[0]} x {found[1]} values, but {spec.name} takes "
            f"{expected[0]} x {expected[1]}."
        )


def _few(classes: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(classes[:most]) + (", ..." if len(classes) > most else "")


def _batches(examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(examples), _AT_ONCE):
        part = Examples(
            examples.values[start : start + _AT_ONCE], examples.labels[start : start + _AT_ONCE]
        )
        yield torch.from_numpy(part.as_float()), torch.from_numpy(part.labels)
