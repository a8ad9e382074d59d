"""Chunks of WAV, RF64, W64, AIFF and CAF: walked in bounded time, and carried over unread.

All four store what is not sound (broadcast data, cue marks, loops, tags) in chunks of their own.
A denoised file has the length of its source, so positions in these chunks stay valid, and they
can be appended as they are, whatever they hold.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_CHUNKS = 1_000  # libsndfile gives up at fewer than a million, too
_BLOCK_BYTES = 1 << 20
_FOUR_GIB, _MOST_BYTES = 1 << 32, 1 << 62


@dataclass(frozen=True)
class Chunk:
    """One chunk: its name, where it starts and its contents start, bytes of its contents."""

    name: bytes
    at: int
    start: int
    size: int


@dataclass(frozen=True)
class Family:
    """How a family of containers lays out its chunks."""

    name: str
    first: int  # position of the first chunk
    size: struct.Struct  # of a chunk's contents, or of all of it
    named: int  # bytes of its name
    inclusive: bool  # whether the size counts the header
    align: int
    sound: frozenset[bytes]  # chunks that describe the samples, or nothing


_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # of the identifier of a chunk
_RIFF_SOUND = frozenset({b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"JUNK", b"junk", b"FLLR"})
_RIFF_SOUND |= {b"PAD ", b"wavl", b"slnt"}
_W64_SOUND = frozenset(name + _W64_TAIL for name in _RIFF_SOUND)
_AIFF_SOUND = frozenset({b"COMM", b"SSND", b"FVER", b"PEAK"})
_CAF_SOUND = frozenset({b"desc", b"data", b"pakt", b"kuki", b"free", b"peak"})
SAMPLES = (b"data", b"SSND")  # the chunk that holds them
_WIDE = (b"RF64", b"BW64")
# Computed from the samples that were: a checksum, a drawn waveform.
_STALE = frozenset({b"MD5 ", b"levl", b"ovvw"})

RIFF = Family("WAV", 12, struct.Struct("<I"), 4, False, 2, _RIFF_SOUND)
RIFX = Family("RIFX", 12, struct.Struct(">I"), 4, False, 2, _RIFF_SOUND)
AIFF = Family("AIFF", 12, struct.Struct(">I"), 4, False, 2, _AIFF_SOUND)
W64 = Family("W64", 40, struct.Struct("<Q"), 16, True, 8, _W64_SOUND)
CAF = Family("CAF", 8, struct.Struct(">q"), 4, False, 1, _CAF_SOUND)


def family_of(file: BinaryIO) -> Family | None:
    """The family of a file, by its first bytes; None for any other kind."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:] == b"WAVE":
        return RIFF
    if head[:4] == b"RIFX" and head[8:] == b"WAVE":
        return RIFX
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return AIFF
    return {b"riff": W64, b"caff": CAF}.get(head[:4])


def family_at(path: Path) -> Family | None:
    """The family of the file at a path."""
    with path.open("rb") as file:
        return family_of(file)


def walk(file: BinaryIO, family: Family) -> Iterator[Chunk]:
    """Every chunk from the first on, the file placed at the start of its contents.

    A chunk may promise more than the file holds. At most a thousand are walked; samples whose
    length is only in a RF64 header, or nowhere, are the last.
    """
    at = family.first
    wide = None
    for _ in range(MOST_CHUNKS):
        if at > _MOST_BYTES:  # beyond any file, and beyond what can be sought
            return
        file.seek(at)
        header = file.read(family.named + family.size.size)
        if len(header) < family.named + family.size.size:
            return
        name = header[: family.named]
        size = family.size.unpack(header[family.named :])[0]
        start = at + len(header)
        if family.inclusive:
            size = max(0, size - len(header))
        if name == b"data" and size == 0xFFFFFFFF and wide is not None:
            size = wide
        yield Chunk(name, at, start, size)
        if name == b"ds64":
            file.seek(start)
            wide = _wide_size(file)
        if size < 0:  # CAF: to the end of the file
            return
        at = start + -(-size // family.align) * family.align


def _wide_size(file: BinaryIO) -> int | None:
    sizes = file.read(16)
    return int(struct.unpack("<QQ", sizes)[1]) if len(sizes) == 16 else None


def beside_the_sound(path: Path) -> tuple[Family | None, list[Chunk]]:
    """The family of a file and its chunks that are neither samples nor their description."""
    with path.open("rb") as file:
        family = family_of(file)
        if family is None:
            return None, []
        end = file.seek(0, os.SEEK_END)
        found, has_sound = [], False
        for chunk in walk(file, family):
            has_sound |= chunk.name[:4] in SAMPLES
            if chunk.size < 0 or chunk.start + chunk.size > end:
                break
            if chunk.name == b"data" and chunk.size == 0:  # what follows is sound without a size
                break
            if not all(32 <= byte < 127 for byte in chunk.name[:4]):  # no name: the walk is lost
                break
            if chunk.name not in family.sound:
                found.append(chunk)
    # Where the samples are not among them, a size is damaged, and so is what was found by it.
    return family, found if has_sound else []


def carry_chunks(source: Path, target: Path) -> list[str]:
    """Append the chunks beside the sound to a file of the same family.

    Parameters
    ----------
    source, target : Path
        ``target`` holds the same number of samples.

    Returns
    -------
    list of str
        What was not carried over: all of it if the families differ.

    Raises
    ------
    OSError
        The disk is full.
    """
    family, found = beside_the_sound(source)
    if family is None:
        return []
    with source.open("rb") as read, target.open("r+b") as written:
        if family_of(written) is not family:
            return [shown(read, chunk) for chunk in found if not _is_text(read, chunk)]
        _carry_mask(read, written, family)
        stale = [shown(read, chunk) for chunk in found if chunk.name in _STALE]
        _append(read, written, family, [c for c in found if c.name not in _STALE])
    return stale


def append_chunk(path: Path, name: bytes, body: bytes) -> None:
    """Append a chunk to a WAV, RF64 or AIFF file."""
    with path.open("r+b") as file:
        family = family_of(file)
        assert family in (RIFF, RIFX, AIFF)
        end = file.seek(0, os.SEEK_END)
        content = name + family.size.pack(len(body)) + body
        content = bytes(-end % family.align) + content + bytes(-len(body) % family.align)
        file.write(content)
        _state_size(file, family, end + len(content))


def _append(read: BinaryIO, written: BinaryIO, family: Family, chunks: list[Chunk]) -> None:
    """Before the samples what stood before them, and what libsndfile looks for only there.

    It loses its way in RF64 after a chunk of an odd size, and takes for sound what follows the
    samples in W64.
    """
    sound = next((c for c in walk(written, family) if c.name[:4] in SAMPLES), None)
    if not chunks or sound is None:
        return
    written.seek(0)
    wide = written.read(4) in _WIDE
    last = _position_of_samples(read, family)
    early = [
        chunk
        for chunk in chunks
        if chunk.size <= _BLOCK_BYTES
        and (chunk.at < last or family is W64 or (wide and shown(read, chunk) == "INFO"))
        and not (wide and chunk.size % 2)
    ]
    insert(written, sound.at, b"".join(b"".join(_copied(read, family, c)) for c in early))
    late = [chunk for chunk in chunks if chunk not in early]
    end = written.seek(0, os.SEEK_END)
    if late:
        written.write(bytes(-end % family.align))
    for chunk in late:
        written.writelines(_copied(read, family, chunk))
    _state_size(written, family, written.tell())


def _position_of_samples(file: BinaryIO, family: Family) -> int:
    return next((c.at for c in walk(file, family) if c.name[:4] in SAMPLES), 0)


def _copied(file: BinaryIO, family: Family, chunk: Chunk) -> Iterator[bytes]:
    """The bytes of a chunk, filled up to where the next can start."""
    file.seek(chunk.at)
    left = chunk.start - chunk.at + chunk.size
    while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
        left -= len(block)
        yield block
    yield bytes(-chunk.size % family.align)


def insert(file: BinaryIO, at: int, content: bytes) -> None:
    """Insert bytes into a file, block by block from its end."""
    end = file.seek(0, os.SEEK_END) if content else at
    while end > at:
        start = max(at, end - _BLOCK_BYTES)
        file.seek(start)
        block = file.read(end - start)
        file.seek(start + len(content))
        file.write(block)
        end = start
    file.seek(at)
    file.write(content)


def _state_size(written: BinaryIO, family: Family, end: int) -> None:
    """The length of the whole file, in its header; CAF has none."""
    written.seek(0)
    wide = written.read(4) in _WIDE
    if family is W64:
        written.seek(16)
        written.write(struct.pack("<Q", end))
    elif wide:
        written.seek(20)
        written.write(struct.pack("<Q", end - 8))
    elif family is not CAF:
        written.seek(4)
        written.write(family.size.pack(min(end - 8, _FOUR_GIB - 1)))


def _carry_mask(read: BinaryIO, written: BinaryIO, family: Family) -> None:
    """The loudspeakers of the channels and the valid bits, where both headers have them."""
    if family not in (RIFF, RIFX, W64):
        return
    ours, theirs = (_format_chunk(file, family) for file in (written, read))
    if ours is None or theirs is None:
        return
    file_format = []
    for file, chunk in ((written, ours), (read, theirs)):
        file.seek(chunk.start)
        file_format.append(file.read(24))
    extensible = [body[:2] in (b"\xfe\xff", b"\xff\xfe") for body in file_format]
    channels_and_bits = [body[2:4] + body[14:16] for body in file_format]
    if all(extensible) and channels_and_bits[0] == channels_and_bits[1]:
        written.seek(ours.start + 18)
        written.write(file_format[1][18:24])


def _format_chunk(file: BinaryIO, family: Family) -> Chunk | None:
    name = b"fmt " + _W64_TAIL if family is W64 else b"fmt "
    return next((c for c in walk(file, family) if c.name == name and c.size >= 40), None)


def _is_text(file: BinaryIO, chunk: Chunk) -> bool:
    """Whether a chunk holds tags, which `tinysignal.audio.tags` carries over."""
    if chunk.name[:4] in (b"LIST", b"list"):
        file.seek(chunk.start)
        return file.read(4) == b"INFO"
    return chunk.name in (b"id3 ", b"ID3 ", b"NAME", b"AUTH", b"(c) ", b"ANNO", b"info")


def shown(file: BinaryIO, chunk: Chunk) -> str:
    """What messages call a chunk: the kind of a list, else its name."""
    if chunk.name[:4] == b"LIST" and chunk.size >= 4:
        file.seek(chunk.start)
        name = file.read(4)
    else:
        name = chunk.name[:4]
    return name.decode("latin-1").strip()
