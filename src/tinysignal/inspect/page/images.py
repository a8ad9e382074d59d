"""Sprite of all example pictures, and colours of the classes."""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import DataError, MissingExtraError

_MOST_PIXELS = 4_000_000  # at most about 3 MB of PNG, 4 MB in the page


@dataclass(frozen=True)
class Sprite:
    """Grid of pictures in one PNG.

    Parameters
    ----------
    png : bytes
        Contents of the PNG file.
    columns, rows : int
        Number of pictures in a row, and of rows.
    width, height : int
        Size of one picture in pixels.
    """

    png: bytes
    columns: int
    rows: int
    width: int
    height: int

    def place(self, number: int) -> tuple[float, float]:
        """Position of a picture for CSS ``background-position``: x and y in percent."""
        row, column = divmod(number, self.columns)
        return _percent(column, self.columns), _percent(row, self.rows)


def _percent(number: int, count: int) -> float:
    return round(100 * number / max(1, count - 1), 4)


def make_sprite(images: NDArray[np.uint8], *, most_pixels: int = _MOST_PIXELS) -> Sprite:
    """Sprite of pictures.

    Parameters
    ----------
    images : uint8 (pictures, rows, columns)
        Grey pictures.
    most_pixels : int
        Largest number of pixels in the PNG; larger pictures are reduced by averaging blocks.

    Returns
    -------
    Sprite

    Raises
    ------
    DataError
        There is no picture, or the shape or type differs.
    MissingExtraError
        Pillow is not installed.
    """
    try:
        from PIL import Image  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("drawing the examples of a page", "image") from None
    if images.ndim != 3 or not images.size or images.dtype != np.uint8:
        raise DataError(
            f"images are {images.dtype} {images.shape}, expected uint8 (pictures, rows, columns)."
        )
    small = _reduced(images, most_pixels)
    columns = math.isqrt(len(small) - 1) + 1
    sheet = _montage(small, columns)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "PNG", optimize=True)
    height, width = small.shape[1:]
    return Sprite(buffer.getvalue(), columns, sheet.shape[0] // height, width, height)


def _reduced(images: NDArray[np.uint8], most_pixels: int) -> NDArray[np.uint8]:
    """Pictures with their sides divided by the smallest whole number that makes them fit."""
    count, rows, columns = images.shape
    factor = max(1, math.ceil(math.sqrt(images.size / most_pixels)))
    if factor == 1:
        return images
    down, across = min(factor, rows), min(factor, columns)  # keeps at least one pixel of a strip
    rows, columns = rows // down, columns // across
    blocks = images[:, : rows * down, : columns * across].reshape(
        count, rows, down, columns, across
    )
    mean: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return np.round(mean).astype(np.uint8)


def _montage(images: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Grid of pictures; empty cells are black."""
    count, height, width = images.shape
    rows = -(-count // columns)
    cells = np.zeros((rows * columns, height, width), np.uint8)
    cells[:count] = images
    lines = cells.reshape(rows, columns, height, width).swapaxes(1, 2)
    return lines.reshape(rows * height, columns * width)


# Colours that most colour-blind people distinguish on white and black: the sequence of ten of
# Petroff (2021), "Accessible color sequences for data visualization", arXiv:2107.02270. The order
# is changed to give distant colours to digits that networks confuse (4, 7 and 9; 3, 5 and 8).
TEN = (
    "#3f90da",
    "#94a4a2",
    "#e76300",
    "#832db6",
    "#bd1f01",
    "#b9ac70",
    "#a96b59",
    "#92dadd",
    "#717581",
    "#ffa90e",
)
_GOLDEN = 0.618034  # fraction of a turn between consecutive hues


def class_colours(count: int) -> tuple[str, ...]:
    """Colours of the classes, ``#rrggbb``.

    The first ten suit colour-blind people; later ones are distinct but increasingly similar.

    Examples
    --------
    >>> from tinysignal.inspect.page.images import class_colours
    >>> class_colours(2)
    ('#3f90da', '#94a4a2')
    """
    return TEN[:count] + tuple(_further(i) for i in range(count - len(TEN)))


def _further(number: int) -> str:
    hue = (0.33 + number * _GOLDEN) % 1.0
    lightness = (0.45, 0.65, 0.55)[number % 3]
    channels = colorsys.hls_to_rgb(hue, lightness, 0.55)
    return "#" + "".join(f"{round(255 * value):02x}" for value in channels)
