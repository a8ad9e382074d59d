"""Truncated files: the length that a header states against the length of the file.

libsndfile reads a truncated WAV, AIFF, AU, W64, CAF or Ogg as a shorter one without an error.
Headers written into a pipe hold a placeholder instead of a length, which is not checked. libsndfile
reads an MP3 file without a Xing header as if the bit rate of its first frame held to the end.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tinysignal.audio.checked_file import CheckedFile
from tinysignal.audio.chunks import AIFF, MOST_CHUNKS, RIFF, SAMPLES, W64, Family, family_of, walk
from tinysignal.errors import AudioFileError

_OGG_PAGE_BYTES = 27 + 255 + 255 * 255  # the largest
_NIST_HEADER_BYTES = 1 << 16
# Lengths that writers leave when they cannot go back to the header: FFmpeg 2^32 - 1, sox
# 2^31 - 4096 (WAV) and 2^31 - 2^24 (AIFF).
_PLACEHOLDERS = ((0x7F000000, 0x7FFFFFFF), (0xFFFFF000, 0xFFFFFFFF))


def check_complete(path: Path) -> None:
    """Refuse a file that ends before its header says.

    Raises
    ------
    AudioFileError
        Truncated: any of libsndfile's containers that states its length.
    """
    with path.open("rb") as file:
        try:
            promise = _promise(file)
        except (struct.error, OSError, ValueError, LookupError, ArithmeticError):
            # A header cut short, or sizes beyond any file.
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


def w64_bytes(path: Path) -> int | None:
    """Bytes of sound in a W64 file; libsndfile takes all that follows for sound as well."""
    with path.open("rb") as file:
        if family_of(file) is not W64:
            return None
        return next((c.size for c in walk(file, W64) if c.name[:4] in SAMPLES), None)


def size_patches(path: Path) -> tuple[dict[int, bytes], str | None]:
    """What to read instead of sizes in the header of a WAV or RF64 file, and a note on it.

    A recorder that loses power leaves a length of 0, which becomes the placeholder of an unknown
    one. (In a file that is really empty, what follows are chunks that the size of the whole file
    counts.) libsndfile loses its way in RF64 after a chunk of an odd size, which becomes even.

    Returns
    -------
    dict of int to bytes
        By position.
    str or None
    """
    patches: dict[int, bytes] = {}
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return patches, None
        wide = head[:4] == b"RF64"
        stated_end = 8 + struct.unpack("<I", head[4:8])[0]
        for chunk in walk(file, RIFF):
            if chunk.name == b"data":
                followed = stated_end <= chunk.start < path.stat().st_size
                if chunk.size == 0 and followed and not wide:
                    note = "the input's header states no samples; it was read to its end"
                    return {chunk.start - 4: b"\xff" * 4}, note
                break
            if wide and chunk.size % 2 and chunk.size < 0xFFFFFFFF:  # none is as large as that
                patches[chunk.start - 4] = struct.pack("<I", chunk.size + 1)
    return patches, None


class PatchedFile(CheckedFile):
    """A file with other bytes at some positions."""

    def __init__(self, path: Path, patches: Mapping[int, bytes]) -> None:
        super().__init__(path)
        self._bytes = {
            position + index: byte
            for position, content in patches.items()
            for index, byte in enumerate(content)
        }

    def readinto(self, buffer: Any) -> int:
        """Read as `io.FileIO` does."""
        start = self.tell()
        count = super().readinto(buffer)
        view = memoryview(buffer).cast("B")
        for position, byte in self._bytes.items():
            if start <= position < start + count:
                view[position - start] = byte
        return count


def _promise(file: BinaryIO) -> tuple[int, int] | None:
    """Where the samples start and how many bytes the header promises; None if it does not say."""
    family = family_of(file)
    if family is not None:
        return _promised_chunk(file, family)
    file.seek(0)
    head = file.read(128)
    for magic, promise in _PROMISES.items():
        if head.startswith(magic):
            return promise(head, file)
    return None


def _promised_chunk(file: BinaryIO, family: Family) -> tuple[int, int] | None:
    """Of WAV, RF64, W64, AIFF and CAF."""
    for chunk in walk(file, family):
        if chunk.name[:4] in SAMPLES:
            unknown = family.size.size == 4 and _is_placeholder(chunk.size)
            return None if unknown or chunk.size < 0 else (chunk.start, chunk.size)
    return None


def _au(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    offset, size = struct.unpack(">II", head[4:12])
    return None if _is_placeholder(size) else (offset, size)


def _last_ogg_page(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
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


def _avr(head: bytes, file: BinaryIO) -> tuple[int, int]:
    stereo, bits = struct.unpack(">HH", head[12:16])
    frames = struct.unpack(">I", head[26:30])[0]
    return 128, frames * (2 if stereo else 1) * (bits // 8)


def _nist(head: bytes, file: BinaryIO) -> tuple[int, int]:
    """The header is text: its own length on the second line, then a name and a number a line."""
    size = int(head[8:16])
    file.seek(0)
    lines = file.read(min(size, _NIST_HEADER_BYTES)).split(b"\n")
    stated = {words[0]: words[-1] for words in map(bytes.split, lines) if words}
    names = (b"sample_count", b"channel_count", b"sample_n_bytes")
    return size, math.prod(int(stated.get(name, b"0")) for name in names)


def _iff_voice(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    body = (chunk for chunk in walk(file, AIFF) if chunk.name == b"BODY")
    return next(((chunk.start, chunk.size) for chunk in body), None)


def _voc(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """Blocks of one byte for their kind and three for their size; the last that is sound."""
    at = struct.unpack("<H", head[20:22])[0]
    for _ in range(MOST_CHUNKS):
        file.seek(at)
        block = file.read(4)
        if len(block) < 4:  # the terminator is one byte
            return None
        size = int.from_bytes(block[1:], "little")
        if file.seek(0, os.SEEK_END) < at + 4 + size:
            return at + 4, size
        at += 4 + size
    return None


def _wve(head: bytes, file: BinaryIO) -> tuple[int, int]:
    return 32, struct.unpack(">I", head[18:22])[0]


def _mat4(head: bytes, file: BinaryIO) -> tuple[int, int]:
    """The second of two matrices, after the rate; its kind states the bytes of a number."""
    order = "<" if head[:4] == bytes(4) else ">"
    kind, rows, columns, _, named = struct.unpack(f"{order}5I", head[39:59])
    return 59 + named, rows * columns * (8, 4, 4, 2, 2, 1)[kind // 10 % 10]


def _mat5(head: bytes, file: BinaryIO) -> tuple[int, int] | None:
    """The numbers of the second matrix: the fourth of its elements, each filled up to 8 bytes."""
    order = "<" if head[126:128] == b"IM" else ">"

    def element(at: int) -> tuple[int, int]:
        file.seek(at)
        kind, size = struct.unpack(f"{order}II", file.read(8))
        return (0, 8) if kind >> 16 else (size, 8 + -(-size // 8) * 8)  # four bytes fit the header

    at = 128 + 8 + element(128)[0] + 8
    for _ in range(3):
        at += element(at)[1]
    return at + 8, element(at)[0]


def _mpc2k(head: bytes, file: BinaryIO) -> tuple[int, int]:
    return 42, struct.unpack("<I", head[30:34])[0] * (head[21] + 1) * 2


def _sds(head: bytes, file: BinaryIO) -> tuple[int, int]:
    """Packets of 127 bytes, 120 of them samples of two, three or four bytes; seven bits a byte."""
    a, b, c = head[10:13]
    samples = 120 // -(-head[6] // 7)
    return 21, -(-(a | b << 7 | c << 14) // samples) * 127


_PROMISES: dict[bytes, Callable[[bytes, BinaryIO], tuple[int, int] | None]] = {
    b".snd": _au,
    b"OggS": _last_ogg_page,
    b"2BIT": _avr,
    b"NIST_1A": _nist,
    b"FORM": _iff_voice,
    b"Creative Voice File": _voc,
    b"ALawSoundFile": _wve,
    bytes(4) + b"\1\0\0\0\1\0\0\0": _mat4,
    b"\0\0\x03\xe8\0\0\0\1\0\0\0\1": _mat4,
    b"MATLAB 5.0": _mat5,
    b"\1\4": _mpc2k,
    b"\xf0\x7e": _sds,
}


def _is_placeholder(size: int) -> bool:
    return any(low <= size <= high for low, high in _PLACEHOLDERS)
