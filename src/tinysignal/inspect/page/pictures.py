"""The page's content as pictures for slides and reports: PNG, drawn by matplotlib."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import MissingExtraError
from tinysignal.inspect.page.images import class_colours
from tinysignal.inspect.result import Inspection, LayerView, Map
from tinysignal.privacy import leave_no_caches

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

COLUMNS = 10  # examples per class
MOST_CLASSES = 40  # classes in a legend and in a grid
MOST_NAMES = 15  # class names on a map
_INK, _WRONG = "#1c2430", "#c1121f"
_LONGEST_NAME = 16
_TITLES = {
    "best": "Best examples: highest probability of the true class (red: answered wrongly)",
    "worst": "Worst examples: lowest probability of the true class; prediction (red: wrong)",
}


def render_pictures(inspection: Inspection) -> Iterator[tuple[str, bytes]]:
    """Draw all pictures of an inspection.

    Parameters
    ----------
    inspection : Inspection

    Yields
    ------
    str
        Name of the file: ``best.png``, ``worst.png``, ``spectra.png`` and, for every map,
        ``NN-layer-method.png``.
    bytes
        Contents of the PNG file.

    Raises
    ------
    MissingExtraError
        Matplotlib is not installed.
    """
    yield "best.png", _png(examples_figure(inspection, "best"))
    yield "worst.png", _png(examples_figure(inspection, "worst"))
    for number, layer in enumerate(inspection.layers):
        for one in layer.maps:
            name = f"{number:02}-{_slug(layer.title)}-{_slug(one.method)}.png"
            yield name, _png(map_figure(inspection, layer, one))
    if any(row.singular_values is not None for row in inspection.table):
        yield "spectra.png", _png(spectra_figure(inspection))


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-") or "layer"


def _figure(width: float, height: float) -> Figure:
    leave_no_caches()
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("drawing the pictures of an inspection", "plot") from None
    return Figure(figsize=(width, height), layout="constrained", dpi=150)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    with _missing_glyphs():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _lay_out(figure: Any) -> None:
    """Compute all positions, which depend on the sizes of titles and legends."""
    with _missing_glyphs():
        figure.draw_without_rendering()


@contextmanager
def _missing_glyphs() -> Iterator[None]:
    """Characters that the font lacks are drawn as boxes; the page shows them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def short(name: str, longest: int = _LONGEST_NAME) -> str:
    """Name of at most ``longest`` characters, shortened with an ellipsis."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def examples_figure(inspection: Inspection, which: Literal["best", "worst"]) -> Figure:
    """Figure of the best or worst examples of every class.

    Parameters
    ----------
    inspection : Inspection
    which : {"best", "worst"}
        Which examples. The worst, and wrong predictions among the best, are captioned with the
        predicted class and its probability, red for wrong predictions.

    Returns
    -------
    Figure
        Figure with a row for each class.
    """
    rankings = inspection.rankings[:MOST_CLASSES]
    height, width = inspection.images.shape[1:]
    shown = [one for ranking in rankings for one in getattr(ranking, which)[:COLUMNS]]
    captioned = which == "worst" or any(_is_wrong(inspection, one) for one in shown)
    cell = 0.62, 0.62 * height / width + (0.26 if captioned else 0.05)  # inches
    # Height of a picture with its caption, in pixels of the picture.
    rows = round(cell[1] / cell[0] * width)
    figure = _figure(COLUMNS * cell[0] + 1.3, max(1, len(rankings)) * cell[1] + 0.5)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_title(_TITLES[which], loc="left", fontsize=11)
    pitch = width + max(1, width // 14)
    sheet = np.full((max(1, len(rankings)) * rows, COLUMNS * pitch), 255, np.uint8)
    for line, ranking in enumerate(rankings):
        top = line * rows
        label = short(inspection.classes[ranking.label])
        _text(axes, -pitch * 0.25, top + height / 2, label, ha="right", va="center", size=11)
        for column, shown in enumerate(getattr(ranking, which)[:COLUMNS]):
            left = column * pitch
            sheet[top : top + height, left : left + width] = inspection.images[shown]
            if which == "worst" or _is_wrong(inspection, shown):
                _caption(axes, inspection, shown, (left + width / 2, top + height * 1.04))
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    return figure


def _is_wrong(inspection: Inspection, shown: int) -> bool:
    return bool(inspection.predicted[shown] != inspection.labels[shown])


def _caption(axes: Axes, inspection: Inspection, shown: int, at: tuple[float, float]) -> None:
    predicted, wrong = int(inspection.predicted[shown]), _is_wrong(inspection, shown)
    share = 100 * float(inspection.probabilities[shown, predicted])
    text = f"{short(inspection.classes[predicted], 7)}: {share:.0f} %"
    _text(axes, *at, text, ha="center", va="top", size=6.5, color=_WRONG if wrong else _INK)


def _text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    *,
    ha: str,
    va: str,
    size: float,
    color: str = _INK,
    weight: str = "normal",
) -> None:
    # A dollar sign in a class name must not start a formula.
    axes.text(x, y, text, ha=ha, va=va, fontsize=size, color=color, weight=weight, parse_math=False)


def map_figure(inspection: Inspection, layer: LayerView, one: Map) -> Figure:
    """Figure of one map, with a colour for each class and rings around errors.

    Parameters
    ----------
    inspection : Inspection
    layer : LayerView
    one : Map
        Map of that layer.

    Returns
    -------
    Figure
    """
    figure = _figure(7.2, 5.4)
    axes = figure.add_subplot()
    labels = inspection.labels[inspection.sample]
    wrong = labels != inspection.predicted[inspection.sample]
    colours = np.array(class_colours(len(inspection.classes)))
    order = np.argsort(wrong, kind="stable")  # errors are drawn last, on top
    x, y = one.points[order].T
    rings = np.where(wrong[order], 0.9, 0.0).tolist()  # widths
    axes.scatter(x, y, s=14, c=colours[labels[order]], linewidths=rings, edgecolors=_INK)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"{short(layer.title, 50)}: {one.method}", loc="left", parse_math=False)
    axes.set_xlabel(_map_numbers(one), fontsize=9)
    _legend(axes, inspection, colours)
    _name_clusters(axes, inspection, one.points, labels)
    return figure


def class_medians(
    points: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[int, NDArray[np.float32]]:
    """Median position of every class with points, (2,)."""
    return {int(label): np.median(points[labels == label], axis=0) for label in np.unique(labels)}


def _name_clusters(
    axes: Axes, inspection: Inspection, points: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    from matplotlib.patheffects import withStroke  # noqa: PLC0415 - optional

    if len(inspection.classes) > MOST_NAMES:
        return
    medians = class_medians(points, labels)
    for label, (x, y) in medians.items():
        name = short(inspection.classes[label])
        _text(axes, x, y, name, ha="center", va="center", size=12, weight="bold")
        axes.texts[-1].set_path_effects([withStroke(linewidth=3, foreground="white")])
    _lay_out(axes.figure)
    frame = axes.get_window_extent()
    dots = axes.transData.transform(points)
    taken: list[Box] = []
    for text, middle in zip(axes.texts, medians.values(), strict=True):
        box = text.get_window_extent()
        size = box.width + 6, box.height + 4
        at = free_place(
            dots,
            axes.transData.transform(middle),
            size,
            taken,
            (frame.x0, frame.y0, frame.x1, frame.y1),
        )
        taken.append(_box(at, size))
        x, y = axes.transData.inverted().transform(at)
        text.set_position((float(x), float(y)))
        if np.hypot(*(at - axes.transData.transform(middle))) > size[1]:
            axes.plot([middle[0], x], [middle[1], y], color=_INK, linewidth=0.6, zorder=1)


Box = tuple[float, float, float, float]  # left, bottom, right, top
_RINGS, _ANGLES = 30, 24


def free_place(
    dots: NDArray[Any],
    middle: NDArray[Any],
    size: tuple[float, float],
    taken: list[Box],
    frame: Box,
) -> NDArray[np.float64]:
    """Nearest place for a name that covers no dot and no other name; else that of fewest dots.

    Parameters
    ----------
    dots : float (points, 2)
        Positions in pixels.
    middle : float (2,)
        The wanted place, in pixels.
    size : (float, float)
        Width and height of the name, in pixels.
    taken : list of Box
        Other names.
    frame : Box
        The map, which the name stays in.
    """
    angles = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    rings = np.arange(1, _RINGS + 1)[:, None, None] * size[1] * 0.5
    around = rings * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.concatenate([np.zeros((1, 2)), around.reshape(-1, 2)]) + middle
    best, fewest = places[0], np.inf
    for place in places:
        left, bottom, right, top = _box(place, size)
        inside = left >= frame[0] and bottom >= frame[1]
        if not inside or right > frame[2] or top > frame[3]:
            continue
        if any(left < r and right > x and bottom < t and top > y for x, y, r, t in taken):
            continue
        x, y = dots.T
        covered = int(((x > left) & (x < right) & (y > bottom) & (y < top)).sum())
        if covered < fewest:
            best, fewest = place, covered
        if covered == 0:
            break
    return np.asarray(best, np.float64)


def _box(at: NDArray[Any], size: tuple[float, float]) -> Box:
    (x, y), (width, height) = at, size
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _map_numbers(one: Map) -> str:
    parts = [
        f"trustworthiness {one.trustworthiness:.3f}",
        f"silhouette {one.silhouette:.2f}",
        f"kNN {100 * one.knn_accuracy:.1f} %",
    ]
    if one.explained_variance is not None:
        first, second = (100 * share for share in one.explained_variance)
        parts.insert(0, f"variance {first:.1f} % + {second:.1f} %")
    if one.perplexity is not None:
        parts.append(f"perplexity {one.perplexity:g}")
    return ", ".join([*parts, f"seed {one.seed}"])


def _legend(axes: Axes, inspection: Inspection, colours: NDArray[np.str_]) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - optional

    names = [short(name) for name in inspection.classes[:MOST_CLASSES]]
    dots = [
        Line2D([], [], marker="o", linestyle="", markersize=6, color=colour)
        for colour in colours[: len(names)]
    ]
    ring = Line2D([], [], marker="o", ls="", markersize=6, mfc="none", mec=_INK, mew=0.9)
    columns = -(-len(dots) // 20)
    place = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "ncols": columns}
    _add_legend(axes, [*dots, ring], [*names, "error"], **place)


def _add_legend(axes: Axes, lines: list[Line2D], names: list[str], **place: Any) -> None:
    """Legend of names with literal underscores and dollar signs."""
    legend = axes.legend(lines, [str(i) for i in range(len(names))], frameon=False, **place)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(name)


def spectra_figure(inspection: Inspection) -> Figure:
    """Figure of the singular values of every weight relative to the largest.

    Parameters
    ----------
    inspection : Inspection

    Returns
    -------
    Figure
        A dot on each curve marks the rank that keeps 95 % of the energy.
    """
    from matplotlib.lines import Line2D  # noqa: PLC0415 - optional

    figure = _figure(7.2, 4.4)
    axes = figure.add_subplot()
    rows = [row for row in inspection.table if row.singular_values is not None]
    colours = class_colours(len(rows))
    for row, colour in zip(rows, colours, strict=True):
        values = row.singular_values
        assert values is not None  # rows without values are left out above
        if not values.size or values[0] <= 0:
            continue
        shares = values / values[0]
        axes.plot(np.arange(1, len(shares) + 1), shares, color=colour, lw=1.6)
        if row.rank_energy_95:
            at = row.rank_energy_95
            axes.plot(at, shares[at - 1], "o", color=colour, ms=5)
    axes.set_xlabel("singular value, from the largest")
    axes.set_ylabel("share of the largest")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.03)
    axes.grid(alpha=0.25)
    axes.set_title("Spectra of the weights; dots: 95 % of the energy", loc="left")
    lines = [Line2D([], [], color=colour) for colour in colours]
    names = [f"{short(row.name, 30)} ({row.shape})" for row in rows]
    _add_legend(axes, lines[:MOST_CLASSES], names[:MOST_CLASSES], loc="best", fontsize=8)
    return figure
