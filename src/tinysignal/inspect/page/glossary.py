"""Explanations of the page's terms, for its tooltips and its glossary."""

from __future__ import annotations

from html import escape

from tinysignal.inspect.result import NEIGHBOURS, TRUST_NEIGHBOURS

TERMS = {
    "layer": (
        "Layer",
        "One processing step of the network. Its output for an example is a vector of numbers: a "
        "point in a space with as many dimensions.",
    ),
    "map": (
        "Map",
        "Projection of that space onto a plane. Every projection loses or distorts distances; the "
        "numbers below a map measure how much.",
    ),
    "pca": (
        "PCA",
        "Principal component analysis: projection onto the two directions of largest variance. "
        "Distances on the map are never longer than in the layer.",
    ),
    "tsne": (
        "t-SNE",
        "Nonlinear map that keeps nearest neighbours close. Groups are reliable if they persist "
        "with other seeds and perplexities; their sizes and distances are not (van der Maaten & "
        "Hinton 2008).",
    ),
    "umap": (
        "UMAP",
        "Nonlinear map from a graph of nearest neighbours, which it keeps close as t-SNE does "
        "(McInnes et al. 2018).",
    ),
    "variance": (
        "Explained variance",
        "Share of the layer's variance along each of the two axes of a PCA map. The map does not "
        "show the rest.",
    ),
    "trust": (
        "Trustworthiness",
        f"Agreement of the {TRUST_NEIGHBOURS} nearest neighbours on the map with the neighbours in "
        "the layer: 1 for full agreement, about 0.5 for random points (Venna & Kaski 2001).",
    ),
    "silhouette": (
        "Silhouette",
        "Separation of the true classes on the map: 1 for tight, distant clusters, 0 for "
        "overlapping ones, negative for mixed ones (Rousseeuw 1987).",
    ),
    "knn": (
        "kNN accuracy",
        f"Share of points whose {NEIGHBOURS} nearest neighbours have their true class in the "
        "majority, on a map or in all values of the layer (full space).",
    ),
    "perplexity": (
        "Perplexity",
        "Effective number of neighbours that t-SNE keeps for every point. Small values show local "
        "detail, large values the global arrangement.",
    ),
    "seed": (
        "Seed",
        "Start value of the random numbers. The same seed gives the same map; features that change "
        "with the seed are not reliable.",
    ),
    "seconds": ("Time", "Computing time of the map and its numbers."),
    "dimensions": (
        "Effective dimensions",
        "Participation ratio of the PCA spectrum: 1 for points on a line, the number of values for "
        "equal variance in all directions.",
    ),
    "parameters": ("Parameters", "Trained numbers in the layer."),
    "macs": (
        "MACs",
        "Multiply-accumulate operations of the layer for one example.",
    ),
    "dead": (
        "Dead units",
        "Share of units whose ReLU is zero for every example. They have no effect and can be "
        "removed.",
    ),
    "spectrum": (
        "Singular values",
        "Stretch factors of the weight matrix along its principal directions, the largest first. "
        "If they fall fast, few directions carry most of the output.",
    ),
    "rank": (
        "Effective rank",
        "Exponential of the entropy of the normalised singular values: the effective number of "
        "directions (Roy & Vetterli 2007).",
    ),
    "energy": (
        "Rank for 95 %",
        "Number of largest singular values that hold 95 % of the sum of squares. A layer of that "
        "rank often performs nearly as before, which a measurement has to confirm.",
    ),
}


def term(key: str, text: str | None = None) -> str:
    """Link to the glossary with the explanation as tooltip, as HTML."""
    label, meaning = TERMS[key]
    return f'<a href="#term-{key}" title="{escape(meaning)}">{escape(text or label)}</a>'


def glossary_html() -> str:
    """All terms as items of an HTML definition list."""
    return "\n".join(
        f'<div id="term-{key}"><dt>{escape(label)}</dt><dd>{escape(meaning)}</dd></div>'
        for key, (label, meaning) in TERMS.items()
    )
