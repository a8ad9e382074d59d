"""An inspection of blobs, made on the spot: what the page and its command are tested on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinysignal.inspect.result import Inspection, LayerRow, LayerView, Map, Ranking

METHODS = ("PCA", "t-SNE")


def sample_inspection(
    *,
    classes: tuple[str, ...] = ("zero", "one", "two"),
    shown: int = 60,
    layers: tuple[str, ...] = ("input", "hidden 1", "output"),
    split: tuple[int, int] = (6, 5),
    title: str = "toy",
    seed: int = 0,
) -> Inspection:
    """Blobs of a few classes that lie further apart from layer to layer.

    Every seventh example is an error; all but the first two shown examples are on the maps.
    """
    rng = np.random.default_rng(seed)
    count = len(classes)
    labels = np.arange(shown) % count
    predicted = np.where(np.arange(shown) % 7 == 3, (labels + 1) % count, labels)
    scores = rng.random((shown, count))
    scores[np.arange(shown), predicted] += 1 + rng.random(shown)
    probabilities = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    sample = np.arange(2, shown)
    views = tuple(
        _view(rng, title_, number, labels[sample]) for number, title_ in enumerate(layers)
    )
    return Inspection(
        title=title,
        data="blobs",
        split="test",
        seed=seed,
        seconds=1.5,
        classes=classes,
        examples=10 * shown,
        accuracy=float((predicted == labels).mean()),
        images=rng.integers(0, 256, (shown, *split), dtype=np.uint8),
        labels=labels,
        predicted=predicted,
        probabilities=probabilities,
        positions=np.arange(shown) * 10,
        sample=sample,
        layers=views,
        table=tuple(_row(rng, view.name) for view in views[1:]),
        rankings=tuple(_ranking(labels, probabilities, label) for label in range(count)),
    )


def _view(rng: np.random.Generator, title: str, number: int, labels: np.ndarray) -> LayerView:
    centres = rng.normal(0, 1.0 + 2 * number, (labels.max() + 1, 2))
    maps = tuple(
        Map(
            method=method,
            points=(centres[labels] + rng.normal(0, 1, (len(labels), 2))).astype(np.float32),
            explained_variance=(0.4, 0.25) if method == "PCA" else None,
            trustworthiness=0.9,
            silhouette=0.1 * min(number, 9),
            knn_accuracy=min(1.0, 0.6 + 0.05 * number),
            perplexity=30.0 if method == "t-SNE" else None,
            seed=0,
            seconds=0.2,
        )
        for method in METHODS
    )
    return LayerView(
        name="input" if number == 0 else f"layers.{number - 1}",
        title=title,
        values=30,
        knn_accuracy=0.7 + 0.1 * min(number, 2),
        effective_dimensions=3.3,
        maps=maps,
    )


def _row(rng: np.random.Generator, name: str) -> LayerRow:
    return LayerRow(
        name=name,
        kind="Linear",
        shape="8 x 30",
        parameters=248,
        macs=240,
        output_shape="8",
        dead_share=0.125,
        singular_values=np.sort(rng.random(8))[::-1],
        effective_rank=6.2,
        rank_energy_95=4,
    )


def _ranking(labels: np.ndarray, probabilities: np.ndarray, label: int) -> Ranking:
    own = np.flatnonzero(labels == label)
    order = own[np.argsort(-probabilities[own, label], kind="stable")]
    return Ranking(label=label, best=order[:10], worst=order[::-1][:10])


def renamed(inspection: Inspection, *classes: str) -> Inspection:
    """The same, its classes called otherwise."""
    return replace(inspection, classes=classes)
