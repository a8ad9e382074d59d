"""Inspection of the classifier of a run on held-out examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from tinysignal.errors import ModelError
from tinysignal.inspect.inspection import Progress, inspect
from tinysignal.inspect.maps import FEWEST_POINTS
from tinysignal.inspect.result import Inspection
from tinysignal.model import read_spec
from tinysignal.runs.load import load_run, read_run_config
from tinysignal.train.folder import MODEL
from tinysignal.train.task import HeldOut
from tinysignal.train.tasks import TASKS


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
    """Inspect the classifier of a run folder, see `tinysignal.inspect.inspect`.

    Parameters
    ----------
    run : Path
        Folder made by ``tinysignal train classifier`` or ``tinysignal compress``.
    data : str or None
        Data set, see `tinysignal.datasets.load_dataset`; None for that of the run. Its test split
        is used; its validation split if there is no test split; all splits if that has fewer than
        25 examples or one class. A note says so.
    data_dir : Path or None
        Folder to search for data that is not in the current folder.
    points, methods, perplexity, seed, layers, best, jobs, on_progress
        See `tinysignal.inspect.inspect`.

    Returns
    -------
    Inspection

    Raises
    ------
    ModelError
        ``run`` is not a run folder of a classifier, or is damaged.
    DataError
        The data are missing, or have other classes or examples of another size.
    ConfigError
        An option is out of its bounds, or a layer is unknown.
    MissingExtraError
        scikit-learn, openTSNE, umap-learn or a package to read the data is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.runs import inspect_run
    >>> found = inspect_run(Path("digits-run"), methods=["PCA"])  # doctest: +SKIP
    >>> found.accuracy  # doctest: +SKIP
    0.9777777777777777
    """
    if (run / MODEL).is_file():  # fails before weights and data are read
        _held_out(run, read_spec(run / MODEL).task)
    net, spec = load_run(run)
    examples = _held_out(run, spec.task)(
        spec, read_run_config(run, spec), data=data, data_dir=data_dir, fewest=FEWEST_POINTS
    )
    found = inspect(
        net,
        examples.batches,
        classes=examples.classes,
        points=points,
        methods=methods,
        perplexity=perplexity,
        seed=seed,
        layers=layers,
        best=best,
        jobs=jobs,
        on_progress=on_progress,
    )
    notes = (*examples.notes, *found.notes)
    return replace(found, title=spec.name, data=examples.data, split=examples.split, notes=notes)


def _held_out(run: Path, task: str) -> Callable[..., HeldOut]:
    held_out = TASKS[task].held_out
    if held_out is None:
        raise ModelError(
            f"{run}: a run of task '{task}', expected a classifier. Give a run of "
            "'tinysignal train classifier'."
        )
    return held_out
