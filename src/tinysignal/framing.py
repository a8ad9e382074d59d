"""From a photo, a scan or a drawing to the small picture of its ink that a classifier knows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.spec import ImageInput

Grey = NDArray[np.float32]  # (rows, columns), 0 to 1


def resize(picture: NDArray[Any], height: int, width: int) -> Grey:
    """Stretch to a size: area averages where it shrinks, linear in between where it grows."""
    rows, columns = picture.shape
    resized = _weights(rows, height) @ picture @ _weights(columns, width).T
    return np.asarray(np.clip(resized, 0, 1), np.float32)


def _weights(size: int, new_size: int) -> NDArray[np.float64]:
    """What each old place gives to each new one, (new, old); rows sum to 1."""
    step = size / new_size
    starts = np.arange(new_size)[:, np.newaxis] * step
    places = np.arange(size)
    if step >= 1:
        overlap = np.minimum(places + 1, starts + step) - np.maximum(places, starts)
        weights = np.maximum(overlap, 0)
    else:
        centres = np.clip(starts + step / 2 - 0.5, 0, size - 1)
        weights = np.maximum(1 - np.abs(centres - places), 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def place_ink(picture: NDArray[Any], spec: ImageInput) -> Grey:
    """To come."""
    return resize(picture, spec.height, spec.width)
