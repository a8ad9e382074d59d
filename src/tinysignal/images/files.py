"""Picture files and what a network sees of them; owns "(rows, columns), 0 black to 1 white"."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.errors import DataError, MissingExtraError, SignalError
from tinysignal.images.framing import place_ink, resize
from tinysignal.spec import ImageInput

Grey = NDArray[np.float32]  # (rows, columns), 0 black to 1 white

_NAMES = "png jpg jpeg bmp gif tif tiff webp pgm ppm"
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split(" "))
# Named, because Pillow would start Ghostscript for others.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WebP", "PPM")
# Together with what is made of it, a picture takes 12 bytes a pixel, and 20 where Pillow's decoder
# keeps whole frames beside it: so no picture takes more than 500 MB.
_MOST_PIXELS, _MOST_WEBP_PIXELS = 30_000_000, 20_000_000
_ROWS_AT_ONCE = 64  # of what is computed of a decoded picture
_SIXTEEN_BITS = 65_535
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # of EXIF
_opening = threading.Lock()


def read_image(path: str | Path) -> Grey:
    """A picture file as grey values.

    The camera's orientation is applied, transparent places show white paper, and of an animation
    the first frame is taken.

    Parameters
    ----------
    path : str or Path
        PNG, JPEG, BMP, GIF, TIFF, WebP, PGM or PPM, of 1 to 16 bits a channel.

    Returns
    -------
    float32 (rows, columns)
        0 black to 1 white.

    Raises
    ------
    DataError
        Missing, damaged, not a picture, or of more than 30 million pixels (WebP: 20).
    MissingExtraError
        Pillow is not installed.
    """
    upright = _pillow(path).ImageOps.exif_transpose
    with _decoding(path) as file:
        return _grey(upright(file))


def image_size(path: str | Path) -> tuple[int, int]:
    """Rows and columns of a picture file, in the camera's orientation; only its header is read.

    Raises
    ------
    DataError, MissingExtraError
        As `read_image`.
    """
    with _decoding(path) as file:
        turned = file.getexif().get(_ORIENTATION, 1) in _QUARTER_TURNS
        return (file.width, file.height) if turned else (file.height, file.width)


def read_framed(path: str | Path, spec: ImageInput) -> Grey:
    """What the network sees of a picture file: `read_image`, then `frame_image`.

    Raises
    ------
    DataError, MissingExtraError
        As those, with the file's name.
    """
    grey = read_image(path)
    try:
        return frame_image(grey, spec)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _pillow(path: str | Path) -> Any:
    try:
        import PIL.Image  # noqa: PLC0415 - optional
        import PIL.ImageOps  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError(f"{path}: reading pictures", "image") from None
    return PIL


@contextmanager
def _decoding(path: str | Path) -> Iterator[Any]:
    """The opened file; what goes wrong with it in the block becomes an error of ours."""
    pillow = _pillow(path)
    image = pillow.Image
    try:
        with _open(image, path) as file:
            most = _MOST_WEBP_PIXELS if file.format == "WEBP" else _MOST_PIXELS
            if file.width * file.height > most:
                raise DataError(_too_large(most))
            yield file
    except (image.DecompressionBombError, image.DecompressionBombWarning):
        raise DataError(f"{path}: {_too_large(_MOST_PIXELS)}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.") from None
    except pillow.UnidentifiedImageError:
        kinds = ", ".join(_FORMATS)
        raise DataError(f"{path}: damaged, or not a picture of a known kind ({kinds}).") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except Exception as error:  # noqa: BLE001 - decoders raise what they like
        what = " ".join((getattr(error, "strerror", None) or str(error)).split())[:100]
        raise DataError(f"{path}: not a readable picture ({what or 'damaged'}).") from None


def _too_large(most: int) -> str:
    return f"more than {most // 1_000_000} million pixels. Make it smaller first."


def _open(image: Any, path: str | Path) -> Any:
    # Filters of warnings are of the whole process: one thread at a time. This reads the header.
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", image.DecompressionBombWarning)
        return image.open(path, formats=_FORMATS)


def _grey(picture: Any) -> Grey:
    """The values of a picture, a few rows at a time: large ones are held once, not many times."""
    width, height = picture.size
    grey = np.empty((height, width), np.float32)
    for top in range(0, height, _ROWS_AT_ONCE):
        bottom = min(top + _ROWS_AT_ONCE, height)
        strip = picture.crop((0, top, width, bottom))
        strip.info = picture.info  # the transparent colour
        grey[top:bottom] = _strip(strip)
    return grey


def _strip(picture: Any) -> NDArray[Any]:
    if picture.mode.startswith(("I", "F")):
        return _deep_grey(np.asarray(picture))
    if "A" in picture.mode or "a" in picture.mode or "transparency" in picture.info:
        colours = picture.convert("RGBA")
        alpha = np.asarray(colours.getchannel("A"), np.float32) / 255
        grey = np.asarray(colours.convert("RGB").convert("L"), np.float32) / 255
        return np.asarray(1 + (grey - 1) * alpha, np.float32)
    if picture.mode not in ("1", "L"):
        picture = picture.convert("RGB")
    return np.asarray(picture.convert("L"), np.float32) / np.float32(255)


def _deep_grey(values: NDArray[Any]) -> Grey:
    """Of 16-bit integers, also in wider numbers, and of floats from 0 to 1."""
    top = 1 if np.issubdtype(values.dtype, np.floating) else _SIXTEEN_BITS
    lowest, highest = values.min(), values.max()
    if not 0 <= lowest <= highest <= top:  # NaN compares false
        raise DataError(f"values from {lowest} to {highest}, expected 0 to {top}.")
    return (values / np.float64(top)).astype(np.float32)


def frame_image(grey: ArrayLike, spec: ImageInput) -> Grey:
    """What the network sees of a picture.

    Parameters
    ----------
    grey : floating (rows, columns)
        0 black to 1 white.
    spec : ImageInput
        ``whole``: everything, stretched to the size. ``mass`` and ``box``: what is drawn, see
        `tinysignal.images.framing.place_ink`.

    Returns
    -------
    float32 (height, width)

    Raises
    ------
    SignalError
        Not (rows, columns) of numbers from 0 to 1.
    DataError
        Nothing is drawn on it, and the framing is not ``whole``.
    """
    picture = np.asarray(grey)
    if picture.ndim != 2 or picture.size == 0 or not np.issubdtype(picture.dtype, np.floating):
        raise SignalError(
            f"picture of {picture.dtype} {picture.shape}, expected floats (rows, columns)."
        )
    if not 0 <= picture.min() <= picture.max() <= 1:  # NaN compares false
        raise SignalError(
            f"picture with values from {picture.min()} to {picture.max()}, expected 0 to 1."
        )
    if spec.framing == "whole":
        return resize(picture, spec.height, spec.width)
    return place_ink(picture, spec)
