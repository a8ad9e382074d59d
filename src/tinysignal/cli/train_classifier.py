"""tinysignal train classifier."""

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
        from tinysignal.train.classifier_config import read_classifier_config
        from tinysignal.train.classify_run import train_classifier
        from tinysignal.train.devices import process_rank
        from tinysignal.train.run import CONFIG
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
