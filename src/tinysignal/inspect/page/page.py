"""HTML page of an inspection in one file, and a folder of pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

import numpy as np

from tinysignal.errors import DataError
from tinysignal.files import atomic, make_folder
from tinysignal.inspect.page.glossary import glossary_html
from tinysignal.inspect.page.images import Sprite, class_colours, make_sprite
from tinysignal.inspect.page.pictures import render_pictures
from tinysignal.inspect.page.sections import (
    examples_html,
    facts_html,
    layers_html,
    legend_html,
    maps_html,
    notes_html,
    progress_html,
    whole,
)
from tinysignal.inspect.result import Inspection

_SHOWN_PROBABILITIES = 3  # probabilities on the card of an example
_DIGITS = 4  # digits of a point's position, finer than a pixel


def write_page(inspection: Inspection, path: str | Path, *, pictures: bool = False) -> list[Path]:
    """Write the page and, with ``pictures``, a folder of PNG files beside it.

    The page is one file that opens from disk and makes no network requests. Equal inspections give
    equal bytes.

    Parameters
    ----------
    inspection : Inspection
    path : str or Path
        Path of the page, such as ``inspect.html``.
    pictures : bool
        Whether to write maps, examples and spectra as PNG files too, to ``inspect-pictures/``.

    Returns
    -------
    list of Path
        Written files: the page, then the pictures.

    Raises
    ------
    FileError
        A file cannot be written.
    DataError
        The inspection has no images, or its arrays have inconsistent shapes.
    MissingExtraError
        Pillow or, for pictures, Matplotlib is not installed.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.inspect.page import write_page
    >>> from tinysignal.runs import inspect_run
    >>> found = inspect_run(Path("digits-run"))  # doctest: +SKIP
    >>> write_page(found, "inspect.html")  # doctest: +SKIP
    [PosixPath('inspect.html')]
    """
    page = Path(path)
    folder = pictures_folder(page)
    written = []
    with atomic(page) as part:  # raises for an unwritable path before the work
        # Pictures are drawn before the page is moved into place: a failure leaves no files.
        text = render_page(inspection, pictures=folder.name if pictures else "")
        drawn = list(render_pictures(inspection)) if pictures else []
        if drawn:
            make_folder(folder)
        for name, content in drawn:
            with atomic(folder / name) as picture_part:
                picture_part.write_bytes(content)
            written.append(folder / name)
        part.write_text(text, encoding="utf-8", newline="\n")
    return [page, *written]


def pictures_folder(page: Path) -> Path:
    """Folder of the pictures of a page, beside the page."""
    return page.with_name(f"{page.stem}-pictures")


def render_page(inspection: Inspection, *, pictures: str = "") -> str:
    """HTML text of the page.

    Parameters
    ----------
    inspection : Inspection
    pictures : str
        Name of the folder of pictures, which the page links to; empty for no link.

    Returns
    -------
    str
        Complete HTML document.

    Raises
    ------
    DataError
        The inspection has no images, or its arrays have inconsistent shapes.
    MissingExtraError
        Pillow is not installed.
    """
    _check(inspection)
    sprite = make_sprite(inspection.images)
    colours = class_colours(len(inspection.classes))
    script = _resource("page.js")
    return Template(_resource("page.html")).substitute(
        policy=_policy(script),
        title=escape(inspection.title),
        style=_resource("page.css"),
        sprite=base64.b64encode(sprite.png).decode("ascii"),
        sprite_style=(
            f"background-size: {100 * sprite.columns}% {100 * sprite.rows}%; "
            f"aspect-ratio: {sprite.width} / {sprite.height};"
        ),
        facts=facts_html(inspection),
        notes=notes_html(inspection),
        best=examples_html(inspection, "best", colours=colours, sprite=sprite),
        worst=examples_html(inspection, "worst", colours=colours, sprite=sprite),
        progress=progress_html(inspection),
        points=whole(len(inspection.sample)),
        legend=legend_html(inspection, colours),
        maps=maps_html(inspection),
        layers=layers_html(inspection),
        glossary=glossary_html(),
        footer=_footer(pictures),
        data=_script_json(_data(inspection, colours, sprite)),
        script=script,
    )


def _resource(name: str) -> str:
    return files("tinysignal.inspect.page").joinpath(name).read_text(encoding="utf-8")


def _policy(script: str) -> str:
    """Content security policy: this script and embedded pictures only, no requests."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    allowed = ("default-src 'none'", f"script-src 'sha256-{digest}'", "style-src 'unsafe-inline'")
    return "; ".join((*allowed, "img-src data:"))


def _footer(pictures: str) -> str:
    made = "Made by <code>tinysignal inspect</code>."
    if not pictures:
        return made
    link = f'<a href="{quote(pictures)}/">{escape(pictures)}/</a>'
    return f"{made} Maps, examples and spectra as PNG files: {link}"


def _check(inspection: Inspection) -> None:
    shown, points = len(inspection.images), len(inspection.sample)
    lengths = {
        "labels": len(inspection.labels),
        "predictions": len(inspection.predicted),
        "probabilities": len(inspection.probabilities),
        "positions": len(inspection.positions),
    }
    for name, length in lengths.items():
        if length != shown:
            raise DataError(
                f"the inspection has {shown} images and {length} {name}, expected equal numbers."
            )
    for layer in inspection.layers:
        for one in layer.maps:
            if one.points.shape != (points, 2) or not np.isfinite(one.points).all():
                raise DataError(
                    f"the {one.method} map of {layer.title} has points {one.points.shape}, "
                    f"expected {points} finite pairs."
                )


def _data(inspection: Inspection, colours: tuple[str, ...], sprite: Sprite) -> dict[str, Any]:
    """Data of the page's script."""
    return {
        "classes": list(inspection.classes),
        "colours": list(colours),
        "columns": sprite.columns,
        "rows": sprite.rows,
        "labels": inspection.labels.tolist(),
        "predicted": inspection.predicted.tolist(),
        "positions": inspection.positions.tolist(),
        "top": [_likeliest(inspection, shown) for shown in range(len(inspection.images))],
        "sample": inspection.sample.tolist(),
        "maps": [
            [float(f"{value:.{_DIGITS}g}") for value in one.points.ravel().tolist()]
            for layer in inspection.layers
            for one in layer.maps
        ],
    }


def _likeliest(inspection: Inspection, shown: int) -> list[float]:
    """Classes and probabilities of an example: predicted, next likeliest, and always the true one.

    The list is flat to keep the page small: class, probability, class, probability, ...
    """
    probabilities = inspection.probabilities[shown]
    predicted, label = int(inspection.predicted[shown]), int(inspection.labels[shown])
    order = [predicted, *(i for i in np.argsort(-probabilities, kind="stable") if i != predicted)]
    chosen = [int(i) for i in order[:_SHOWN_PROBABILITIES]]
    if label not in chosen:
        chosen[-1] = label
    return [value for i in chosen for value in (i, round(float(probabilities[i]), 4))]


def _script_json(data: dict[str, Any]) -> str:
    """JSON for a script element, with escapes of text that could end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
