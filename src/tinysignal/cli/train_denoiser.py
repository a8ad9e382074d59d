"""tinysignal train denoiser."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tinysignal.cli.train_options import (
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
from tinysignal.errors import MissingExtraError

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
        from tinysignal.train.config import read_config
        from tinysignal.train.denoise_run import train_denoiser
        from tinysignal.train.devices import process_rank
        from tinysignal.train.run import CONFIG
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
