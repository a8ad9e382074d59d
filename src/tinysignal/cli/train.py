"""``tinysignal train``: a sub-command for each task."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tinysignal.cli.data_report import show_data_report
from tinysignal.cli.decoding_bar import DecodingBar
from tinysignal.cli.options import AsJson, ConfigFile, DataDir, Quiet, Resume, with_options_of
from tinysignal.cli.terminal import on_one_line
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import json_text
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.config import OUTPUT, TrainConfig
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.folder import CONFIG, MODEL

app = typer.Typer(
    help="Train a network on your own data.\n\n"
    "Example: tinysignal train denoiser --clean speech/ --noise noise/ -o run",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command(no_args_is_help=True)
@with_options_of(DenoiserConfig)
def denoiser(
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Run folder.", rich_help_panel=OUTPUT)
    ],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    resume: Resume = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Train a denoiser on a pair of files, on folders of pairs, or on speech and noise.

    Example: tinysignal train denoiser --arch cnn --clean speech/ --noise noise/ --minutes 20 -o run

    The run folder holds the model for 'tinysignal denoise -m run/model.onnx', the training curve
    and the metrics. Ctrl-C stops a run early and still writes the model; --resume continues it.
    """
    with _needs_training():
        from tinysignal.train.denoising.task import train_denoiser
    if resume and config is None:
        config = output / CONFIG
    _train(
        train_denoiser,
        DenoiserConfig.read(config, options),
        output,
        _denoiser_summary,
        as_json=as_json,
        data_dir=data_dir,
        resume=resume,
        quiet=quiet,
        on_decoded=DecodingBar(quiet=quiet).show,
    )


@app.command()
@with_options_of(ClassifierConfig)
def classifier(
    *,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Run folder.", show_default="DATA-run", rich_help_panel=OUTPUT
        ),
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    resume: Resume = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Train a classifier on digits, Fashion-MNIST, or your own folders of pictures or sounds.

    Example: tinysignal train classifier --data mnist --data-dir data/ --epochs 20 --seed 0 -o run

    Without options it trains on digits of 8 x 8 pixels, in seconds. The run folder holds the model
    for 'tinysignal classify -m run', the training curve and the metrics. Ctrl-C stops a run early
    and still writes the model; --resume continues it.
    """
    with _needs_training():
        from tinysignal.train.classification.task import train_classifier
    if resume:
        if output is None:
            raise ConfigError("--resume is given without a run folder. Pass it with -o RUN.")
        config = config or output / CONFIG
    values = ClassifierConfig.read(config, options)
    _train(
        train_classifier,
        values,
        output or _new_folder(values.data),
        _classifier_summary,
        as_json=as_json,
        data_dir=data_dir,
        resume=resume,
        quiet=quiet,
    )


@contextmanager
def _needs_training() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training ({error.name})", "train") from None


def _train(
    train: Callable[..., Any],
    config: TrainConfig,
    folder: Path,
    summary: Callable[[Path, dict[str, Any]], None],
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Train and print the results; only the first of several processes prints."""
    from tinysignal.train.memory import keep_memory
    from tinysignal.train.processes import process_rank

    keep_memory()

    first = process_rank() == 0
    result = train(config, folder, on_report=show_data_report if first else None, **options)
    if not first:
        return
    if as_json:
        print(json_text(result.metrics))
        return
    metrics = result.metrics
    print(
        f"{metrics['epochs']} epochs in {metrics['minutes']:.1f} minutes, "
        f"{metrics['weights']} weights kept"
    )
    summary(folder, metrics)
    if result.interrupted:
        print(on_one_line(f"Stopped early. Continue with --resume -o {folder}."), file=sys.stderr)


def _new_folder(data: str) -> Path:
    """First free name of ``digits-run``, ``digits-run-2``, ... in the current folder."""
    stem = f"{Path(data).resolve().name}-run"
    number = 1
    while (folder := Path(stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return folder


def _split(metrics: dict[str, Any]) -> tuple[str, str]:
    """Split of the run's scores, and its name for people."""
    return ("valid", "held-out") if "valid" in metrics else ("train", "training")


def _classifier_summary(folder: Path, metrics: dict[str, Any]) -> None:
    split, what = _split(metrics)
    examples = metrics["data"][split]
    print(f"accuracy on {examples} {what} examples: {metrics[split]['accuracy']:.2%}")
    print(on_one_line(f"model: {folder / MODEL}"))
    print(on_one_line(f"next: tinysignal evaluate {folder}, tinysignal inspect {folder}"))


def _denoiser_summary(folder: Path, metrics: dict[str, Any]) -> None:
    split, what = _split(metrics)
    scores = metrics[split]
    if scores:
        for ratio, title in (("snr", "SNR"), ("si_sdr", "SI-SDR")):
            before, after = scores[f"{ratio}_noisy_db"], scores[f"{ratio}_denoised_db"]
            print(f"{title} on {what} data: {before:.2f} dB in, {after:.2f} dB out")
        print(f"mean squared error of magnitudes: {scores['mse']:.3g}")
    print(on_one_line(f"model: {folder / MODEL}"))
