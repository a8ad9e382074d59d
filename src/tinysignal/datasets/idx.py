"""IDX files, the format of MNIST: a magic number, the sizes, then the values.

The layout is described at the end of http://yann.lecun.com/exdb/mnist/: two zero bytes, the type
of the values, the number of dimensions, each size as a big-endian 32-bit number, the values.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import DataError

_TYPES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
_UNSIGNED_BYTES = 0x08
_MOST_BYTES = 1 << 30  # a header that says more is damaged
_PIECE_BYTES = 1 << 20
_DIMENSIONS = {1: "labels", 3: "pictures"}


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """The unsigned bytes in an IDX file, compressed with gzip or not.

    Parameters
    ----------
    path : Path
    dimensions : int
        1 for labels, 3 for pictures.

    Returns
    -------
    uint8, of that many axes

    Raises
    ------
    DataError
        Missing or unreadable, not an IDX file, of other dimensions or another type, damaged,
        truncated, or followed by more bytes.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not compressed:
                return _parse(path, raw, dimensions)
            with gzip.open(raw) as file:
                return _parse(path, file, dimensions)
    except EOFError:
        raise DataError(f"{path}: truncated. Fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}). Fetch it again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def read_pair(
    images: Path, labels: Path, *, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures and their labels.

    Returns
    -------
    uint8 (examples, rows, columns)
    int64 (examples,)

    Raises
    ------
    DataError
        As `read_idx`; other numbers of pictures and labels, none at all, or a label that is no
        class.
    """
    values, found = read_idx(images, dimensions=3), read_idx(labels, dimensions=1)
    if len(values) != len(found):
        raise DataError(
            f"{images}: {len(values)} pictures, but {len(found)} labels in {labels}. "
            "The files are not of one set."
        )
    if values.size == 0:
        raise DataError(f"{images}: there are no pictures in it.")
    if found.max() >= classes:
        raise DataError(
            f"{labels}: label {found.max()} at {found.argmax()}, expected 0 to {classes - 1}."
        )
    return values, found.astype(np.int64)


def _parse(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        raise DataError(f"{path}: not an IDX file (it begins with {magic.hex(' ') or 'nothing'}).")
    if magic[2] != _UNSIGNED_BYTES:
        raise DataError(f"{path}: holds {_TYPES[magic[2]]}, expected unsigned bytes.")
    if magic[3] != dimensions:
        raise DataError(
            f"{path}: {magic[3]} dimensions, expected {dimensions}: {_DIMENSIONS[dimensions]}."
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise EOFError
    shape = struct.unpack(f">{dimensions}I", header)
    content = _read_exactly(path, file, math.prod(shape))
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_exactly(path: Path, file: BinaryIO | gzip.GzipFile, size: int) -> bytes:
    """The rest of the file; only as much memory as there are bytes, whatever the header says."""
    if size > _MOST_BYTES:
        raise DataError(f"{path}: damaged: its header promises {size} bytes. Fetch it again.")
    pieces = []
    missing = size
    # One byte more than expected is asked for: it tells what is too long, and makes gzip check
    # its sum at the end.
    while piece := file.read(min(missing + 1, _PIECE_BYTES)):
        pieces.append(piece)
        missing -= len(piece)
        if missing < 0:
            raise DataError(f"{path}: goes on after the {size} bytes that its header promises.")
    if missing:
        raise DataError(f"{path}: truncated: {size - missing} of {size} bytes. Fetch it again.")
    return b"".join(pieces)
