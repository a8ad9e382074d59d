"""``tinysignal evaluate`` for denoisers: recordings whose clean side is known."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinysignal.cli.csv_file import write_csv
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError
from tinysignal.evaluation import (
    Evaluation,
    Failure,
    Interval,
    ModelProcess,
    Pair,
    evaluate_pairs,
    match_folders,
    missing_metrics,
    read_manifest,
)
from tinysignal.evaluation.report import CONFIDENCE
from tinysignal.files import check_writable, make_folder
from tinysignal.spec import DenoiserSpec


def evaluate_denoiser(
    model: str,
    *,
    noisy: Path | None,
    clean: Path | None,
    pairs: Path | None,
    metrics: str | None,
    jobs: int,
    save_dir: Path | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Score a denoiser on noisy recordings; parameters as in `tinysignal.cli.evaluate`."""
    names = [name.strip() for name in metrics.split(",")] if metrics is not None else None
    spec = Denoiser.load(model).spec
    check_writable(csv_file)
    listed, unmatched = _list_pairs(noisy, clean, pairs)
    if save_dir is not None:
        make_folder(save_dir)
    if names is None:
        _tell_missing()
    with _progress() as progress:
        task = progress.add_task(f"evaluating {spec.name}", total=len(listed))
        evaluation = evaluate_pairs(
            ModelProcess(model),
            listed,
            metrics=names,
            jobs=jobs,
            failures=unmatched,
            save_dir=save_dir,
            on_progress=lambda done: progress.update(task, completed=done),
        )
    if csv_file is not None:
        write_csv(csv_file, evaluation.csv_rows())
    if as_json:
        print(_to_json(model, spec, evaluation))
    else:
        _print_denoiser_tables(spec, evaluation)
    _tell_failures(evaluation.failures)
    if evaluation.failures:
        raise typer.Exit(1)


def _list_pairs(
    noisy: Path | None, clean: Path | None, manifest: Path | None
) -> tuple[list[Pair], list[Failure]]:
    if manifest is not None and noisy is None and clean is None:
        return read_manifest(manifest), []
    if manifest is None and noisy is not None and clean is not None:
        return match_folders(noisy, clean)
    raise ConfigError("expected --noisy DIR and --clean DIR, or --pairs FILE.csv alone.")


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)


def _tell_missing() -> None:
    missing = ", ".join(metric.name for metric in missing_metrics())
    if missing:
        typer.echo(f"Without {missing}: pip install 'tinysignal[eval]'.", err=True)


def _tell_failures(failures: tuple[Failure, ...]) -> None:
    for failure in failures:
        what = f"{failure.file} ({failure.metric})" if failure.metric else failure.file
        typer.echo(f"{what}: {failure.reason}", err=True)


def _to_json(path: str, spec: DenoiserSpec, evaluation: Evaluation) -> str:
    report = {"model": path, "spec": asdict(spec), **evaluation.to_dict()}
    return json.dumps(report, ensure_ascii=False, indent=2, allow_nan=False)


def _print_denoiser_tables(spec: DenoiserSpec, evaluation: Evaluation) -> None:
    console = Console()
    files, failed = len(evaluation.files), len({f.file for f in evaluation.failures})
    title = f"{spec.name}: {files} files, {failed} with failures"
    table = Table("metric", "noisy", "denoised", "improvement", "files", title=title)
    summary = evaluation.summary()
    for column in evaluation.columns:
        if column.key in summary:
            line = summary[column.key]
            label = f"{column.label}, {column.unit}" if column.unit else column.label
            intervals = (line.noisy, line.denoised, line.improvement)
            table.add_row(label, *map(_plus_minus, intervals), str(line.files))
    if not summary:
        return
    console.print(table)
    console.print(f"± {CONFIDENCE}.", style="dim")
    _print_groups(console, evaluation)


def _print_groups(console: Console, evaluation: Evaluation) -> None:
    groups = evaluation.by_input_snr()
    labels = [group.label for group in groups]
    table = Table("metric", *labels, title="denoised (improvement) by input SNR")
    table.add_row("files", *(str(group.files) for group in groups))
    for column in evaluation.columns:
        cells = []
        for group in groups:
            line = group.summary.get(column.key)
            cells.append(
                f"{line.denoised.mean:.2f} ({line.improvement.mean:+.2f})" if line else "-"
            )
        table.add_row(column.label, *cells)
    console.print(table)


def _plus_minus(interval: Interval) -> str:
    if interval.half_width is None:
        return f"{interval.mean:.3f}"
    return f"{interval.mean:.3f} ± {interval.half_width:.3f}"
