"""How well a space parts the classes, and how far a map of it can be believed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinysignal.inspect.result import NEIGHBOURS, TRUST_NEIGHBOURS

FEWEST_POINTS = 2 * TRUST_NEIGHBOURS + 1  # trustworthiness is defined below n / 2 neighbours


def nearest(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Every point's other points, the nearest first; the earlier one first where they tie.

    Parameters
    ----------
    points : float64 (points, values)

    Returns
    -------
    int32 (points, points - 1)
    """
    centred = points - points.mean(axis=0)  # the squares below lose less to rounding
    power = np.square(centred).sum(axis=1)
    squared = power[:, None] + power[None, :] - 2 * (centred @ centred.T)
    np.maximum(squared, 0, out=squared)
    np.fill_diagonal(squared, -1)  # the point itself comes first and is cut off
    return np.argsort(squared, axis=1, kind="stable")[:, 1:].astype(np.int32)


def knn_accuracy(order: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    """Share of points whose nearest others vote for their class, each point left out in turn.

    Parameters
    ----------
    order : int32 (points, points - 1)
        From `nearest`; the first 10 of them vote.
    labels : int64 (points,)
        From 0. Where classes tie, the smallest label wins.

    Returns
    -------
    float, 0 to 1
    """
    votes = np.zeros((len(labels), int(labels.max()) + 1), np.int32)
    rows = np.arange(len(labels))
    for column in order[:, :NEIGHBOURS].T:
        votes[rows, labels[column]] += 1
    return float(np.mean(votes.argmax(axis=1) == labels))


def trustworthiness(space: NDArray[np.int32], plane: NDArray[np.int32]) -> float:
    """Whether the neighbours in a plane are neighbours in the space that it shows.

    Parameters
    ----------
    space, plane : int32 (points, points - 1)
        From `nearest`, 25 points or more.

    Returns
    -------
    float, 0 to 1

    References
    ----------
    Venna & Kaski (2001), "Neighborhood preservation in nonlinear projection methods", eq. 4, with
    12 neighbours.
    """
    n, k = len(space), TRUST_NEIGHBOURS
    rank = np.zeros((n, n), np.int32)
    np.put_along_axis(rank, space, np.arange(1, n, dtype=np.int32)[None, :], axis=1)
    excess = np.take_along_axis(rank, plane[:, :k], axis=1) - k
    penalty = float(np.maximum(excess, 0).sum(dtype=np.int64))
    return 1 - 2 * penalty / (n * k * (2 * n - 3 * k - 1))


def silhouette(points: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """Mean silhouette of the true classes, -1 to 1 (Rousseeuw 1987).

    Parameters
    ----------
    points : float64 (points, values)
    labels : int64 (points,)
        2 classes or more, and fewer than points.
    """
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - an extra

    return float(silhouette_score(points, labels))
