"""The page's examples, maps and legend as HTML; what people wrote is escaped."""

from __future__ import annotations

from html import escape
from typing import Literal

from tinysignal.inspect.glossary import term
from tinysignal.inspect.pictures import MOST_NAMES
from tinysignal.inspect.result import Inspection, LayerView, Map, Ranking
from tinysignal.inspect.sprite import Sprite

COLUMNS = 10  # examples of a class
_METHOD_TERMS = {"PCA": "pca", "t-SNE": "tsne", "UMAP": "umap"}


def percent(share: float) -> str:
    """``98.3 %`` of 0.983."""
    return f"{100 * share:.1f} %"


def whole(number: int) -> str:
    """Digits in groups of three, by narrow spaces that do not break."""
    return f"{number:,}".replace(",", "\u202f")


def facts_html(inspection: Inspection) -> str:
    """What was looked at, as a list under the title."""
    parameters = sum(row.parameters for row in inspection.table)
    facts = {
        "data": ", ".join(filter(None, (inspection.data, inspection.side))),
        "examples": whole(inspection.examples),
        "accuracy": f"{100 * inspection.accuracy:.2f} %",
        "parameters": whole(parameters),
        "on the maps": whole(len(inspection.sample)),
        "seed": str(inspection.seed),
        "took": f"{inspection.seconds:.0f} s",
    }
    items = (
        f"<div><dt>{key}</dt><dd>{escape(text)}</dd></div>" for key, text in facts.items() if text
    )
    return f'<dl class="facts">{"".join(items)}</dl>'


def notes_html(inspection: Inspection) -> str:
    """What was done otherwise than asked; nothing if nothing was."""
    items = "".join(f"<li>{escape(note)}</li>" for note in inspection.notes)
    return f'<ul class="notes">{items}</ul>' if items else ""


def swatch(colour: str) -> str:
    """A dot of a class's colour."""
    return f'<span class="swatch" style="--colour:{colour}"></span>'


def legend_html(inspection: Inspection, colours: tuple[str, ...]) -> str:
    """A button for each class, and what else can be chosen for all maps."""
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
    """The examples of every class that the network is most or least sure of."""
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
        f"<li>{_example(inspection, int(one), sprite, said=which == 'worst')}</li>"
        for one in shown[:COLUMNS]
    )


def _example(inspection: Inspection, shown: int, sprite: Sprite, *, said: bool) -> str:
    label, predicted = int(inspection.labels[shown]), int(inspection.predicted[shown])
    guess, share = inspection.classes[predicted], float(inspection.probabilities[shown, predicted])
    mark = ' class="wrong"' if predicted != label else ""
    under = ""
    if said:
        under = f"<span{mark}>{escape(guess)}</span><span{mark}>{100 * share:.0f} %</span>"
    spoken = f"true {inspection.classes[label]}, predicted {guess}, {100 * share:.0f} %"
    x, y = sprite.place(shown)
    return (
        f'<button type="button" class="example" data-shown="{shown}" aria-label="{escape(spoken)}"'
        f' title="{escape(guess)}"><span class="pic" style="background-position:{x:g}% {y:g}%">'
        f"</span>{under}</button>"
    )


def maps_html(inspection: Inspection) -> str:
    """A row of maps for the input and each layer, with their numbers."""
    return "\n".join(_layer(layer) for layer in inspection.layers)


def _layer(layer: LayerView) -> str:
    about = [
        *([f"module {escape(layer.name)}"] if layer.name != layer.title else []),
        f"{whole(layer.values)} numbers",
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
