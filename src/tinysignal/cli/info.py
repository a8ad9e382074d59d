"""``tinysignal info``: the facts of a sound file or of a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tinysignal import audio
from tinysignal.cli.options import Report
from tinysignal.cli.terminal import Console
from tinysignal.files import json_text
from tinysignal.model import (
    bundled_models,
    load_classification_model,
    load_denoising_model,
    model_path,
    read_spec,
)
from tinysignal.spec import ClassifierSpec


def info(
    item: Annotated[
        str, typer.Argument(metavar="FILE|MODEL", help="A sound file, a model or a run folder.")
    ],
    *,
    as_json: Report = False,
) -> None:
    """Show the facts of a sound file or of a model.

    Example: tinysignal info talk.wav
    """
    path = Path(item)
    is_model = path.suffix.lower() == ".onnx" or path.is_dir() or item in bundled_models()
    facts = model_facts(item) if is_model else sound_facts(item)
    if as_json:
        print(json_text(facts))
        return
    table = Table("", "", show_header=False, box=None)
    table.columns[1].overflow = "fold"
    for name, value in facts.items():
        table.add_row(name, escape(_shown(value)))
    Console().print(table)


def sound_facts(path: str) -> dict[str, Any]:
    """The facts of a sound file, as they are printed."""
    facts = audio.info(path)
    return {"file": path, **asdict(facts), "duration_s": round(facts.duration_s, 6)}


def model_facts(model: str) -> dict[str, Any]:
    """The spec of a model and what follows from it, as they are printed.

    Parameters
    ----------
    model : str
        A bundled name, a model file, or a run's folder.
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
    if value is None:  # a receptive field
        return "unlimited"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {text}" for name, text in value.items())
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", " ")
    return str(value)
