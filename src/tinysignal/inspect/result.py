"""What is seen inside a classifier: plain data, from which pages and reports are made.

Nothing here needs torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEIGHBOURS = 10  # of the leave-one-out classifier
TRUST_NEIGHBOURS = 12  # of the trustworthiness
REPORTED_SINGULAR_VALUES = 64  # the largest, in JSON reports


@dataclass(frozen=True, kw_only=True)
class Map:
    """One layer's outputs laid out in a plane, and how far the plane can be believed.

    Parameters
    ----------
    method : str
        ``PCA``, ``t-SNE`` or ``UMAP``.
    points : float32 (points, 2)
        In the order of `Inspection.sample`.
    explained_variance : (float, float) or None
        Shares of the variance on both axes, 0 to 1; PCA only.
    trustworthiness : float
        0 to 1: whether neighbours in the plane are neighbours in the layer, 12 neighbours
        (Venna & Kaski 2001). Random planes have about 0.5.
    silhouette : float
        -1 to 1: how far the true classes lie apart in the plane (Rousseeuw 1987).
    knn_accuracy : float
        Share of points whose 10 nearest others in the plane vote for their true class.
    perplexity : float or None
        t-SNE only: about how many neighbours a point has.
    seed : int
    seconds : float
        Time that the map took.
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
    """The input or one layer's output: maps of it, and how well it parts the classes.

    Parameters
    ----------
    name : str
        ``input``, or the module's name such as ``layers.0``.
    title : str
        For people: ``input``, ``hidden 1``, ``Conv2d conv1``, ``output``.
    values : int
        Numbers per example.
    note : str
        What was done to the values before they were measured, such as a projection; empty if
        nothing.
    knn_accuracy : float
        As in `Map`, in the full space.
    effective_dimensions : float
        Participation ratio of the PCA spectrum, ``sum(v)**2 / sum(v**2)`` of the variances ``v``:
        1 if all lies on a line, ``values`` if it spreads evenly.
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
    """One module with parameters: its size, its cost and the spectrum of its weight.

    Parameters
    ----------
    name, kind : str
        The module's name and class: ``layers.0``, ``Linear``.
    shape : str
        Of the weight: ``1024 x 784``.
    parameters : int
    macs : int
        Multiply-accumulate operations for one example.
    output_shape : str
        Of one example: ``1024``, ``16 x 14 x 14``.
    dead_share : float or None
        Share of the units or channels that are never above zero after the ReLU that follows; None
        where none follows.
    singular_values : float64 (rank,) or None
        Of the weight as a matrix (outputs, all else), descending.
    effective_rank : float or None
        ``exp`` of the entropy of the singular values' shares (Roy & Vetterli 2007).
    rank_energy_95 : int or None
        The smallest rank that keeps 95 % of the squared singular values.
    note : str
        What is to know about the numbers; empty if nothing.
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
    """The examples of one class that the network is most and least sure of.

    Parameters
    ----------
    label : int
        The true class.
    best, worst : int64 (at most the asked number,)
        Into the shown examples of `Inspection`: by the probability of the true class, the highest
        and the lowest first.
    """

    label: int
    best: NDArray[np.int64]
    worst: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """All that is seen inside a classifier.

    The *shown* examples are those on the maps and in the rankings; ``images``, ``labels``,
    ``predicted``, ``probabilities`` and ``positions`` describe them, in one order.

    Parameters
    ----------
    title, data, split : str
        Of the network, of the data set, and which split of it: ``test``.
    seed : int
    seconds : float
    classes : tuple of str
    examples : int
        That the network was run on, all of them.
    accuracy : float
        Over all of them, 0 to 1.
    images : uint8 (shown, rows, columns)
        Grey, 0 black; one scale for all.
    labels, predicted : int64 (shown,)
    probabilities : float32 (shown, classes)
    positions : int64 (shown,)
        Where the examples stand in the data, from 0.
    sample : int64 (points,)
        Which of the shown examples are on the maps, in the order of their points.
    layers : tuple of LayerView
        The input first, then in the order of the computation.
    table : tuple of LayerRow
    rankings : tuple of Ranking
        One a class that has examples.
    notes : tuple of str
        What was done otherwise than asked, one sentence each.
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
        """The numbers for a report: all but points, images and single examples' probabilities.

        Returns
        -------
        dict
            Of plain types, without NaN.
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
