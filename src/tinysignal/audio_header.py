"""What the header of an uncompressed file promises, held to what the file contains.

libsndfile reads a truncated WAV, AIFF, AU or W64 as a shorter one without a word. Headers written
into a pipe hold a placeholder instead of a length; those are taken as they come.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tinysignal.errors import AudioFileError

_W64_RIFF = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"
# Lengths that writers leave when they cannot go back to the header: FFmpeg 2^32 - 1, sox
# 2^31 - 4096 (WAV) and 2^31 - 2^24 (AIFF).
_PLACEHOLDERS = ((0x7F000000, 0x7FFFFFFF), (0xFFFFF000, 0xFFFFFFFF))


def check_complete(path: Path) -> None:
    """Refuse a file that ends before its header says.

    Raises
    ------
    AudioFileError
        Truncated: WAV, RF64, W64, AIFF or AU.
    """
    with path.open("rb") as file:
        promise = _promise(file)
    if promise is None:
        return
    start, promised = promise
    held = max(0, path.stat().st_size - start)
    if held < promised:
        raise AudioFileError(
            f"{path}: truncated: its header promises {promised} bytes of sound, the file holds "
            f"{held}. Copy it again, or repair its header to take what is there."
        )


def _promise(file: BinaryIO) -> tuple[int, int] | None:
    """Where the samples start and how many bytes the header promises; None if it does not say."""
    head = file.read(16)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and head[8:12] == b"WAVE":
        file.seek(12)
        return _riff(file, ">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        file.seek(12)
        for name, start, size in _chunks(file, ">"):
            if name == b"SSND":
                return None if _is_placeholder(size) else (start, size)
    if head == _W64_RIFF:
        return _w64(file)
    if head[:4] == b".snd":
        offset, size = struct.unpack(">II", head[4:12])
        return None if _is_placeholder(size) else (offset, size)
    return None


def _riff(file: BinaryIO, order: str) -> tuple[int, int] | None:
    wide = None
    for name, start, size in _chunks(file, order):
        if name == b"ds64":
            wide = struct.unpack("<QQ", file.read(16))[1]
        if name == b"data":
            if size == 0xFFFFFFFF and wide is not None:
                return start, wide
            return None if _is_placeholder(size) else (start, size)
    return None


def _w64(file: BinaryIO) -> tuple[int, int] | None:
    position = 40  # the riff chunk's identifier and length, the wave identifier
    while True:
        file.seek(position)
        header = file.read(24)
        if len(header) < 24:
            return None
        size = struct.unpack("<Q", header[16:])[0]  # the 24 bytes of the header included
        if header[:4] == b"data":
            return position + 24, size - 24
        position += max(24, -(-size // 8) * 8)


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of every chunk, the file placed at its start."""
    position = file.tell()
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        size = struct.unpack(f"{order}I", header[4:])[0]
        yield header[:4], position + 8, size
        position += 8 + size + size % 2


def _is_placeholder(size: int) -> bool:
    return any(low <= size <= high for low, high in _PLACEHOLDERS)
