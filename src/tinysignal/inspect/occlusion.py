"""Which parts of a picture decide: what covering them costs the answer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ConfigError, SignalError

Grey = NDArray[np.float32]  # (rows, columns)


def occlusion(
    classify: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    picture: NDArray[np.float32],
    *,
    size: int = 5,
    fill: float = 0.0,
) -> NDArray[np.float32]:
    """How much of the predicted class's probability every pixel carries.

    A square is moved over the picture. A pixel's value is the mean fall of the probability over
    the squares that cover it: positive where the pixel speaks for the class, negative against it.

    Parameters
    ----------
    classify : callable
        Probabilities (examples, classes) of examples, float32 (examples, rows, columns); a
        `Classifier`.
    picture : float32 (rows, columns)
    size : int
        Side of the square in pixels.
    fill : float
        What it shows: 0 is black.

    Returns
    -------
    float32 (rows, columns), -1 to 1

    Raises
    ------
    SignalError
        Not (rows, columns).
    ConfigError
        The square is not within the picture.

    References
    ----------
    Zeiler & Fergus (2014), "Visualizing and understanding convolutional networks", section 4.2.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Classifier
    >>> from tinysignal.inspect.occlusion import occlusion
    >>> one = np.zeros((28, 28), np.float32)
    >>> one[4:24, 13:15] = 1
    >>> found = occlusion(Classifier.load("mnist"), one)
    >>> found.shape, bool(found[:, 13:15].mean() > found[:, :5].mean())
    ((28, 28), True)
    """
    rows = np.asarray(picture, np.float32)
    if rows.ndim != 2:
        raise SignalError(f"picture of shape {rows.shape}, expected (rows, columns).")
    if not 1 <= size <= min(rows.shape):
        raise ConfigError(f"size is {size}, expected 1 to {min(rows.shape)}.")
    tops, lefts = (range(length - size + 1) for length in rows.shape)
    places = [(top, left) for top in tops for left in lefts]
    covered = np.repeat(rows[np.newaxis], len(places) + 1, axis=0)
    for example, (top, left) in zip(covered[1:], places, strict=True):
        example[top : top + size, left : left + size] = fill
    answers = np.asarray(classify(covered))
    best = int(answers[0].argmax())
    falls = answers[0, best] - answers[1:, best]
    sums, counts = np.zeros(rows.shape), np.zeros(rows.shape)
    for fall, (top, left) in zip(falls, places, strict=True):
        sums[top : top + size, left : left + size] += fall
        counts[top : top + size, left : left + size] += 1
    return (sums / counts).astype(np.float32)
