"""``tinysignal info``: properties of a sound file or of a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tinysignal import audio
from tinysignal.cli.options import Report
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.errors import ConfigError
from tinysignal.files import json_text
from tinysignal.model import (
    bundled_models,
    load_classification_model,
    load_denoising_model,
    model_path,
    read_spec,
)
from tinysignal.remote import Url, fetched, place
from tinysignal.spec import ClassifierSpec


def info(
    item: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="A sound file, a model or a run folder.")
    ],
    *,
    as_json: Report = False,
) -> None:
    """Show the properties of a sound file or of a model.

    Example: tinysignal info talk.wav
    """
    path = place(item)
    if isinstance(path, Url):
        path = Path(item if path.suffix.lower() == ".onnx" else path.name)
    if path.is_dir() and not (path / "model.onnx").exists() and item not in bundled_models():
        raise ConfigError(
            f"{item}: a folder without a model. Pass a sound file, or a run's folder."
        )
    is_model = path.suffix.lower() == ".onnx" or path.is_dir() or item in bundled_models()
    found = model_info(item) if is_model else sound_info(item)
    if as_json:
        print(json_text(found))
        return
    table = Table("", "", show_header=False, box=None)
    table.columns[1].overflow = "fold"
    for name, value in found.items():
        if name == "receptive_field_ms" and value is None:  # of a recurrent network
            table.add_row(name, "unlimited")
        elif value is not None and value != {}:  # a format without a bit rate, no tags
            table.add_row(name, escape(on_one_line(_shown(value))))
    Console().print(table)


def sound_info(path: str) -> dict[str, Any]:
    """Printed properties of a sound file."""
    with fetched(path) as local:
        found = audio.info(local)
    return {"file": str(place(path)), **asdict(found), "duration_s": round(found.duration_s, 6)}


def model_info(model: str) -> dict[str, Any]:
    """Printed properties of a model: its spec, and durations computed from it.

    Parameters
    ----------
    model : str
        Name of a bundled model, model file or run folder.
    """
    path = model_path(model)
    if isinstance(read_spec(path), ClassifierSpec):
        return {"model": model, **asdict(load_classification_model(path).spec)}
    spec = load_denoising_model(path).spec
    field_s = spec.receptive_field_s
    return {
        "model": model,
        **asdict(spec),
        "latency_ms": round(spec.latency_s * 1000, 3),
        "receptive_field_ms": None if field_s is None else round(field_s * 1000, 3),
    }


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", " ")
    return str(value)
