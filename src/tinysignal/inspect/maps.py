"""Maps: two-dimensional embeddings of layer outputs by PCA, t-SNE or UMAP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.inspect.result import NEIGHBOURS, TRUST_NEIGHBOURS, Map

Points = NDArray[np.float64]

METHODS = ("PCA", "t-SNE", "UMAP")
KEPT_COMPONENTS = 50  # PCA before t-SNE and UMAP, as in van der Maaten & Hinton (2008)
_CHECK_EVERY = 25  # iterations of t-SNE between two checks of the stop event
_UMAP_LOCK = threading.Lock()  # numba's default threading layer aborts on concurrent callers


@dataclass(frozen=True)
class Options:
    """Options of maps.

    Parameters
    ----------
    methods : tuple of str
        Map methods, names in `METHODS`.
    perplexity : float
        Perplexity of t-SNE.
    seed : int
        Random seed.
    stop : threading.Event
        Stops t-SNE early, with an unfinished map.
    """

    methods: tuple[str, ...]
    perplexity: float
    seed: int
    stop: threading.Event


@dataclass(frozen=True)
class Components:
    """Principal components of the outputs of a layer.

    Parameters
    ----------
    scores : float64 (points, 2 to 50)
        First components. Signs are fixed: the largest weight of each component is positive.
    variances : float64 (components,)
        Variances of all components, descending.
    """

    scores: Points
    variances: NDArray[np.float64]

    @property
    def effective_dimensions(self) -> float:
        """Participation ratio, 1 to the number of components; 0 for constant outputs."""
        square = float(np.square(self.variances).sum())
        return float(self.variances.sum()) ** 2 / square if square > 0 else 0.0

    @property
    def explained(self) -> tuple[float, float]:
        """Fractions of the variance on the first two components."""
        total = float(self.variances.sum())
        first, second = (float(v) for v in [*self.variances, 0.0][:2])
        return (first / total, second / total) if total > 0 else (0.0, 0.0)


def parse_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """Method names as in `METHODS`, from names in any case with or without hyphens.

    Raises
    ------
    ConfigError
        There is no name, or an unknown one.
    MissingExtraError
        The package of a method is not installed.

    Examples
    --------
    >>> from tinysignal.inspect.maps import parse_methods
    >>> parse_methods(["pca", "tsne"])
    ('PCA', 't-SNE')
    """
    if isinstance(methods, str) or not methods:
        raise ConfigError(f"methods is {methods!r}, expected some of {', '.join(METHODS)}.")
    known = {_plain(name): name for name in METHODS}
    for name in methods:
        if _plain(str(name)) not in known:
            raise ConfigError(f"method '{name}', expected some of {', '.join(METHODS)}.")
    found = tuple(dict.fromkeys(known[_plain(name)] for name in methods))
    _check_installed(found)
    return found


def _plain(name: str) -> str:
    return name.strip().replace("-", "").lower()


def _check_installed(methods: tuple[str, ...]) -> None:
    """Import optional packages before the work, which raises MissingExtraError at once."""
    try:
        import sklearn.decomposition  # noqa: PLC0415
        import sklearn.metrics  # noqa: PLC0415, F401
    except ImportError:
        raise MissingExtraError("inspecting a network", "train") from None
    try:
        if "t-SNE" in methods:
            import openTSNE  # noqa: PLC0415, F401
    except ImportError:
        raise MissingExtraError("t-SNE", "train") from None
    try:
        if "UMAP" in methods:
            import umap  # noqa: PLC0415, F401
    except ImportError:
        raise MissingExtraError("UMAP", "umap") from None


def components(values: Points) -> Components:
    """Principal components by a full singular value decomposition.

    Parameters
    ----------
    values : float64 (points, values)
    """
    from sklearn.decomposition import PCA  # noqa: PLC0415 - an extra

    if np.all(values == values[0]):  # scikit-learn would divide by a variance of zero
        return Components(np.zeros((len(values), 2)), np.zeros(min(values.shape)))
    pca = PCA(svd_solver="full").fit(values)
    scores = (values - pca.mean_) @ pca.components_[:KEPT_COMPONENTS].T
    if scores.shape[1] == 1:
        scores = np.pad(scores, ((0, 0), (0, 1)))
    return Components(scores, pca.explained_variance_)


def make_maps(
    found: Components, order: NDArray[np.int32], labels: NDArray[np.int64], options: Options
) -> tuple[Map, ...]:
    """Maps of the outputs of a layer, each with measures of its quality.

    Parameters
    ----------
    found : Components
        Principal components of the outputs.
    order : int32 (points, points - 1)
        `nearest` of the outputs.
    labels : int64 (points,)
    options : Options
    """
    return tuple(_make_map(method, found, order, labels, options) for method in options.methods)


def _make_map(
    method: str,
    found: Components,
    order: NDArray[np.int32],
    labels: NDArray[np.int64],
    options: Options,
) -> Map:
    start = time.perf_counter()
    make: Callable[[Points, Options], Points] = {"PCA": _pca, "t-SNE": _tsne, "UMAP": _umap}[method]
    # Constant outputs have no t-SNE or UMAP.
    varies = bool(found.variances.any())
    points = (make(found.scores, options) if varies else found.scores[:, :2]).astype(np.float32)
    seconds = time.perf_counter() - start
    shown = points.astype(np.float64)  # measures are those of the stored float32 points
    plane = nearest(shown)
    return Map(
        method=method,
        points=points,
        explained_variance=found.explained if method == "PCA" else None,
        trustworthiness=trustworthiness(order, plane),
        silhouette=silhouette(shown, labels),
        knn_accuracy=knn_accuracy(plane, labels),
        perplexity=options.perplexity if method == "t-SNE" else None,
        seed=options.seed,
        seconds=seconds,
    )


def _pca(scores: Points, options: Options) -> Points:
    return scores[:, :2]


def _tsne(scores: Points, options: Options) -> Points:
    return np.asarray(fit_tsne(scores, options), np.float64)


def fit_tsne(scores: Points, options: Options) -> Any:
    """t-SNE (van der Maaten & Hinton 2008), initialised by the first two components.

    Parameters
    ----------
    scores : float64 (points, components)
        Not constant.
    options : Options

    Returns
    -------
    openTSNE.TSNEEmbedding
        Points of scores that were divided by the first component's standard deviation.
    """
    from openTSNE import TSNE  # noqa: PLC0415 - an extra

    # Initialisation by PCA keeps large distances (Kobak & Berens 2019); the jitter separates
    # identical points.
    scaled = scores / scores[:, 0].std()
    start = 1e-4 * scaled[:, :2]
    start += np.random.default_rng(options.seed).normal(0, 1e-6, start.shape)
    tsne = TSNE(
        perplexity=options.perplexity,
        initialization=start,
        neighbors="exact",
        negative_gradient_method="bh",
        n_jobs=1,  # fixes the order of sums and makes the map reproducible
        random_state=options.seed,
        callbacks=lambda _iteration, _error, _points: options.stop.is_set(),
        callbacks_every_iters=_CHECK_EVERY,
    )
    return tsne.fit(scaled)


def _umap(scores: Points, options: Options) -> Points:
    """UMAP (McInnes et al. 2018) with the defaults of its authors."""
    from umap import UMAP  # noqa: PLC0415 - an extra

    with _UMAP_LOCK:
        reducer = UMAP(random_state=options.seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(scores), np.float64)


FEWEST_POINTS = 2 * TRUST_NEIGHBOURS + 1  # trustworthiness needs fewer than n / 2 neighbours


def nearest(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Indices of all other points of every point, the nearest first; ties by index.

    Parameters
    ----------
    points : float64 (points, values)

    Returns
    -------
    int32 (points, points - 1)
    """
    centred = points - points.mean(axis=0)  # reduces the rounding of the squares below
    power = np.square(centred).sum(axis=1)
    squared = power[:, None] + power[None, :] - 2 * (centred @ centred.T)
    np.maximum(squared, 0, out=squared)
    np.fill_diagonal(squared, -1)  # sorts the point itself first, to be cut off
    return np.argsort(squared, axis=1, kind="stable")[:, 1:].astype(np.int32)


def knn_accuracy(order: NDArray[np.int32], labels: NDArray[np.int64]) -> float:
    """Leave-one-out accuracy of a 10-nearest-neighbour classifier.

    Parameters
    ----------
    order : int32 (points, points - 1)
        Result of `nearest`.
    labels : int64 (points,)
        Class numbers from 0. The smallest label wins a tie.

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
    """Trustworthiness of a map: whether its neighbours are neighbours in the layer.

    Parameters
    ----------
    space, plane : int32 (points, points - 1)
        Results of `nearest` for the layer and for the map, of 25 points or more.

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
        Class numbers, of 2 classes or more, and fewer than points.
    """
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - an extra

    return float(silhouette_score(points, labels))
