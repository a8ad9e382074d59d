"""Maps: a layer's outputs laid out in a plane by PCA, t-SNE or UMAP."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.inspect.quality import knn_accuracy, nearest, silhouette, trustworthiness
from tinysignal.inspect.result import Map

Points = NDArray[np.float64]

METHODS = ("PCA", "t-SNE", "UMAP")
KEPT_COMPONENTS = 50  # before t-SNE and UMAP, as van der Maaten & Hinton (2008) do
_CHECK_EVERY = 25  # iterations of t-SNE between two looks at whether to stop
_UMAP_LOCK = threading.Lock()  # numba's default threading layer ends the process on a second caller


@dataclass(frozen=True)
class Options:
    """How maps are made.

    Parameters
    ----------
    methods : tuple of str
        Of `METHODS`.
    perplexity : float
    seed : int
    stop : threading.Event
        When set, t-SNE ends soon, with a map that is not done.
    """

    methods: tuple[str, ...]
    perplexity: float
    seed: int
    stop: threading.Event


@dataclass(frozen=True)
class Components:
    """Principal components of a space.

    Parameters
    ----------
    scores : float64 (points, 2 to 50)
        The signs are fixed: each component's largest weight is positive.
    variances : float64 (components,)
        All of them, descending.
    """

    scores: Points
    variances: NDArray[np.float64]

    @property
    def effective_dimensions(self) -> float:
        """Participation ratio, 1 to the number of components; 0 where nothing varies."""
        square = float(np.square(self.variances).sum())
        return float(self.variances.sum()) ** 2 / square if square > 0 else 0.0

    @property
    def explained(self) -> tuple[float, float]:
        """Shares of the variance on the first two components."""
        total = float(self.variances.sum())
        first, second = (float(v) for v in [*self.variances, 0.0][:2])
        return (first / total, second / total) if total > 0 else (0.0, 0.0)


def parse_methods(methods: Sequence[str]) -> tuple[str, ...]:
    """The methods' names as in `METHODS`, whatever their case and hyphens.

    Raises
    ------
    ConfigError
        None, or one that is not there.
    MissingExtraError
        UMAP, where umap-learn is not installed.
    """
    if isinstance(methods, str) or not methods:
        raise ConfigError(f"methods {methods!r}, expected some of {', '.join(METHODS)}.")
    known = {_plain(name): name for name in METHODS}
    for name in methods:
        if _plain(str(name)) not in known:
            raise ConfigError(f"method '{name}', expected {', '.join(METHODS)}.")
    found = tuple(dict.fromkeys(known[_plain(name)] for name in methods))
    _check_installed(found)
    return found


def _plain(name: str) -> str:
    return name.strip().replace("-", "").lower()


def _check_installed(methods: tuple[str, ...]) -> None:
    """Import before any work and before any thread, so that what is absent is said at once."""
    try:
        import sklearn.decomposition  # noqa: PLC0415
        import sklearn.metrics  # noqa: PLC0415, F401
    except ImportError:
        raise MissingExtraError("looking inside a network", "train") from None
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

    if np.all(values == values[0]):  # scikit-learn would divide by the variance of zero
        return Components(np.zeros((len(values), 2)), np.zeros(min(values.shape)))
    pca = PCA(svd_solver="full").fit(values)
    scores = (values - pca.mean_) @ pca.components_[:KEPT_COMPONENTS].T
    if scores.shape[1] == 1:
        scores = np.pad(scores, ((0, 0), (0, 1)))
    return Components(scores, pca.explained_variance_)


def make_maps(
    found: Components, order: NDArray[np.int32], labels: NDArray[np.int64], options: Options
) -> tuple[Map, ...]:
    """Maps of a space, each with its qualities.

    Parameters
    ----------
    found : Components
        Of the space.
    order : int32 (points, points - 1)
        `tinysignal.inspect.quality.nearest` of the space.
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
    # Where nothing varies, there is nothing to lay out.
    varies = bool(found.variances.any())
    points = (make(found.scores, options) if varies else found.scores[:, :2]).astype(np.float32)
    seconds = time.perf_counter() - start
    shown = points.astype(np.float64)  # what is measured is what is shown
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
    """t-SNE of van der Maaten & Hinton (2008), started from the first two components."""
    from openTSNE import TSNE  # noqa: PLC0415 - an extra

    # Kobak & Berens (2019): a start from PCA keeps the large distances; the jitter parts points
    # that are the same.
    scaled = scores / scores[:, 0].std()
    start = 1e-4 * scaled[:, :2]
    start += np.random.default_rng(options.seed).normal(0, 1e-6, start.shape)
    tsne = TSNE(
        perplexity=options.perplexity,
        initialization=start,
        neighbors="exact",
        negative_gradient_method="bh",
        n_jobs=1,  # sums in one order: the same map every time
        random_state=options.seed,
        callbacks=lambda _iteration, _error, _points: options.stop.is_set(),
        callbacks_every_iters=_CHECK_EVERY,
    )
    return np.asarray(tsne.fit(scaled), np.float64)


def _umap(scores: Points, options: Options) -> Points:
    """UMAP of McInnes et al. (2018) with its authors' defaults."""
    from umap import UMAP  # noqa: PLC0415 - an extra

    with _UMAP_LOCK:
        reducer = UMAP(random_state=options.seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(scores), np.float64)
