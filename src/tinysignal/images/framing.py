"""From a photo, a scan or a drawing to the small picture of its ink that a classifier knows."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import DataError
from tinysignal.spec import ImageInput

Grey = NDArray[np.float32]  # (rows, columns), 0 to 1
_Values = NDArray[np.float64]  # (rows, columns)
_Mask = NDArray[np.bool_]  # (rows, columns)

_PAGE_PIXELS = 1024  # the longer side at which a page is looked at,
_COARSE_PIXELS = 256  # at which ink is looked for: noise and texture average out,
_FINE_BOXES = 4  # and, in boxes, at which ink is measured
_FLAT_PIXELS = 64  # smaller pictures are no photos of paper: their light is even
_FAINTEST = 0.08  # less contrast than that is paper
_SURE_SIGMAS = 6  # no noise in a page is that high
_FLOOR_SIGMAS = 3
_INK_SHARE = 0.35  # of the darkest ink: more is ink when it is looked for
_SPECK_SHARE = 0.05  # of the largest piece's mass: less is dirt
_EDGE_SHARE = 0.02  # of full ink: more counts for the bounding box
_FULL_QUANTILE = 0.98  # of what is ink: more than that counts as full
_VALUES_AT_ONCE = 1 << 20  # of a picture that is made smaller
_MAD_TO_SIGMA = 1.4826  # of normally distributed noise


def resize(picture: NDArray[Any], height: int, width: int) -> Grey:
    """Stretch to a size: area averages where it shrinks, linear in between where it grows."""
    return np.asarray(np.clip(_stretch(picture, height, width), 0, 1), np.float32)


def place_ink(picture: NDArray[Any], spec: ImageInput) -> Grey:
    """What is drawn or written, light on black, alone, in the middle.

    The paper is found from the picture's border; its uneven light and texture are taken away, and
    it becomes black, whether it was light or dark. The ink is cropped, specks left out. Its longer
    side is fitted into ``spec.box`` pixels and its contrast stretched to 1. It is placed with its
    centre of mass (``mass``) or the middle of its bounding box (``box``) in the middle, shifted by
    whole pixels, as MNIST was made.

    Parameters
    ----------
    picture : floating (rows, columns)
        0 black to 1 white.
    spec : ImageInput

    Returns
    -------
    float32 (height, width)

    Raises
    ------
    DataError
        There is no ink.
    """
    ink = _ink(_at_most(picture, _PAGE_PIXELS))
    top, bottom, left, right = _find_ink(_at_most(ink, _COARSE_PIXELS))
    length = max((bottom - top) * ink.shape[0], (right - left) * ink.shape[1])
    scale = min(1.0, _FINE_BOXES * spec.box / length)
    fine = _stretch(ink, *(max(1, round(side * scale)) for side in ink.shape))
    cut = _contrasted(fine, (top, bottom, left, right))
    small = _fitted(cut, spec.box)
    return _placed(small / small.max(), spec)


def _ink(page: _Values) -> _Values:
    """How far a pixel is from the paper, positive for ink; the noise of the paper is kept."""
    paper = _paper(page)
    difference = page - paper
    coarse = _at_most(difference, _COARSE_PIXELS)
    if -coarse.min() > coarse.max():  # on light paper, the light that ink swallows
        return -difference / np.maximum(paper, 0.1)
    return difference


def _paper(page: _Values) -> _Values:
    """The page without ink: its light as a quadratic surface, from the border inwards."""
    coarse = _at_most(page, _COARSE_PIXELS)
    margin = _margin(coarse.shape)
    if min(page.shape) < _FLAT_PIXELS:
        return np.full(page.shape, np.median(coarse[margin]))
    terms, border = _quadratics(coarse.shape), coarse[margin]
    weights = np.ones(border.size)
    for _ in range(8):  # least absolute deviations: ink that touches the border has no say
        fit = _solve(terms[margin], border, weights)
        weights = 1 / np.maximum(np.abs(border - terms[margin] @ fit), 0.005)
    spread = _sigma(border - terms[margin] @ fit)
    empty = np.abs(coarse - terms @ fit) < 3 * spread + 0.02
    fit = _solve(terms[empty], coarse[empty], np.ones(int(empty.sum())))
    return _stretch(terms @ fit, *page.shape)


def _quadratics(shape: tuple[int, ...]) -> _Values:
    """1, x, y, xx, xy, yy at every pixel, (rows, columns, 6)."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)


def _solve(terms: _Values, values: _Values, weights: _Values) -> _Values:
    """Weighted least squares, through the 6 x 6 normal equations."""
    weighted = terms * weights[:, np.newaxis]
    return np.asarray(np.linalg.lstsq(weighted.T @ terms, weighted.T @ values)[0])


def _find_ink(coarse: _Values) -> tuple[float, float, float, float]:
    """Top, bottom, left and right of the ink, as shares of the page."""
    noise = _sigma(coarse[_margin(coarse.shape)])
    darkest = float(coarse.max())
    # On a page, shadows remain; a small picture is ink and nothing else, however shaded, and its
    # border may be as much ink as the rest.
    is_page = min(coarse.shape) >= _FLAT_PIXELS
    sure = _SURE_SIGMAS * _sigma(coarse[_border(coarse.shape)]) if is_page else 0.0
    if darkest < max(_FAINTEST, sure):
        raise DataError("there is nothing drawn on it: the whole picture is one tone.")
    faintest = max((_INK_SHARE if is_page else _EDGE_SHARE) * darkest, (_FLOOR_SIGMAS + 1) * noise)
    mask = coarse > min(faintest, darkest / 2)
    rows, columns = np.nonzero(_without_dirt(coarse, mask))
    height, width = coarse.shape
    return (
        rows.min() / height,
        (rows.max() + 1) / height,
        columns.min() / width,
        (columns.max() + 1) / width,
    )


def _without_dirt(ink: _Values, mask: _Mask) -> _Mask:
    """The mask without specks, and without what lies along the picture's edge."""
    pieces = _pieces(mask)
    masses = [float(ink[tuple(np.transpose(piece))].sum()) for piece in pieces]
    large = [p for p, m in zip(pieces, masses, strict=True) if m >= _SPECK_SHARE * max(masses)]
    kept = [piece for piece in large if not _along_edge(piece, mask.shape)] or large
    clean = np.zeros_like(mask)
    for piece in kept:
        clean[tuple(np.transpose(piece))] = True
    return clean


def _along_edge(piece: list[tuple[int, int]], shape: tuple[int, ...]) -> bool:
    """Whether it touches the border and stays out of the middle: a shadow, the table."""
    places, size = np.array(piece), np.array(shape)
    touches = bool(((places == 0) | (places == size - 1)).any())
    central = ((places >= size / 4) & (places < 3 * size / 4)).all(axis=1)
    return touches and not bool(central.any())


def _pieces(mask: _Mask) -> list[list[tuple[int, int]]]:
    """Connected places, corners included."""
    left = set(zip(*(axis.tolist() for axis in np.nonzero(mask)), strict=True))
    pieces = []
    while left:
        piece = [left.pop()]
        for row, column in piece:  # grows while it is walked
            around = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= around
            piece += around
        pieces.append(piece)
    return pieces


def _contrasted(fine: _Values, bounds: tuple[float, float, float, float]) -> _Values:
    """The ink in its bounding box, from 0 for the paper around it to 1."""
    height, width = fine.shape
    margin = max(1, round(0.06 * max(fine.shape)))
    top, bottom = int(bounds[0] * height), int(np.ceil(bounds[1] * height))
    left, right = int(bounds[2] * width), int(np.ceil(bounds[3] * width))
    rows = slice(max(0, top - margin), bottom + margin)
    columns = slice(max(0, left - margin), right + margin)
    cut, around = fine[rows, columns], np.ones(fine.shape, bool)
    around[top:bottom, left:right] = False
    nearby = cut[around[rows, columns]]
    paper = float(np.median(nearby)) if nearby.size else 0.0
    noise = _sigma(fine[_margin(fine.shape)])
    if cut.max() <= 0:
        raise DataError("there is too little drawn on it: it is lost among the paper around it.")
    full = float(np.quantile(cut[cut > cut.max() / 2], _FULL_QUANTILE))
    floor = min(paper + _FLOOR_SIGMAS * noise, full / 2)
    cut = np.clip((cut - floor) / (full - floor), 0, 1)
    inked = cut > min(_EDGE_SHARE + 2 * noise / (full - floor), _INK_SHARE)
    some_rows, some_columns = (np.flatnonzero(inked.any(axis=axis)) for axis in (1, 0))
    return cut[
        some_rows[0] : some_rows[-1] + 1,
        some_columns[0] : some_columns[-1] + 1,
    ]


def _fitted(cut: _Values, box: int) -> _Values:
    scale = box / max(cut.shape)
    return np.maximum(_stretch(cut, *(max(1, round(side * scale)) for side in cut.shape)), 0)


def _placed(small: _Values, spec: ImageInput) -> Grey:
    frame = np.zeros(spec.shape, np.float32)
    starts = []
    for axis, (size, length) in enumerate(zip(spec.shape, small.shape, strict=True)):
        middle = (size - length + 1) // 2
        if spec.framing == "mass":
            profile = small.sum(axis=1 - axis)
            middle = round(size / 2 - float(profile @ np.arange(length) / profile.sum()))
        starts.append(min(max(middle, 0), size - length))
    rows, columns = (slice(s, s + n) for s, n in zip(starts, small.shape, strict=True))
    frame[rows, columns] = small
    return frame


def _at_most(picture: NDArray[Any], pixels: int) -> _Values:
    """Shrunk, if need be, to that many pixels on the longer side."""
    scale = pixels / max(picture.shape)
    if scale >= 1:
        return np.asarray(picture, np.float64)
    return _stretch(picture, *(max(1, round(side * scale)) for side in picture.shape))


def _stretch(picture: NDArray[Any], height: int, width: int) -> _Values:
    return _stretch_rows(_stretch_rows(picture, height).T, width).T


def _stretch_rows(picture: NDArray[Any], size: int) -> _Values:
    rows = len(picture)
    if size == rows:
        return np.asarray(picture, np.float64)
    if size < rows:  # means over areas, as differences of the sum up to each edge
        strips = math.ceil(picture.size / _VALUES_AT_ONCE)
        if strips > 1 and picture.shape[1] > 1:  # sums take twice the memory of the picture
            parts = np.array_split(picture, strips, axis=1)
            return np.concatenate([_stretch_rows(part, size) for part in parts], axis=1)
        before = np.zeros((1, picture.shape[1]))
        sums = np.concatenate([before, np.cumsum(picture, axis=0, dtype=np.float64)])
        edges = np.diff(_between(sums, np.linspace(0, rows, size + 1)), axis=0)
        return np.asarray(edges * (size / rows))
    centres = (np.arange(size) + 0.5) * (rows / size) - 0.5
    return _between(picture, np.clip(centres, 0, rows - 1))


def _between(values: NDArray[Any], places: _Values) -> _Values:
    """Rows at fractional places, linear in between."""
    lower = np.minimum(places.astype(int), max(0, len(values) - 2))
    upper = np.minimum(lower + 1, len(values) - 1)
    part = (places - lower)[:, np.newaxis]
    return np.asarray(values[lower] * (1 - part) + values[upper] * part)


def _border(shape: tuple[int, ...]) -> _Mask:
    """A frame, a twenty-fifth of the picture's shorter side wide."""
    width = max(1, min(shape) // 25)
    border = np.ones(shape, bool)
    border[width:-width, width:-width] = False
    return border


def _margin(shape: tuple[int, ...]) -> _Mask:
    """Where paper is expected: the border or, as small pictures may be full, their corners."""
    if min(shape) >= _FLAT_PIXELS:
        return _border(shape)
    width = max(1, min(shape) // 12)
    rows, columns = (np.minimum(np.arange(n), np.arange(n)[::-1]) < width for n in shape)
    return rows[:, np.newaxis] & columns


def _sigma(values: _Values) -> float:
    """The spread of noise, whatever else is among the values."""
    return _MAD_TO_SIGMA * float(np.median(np.abs(values - np.median(values))))
