"""One network at several ranks: how accuracy falls with rank, parameters and time."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import nn

from tinysignal.budget import Budget
from tinysignal.compress.profile import Profile, profile
from tinysignal.compress.search import plan
from tinysignal.datasets.dataset import SPLITS
from tinysignal.errors import ConfigError
from tinysignal.files import atomic, make_folder, write_json
from tinysignal.runs.compress import CompressOptions, cut, load_teacher, tune
from tinysignal.runs.load import load_run, open_run
from tinysignal.runs.report import (
    AFTER,
    BATCHES,
    BEFORE,
    INT8,
    RUNTIMES,
    Cut,
    Facts,
    Tell,
    finish,
    silent,
    write_cut,
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
    tell: Tell = silent,
) -> dict[str, Any]:
    """Compress the network of a run at several ranks, by the plain method and another.

    The folder holds ``sweep.png``, ``sweep.csv``, ``sweep.json``, a run folder ``rank-N`` for every
    rank, and is itself the run folder of the best trade: of the smallest rank that is as good as
    the original (see `TrainedRun.tolerance`), else of the largest.

    Parameters
    ----------
    run, output : Path
    ranks : sequence of int
    options : CompressOptions
        Without budget and plan.
    test : bool
        Score on the test split as well. Nothing is chosen by it.
    data, data_dir, quiet, tell
        See `tinysignal.runs.compress.compress_run`.

    Returns
    -------
    dict
        The contents of ``sweep.json``.

    Raises
    ------
    ConfigError
        The folder holds a run already; ranks that cannot be.
    ModelError, DataError, AudioFileError, MissingExtraError
    """
    ranks = sorted(set(ranks))
    if options.budget is not None or options.plan is not None:
        raise ConfigError("a sweep goes over ranks: give no other budget, nor a plan.")
    if not ranks:
        raise ConfigError("a sweep needs ranks, such as 10,20,50.")
    check_free(output, *(_folder(rank) for rank in ranks))
    trained = open_run(run, data=data, data_dir=data_dir, seed=options.seed)
    splits = [trained.split, "test"] if test else [trained.split]
    rows = [_row(trained, ORIGINAL, None, trained.net, splits)]
    teacher = load_teacher(trained, options.teacher)
    profiled = profile(trained.net, trained.batches)
    for rank in ranks:  # one that cannot be is known before the work
        plan(profiled, rank=rank)
    notes: list[str] = []
    with staged(output) as folder:
        for rank in ranks:
            tell(f"rank {rank}")
            own = replace(options, budget=Budget(rank=rank))
            place, name = folder / _folder(rank), f"{output.resolve().name}-{_folder(rank)}"
            make_folder(place)
            made = cut(trained, own, profiled=profiled, tell=tell)
            if own.tune is None:
                write_cut(trained, made, place, name=name)
            else:
                tune(trained, made, teacher, place, own.tune, name=name, quiet=quiet, tell=tell)
            report = finish(trained, made, place, int8=own.int8, tell=tell)
            nets = _nets(trained, own, made, profiled, place)
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
    trained: TrainedRun, own: CompressOptions, made: Cut, profiled: Profile, place: Path
) -> dict[str, tuple[nn.Module | Path, str]]:
    """The networks of one rank by their methods, and where their costs stand in the report.

    Those of one rank have the same shapes, and so the same costs, but for int8.
    """
    nets: dict[str, tuple[nn.Module | Path, str]] = {}
    if own.method != SVD:
        nets[SVD] = cut(trained, replace(own, method=SVD), profiled=profiled).net, AFTER
    nets[own.method] = made.net, AFTER
    if own.tune is not None:
        nets[f"{own.method}, retrained"] = load_run(place)[0], AFTER
    if own.int8:
        nets[f"{_last(nets)}, int8"] = place / MODEL, INT8
    return nets


def _last(names: Iterable[str]) -> str:
    return list(names)[-1]


def _row(
    trained: TrainedRun, method: str, rank: int | None, model: nn.Module | Path, splits: list[str]
) -> Facts:
    scores = {split: trained.score(model, split=split) for split in splits}
    return {"method": method, "rank": rank, **scores}


def _costs(report: Facts, name: str) -> Facts:
    """Sizes and times of one of the report's models."""
    sizes = {key: value for key, value in report[name].items() if isinstance(value, int)}
    times = report["latency"]
    latency = {
        f"{runtime}_{batch}_ms": times[runtime][str(batch)][name]["median_ms"]
        for runtime in RUNTIMES
        for batch in BATCHES
        if name in times[runtime][str(batch)]
    }
    return {**sizes, **latency}


def _best(trained: TrainedRun, rows: list[Facts]) -> int:
    """The smallest rank whose last network is as good as the original, else the largest."""
    key, split = trained.metric.key, trained.split
    last: dict[Any, float] = {
        row["rank"]: row[split][key] for row in rows
    }  # of a rank, the last row is what is used
    least = last.pop(None) - trained.tolerance
    good = [rank for rank, score in last.items() if score >= least]
    return int(min(good, default=max(last)))


def _write(folder: Path, trained: TrainedRun, found: Facts) -> None:
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
    with atomic(folder / TABLE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list({name: None for row in rows for name in row}))
        writer.writeheader()
        writer.writerows(rows)
    _plot(folder / PICTURE, trained, found["points"])


def _plot(path: Path, trained: TrainedRun, rows: list[Facts]) -> None:
    """The score against rank, parameters and time, a line for each method and split."""
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
