"""Tab: the curve of a training as it grows; it is only read."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import gradio as gr

from tinysignal.app.site import Site, answered, web
from tinysignal.errors import ConfigError
from tinysignal.files import read_text

CURVE, METRICS = "curve.csv", "metrics.json"
_AXES = ("step", "epoch", "minutes")  # along which a curve may be drawn
_BESIDE = ("learning_rate",)  # no score


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    gr.HTML(
        {"runs": [str(run) for run in site.settings.runs]},
        html_template=web("train.html"),
        js_on_load=web("train.js"),
        apply_default_css=False,
        elem_id="train",
        server_functions=[Curves(site).curve],
    )


@dataclass(frozen=True)
class Curves:
    """What the page asks about a training."""

    site: Site

    @property
    def curve(self) -> Callable[..., dict[str, Any]]:
        """The columns of a run's curve so far, and whether it is over."""

        @answered
        def curve(asked: dict[str, Any]) -> dict[str, Any]:
            run = Path(asked["run"])
            if run not in self.site.settings.runs:
                raise ConfigError(f"'{run}' is not on this page.")
            over = (run / METRICS).is_file()
            if not (run / CURVE).is_file():
                return {"columns": {}, "scores": [], "over": over}
            rows = list(csv.DictReader(read_text(run / CURVE).splitlines()))
            names = [name for name in (rows[0] if rows else {}) if name]
            columns = {name: [_number(row[name]) for row in rows] for name in names}
            scores = [name for name in names if name not in (*_AXES, *_BESIDE)]
            return {"columns": columns, "scores": scores, "over": over}

        return curve


def _number(text: str | None) -> float | None:
    """A cell; None where nothing was measured, or nothing that can be drawn."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if isfinite(value) else None
