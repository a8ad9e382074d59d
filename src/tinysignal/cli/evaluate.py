"""``tinysignal evaluate``: scores of a model on recordings whose clean side is known."""

from __future__ import annotations

import csv
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

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
from tinysignal.model_file import bundled_models
from tinysignal.spec import DenoiserSpec


def evaluate(
    model: Annotated[
        str, typer.Argument(help="A model.onnx, a run folder that holds one, or a bundled name.")
    ],
    *,
    noisy: Annotated[
        Path | None,
        typer.Option(exists=True, file_okay=False, help="Folder of noisy recordings."),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder of their clean sides, under the same names."
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Instead: a CSV file with the columns noisy, clean."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Such as snr,si_sdr,pesq_wb; all that are installed by default."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    save_dir: Annotated[
        Path | None, typer.Option("--save-dir", "-o", help="Keep the denoised files here.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Write a row a file to this CSV file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, no table.")] = False,
) -> None:
    """Score a model on noisy recordings whose clean side is known.

    Example: tinysignal evaluate default --noisy noisy/ --clean clean/ --json

    SNR, SI-SDR and segmental SNR at the recordings' own rate; PESQ, STOI and DNSMOS (the 'eval'
    extra) at 16 kHz. Exit status: 0 all evaluated, 1 some or all failed, 2 wrong usage.
    """
    names = [name.strip() for name in metrics.split(",")] if metrics is not None else None
    path = _model_path(model)
    spec = Denoiser.load(path).spec
    listed, unmatched = _list_pairs(noisy, clean, pairs)
    if names is None:
        _tell_missing()
    with _progress() as progress:
        task = progress.add_task(f"evaluating {spec.name}", total=len(listed))
        evaluation = evaluate_pairs(
            ModelProcess(path),
            listed,
            metrics=names,
            jobs=jobs,
            failures=unmatched,
            save_dir=save_dir,
            on_progress=lambda done: progress.update(task, completed=done),
        )
    if csv_file is not None:
        _write_csv(csv_file, evaluation)
    if as_json:
        print(_to_json(path, spec, evaluation))
    else:
        _print_tables(spec, evaluation)
    _tell_failures(evaluation.failures)
    if evaluation.failures:
        raise typer.Exit(1)


def _model_path(model: str) -> str:
    """The file inside a run folder; a bundled name, though a folder be called so, as it is."""
    is_run = model not in bundled_models() and Path(model).is_dir()
    return str(Path(model) / "model.onnx") if is_run else model


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


def _write_csv(path: Path, evaluation: Evaluation) -> None:
    rows = evaluation.csv_rows()
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}).") from None


def _print_tables(spec: DenoiserSpec, evaluation: Evaluation) -> None:
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
