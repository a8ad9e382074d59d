"""``tinysignal evaluate``: how good a model is on data whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tinysignal.cli.evaluate_classifier import evaluate_classifier
from tinysignal.cli.evaluate_denoiser import evaluate_denoiser
from tinysignal.errors import ConfigError
from tinysignal.model_file import model_path, read_spec
from tinysignal.spec import ClassifierSpec

_DENOISERS, _CLASSIFIERS = "Denoisers", "Classifiers"


def evaluate(
    context: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A model.onnx, a run folder that holds one, or a bundled name.")
    ],
    *,
    noisy: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of noisy recordings.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    clean: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            file_okay=False,
            help="Folder of their clean sides, under the same names.",
            rich_help_panel=_DENOISERS,
        ),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
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
    jobs: Annotated[int, typer.Option(min=1, help="Processes.", rich_help_panel=_DENOISERS)] = 1,
    save_dir: Annotated[
        Path | None,
        typer.Option(
            "--save-dir", "-o", help="Keep the denoised files here.", rich_help_panel=_DENOISERS
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
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Draw the most confident mistakes and the confusion matrix.",
            rich_help_panel=_CLASSIFIERS,
        ),
    ] = None,
    csv_file: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a row a file or example to this CSV file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, no table.")] = False,
) -> None:
    """Measure a model on data whose answers are known: a denoiser's or a classifier's.

    Example: tinysignal evaluate default --noisy noisy/ --clean clean/ --json

    Example: tinysignal evaluate run --data mnist --picture mistakes.png

    Denoisers: SNR, SI-SDR and segmental SNR at the recordings' own rate; PESQ, STOI and DNSMOS
    (the 'eval' extra) at 16 kHz. Classifiers: accuracy, scores of every class, confusions and
    calibration on the test side of the data. Exit status: 0 all evaluated, 1 some or all failed,
    2 wrong usage.
    """
    path = str(model_path(model))
    if isinstance(read_spec(path), ClassifierSpec):
        _refuse_options(context, _DENOISERS, f"{model} is a classifier, which takes --data")
        evaluate_classifier(
            path,
            data=data,
            data_dir=data_dir,
            picture=picture,
            csv_file=csv_file,
            as_json=as_json,
        )
    else:
        _refuse_options(context, _CLASSIFIERS, f"{model} is a denoiser, which takes --noisy")
        evaluate_denoiser(
            path,
            noisy=noisy,
            clean=clean,
            pairs=pairs,
            metrics=metrics,
            jobs=jobs,
            save_dir=save_dir,
            csv_file=csv_file,
            as_json=as_json,
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
