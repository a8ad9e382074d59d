"""Sweep over ranks: score against rank, parameters and time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from tinysignal.budget import Budget
from tinysignal.compress.profile import Profile, profile
from tinysignal.compress.search import plan
from tinysignal.datasets.dataset import SPLITS
from tinysignal.errors import ConfigError
from tinysignal.files import atomic, make_folder, write_csv, write_json
from tinysignal.runs.compress import CompressOptions, compress_network, load_teacher, tune
from tinysignal.runs.load import load_run, open_run
from tinysignal.runs.report import (
    AFTER,
    BATCHES,
    BEFORE,
    INT8,
    RUNTIMES,
    CompressedNetwork,
    finish,
    ignore_message,
    write_compressed,
)
from tinysignal.train.folder import MODEL, check_free, staged
from tinysignal.train.task import TrainedRun

PICTURE, TABLE, NUMBERS = "sweep.png", "sweep.csv", "sweep.json"
ORIGINAL, SVD = "original", "svd"


def sweep_run(
    run: Path,
    output: Path,
    ranks: Sequence[int],
    options: CompressOptions,
    *,
    test: bool = False,
    data: str | None = None,
    data_dir: Path | None = None,
    quiet: bool = False,
    on_message: Callable[[str], None] = ignore_message,
) -> dict[str, Any]:
    """Compress the network of a run at several ranks, by method ``svd`` and another method.

    The folder holds ``sweep.png``, ``sweep.csv``, ``sweep.json`` and a run folder ``rank-N`` for
    every rank. It is itself the run folder of the best rank: the smallest one that keeps the score
    of the original within `TrainedRun.tolerance`, else the largest.

    Parameters
    ----------
    run, output : Path
        Run folder, and folder of the results.
    ranks : sequence of int
        Ranks of all layers.
    options : CompressOptions
        Options without budget and plan.
    test : bool
        Whether to score on the test split as well; these scores decide nothing.
    data, data_dir, quiet, on_message
        See `tinysignal.runs.compress_run`.

    Returns
    -------
    dict
        Contents of ``sweep.json``.

    Raises
    ------
    ConfigError
        The folder holds a run already, or a rank is above the full rank of every layer.
    ModelError, DataError, AudioFileError, FileError, MissingExtraError
        See `tinysignal.runs.compress_run`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.runs import CompressOptions, sweep_run
    >>> found = sweep_run(Path("run"), Path("sweep"), [10, 20], CompressOptions())  # doctest: +SKIP
    >>> found["best_rank"]  # doctest: +SKIP
    20
    """
    ranks = sorted(set(ranks))
    if options.budget is not None or options.plan is not None:
        raise ConfigError("a budget or a plan is given, expected none of them in a sweep.")
    if not ranks:
        raise ConfigError("0 ranks, expected 1 or more, such as 10,20,50.")
    check_free(output, *(_folder(rank) for rank in ranks))
    trained = open_run(
        run, data=data, data_dir=data_dir, seed=options.seed, calibration=options.calibration
    )
    splits = [trained.split, "test"] if test else [trained.split]
    rows = [_row(trained, ORIGINAL, None, trained.net, splits)]
    teacher = load_teacher(trained, options.teacher)
    profiled = profile(trained.net, trained.batches)
    for rank in ranks:  # raises for an impossible rank before the work
        plan(profiled, rank=rank)
    notes: list[str] = []
    with staged(output) as folder:
        for rank in ranks:
            on_message(f"rank {rank}")
            own = replace(options, budget=Budget(rank=rank))
            place, name = folder / _folder(rank), f"{output.resolve().name}-{_folder(rank)}"
            make_folder(place)
            compressed = compress_network(trained, own, profiled=profiled, on_message=on_message)
            if own.tune is None:
                write_compressed(trained, compressed, place, name=name)
            else:
                tune(
                    trained,
                    compressed,
                    teacher,
                    place,
                    own.tune,
                    name=name,
                    quiet=quiet,
                    on_message=on_message,
                )
            report = finish(trained, compressed, place, int8=own.int8, on_message=on_message)
            nets = _nets(trained, own, compressed, profiled, place)
            rows[0] |= _costs(report, BEFORE)
            notes += [f"rank {rank}: {note}" for note in report["notes"]]
            rows += [
                _row(trained, method, rank, net, splits) | _costs(report, name_in_report)
                for method, (net, name_in_report) in nets.items()
            ]
        best = _best(trained, rows)
        for item in sorted((folder / _folder(best)).iterdir()):
            shutil.copy2(item, folder / item.name)
        found = {
            "run": str(run),
            "best_rank": best,
            "metric": asdict(trained.metric),
            "data": trained.data_facts,
            "points": rows,
            "notes": notes,
        }
        _write(folder, trained, found)
    return found


def _folder(rank: int) -> str:
    return f"rank-{rank}"


def _nets(
    trained: TrainedRun,
    own: CompressOptions,
    compressed: CompressedNetwork,
    profiled: Profile,
    place: Path,
) -> dict[str, tuple[nn.Module | Path, str]]:
    """Networks of one rank by their methods, with the report's key of their sizes and times.

    Networks of one rank have the same shapes and therefore the same costs, except for int8.
    """
    nets: dict[str, tuple[nn.Module | Path, str]] = {}
    if own.method != SVD:
        nets[SVD] = (
            compress_network(trained, replace(own, method=SVD, refine=0), profiled=profiled).net,
            AFTER,
        )
    nets[own.method] = compressed.net, AFTER
    if own.tune is not None:
        nets[f"{own.method}, retrained"] = load_run(place)[0], AFTER
    if own.int8:
        nets[f"{_last(nets)}, int8"] = place / MODEL, INT8
    return nets


def _last(names: Iterable[str]) -> str:
    return list(names)[-1]


def _row(
    trained: TrainedRun, method: str, rank: int | None, model: nn.Module | Path, splits: list[str]
) -> dict[str, Any]:
    scores = {split: trained.score(model, split=split) for split in splits}
    return {"method": method, "rank": rank, **scores}


def _costs(report: dict[str, Any], name: str) -> dict[str, Any]:
    """Sizes and times of one model of the report."""
    sizes = {key: value for key, value in report[name].items() if isinstance(value, int)}
    times = report["latency"]
    latency = {
        f"{runtime}_{batch}_ms": times[runtime][str(batch)][name]["median_ms"]
        for runtime in RUNTIMES
        for batch in BATCHES
        if name in times[runtime][str(batch)]
    }
    return {**sizes, **latency}


def _best(trained: TrainedRun, rows: list[dict[str, Any]]) -> int:
    """Smallest rank whose final network keeps the score of the original, else the largest."""
    key, split = trained.metric.key, trained.split
    last: dict[Any, float] = {
        row["rank"]: row[split][key] for row in rows
    }  # the last row of a rank is that of its final network
    least = last.pop(None) - trained.tolerance
    good = [rank for rank, score in last.items() if score >= least]
    return int(min(good, default=max(last)))


def _write(folder: Path, trained: TrainedRun, found: dict[str, Any]) -> None:
    write_json(folder / NUMBERS, found)
    rows = [
        {
            name if not split else f"{split}_{name}": value
            for split, values in (("", row), *((s, row[s]) for s in SPLITS if s in row))
            for name, value in values.items()
            if not isinstance(value, dict)
        }
        for row in found["points"]
    ]
    write_csv(folder / TABLE, rows)
    _plot(folder / PICTURE, trained, found["points"])


def _plot(path: Path, trained: TrainedRun, rows: list[dict[str, Any]]) -> None:
    """Plot the score against rank, parameters and time, a line for each method and split."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - slow to import
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415

    figure = Figure(figsize=(13, 4.5), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    key = trained.metric.key
    factor, unit = (100, "%") if key == "accuracy" else (1, "dB")
    time_key = f"onnxruntime_{BATCHES[0]}_ms"
    places = {
        "rank": "rank",
        "parameters": "parameters",
        time_key: f"ms for one {trained.counted[:-1]}, ONNX Runtime, one thread",
    }
    methods = list(dict.fromkeys(row["method"] for row in rows if row["rank"]))
    splits = [split for split in SPLITS if split in rows[0]]
    for panel, (place, label) in zip(axes, places.items(), strict=True):
        for split in splits:
            shown = {"color": "black", "linestyle": "--" if split == "test" else ":"}
            panel.axhline(factor * rows[0][split][key], label=f"original, {split}", **shown)
            for number, method in enumerate(methods):
                points = [(r[place], factor * r[split][key]) for r in rows if r["method"] == method]
                style = {"color": f"C{number}", "linestyle": "--" if split == "test" else "-"}
                panel.plot(
                    *zip(*points, strict=True), marker="o", label=f"{method}, {split}", **style
                )
        panel.set(xscale="log", xlabel=label)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.grid(alpha=0.3)
    axes[0].set_ylabel(f"{trained.metric.label}, {unit}")
    axes[-1].legend(fontsize="small")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
