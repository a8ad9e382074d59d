"""Result of an inspection: plain data for pages and reports, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10  # neighbours of the kNN accuracy
TRUST_NEIGHBOURS = 12  # neighbours of the trustworthiness
REPORTED_SINGULAR_VALUES = 64  # largest singular values in JSON reports


@dataclass(frozen=True, kw_only=True)
class Map:
    """Two-dimensional map of the outputs of a layer, with measures of its quality.

    Parameters
    ----------
    method : str
        ``PCA``, ``t-SNE`` or ``UMAP``.
    points : float32 (points, 2)
        Positions in the order of `Inspection.sample`.
    explained_variance : (float, float) or None
        Fractions of the variance on both axes, 0 to 1; PCA only.
    trustworthiness : float
        Agreement of 12 neighbours on the map with those in the layer, 0 to 1; about 0.5 for random
        points (Venna & Kaski 2001).
    silhouette : float
        Separation of the true classes on the map, -1 to 1 (Rousseeuw 1987).
    knn_accuracy : float
        Leave-one-out accuracy of 10 nearest neighbours on the map, 0 to 1.
    perplexity : float or None
        Perplexity of t-SNE: effective number of neighbours; t-SNE only.
    seed : int
        Random seed of the map.
    seconds : float
        Computing time in seconds.
    """

    method: str
    points: NDArray[np.float32]
    explained_variance: tuple[float, float] | None = None
    trustworthiness: float
    silhouette: float
    knn_accuracy: float
    perplexity: float | None = None
    seed: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LayerView:
    """Input, or output of a layer: its maps, and its separation of the classes.

    Parameters
    ----------
    name : str
        ``input``, or the name of the module such as ``layers.0``.
    title : str
        Title for people: ``input``, ``hidden 1``, ``Conv2d conv1``, ``output``.
    values : int
        Number of values for one example.
    note : str
        Processing of the values before the measures, such as a projection; empty for none.
    knn_accuracy : float
        Leave-one-out accuracy of 10 nearest neighbours in all values, 0 to 1.
    effective_dimensions : float
        Participation ratio of the PCA spectrum, ``sum(v)**2 / sum(v**2)`` of the variances ``v``:
        1 for points on a line, ``values`` for equal variances.
    maps : tuple of Map
    """

    name: str
    title: str
    values: int
    note: str = ""
    knn_accuracy: float
    effective_dimensions: float
    maps: tuple[Map, ...]


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """Module with parameters: its size, cost and singular values.

    Parameters
    ----------
    name, kind : str
        Name and class of the module: ``layers.0``, ``Linear``.
    shape : str
        Shape of the weight: ``1024 x 784``.
    parameters : int
        Number of parameters.
    macs : int
        Multiply-accumulate operations for one example.
    output_shape : str
        Shape of the output for one example: ``1024``, ``16 x 14 x 14``.
    dead_share : float or None
        Fraction of units or channels that are never above zero after the ReLU that follows; None
        without a ReLU.
    singular_values : float64 (rank,) or None
        Singular values of the weight as a matrix (outputs, all other axes), descending.
    effective_rank : float or None
        ``exp`` of the entropy of the normalised singular values (Roy & Vetterli 2007).
    rank_energy_95 : int or None
        Smallest rank that keeps 95 % of the squared singular values.
    note : str
        Remark about the numbers; empty for none.
    """

    name: str
    kind: str
    shape: str
    parameters: int
    macs: int
    output_shape: str
    dead_share: float | None = None
    singular_values: NDArray[np.float64] | None = None
    effective_rank: float | None = None
    rank_energy_95: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Best and worst examples of a class, by the probability of their true class.

    Parameters
    ----------
    label : int
        True class.
    best, worst : int64 (examples,)
        Indices into the shown examples of `Inspection`, the highest and the lowest probability
        first.
    """

    label: int
    best: NDArray[np.int64]
    worst: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Result of the inspection of a classifier.

    The *shown* examples are those on the maps and in the rankings. ``images``, ``labels``,
    ``predicted``, ``probabilities`` and ``positions`` describe them in one order.

    Parameters
    ----------
    title, data, split : str
        Names of the network, of the data set and of its split: ``test``.
    seed : int
        Random seed.
    seconds : float
        Computing time in seconds.
    classes : tuple of str
        Class names in the order of the labels.
    examples : int
        Number of all examples.
    accuracy : float
        Accuracy on all examples, 0 to 1.
    images : uint8 (shown, rows, columns)
        Grey pictures, 0 black, on one scale.
    labels, predicted : int64 (shown,)
        True and predicted classes.
    probabilities : float32 (shown, classes)
        Class probabilities.
    positions : int64 (shown,)
        Positions of the examples in the data, from 0.
    sample : int64 (points,)
        Indices of the shown examples on the maps, in the order of their points.
    layers : tuple of LayerView
        Input, then layers in the order of computation.
    table : tuple of LayerRow
        Modules with parameters.
    rankings : tuple of Ranking
        Best and worst examples of each class with examples.
    notes : tuple of str
        Deviations from the request, a sentence each.
    """

    title: str
    data: str
    split: str
    seed: int
    seconds: float
    classes: tuple[str, ...]
    examples: int
    accuracy: float
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    positions: NDArray[np.int64]
    sample: NDArray[np.int64]
    layers: tuple[LayerView, ...]
    table: tuple[LayerRow, ...]
    rankings: tuple[Ranking, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Numbers for a JSON report, without points, images and probabilities of single examples.

        Returns
        -------
        dict
            Values of plain types, without NaN.
        """
        return {
            "title": self.title,
            "data": self.data,
            "split": self.split,
            "seed": self.seed,
            "seconds": self.seconds,
            "classes": list(self.classes),
            "examples": self.examples,
            "points": len(self.sample),
            "accuracy": self.accuracy,
            "notes": list(self.notes),
            "layers": [_view_to_json(view) for view in self.layers],
            "table": [_row_to_json(row) for row in self.table],
            "rankings": [self._ranking_to_json(ranking) for ranking in self.rankings],
        }

    def _ranking_to_json(self, ranking: Ranking) -> dict[str, Any]:
        return {
            "class": self.classes[ranking.label],
            "best": [self._example_to_json(i) for i in ranking.best],
            "worst": [self._example_to_json(i) for i in ranking.worst],
        }

    def _example_to_json(self, shown: int) -> dict[str, Any]:
        return {
            "position": int(self.positions[shown]),
            "predicted": self.classes[self.predicted[shown]],
            "probability": float(self.probabilities[shown, self.labels[shown]]),
        }


def _view_to_json(view: LayerView) -> dict[str, Any]:
    plain = {**vars(view), "maps": [dict(vars(one)) for one in view.maps]}
    for one in plain["maps"]:
        del one["points"]
        if one["explained_variance"] is not None:
            one["explained_variance"] = list(one["explained_variance"])
    return plain


def _row_to_json(row: LayerRow) -> dict[str, Any]:
    values = row.singular_values
    largest = None if values is None else values[:REPORTED_SINGULAR_VALUES].tolist()
    return {**vars(row), "singular_values": largest}
