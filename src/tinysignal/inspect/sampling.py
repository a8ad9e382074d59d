"""Choice of the shown examples: a random sample, and the best and worst of every class."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tinysignal.inspect.result import Ranking


@dataclass
class RandomSample:
    """Uniform random sample of a stream of unknown length (reservoir sampling).

    Every example gets a random number; the examples with the smallest numbers are the sample. It
    does not depend on the division into batches.

    Parameters
    ----------
    size : int
        Number of examples in the sample.
    seed : int
        Random seed.
    """

    size: int
    seed: int
    seen: int = 0
    positions: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    _keys: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self._random = np.random.default_rng(self.seed)

    def add(self, examples: int) -> None:
        """Add the next examples; ``positions`` then are those of the sample, ascending."""
        keys = np.concatenate([self._keys, self._random.random(examples)])
        new = np.arange(self.seen, self.seen + examples)
        positions = np.concatenate([self.positions, new])
        kept = np.sort(np.argsort(keys, kind="stable")[: self.size])
        self.positions, self._keys = positions[kept], keys[kept]
        self.seen += examples


@dataclass
class Extremes:
    """Best and worst examples of every class, by the probability of their true class.

    Parameters
    ----------
    size : int
        Number of best, and of worst, examples per class.
    """

    size: int
    _best: dict[int, list[tuple[float, float, int]]] = field(default_factory=dict)
    _worst: dict[int, list[tuple[float, float, int]]] = field(default_factory=dict)

    def add(self, start: int, labels: NDArray[np.int64], logits: NDArray[np.float64]) -> None:
        """Add a batch.

        Parameters
        ----------
        start : int
            Position of its first example in the stream.
        labels : int64 (examples,)
        logits : float64 (examples, classes)
        """
        rows = np.arange(len(labels))
        sure = probabilities(logits)[rows, labels]
        others = logits.copy()
        others[rows, labels] = -np.inf
        # The margin orders examples whose probabilities round to 1.
        margin = logits[rows, labels] - others.max(axis=1)
        for label in np.unique(labels):
            found = [
                (float(sure[i]), float(margin[i]), start + int(i)) for i in rows[labels == label]
            ]
            key = int(label)
            best = [*self._best.get(key, []), *found]
            self._best[key] = sorted(best, key=lambda e: (-e[0], -e[1], e[2]))[: self.size]
            self._worst[key] = sorted([*self._worst.get(key, []), *found])[: self.size]

    def positions(self) -> set[int]:
        """Positions of all kept examples."""
        ends = [*self._best.values(), *self._worst.values()]
        return {position for end in ends for _, _, position in end}

    def rankings(self, shown: NDArray[np.int64]) -> tuple[Ranking, ...]:
        """Rankings as indices into the positions of the shown examples, int64 ascending."""

        def index(end: list[tuple[float, float, int]]) -> NDArray[np.int64]:
            return np.searchsorted(shown, [position for _, _, position in end]).astype(np.int64)

        return tuple(
            Ranking(label=label, best=index(self._best[label]), worst=index(self._worst[label]))
            for label in sorted(self._best)
        )


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Softmax of logits over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def grey_images(
    inputs: NDArray[np.float32], image_shape: tuple[int, int] | None
) -> NDArray[np.uint8]:
    """Grey pictures of inputs, with the smallest of all values black and the largest white.

    Parameters
    ----------
    inputs : float32 (examples, ...)
        Inputs (rows, columns), or (channels, rows, columns) with 1 to 4 channels, which are
        averaged. Inputs of other shapes become one row.
    image_shape : (int, int) or None
        Rows and columns of flattened inputs.

    Returns
    -------
    uint8 (examples, rows, columns)
    """
    flat = inputs.reshape(len(inputs), -1)
    shape = inputs.shape[1:]
    if image_shape is not None:
        grey = flat.reshape(-1, *image_shape)
    elif len(shape) == 2:
        grey = inputs
    elif len(shape) == 3 and shape[0] <= 4:
        grey = inputs.mean(axis=1)
    else:
        grey = flat[:, None, :]
    low, high = float(grey.min()), float(grey.max())
    scale = 255 / (high - low) if high > low else 0.0
    return np.rint((grey.astype(np.float64) - low) * scale).astype(np.uint8)


MOST_VALUES = 4096


def project(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Random projection of rows with more than 4096 values (feature hashing).

    Every value is added with a random sign to one of 4096 sums, with equal numbers of values.
    Inner products are kept in expectation; distances vary by about ``sqrt(2 / 4096)``, 2 %.

    Parameters
    ----------
    rows : float32 (examples, values)

    Returns
    -------
    float32 (examples, at most 4096)

    References
    ----------
    Weinberger et al. (2009), "Feature hashing for large scale multitask learning".
    """
    values = rows.shape[1]
    if values <= MOST_VALUES:
        return rows
    random = np.random.default_rng(values)  # the same projection in every batch and run
    order = random.permutation(values)
    signs = random.choice(np.array([-1, 1], np.float32), values)
    terms = -(-values // MOST_VALUES)
    padded = np.zeros((len(rows), terms * MOST_VALUES), np.float32)
    padded[:, :values] = rows[:, order] * signs
    summed: NDArray[np.float32] = padded.reshape(len(rows), terms, MOST_VALUES).sum(axis=1)
    return summed
