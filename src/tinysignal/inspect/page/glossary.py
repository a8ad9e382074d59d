"""The page's terms, in a sentence or two each: tooltips beside the numbers, and its glossary."""

from __future__ import annotations

from html import escape

from tinysignal.inspect.result import NEIGHBOURS, TRUST_NEIGHBOURS

TERMS = {
    "layer": (
        "Layer",
        "One step of the network. What it puts out for an example is a list of numbers: a point in "
        "a space of as many dimensions.",
    ),
    "map": (
        "Map",
        "That space laid out in the plane, so that it can be looked at. Every map bends or hides "
        "something; its numbers say how much.",
    ),
    "pca": (
        "PCA",
        "Principal component analysis: the flat shadow of the space along the two directions in "
        "which the points spread most. Distances on the map are never longer than in the layer.",
    ),
    "tsne": (
        "t-SNE",
        "A map that keeps each point's nearest neighbours near. Believe groups that stay with "
        "other seeds and perplexities, not their sizes nor how far apart they lie (van der Maaten "
        "& Hinton 2008).",
    ),
    "umap": (
        "UMAP",
        "A map that keeps neighbours near, like t-SNE, from a graph of nearest neighbours "
        "(McInnes et al. 2018).",
    ),
    "variance": (
        "Explained variance",
        "How much of all spread in the layer lies along the two axes of a PCA map. The rest cannot "
        "be seen on it.",
    ),
    "trust": (
        "Trustworthiness",
        f"Whether the {TRUST_NEIGHBOURS} nearest neighbours on the map are near in the layer as "
        "well: 1 if all are, about 0.5 for points strewn at random (Venna & Kaski 2001).",
    ),
    "silhouette": (
        "Silhouette",
        "How far the true classes lie apart on the map: 1 for tight clusters far from each other, "
        "0 where they overlap, negative where they are mixed (Rousseeuw 1987).",
    ),
    "knn": (
        "kNN accuracy",
        f"The share of points whose {NEIGHBOURS} nearest other points vote for their true class: "
        "in the plane of a map, or among all numbers of the layer (full space).",
    ),
    "perplexity": (
        "Perplexity",
        "About how many neighbours t-SNE tries to keep for every point. Small values show fine "
        "grains, large values the coarse arrangement.",
    ),
    "seed": (
        "Seed",
        "The number that chance starts from. The same seed gives the same map again; what changes "
        "with the seed is not to be believed.",
    ),
    "seconds": ("Time", "How long it took to make the map and its numbers."),
    "dimensions": (
        "Effective dimensions",
        "In how many directions the points really spread: 1 on a line, as many as there are "
        "numbers if they spread evenly (participation ratio of the PCA spectrum).",
    ),
    "parameters": ("Parameters", "The numbers in the layer that were learnt."),
    "macs": (
        "MACs",
        "Multiply-accumulate operations for one example: what the layer costs to run.",
    ),
    "dead": (
        "Dead units",
        "Units whose ReLU gives zero for every example: they take part in nothing and could be "
        "left out.",
    ),
    "spectrum": (
        "Singular values",
        "How strongly the weight matrix stretches along each of its own directions, from the "
        "strongest. A curve that falls fast means that few directions do most of the work.",
    ),
    "rank": (
        "Effective rank",
        "How many of those directions count, each weighed by its size: the exponential of the "
        "spectrum's entropy (Roy & Vetterli 2007).",
    ),
    "energy": (
        "Rank for 95 %",
        "How many of the strongest directions hold 95 % of the squared singular values. Cut "
        "down to that rank, a layer often works nearly as before; only measuring tells.",
    ),
}


def term(key: str, text: str | None = None) -> str:
    """A link to the glossary that tells the meaning when it is pointed at, as HTML."""
    label, meaning = TERMS[key]
    return f'<a href="#term-{key}" title="{escape(meaning)}">{escape(text or label)}</a>'


def glossary_html() -> str:
    """All terms, as the items of a definition list."""
    return "\n".join(
        f'<div id="term-{key}"><dt>{escape(label)}</dt><dd>{escape(meaning)}</dd></div>'
        for key, (label, meaning) in TERMS.items()
    )
