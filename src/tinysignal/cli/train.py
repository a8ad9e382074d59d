"""tinysignal train: a sub-command for each kind of network."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tinysignal.cli.options import (
    DATA,
    FIT,
    NET,
    OUT,
    AsJson,
    Config,
    DataDir,
    Device,
    Devices,
    Licence,
    Log,
    Name,
    Precision,
    Quiet,
    Resume,
    Seed,
    Steps,
    Threads,
    TrainedOn,
    Workers,
)
from tinysignal.errors import ConfigError, MissingExtraError

_DEFORM = "Random deformation of the examples"


def classifier(
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            help="Run folder; without it, a new one here, named after the data.",
            rich_help_panel=OUT,
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits (default; 8 x 8, comes with scikit-learn), mnist, fashion-mnist, or a "
            "folder of pictures or sounds with one subfolder a class.",
            rich_help_panel=DATA,
        ),
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="course (default): the plain network. fast: as good in a few epochs. best: as far "
            "as the layers go.",
            rich_help_panel=FIT,
        ),
    ] = None,
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the training examples to validate on (a twelfth); 0 for none.",
            rich_help_panel=DATA,
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Units of a hidden layer (1024).", rich_help_panel=NET)
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Hidden layers (5).", rich_help_panel=NET)
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Share of silenced units (0.2).", rich_help_panel=NET)
    ] = None,
    activation: Annotated[
        str | None, typer.Option(help="relu (default), gelu or silu.", rich_help_panel=NET)
    ] = None,
    norm: Annotated[
        str | None, typer.Option(help="none (default), batch or layer.", rich_help_panel=NET)
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Length of the run (20).", rich_help_panel=FIT)
    ] = None,
    steps: Steps = None,
    minutes: Annotated[
        float | None, typer.Option(help="Length of the run.", rich_help_panel=FIT)
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Examples in a batch (128).", rich_help_panel=FIT)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam (0.001).", rich_help_panel=FIT)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="constant (default), cosine or onecycle.", rich_help_panel=FIT),
    ] = None,
    weight_decay: Annotated[
        float | None, typer.Option(help="Decoupled, as in AdamW (0).", rich_help_panel=FIT)
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Probability of all classes (0).", rich_help_panel=FIT)
    ] = None,
    average: Annotated[
        float | None,
        typer.Option(help="Decay of the averaged weights, such as 0.999 (0).", rich_help_panel=FIT),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Weights to export: best (default, by validation accuracy) or last.",
            rich_help_panel=FIT,
        ),
    ] = None,
    validate_every: Annotated[
        int | None, typer.Option(help="Epochs between validations (1).", rich_help_panel=FIT)
    ] = None,
    seed: Seed = None,
    rotate_deg: Annotated[
        float | None, typer.Option(help="Up to +- this.", rich_help_panel=_DEFORM)
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Width and height, up to exp(+- this).", rich_help_panel=_DEFORM),
    ] = None,
    shear: Annotated[
        float | None, typer.Option(help="Columns per row, up to +- this.", rich_help_panel=_DEFORM)
    ] = None,
    shift: Annotated[
        float | None,
        typer.Option(help="Share of the size, up to +- this.", rich_help_panel=_DEFORM),
    ] = None,
    elastic: Annotated[
        float | None,
        typer.Option(help="Deviation as a share of the size.", rich_help_panel=_DEFORM),
    ] = None,
    mirror: Annotated[
        bool | None,
        typer.Option("--mirror", help="Swap left and right at random.", rich_help_panel=_DEFORM),
    ] = None,
    precision: Precision = None,
    device: Device = None,
    devices: Devices = None,
    workers: Workers = None,
    threads: Threads = None,
    name: Name = None,
    trained_on: TrainedOn = None,
    licence: Licence = None,
    log: Log = None,
    resume: Resume = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on handwritten digits, on clothes, or on folders of pictures or sounds.

    Example: tinysignal train classifier --data mnist --data-dir data/ --epochs 20 --seed 0 -o run

    Without options it learns the 8 x 8 digits, in seconds. The run folder holds the model for
    'tinysignal classify -m run', the curve and the metrics. Ctrl-C ends a run early and still
    writes the model; --resume goes on.
    """
    flags: dict[str, Any] = dict(locals())
    for own in ("output", "config", "resume", "as_json", "quiet", "data_dir"):
        flags.pop(own)
    try:
        from tinysignal.train.classification.config import read_classifier_config
        from tinysignal.train.classification.task import train_classifier
        from tinysignal.train.fit import process_rank
        from tinysignal.train.folder import CONFIG
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training ({error.name})", "train") from None
    if resume:
        if output is None:
            raise ConfigError("--resume needs the run folder: -o RUN.")
        config = config or output / CONFIG
    options = read_classifier_config(config, flags)
    result = train_classifier(
        options,
        output or _new_folder(options.data),
        data_dir=data_dir,
        resume=resume,
        quiet=quiet,
    )
    if process_rank() > 0:
        return
    if as_json:
        print(json.dumps(result.metrics, indent=2))
        return
    _classifier_summary(result.folder, result.metrics)
    if result.interrupted:
        print(f"Stopped early; --resume -o {result.folder} goes on.", file=sys.stderr)


def _new_folder(data: str) -> Path:
    """``digits-run`` here, or the first of ``digits-run-2``, ... that is not there yet."""
    stem = f"{Path(data).resolve().name}-run"
    number = 1
    while (folder := Path(stem if number == 1 else f"{stem}-{number}")).exists():
        number += 1
    return folder


def _classifier_summary(folder: Path, metrics: dict[str, Any]) -> None:
    epochs, minutes = metrics["epochs"], metrics["minutes"]
    print(f"{epochs} epochs in {minutes:.1f} minutes, {metrics['weights']} weights kept")
    side = "valid" if "valid" in metrics else "train"
    what = "held-out" if side == "valid" else "training"
    examples = metrics["data"][side]
    print(f"accuracy on {examples} {what} examples: {metrics[side]['accuracy']:.2%}")
    print(f"model: {folder / 'model.onnx'}")
    print(f"next: tinysignal evaluate {folder}, tinysignal inspect {folder}")


Pair = tuple[str, str]
_MIX = "Mixing"


def denoiser(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Run folder.", rich_help_panel=OUT)
    ],
    config: Config = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="plain (default): as the options here say. default: a small causal network with "
            "a complex mask, trained for hours.",
            rich_help_panel=FIT,
        ),
    ] = None,
    pair: Annotated[
        Pair | None,
        typer.Option(metavar="CLEAN NOISY", help="One pair of recordings.", rich_help_panel=DATA),
    ] = None,
    pairs: Annotated[
        Pair | None,
        typer.Option(
            metavar="CLEAN NOISY",
            help="A folder of clean and one of noisy recordings of the same names.",
            rich_help_panel=DATA,
        ),
    ] = None,
    clean: Annotated[
        str | None,
        typer.Option(
            help="Folder or manifest (.csv) of clean speech; mixed with --noise on the fly.",
            rich_help_panel=DATA,
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(help="Folder or manifest (.csv) of noise.", rich_help_panel=DATA),
    ] = None,
    data_dir: DataDir = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            help="Share at the end of --pair to keep out and validate on.", rich_help_panel=DATA
        ),
    ] = None,
    valid_share: Annotated[
        float | None,
        typer.Option(
            help="Share of speakers, noises or subfolders to validate on, where no manifest says.",
            rich_help_panel=DATA,
        ),
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the validation groups not to read at all.", rich_help_panel=DATA
        ),
    ] = None,
    snr_db: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="LOW HIGH", help="Range of mixtures' SNR.", rich_help_panel=_MIX),
    ] = None,
    level_dbfs: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH", help="Range of mixtures' speech level.", rich_help_panel=_MIX
        ),
    ] = None,
    filter_db: Annotated[
        float | None,
        typer.Option(help="Random filters of up to +- this; 0 for none.", rich_help_panel=_MIX),
    ] = None,
    augment: Annotated[
        bool | None,
        typer.Option(
            help="Change speeds, add rooms, babble and synthetic noise, clip (no).",
            rich_help_panel=_MIX,
        ),
    ] = None,
    arch: Annotated[
        str | None, typer.Option(help="linear, cnn (default), lstm or bands.", rich_help_panel=NET)
    ] = None,
    sample_rate_hz: Annotated[
        int | None, typer.Option(help="Of the model (16000).", rich_help_panel=NET)
    ] = None,
    fft_samples: Annotated[
        int | None,
        typer.Option(help="STFT window (1024 linear, 512 others).", rich_help_panel=NET),
    ] = None,
    hop_samples: Annotated[
        int | None,
        typer.Option(help="STFT hop (512 linear, 128 lstm, 256 others).", rich_help_panel=NET),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            help="Units (1024 linear, 320 lstm), channels (32 cnn), features of a band (32 bands).",
            rich_help_panel=NET,
        ),
    ] = None,
    level: Annotated[
        str | None,
        typer.Option(
            help="none or running: whether the network normalises the recording's level "
            "(none linear, running others).",
            rich_help_panel=NET,
        ),
    ] = None,
    causal: Annotated[
        bool, typer.Option("--causal", help="No look-ahead.", rich_help_panel=NET)
    ] = False,
    lookahead_frames: Annotated[
        int | None,
        typer.Option(help="Frames of the future that a cnn sees (0).", rich_help_panel=NET),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="mse (default), compressed or mixed; lstm and bands have their own.",
            rich_help_panel=FIT,
        ),
    ] = None,
    start_from: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Run folder whose weights to start from, as to train on for your own recordings.",
            rich_help_panel=FIT,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Length of the run (3000 for --pair).", rich_help_panel=FIT),
    ] = None,
    steps: Steps = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Length of the run (20 but for --pair).", rich_help_panel=FIT),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Clips in a batch (16).", rich_help_panel=FIT)
    ] = None,
    clip_s: Annotated[
        float | None,
        typer.Option(
            help="Length of clips (4); 0 for the whole recording, which --pair has by default.",
            rich_help_panel=FIT,
        ),
    ] = None,
    steps_per_epoch: Annotated[
        int | None, typer.Option(help="Batches in an epoch (100).", rich_help_panel=FIT)
    ] = None,
    perceptual: Annotated[
        float | None,
        typer.Option(help="Weight of PESQ in the loss of lstm and bands (0).", rich_help_panel=FIT),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of Adam (0.001).", rich_help_panel=FIT)
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="constant (default), cosine or onecycle.", rich_help_panel=FIT),
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Weights to export: best (default, by validation SI-SDR) or last.",
            rich_help_panel=FIT,
        ),
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            help="Epochs between validations (5); 20 times as many where an epoch is one step.",
            rich_help_panel=FIT,
        ),
    ] = None,
    seed: Seed = None,
    precision: Precision = None,
    device: Device = None,
    devices: Devices = None,
    workers: Workers = None,
    threads: Threads = None,
    name: Name = None,
    trained_on: TrainedOn = None,
    licence: Licence = None,
    log: Log = None,
    resume: Resume = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train a denoiser on a pair, on folders of pairs, or on speech and noise.

    Example: tinysignal train denoiser --arch cnn --clean speech/ --noise noise/ --minutes 20 -o run

    The run folder holds the model for 'tinysignal denoise -m run/model.onnx', the curve and the
    metrics. Ctrl-C ends a run early and still writes the model; --resume goes on.
    """
    flags: dict[str, Any] = dict(locals())
    for own in ("output", "config", "causal", "resume", "as_json", "quiet", "data_dir"):
        flags.pop(own)
    try:
        from tinysignal.train.denoising.config import read_config
        from tinysignal.train.denoising.task import train_denoiser
        from tinysignal.train.fit import process_rank
        from tinysignal.train.folder import CONFIG
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"training ({error.name})", "train") from None
    if causal:
        flags["lookahead_frames"] = 0
    if resume and config is None:
        config = output / CONFIG
    result = train_denoiser(
        read_config(config, flags), output, data_dir=data_dir, resume=resume, quiet=quiet
    )
    if process_rank() > 0:
        return
    if as_json:
        print(json.dumps(result.metrics, indent=2))
        return
    _denoiser_summary(result.folder, result.metrics)
    if result.interrupted:
        print(f"Stopped early; --resume -o {result.folder} goes on.", file=sys.stderr)


def _denoiser_summary(folder: Path, metrics: dict[str, Any]) -> None:
    epochs, minutes = metrics["epochs"], metrics["minutes"]
    print(f"{epochs} epochs in {minutes:.1f} minutes, {metrics['weights']} weights kept")
    side = "valid" if "valid" in metrics else "train"
    scores = metrics[side]
    if scores:
        what = "held-out" if side == "valid" else "training"
        for ratio, title in (("snr", "SNR"), ("si_sdr", "SI-SDR")):
            before, after = scores[f"{ratio}_noisy_db"], scores[f"{ratio}_denoised_db"]
            print(f"{title} on {what} data: {before:.2f} dB in, {after:.2f} dB out")
        print(f"mean squared error of magnitudes: {scores['mse']:.3g}")
    print(f"model: {folder / 'model.onnx'}")


app = typer.Typer(
    help="Train a network on your own data.\n\n"
    "Example: tinysignal train denoiser --clean speech/ --noise noise/ -o run",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command("denoiser", no_args_is_help=True)(denoiser)
app.command("classifier")(classifier)
