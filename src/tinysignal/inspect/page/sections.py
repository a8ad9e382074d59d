"""Sections of the page as HTML, with escaped names."""

from __future__ import annotations

import math
import re
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tinysignal.inspect.page.glossary import term
from tinysignal.inspect.page.images import Sprite
from tinysignal.inspect.page.pictures import MOST_NAMES
from tinysignal.inspect.result import Inspection, LayerRow, LayerView, Map, Ranking

COLUMNS = 10  # examples per class
_METHOD_TERMS = {"PCA": "pca", "t-SNE": "tsne", "UMAP": "umap"}


def percent(share: float) -> str:
    """Text of a fraction in percent: ``98.3 %`` for 0.983."""
    return f"{100 * share:.1f} %"


def whole(number: int) -> str:
    """Text of a number with digits in groups of three, separated by narrow no-break spaces."""
    return f"{number:,}".replace(",", "\u202f")


def facts_html(inspection: Inspection) -> str:
    """List under the title: data, accuracy, parameters, seed and time."""
    parameters = sum(row.parameters for row in inspection.table)
    facts = {
        "data": ", ".join(filter(None, (inspection.data, inspection.split))),
        "examples": whole(inspection.examples),
        "accuracy": f"{100 * inspection.accuracy:.2f} %",
        "parameters": whole(parameters),
        "points on the maps": whole(len(inspection.sample)),
        "seed": str(inspection.seed),
        "time": f"{inspection.seconds:.0f} s",
    }
    items = (
        f"<div><dt>{key}</dt><dd>{escape(text)}</dd></div>" for key, text in facts.items() if text
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def notes_html(inspection: Inspection) -> str:
    """List of the notes; empty without notes."""
    items = "".join(f"<li>{escape(note)}</li>" for note in inspection.notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def swatch(colour: str) -> str:
    """Dot in the colour of a class."""
    return f'<span class="swatch" style="--colour:{colour}"></span>'


def legend_html(inspection: Inspection, colours: tuple[str, ...]) -> str:
    """Buttons of the legend: one for each class, and the choices for all maps."""
    classes = (
        f'<button type="button" data-class="{i}" aria-pressed="true" title="{escape(name)}: click '
        f'to hide or show, double-click to see it alone">{swatch(colour)}'
        f"<span>{escape(name)}</span></button>"
        for i, (name, colour) in enumerate(zip(inspection.classes, colours, strict=True))
    )
    named = "true" if len(inspection.classes) <= MOST_NAMES else "false"
    tools = (
        '<button type="button" data-tool="all">all / none</button>',
        '<button type="button" data-tool="errors" aria-pressed="false">'
        '<span class="ring"></span>errors only</button>',
        f'<button type="button" data-tool="names" aria-pressed="{named}">names</button>',
    )
    return "\n".join((*classes, *tools))


def examples_html(
    inspection: Inspection,
    which: Literal["best", "worst"],
    *,
    colours: tuple[str, ...],
    sprite: Sprite,
) -> str:
    """Best or worst examples of every class."""
    rows = "\n".join(
        f"<h3>{swatch(colours[ranking.label])}"
        f"<span>{escape(inspection.classes[ranking.label])}</span></h3>\n"
        f"<ol>{_examples(inspection, ranking, which, sprite)}</ol>"
        for ranking in inspection.rankings
    )
    return f'<div class="ranked">\n{rows}\n</div>'


def _examples(
    inspection: Inspection, ranking: Ranking, which: Literal["best", "worst"], sprite: Sprite
) -> str:
    shown = ranking.best if which == "best" else ranking.worst
    return "".join(
        f"<li>{_example(inspection, int(one), sprite, captioned=which == 'worst')}</li>"
        for one in shown[:COLUMNS]
    )


def _example(inspection: Inspection, shown: int, sprite: Sprite, *, captioned: bool) -> str:
    label, predicted = int(inspection.labels[shown]), int(inspection.predicted[shown])
    guess, share = inspection.classes[predicted], float(inspection.probabilities[shown, predicted])
    mark = ' class="wrong"' if predicted != label else ""
    under = ""
    if captioned or mark:
        under = f"<span{mark}>{escape(guess)}</span><span{mark}>{100 * share:.0f} %</span>"
    spoken = f"true {inspection.classes[label]}, predicted {guess}, {100 * share:.0f} %"
    x, y = sprite.place(shown)
    return (
        f'<button type="button" class="example" data-shown="{shown}" aria-label="{escape(spoken)}"'
        f' title="{escape(guess)}"><span class="pic" style="background-position:{x:g}% {y:g}%">'
        f"</span>{under}</button>"
    )


def maps_html(inspection: Inspection) -> str:
    """Rows of maps of the input and of each layer, with their measures."""
    return "\n".join(_layer(layer) for layer in inspection.layers)


def _layer(layer: LayerView) -> str:
    about = [
        *([f"module {escape(layer.name)}"] if layer.name != layer.title else []),
        f"{whole(layer.values)} values",
        f"{term('knn', 'kNN accuracy')} in the full space {percent(layer.knn_accuracy)}",
        f"{term('dimensions', 'effective dimensions')} {layer.effective_dimensions:.1f}",
    ]
    note = f" {escape(layer.note)}" if layer.note else ""
    figures = "\n".join(_map(layer, one) for one in layer.maps)
    return (
        f'<article class="layer"><h3>{escape(layer.title)}</h3><p>{" · ".join(about)}.{note}</p>\n'
        f'<div class="row">{figures}</div></article>'
    )


def _map(layer: LayerView, one: Map) -> str:
    name = escape(f"{one.method} map of {layer.title}")
    method = term(_METHOD_TERMS[one.method]) if one.method in _METHOD_TERMS else escape(one.method)
    tools = "".join(
        f'<button type="button" data-tool="{tool}" aria-label="{label}: {name}" title="{label}">'
        f"{sign}</button>"
        for tool, label, sign in (
            ("in", "zoom in", "+"),
            ("out", "zoom out", "&minus;"),
            ("reset", "whole map", "&#8634;"),
        )
    )
    numbers = "".join(
        f"<div><dt>{label}</dt><dd>{text}</dd></div>" for label, text in _map_numbers(layer, one)
    )
    return (
        f'<figure class="map"><h4><span>{method}</span><span class="tools">{tools}</span></h4>\n'
        f'<div class="plot" tabindex="0" role="application" aria-label="{name}; arrow keys go from '
        'dot to dot, plus and minus zoom, 0 shows the whole map"></div>\n'
        f'<figcaption><dl class="numbers">{numbers}</dl></figcaption></figure>'
    )


def _map_numbers(layer: LayerView, one: Map) -> list[tuple[str, str]]:
    numbers = []
    if one.explained_variance is not None:
        first, second = one.explained_variance
        numbers.append((term("variance"), f"{percent(first)} + {percent(second)}"))
    numbers += [
        (term("trust"), f"{one.trustworthiness:.3f}"),
        (term("silhouette"), f"{one.silhouette:.3f}"),
        (term("knn", "kNN in the plane"), percent(one.knn_accuracy)),
        (term("knn", "in the full space"), percent(layer.knn_accuracy)),
    ]
    if one.perplexity is not None:
        numbers.append((term("perplexity"), f"{one.perplexity:g}"))
    return [
        *numbers,
        (term("seed"), str(one.seed)),
        (term("seconds"), f"{one.seconds:.1f} s"),
    ]


_WIDTH, _HEIGHT = 480, 260  # size of the chart in units of its viewBox
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 66, 12, 34  # margins of the chart
_FULL = "full"
# Colours for both themes, and dashes for people who do not see colours.
_CURVES = (
    ("var(--ink)", ""),
    ("#3f90da", "6 3"),
    ("#e76300", "2 3"),
    ("#832db6", "8 3 2 3"),
)
_MOST_TITLES = 8  # largest number of titles below the chart; more layers are numbered
_SPARK_POINTS = 60
_NONE = "&ndash;"


def progress_html(inspection: Inspection) -> str:
    """Chart and table of the kNN accuracy by layer."""
    if not inspection.layers:
        return "<p>No layer was inspected.</p>"
    curves = _curves(inspection.layers)
    return f'<div class="beside">{_chart(inspection.layers, curves)}{_numbers(inspection)}</div>'


def methods_of(layers: tuple[LayerView, ...]) -> list[str]:
    """Map methods in the order of their first occurrence."""
    return list(dict.fromkeys(one.method for layer in layers for one in layer.maps))


def map_accuracy(layer: LayerView, method: str) -> float | None:
    """The kNN accuracy on a layer's map of a method; None if it has no such map."""
    return next((one.knn_accuracy for one in layer.maps if one.method == method), None)


def _curves(layers: tuple[LayerView, ...]) -> dict[str, list[float | None]]:
    curves: dict[str, list[float | None]] = {_FULL: [layer.knn_accuracy for layer in layers]}
    for method in methods_of(layers):
        curves[method] = [map_accuracy(layer, method) for layer in layers]
    return curves


def _chart(layers: tuple[LayerView, ...], curves: dict[str, list[float | None]]) -> str:
    every = [value for curve in curves.values() for value in curve if value is not None]
    floor = max(0.0, math.floor(10 * min(every) - 0.5) / 10)
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(layers) - 1)

    def across(number: int) -> float:
        return round(_LEFT + number * step, 1)

    def down(value: float) -> float:
        share = (value - floor) / (1 - floor) if floor < 1 else 1.0
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = []
    for tick in np.linspace(floor, 1, 6 if floor in (0.0, 0.5) else 5):
        y = down(float(tick))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{100 * tick:.0f}</text>')
    for number, layer in enumerate(layers):
        title = layer.title if len(layers) <= _MOST_TITLES else str(number)
        parts.append(
            f'<text x="{across(number)}" y="{_HEIGHT - 14}" text-anchor="middle">'
            f"{escape(title[:10])}</text>"
        )
    ends = _apart([down(_last(curve)) for curve in curves.values()])
    for index, (name, curve) in enumerate(curves.items()):
        points = [(across(i), down(v)) for i, v in enumerate(curve) if v is not None]
        parts.append(_curve(name, points, _CURVES[index % len(_CURVES)], ends[index]))
    spoken = "kNN accuracy in percent by layer, also in the table"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{spoken}">'
        f"{''.join(parts)}</svg>"
    )


def _last(curve: list[float | None]) -> float:
    return next((value for value in reversed(curve) if value is not None), 0.0)


def _apart(heights: list[float], gap: float = 14) -> list[float]:
    """Heights of labels, moved down where they would overlap."""
    placed = list(heights)
    free = -math.inf
    for index in np.argsort(heights, kind="stable"):
        placed[index] = max(heights[index], free)
        free = placed[index] + gap
    return placed


def _curve(
    name: str, points: list[tuple[float, float]], look: tuple[str, str], label_height: float
) -> str:
    colour, dash = look
    line = " ".join(f"{x},{y}" for x, y in points)
    dots = "".join(f'<circle class="dot" cx="{x}" cy="{y}" r="3"/>' for x, y in points)
    return (
        f'<g style="--colour:{colour}"><polyline class="curve" stroke-dasharray="{dash}" '
        f'points="{line}"/>{dots}<text class="name" x="{_WIDTH - _RIGHT + 10}" '
        f'y="{label_height + 4:.1f}" style="fill:{colour}">{escape(name)}</text></g>'
    )


def _numbers(inspection: Inspection) -> str:
    methods = methods_of(inspection.layers)
    head = "".join(f"<th>{escape(name)}</th>" for name in (_FULL, *methods))
    rows = []
    numbered = len(inspection.layers) > _MOST_TITLES  # as below the chart
    for number, layer in enumerate(inspection.layers):
        title = f"{number}: {layer.title}" if numbered else layer.title
        values = [layer.knn_accuracy, *(map_accuracy(layer, method) for method in methods)]
        cells = "".join(f"<td>{_NONE if v is None else percent(v)}</td>" for v in values)
        rows.append(f'<tr><th scope="row">{escape(title)}</th>{cells}</tr>')
    return (
        '<div class="scroll" tabindex="0"><table><thead><tr>'
        f"<th>{term('knn')}</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def layers_html(inspection: Inspection) -> str:
    """Table of layers, and an advice on compression."""
    head = (
        '<th>layer</th><th class="text">kind</th><th>weight</th><th class="text">output</th>'
        + "".join(
            f"<th>{term(key)}</th>"
            for key in ("parameters", "macs", "dead", "rank", "energy", "spectrum")
        )
    )
    rows = "".join(_row(row) for row in inspection.table)
    parameters = whole(sum(row.parameters for row in inspection.table))
    macs = whole(sum(row.macs for row in inspection.table))
    notes = "".join(
        f"<li>{escape(row.name)}: {escape(row.note)}</li>" for row in inspection.table if row.note
    )
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{rows}'
        f'</tbody><tfoot><tr><th scope="row">all</th><td colspan="3"></td><td>{parameters}</td>'
        f'<td>{macs}</td><td colspan="4"></td></tr></tfoot></table></div>'
        + (f'<ul class="notes">{notes}</ul>' if notes else "")
        + f'<p class="advice">{_advice(inspection.table)}</p>'
    )


def _row(row: LayerRow) -> str:
    cells = (
        f'<th scope="row">{escape(row.name)}</th>',
        f'<td class="text">{escape(row.kind)}</td>',
        f"<td>{escape(row.shape)}</td>",
        f'<td class="text">{escape(row.output_shape)}</td>',
        f"<td>{whole(row.parameters)}</td>",
        f"<td>{whole(row.macs)}</td>",
        f"<td>{_NONE if row.dead_share is None else percent(row.dead_share)}</td>",
        f"<td>{_NONE if row.effective_rank is None else f'{row.effective_rank:.0f}'}</td>",
        f"<td>{_NONE if row.rank_energy_95 is None else row.rank_energy_95}</td>",
        f"<td>{_sparkline(row.singular_values)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def _sparkline(values: NDArray[np.float64] | None) -> str:
    if values is None or len(values) < 2 or values[0] <= 0:
        return _NONE
    at = np.unique(np.linspace(0, len(values) - 1, _SPARK_POINTS).round().astype(int))
    points = " ".join(
        f"{90 * i / (len(values) - 1):.1f},{1 + 20 * (1 - values[i] / values[0]):.1f}" for i in at
    )
    spoken = f"from {values[0]:.3g} down to {values[-1]:.3g}"
    return (
        f'<svg class="spark" viewBox="0 0 90 22" role="img" aria-label="{spoken}">'
        f'<path d="M{points}"/></svg>'
    )


def _advice(table: tuple[LayerRow, ...]) -> str:
    """Advice on compression for the layer where it saves most."""
    command = "<code>tinysignal compress RUN --rank N</code>"
    best, most = None, 0.0
    for row in table:
        saved = _saved_share(row)
        if saved > most:
            best, most = row, saved
    if best is None:
        return (
            "No weight has a rank for 95 % far below both its sides, which would allow two smaller "
            f"factors. {command} uses lower ranks and measures the loss of accuracy."
        )
    return (
        f"Layer {escape(best.name)} ({escape(best.shape)}) keeps 95 % of its energy at rank "
        f"{best.rank_energy_95}. Two factors of that rank have {100 * most:.0f} % fewer weights. "
        f"{command} factors it and measures the loss of accuracy."
    )


def _saved_share(row: LayerRow) -> float:
    """Fraction of weights saved by factors a x r and r x b of a weight a x b, r for 95 %."""
    if row.rank_energy_95 is None or row.singular_values is None:
        return 0.0
    sides = [int(side) for side in re.findall(r"\d+", row.shape)]
    outputs, inputs = sides[0], math.prod(sides[1:])
    if min(outputs, inputs) != len(row.singular_values):  # several or transposed weights
        return 0.0
    return 1 - row.rank_energy_95 * (outputs + inputs) / (outputs * inputs)
