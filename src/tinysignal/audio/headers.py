"""Truncated files: the length that a header states against the length of the file.

libsndfile reads a truncated WAV, AIFF, AU, W64, CAF or Ogg as a shorter one without an error.
Headers written into a pipe hold a placeholder instead of a length, which is not checked. libsndfile
reads an MP3 file without a Xing header as if the bit rate of its first frame held to the end.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tinysignal.audio.checked_file import CheckedFile
from tinysignal.errors import AudioFileError

_MOST_CHUNKS = 1_000  # before the samples; libsndfile gives up at fewer than a million, too
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255  # the largest
# Lengths that writers leave when they cannot go back to the header: FFmpeg 2^32 - 1, sox
# 2^31 - 4096 (WAV) and 2^31 - 2^24 (AIFF).
_PLACEHOLDERS = ((0x7F000000, 0x7FFFFFFF), (0xFFFFF000, 0xFFFFFFFF))


def check_complete(path: Path) -> None:
    """Refuse a file that ends before its header says.

    Raises
    ------
    AudioFileError
        Truncated: WAV, RF64, W64, AIFF, AU, CAF or Ogg.
    """
    with path.open("rb") as file:
        try:
            promise = _promise(file)
        except (struct.error, OSError, ValueError):  # a header cut short, or sizes beyond any file
            promise = None  # libsndfile says what it makes of it
    if promise is None:
        return
    start, promised = promise
    held = max(0, path.stat().st_size - start)
    if held < promised:
        raise AudioFileError(
            f"{path}: truncated: its header promises {promised} bytes of sound, the file holds "
            f"{held}. Copy it again, or repair its header to take what is there."
        )


def unstated_size(path: Path) -> int | None:
    """Position of the size of a WAV file's samples if it is 0 although samples follow, else None.

    A recorder that loses power leaves such a header. In a file that is really empty, what follows
    are chunks that the size of the whole file counts.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        stated_end = 8 + struct.unpack("<I", head[4:8])[0]
        for name, start, size in _chunks(file, "<"):
            if name == b"data":
                lost = size == 0 and stated_end <= start < path.stat().st_size
                return start - 4 if lost else None
    return None


class WithoutSize(CheckedFile):
    """A WAV file with the placeholder of an unknown length where its header states 0."""

    def __init__(self, path: Path, position: int) -> None:
        super().__init__(path)
        self._position = position

    def readinto(self, buffer: Any) -> int:
        """Read as `io.FileIO` does."""
        start = self.tell()
        count = super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        for position in range(self._position, self._position + 4):
            if start <= position < start + count:
                view[position - start] = 0xFF
        return count


def _promise(file: BinaryIO) -> tuple[int, int] | None:
    """Where the samples start and how many bytes the header promises; None if it does not say."""
    head = file.read(16)
    if head[:4] in (b"RIFF", b"RF64", b"BW64", b"RIFX") and head[8:12] == b"WAVE":
        file.seek(12)
        return _riff(file, ">" if head[:4] == b"RIFX" else "<")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        file.seek(12)
        return _aiff(file)
    if head[:4] == b".snd":
        offset, size = struct.unpack(">II", head[4:12])
        return None if _is_placeholder(size) else (offset, size)
    others = {b"riff": _w64, b"caff": _caf, b"OggS": _last_ogg_page}
    return others[head[:4]](file) if head[:4] in others else None


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


def _aiff(file: BinaryIO) -> tuple[int, int] | None:
    for name, start, size in _chunks(file, ">"):
        if name == b"SSND":
            return None if _is_placeholder(size) else (start, size)
    return None


def _w64(file: BinaryIO) -> tuple[int, int] | None:
    position = 40  # the riff chunk's identifier and length, the wave identifier
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(24)
        if len(header) < 24:
            return None
        size = struct.unpack("<Q", header[16:])[0]  # the 24 bytes of the header included
        if header[:4] == b"data":
            return position + 24, size - 24
        position += max(24, -(-size // 8) * 8)
    return None


def _caf(file: BinaryIO) -> tuple[int, int] | None:
    position = 8  # the file's type, version and flags
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        name, size = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            return (position + 12, size) if size >= 0 else None  # -1: to the end of the file
        position += 12 + max(0, size)
    return None


def _last_ogg_page(file: BinaryIO) -> tuple[int, int] | None:
    """RFC 3533, section 6: 27 bytes, the last of them the number of lengths that follow."""
    end = file.seek(0, os.SEEK_END)
    start = file.seek(max(0, end - _OGG_PAGE_BYTES))
    tail = file.read()
    at = tail.rfind(b"OggS")
    if at < 0:
        return None
    page = tail[at:]
    lengths = page[26] if len(page) > 26 else 0
    return start + at, 27 + lengths + sum(page[27 : 27 + lengths])


def _chunks(file: BinaryIO, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and length of every chunk, the file placed at its start."""
    position = file.tell()
    for _ in range(_MOST_CHUNKS):
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return
        size = struct.unpack(f"{order}I", header[4:])[0]
        yield header[:4], position + 8, size
        position += 8 + size + size % 2


def _is_placeholder(size: int) -> bool:
    return any(low <= size <= high for low, high in _PLACEHOLDERS)


# ISO 11172-3 and 13818-3, Layer III: kbit/s by index, and Hz by index for MPEG 1.
_MP3_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_MP3_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_MP3_BLOCK_BYTES = 1 << 18
_MP3_HZ = (44_100, 48_000, 32_000, 0)


class Mp3Length(NamedTuple):
    """Samples of an MP3 file."""

    stated: int | None  # by a Xing or Info header, if there is one
    held: int  # in the frames that follow each other from the first one


def mp3_length(path: Path) -> Mp3Length | None:
    """Samples that an MP3 file states and holds; None if it is no MPEG Layer III file."""
    with path.open("rb") as file:
        head = file.read(10)
        position = 0
        if head[:3] == b"ID3" and len(head) == 10:
            a, b, c, d = head[6:]
            position = 10 + (a << 21 | b << 14 | c << 7 | d)
        block, start = b"", position
        stated, held, is_first = None, 0, True
        while True:
            # In blocks, not mapped: a mapped file that is cut short kills the process.
            if position + 4 > start + len(block):
                file.seek(position)
                block, start = file.read(_MP3_BLOCK_BYTES), position
            frame = _mp3_frame(block[position - start : position - start + 4])
            if frame is None:
                return None if is_first else Mp3Length(stated, held)
            size, samples = frame
            if is_first and (frames := _stated_frames(block[:200])) is not None:
                stated = frames * samples
            else:
                held += samples
            position += size
            is_first = False


def _stated_frames(first: bytes) -> int | None:
    """Frames after the first one, if that holds a Xing, Info or VBRI header and no sound."""
    for name, place in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = first.find(name)
        if at >= 0 and len(first) >= at + place + 4:
            has_frames = name == b"VBRI" or first[at + 7] & 1
            count: int = struct.unpack(">I", first[at + place : at + place + 4])[0]
            return count if has_frames else 0
    return None


def _mp3_frame(header: bytes) -> tuple[int, int] | None:
    """Bytes and samples of the frame that starts with these four bytes."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    kbps = (_MP3_KBPS_1 if version == 3 else _MP3_KBPS_2)[header[2] >> 4]
    rate_hz = _MP3_HZ[header[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}.get(version, 1)
    if version == 1 or not kbps or not rate_hz:
        return None
    samples = 1152 if version == 3 else 576
    return samples * kbps * 125 // rate_hz + (header[2] >> 1 & 1), samples
