"""``tinysignal evaluate``: how good a model is on data whose answers are known."""

from __future__ import annotations

from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from tinysignal.cli.options import (
    Report,
    chosen,
    file_option,
    folder_option,
    place_option,
    with_options_of,
)
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.cluster import Engine
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.evaluation import (
    Evaluation,
    Failure,
    Interval,
    evaluate_classifier,
    evaluate_denoiser,
)
from tinysignal.evaluation.report import CONFIDENCE
from tinysignal.files import check_writable, json_text, write_csv
from tinysignal.metrics import missing_metrics
from tinysignal.metrics.classification_report import ClassificationReport
from tinysignal.model import model_path, read_spec
from tinysignal.plots import save_mistakes
from tinysignal.remote import Place
from tinysignal.spec import ClassifierSpec, DenoiserSpec

_DENOISERS, _CLASSIFIERS = "Denoisers", "Classifiers"


@with_options_of(Engine)
def evaluate(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A model.onnx, a run folder that holds one, a bundled name.")
    ],
    *,
    noisy: Annotated[
        Any,
        typer.Option(
            parser=folder_option,
            metavar="FOLDER",
            help="Folder of noisy recordings.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    clean: Annotated[
        Any,
        typer.Option(
            parser=folder_option,
            metavar="FOLDER",
            help="Folder of their clean versions, under the same names.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    pairs: Annotated[
        Any,
        typer.Option(
            parser=file_option,
            metavar="FILE.csv",
            help="Instead: a CSV file with the columns noisy, clean.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Such as snr,si_sdr,pesq_wb; all that are installed by default.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Processes.",
            show_default="1; of Ray, one a processor",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    save_dir: Annotated[
        Any,
        typer.Option(
            parser=place_option,
            metavar="FOLDER",
            help="Keep the denoised files here.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist, fashion-mnist, digits, or a folder with one subfolder a class; the data "
            "of its training by default.",
            rich_help_panel=_CLASSIFIERS,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TINYSIGNAL_DATA",
            help="Where data sets are looked for before they are downloaded.",
            rich_help_panel=_CLASSIFIERS,
        ),
    ] = None,
    picture: Annotated[
        Any,
        typer.Option(
            parser=place_option,
            metavar="FILE.png",
            help="Draw the most confident mistakes and the confusion matrix.",
            rich_help_panel=_CLASSIFIERS,
        ),
    ] = None,
    csv_file: Annotated[
        Any,
        typer.Option(
            "--csv",
            parser=place_option,
            metavar="FILE.csv",
            help="Write a row a file or example to this CSV file.",
        ),
    ] = None,
    as_json: Report = False,
    **options: Any,
) -> None:
    """Measure a model on data whose answers are known: a denoiser's or a classifier's.

    Example: tinysignal evaluate default --noisy noisy/ --clean clean/ --json

    Example: tinysignal evaluate run --data mnist --picture mistakes.png

    Denoisers: SNR, SI-SDR and segmental SNR at the recordings' own rate; PESQ, STOI and DNSMOS
    (the 'eval' extra) at 16 kHz. Classifiers: accuracy, scores of every class, confusions and
    calibration on the test split of the data. Exit status: 0 all evaluated, 1 some or all failed,
    2 wrong usage.
    """
    engine = chosen(Engine, options)
    path = str(model_path(model))
    if isinstance(read_spec(path), ClassifierSpec):
        _refuse_options(context, _DENOISERS, f"{model} is a classifier, which takes --data")
        if engine.is_ray:
            raise ConfigError("--engine ray is for denoisers: a classifier answers in one go.")
        _evaluate_classifier(
            path,
            data=data,
            data_dir=data_dir,
            picture=picture,
            csv_file=csv_file,
            as_json=as_json,
        )
    else:
        _refuse_options(context, _CLASSIFIERS, f"{model} is a denoiser, which takes --noisy")
        _evaluate_denoiser(
            path,
            noisy=noisy,
            clean=clean,
            pairs=pairs,
            metrics=metrics,
            jobs=jobs,
            save_dir=save_dir,
            csv_file=csv_file,
            as_json=as_json,
            engine=engine,
        )


def _refuse_options(context: typer.Context, panel: str, because: str) -> None:
    """Refuse options of the other kind of model; what the environment sets is not meant for it."""
    given = []
    for option in context.command.params:
        source = context.get_parameter_source(option.name or "")
        on_command_line = source is not None and source.name == "COMMANDLINE"
        if on_command_line and getattr(option, "rich_help_panel", None) == panel:
            given.append(option.opts[0])
    if given:
        raise ConfigError(f"{', '.join(given)}: not for this model; {because}.")


_WIDEST = 20  # classes of a confusion matrix that is printed
_MARKED = 5  # of the largest confusions, and of the worst mistakes that are printed


def _evaluate_classifier(
    model: str,
    *,
    data: str | None,
    data_dir: Path | None,
    picture: Place | None,
    csv_file: Place | None,
    as_json: bool,
) -> None:
    """Measure a classifier on labelled examples; parameters as in `evaluate`."""
    _check_outputs(picture, csv_file)
    found = evaluate_classifier(model, data=data, data_dir=data_dir)
    if csv_file is not None:
        write_csv(csv_file, found.rows())
    title = f"{found.spec.name} on {found.data}, {found.split}"
    if picture is not None:
        values = found.examples.values
        if found.spec.input.kind == "sound":  # time to the right, frequency upwards
            values = values.transpose(0, 2, 1)[:, ::-1]
        save_mistakes(found.report, values, picture, title=title)
    if as_json:
        print(json_text({"model": model, **found.to_dict()}))
    else:
        _print_classifier_tables(title, found.report)


def _check_outputs(picture: Place | None, csv_file: Place | None) -> None:
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigError(f"--picture {picture}: expected a name that ends in .png.")
    if picture is not None and find_spec("matplotlib") is None:
        raise MissingExtraError("--picture", "plot")
    check_writable(picture, csv_file)


def _print_classifier_tables(title: str, report: ClassificationReport) -> None:
    console = Console()
    low, high = report.accuracy_low, report.accuracy_high
    table = Table(show_header=False, title=escape(title))
    table.add_row("accuracy", f"{report.accuracy:.2%} ({low:.2%} to {high:.2%}: 95 %, Wilson)")
    table.add_row(
        "balanced accuracy", f"{report.balanced_accuracy:.2%} (mean recall of the classes)"
    )
    table.add_row("errors", f"{report.errors} of {report.examples}")
    table.add_row("negative log-likelihood", f"{report.nll:.4f} nats")
    table.add_row("calibration error", f"{report.calibration_error:.2%}")
    console.print(table)
    _print_classes(console, report)
    if report.never_answered:
        missing = ", ".join(on_one_line(name) for name in report.never_answered)
        console.print(escape(f"Never answered: {missing}."), style="bold red", soft_wrap=True)
    marked = report.confusions(_MARKED)
    if len(report.classes) <= _WIDEST:
        _print_confusion(console, report, marked)
    if marked:
        names = report.classes
        pairs = [f"{names[true]} -> {names[guess]} ({count})" for true, guess, count in marked]
        console.print(
            escape(f"Largest confusions, true -> predicted: {', '.join(pairs)}."), soft_wrap=True
        )
    for mistake in report.worst[:_MARKED]:
        name = mistake.name or f"example {mistake.index}"
        verdict = f"{mistake.true} -> {mistake.predicted}, {mistake.probability:.1%} sure"
        console.print(escape(on_one_line(f"Confident mistake: {name}, {verdict}.")), soft_wrap=True)


def _print_classes(console: Console, report: ClassificationReport) -> None:
    table = Table("class", title="classes")
    for name in ("precision", "recall", "F1", "examples"):
        table.add_column(name, justify="right")
    for scores in report.per_class:
        values = (scores.precision, scores.recall, scores.f1)
        shares = ["-" if value is None else f"{value:.2%}" for value in values]
        table.add_row(escape(scores.name), *shares, str(scores.support))
    console.print(table)


def _print_confusion(
    console: Console, report: ClassificationReport, marked: list[tuple[int, int, int]]
) -> None:
    """Rows true, columns predicted; the largest confusions stand out."""
    table = Table("", title="confusion matrix: a row a true class, a column a predicted one")
    for name in report.classes:
        table.add_column(escape(name), justify="right")
    largest = {(true, guess) for true, guess, _ in marked}
    for true, counts in enumerate(report.confusion.tolist()):
        cells = []
        for guess, count in enumerate(counts):
            shown = str(count) if count else "."
            cells.append(f"[bold red]{shown}[/]" if (true, guess) in largest else shown)
        table.add_row(escape(report.classes[true]), *cells)
    console.print(table)


def _evaluate_denoiser(
    model: str,
    *,
    noisy: Place | None,
    clean: Place | None,
    pairs: Place | None,
    metrics: str | None,
    jobs: int | None,
    save_dir: Place | None,
    csv_file: Place | None,
    as_json: bool,
    engine: Engine,
) -> None:
    """Score a denoiser on noisy recordings; parameters as in `evaluate`."""
    if ((noisy is None) or (clean is None)) != (pairs is not None):
        raise ConfigError("expected --noisy DIR and --clean DIR, or --pairs FILE.csv alone.")
    check_writable(csv_file)
    spec = Denoiser.load(model).spec
    if metrics is None:
        _tell_missing()
    with _progress() as progress:
        task = progress.add_task(f"evaluating {spec.name}", total=None)
        evaluation = evaluate_denoiser(
            model,
            noisy=noisy,
            clean=clean,
            pairs=pairs,
            metrics=None if metrics is None else [name.strip() for name in metrics.split(",")],
            jobs=jobs,
            save_dir=save_dir,
            on_progress=lambda done, count: progress.update(task, completed=done, total=count),
            engine=engine,
        )
    if csv_file is not None:
        write_csv(csv_file, evaluation.csv_rows())
    if as_json:
        print(json_text({"model": model, "spec": asdict(spec), **evaluation.to_dict()}))
    else:
        _print_denoiser_tables(spec, evaluation)
    _tell_failures(evaluation.failures)
    if evaluation.failures:
        raise typer.Exit(1)


def _progress() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    hidden = not console.is_terminal
    return Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden
    )


def _tell_missing() -> None:
    missing = ", ".join(metric.name for metric in missing_metrics())
    if missing:
        typer.echo(f"Without {missing}: pip install 'tinysignal[eval]'.", err=True)


def _tell_failures(failures: tuple[Failure, ...]) -> None:
    for failure in failures:
        what = f"{failure.file} ({failure.metric})" if failure.metric else failure.file
        typer.echo(f"{what}: {failure.reason}", err=True)


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
