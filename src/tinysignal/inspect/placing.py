"""Maps on which new examples are placed: what `maps` draws once, kept to be asked again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.inspect.maps import KEPT_COMPONENTS, Options, Points, fit_tsne

_PERPLEXITY = 30.0


@dataclass(frozen=True)
class PlacingMap:
    """A map of a layer's outputs, which new outputs are placed on; made by `placing_map`.

    Parameters
    ----------
    method : {"PCA", "t-SNE"}
    points : float64 (points, 2)
        Places of the examples that the map was made of.
    """

    method: str
    points: Points
    _mean: Points
    _axes: Points  # (values, components)
    _scale: float
    _embedding: Any  # openTSNE's, None for PCA

    def place(self, values: NDArray[Any]) -> Points:
        """Places of new outputs: by projection, or by t-SNE with the old places fixed.

        Parameters
        ----------
        values : floating (examples, values)

        Returns
        -------
        float64 (examples, 2)
        """
        scores = (np.asarray(values, np.float64) - self._mean) @ self._axes
        if self._embedding is None:
            return np.asarray(scores[:, :2])
        return np.asarray(self._embedding.transform(scores / self._scale), np.float64)


def placing_map(
    values: NDArray[Any],
    method: str = "PCA",
    *,
    perplexity: float = _PERPLEXITY,
    seed: int = 0,
    stop: threading.Event | None = None,
) -> PlacingMap:
    """A map of the outputs of a layer that answers for new ones too.

    Parameters
    ----------
    values : floating (points, values)
    method : {"PCA", "t-SNE"}
        PCA needs numpy alone.
    perplexity, seed
        Of t-SNE, see `tinysignal.inspect.inspect`.
    stop : threading.Event or None
        Ends t-SNE early.

    Raises
    ------
    ConfigError
        Another method.
    MissingExtraError
        openTSNE is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.inspect.placing import placing_map
    >>> values = np.random.default_rng(0).normal(size=(50, 8))
    >>> found = placing_map(values)
    >>> bool(np.allclose(found.place(values[:3]), found.points[:3]))
    True
    """
    if method not in ("PCA", "t-SNE"):
        raise ConfigError(f"method '{method}', expected PCA or t-SNE.")
    rows = np.asarray(values, np.float64)
    mean = rows.mean(axis=0)
    axes = _axes(rows - mean)
    scores = (rows - mean) @ axes
    if method == "PCA" or not scores.any():  # constant outputs have no t-SNE
        return PlacingMap("PCA", scores[:, :2], mean, axes[:, :2], 1.0, None)
    try:
        options = Options((method,), perplexity, seed, stop or threading.Event())
        embedding = fit_tsne(scores, options)
    except ImportError:
        raise MissingExtraError("t-SNE", "train") from None
    points = np.asarray(embedding, np.float64)
    return PlacingMap(method, points, mean, axes, float(scores[:, 0].std()), embedding)


def _axes(centred: Points) -> Points:
    """Principal axes, (values, components); the largest weight of each is positive."""
    covariance = centred.T @ centred
    _, vectors = np.linalg.eigh(covariance)  # ascending
    axes = vectors[:, ::-1][:, : max(2, min(KEPT_COMPONENTS, len(centred)))]
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    axes = axes * np.where(largest < 0, -1, 1)
    return np.pad(axes, ((0, 0), (0, max(0, 2 - axes.shape[1]))))
