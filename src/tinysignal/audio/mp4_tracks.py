"""Tracks of MP4 and MOV that FFmpeg cannot write, moved from one file to another as they are.

Phones and cameras store positions, faces and exposure in tracks of their own (``mebx``, ``camm``,
``rtmd``). Their samples and their headers are copied bytewise; only the places of the samples, the
number of the track and what is counted in ticks of the film are written anew (ISO 14496-12).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"tref")
_MOST_BYTES = 1 << 28  # of an index


class UnmovableError(Exception):
    """The file is not laid out as these functions need it."""


def has_quicktime_keys(path: Path) -> bool:
    """Whether the tags of an MP4 or MOV file are QuickTime's list of keys, as phones write it."""
    try:
        return b"mdta" in _index(path)[0].to_bytes()
    except (UnmovableError, struct.error, RecursionError, OSError):
        return False


@dataclass
class Box:
    """A box of an index: its name, and its content or the boxes in it."""

    name: bytes
    content: bytes = b""
    boxes: list[Box] | None = None

    def find(self, *names: bytes) -> Box:
        """The first box along a path.

        Raises
        ------
        UnmovableError
        """
        box = self
        for name in names:
            found = [child for child in box.boxes or [] if child.name == name]
            if not found:
                raise UnmovableError(f"no {name!r}")
            box = found[0]
        return box

    def to_bytes(self) -> bytes:
        """As it stands in a file."""
        content = self.content if self.boxes is None else b"".join(b.to_bytes() for b in self.boxes)
        return struct.pack(">I4s", 8 + len(content), self.name) + content


def move_tracks(
    source: Path, target: Path, numbers: Sequence[int], known: Mapping[int, int]
) -> None:
    """Append tracks of one film to another.

    Parameters
    ----------
    source, target : Path
        The index of ``target`` must be its last box.
    numbers : sequence of int
        Of the tracks in ``source``.
    known : mapping of int to int
        Numbers in ``source`` of tracks that are in ``target`` already, with those there.

    Raises
    ------
    UnmovableError
        ``target`` is as it was.
    """
    try:
        new, position, copied = _planned(source, target, numbers, dict(known))
    except (struct.error, IndexError, KeyError, RecursionError) as error:
        raise UnmovableError(f"not as ISO 14496-12 has it: {error}") from None
    with source.open("rb") as origin, target.open("r+b") as film:
        film.seek(position)
        film.write(struct.pack(">I4sQ", 1, b"mdat", 16 + sum(size for _, size in copied)))
        for start, size in copied:
            origin.seek(start)
            film.write(origin.read(size))
        film.write(new.to_bytes())


def _planned(
    source: Path, target: Path, numbers: Sequence[int], renumbered: dict[int, int]
) -> tuple[Box, int, list[tuple[int, int]]]:
    """The new index, where the old one begins, and the stretches of ``source`` to put there."""
    old, _ = _index(source)
    new, position = _index(target)
    if position + len(new.to_bytes()) != target.stat().st_size:
        raise UnmovableError("its index is not its last box")
    ratio = _timescale(new) / _timescale(old)
    tracks = [t for t in old.boxes or [] if t.name == b"trak" and _number(t) in numbers]
    first_free = 1 + max(_number(t) for t in new.boxes or [] if t.name == b"trak")
    renumbered |= {_number(t): first_free + i for i, t in enumerate(tracks)}
    if len(tracks) != len(numbers):
        raise UnmovableError("a track is missing")
    copied: list[tuple[int, int]] = []
    at, most = position + 16, source.stat().st_size
    for trak in tracks:
        chunks = list(_chunks(trak.find(*_TABLE)))
        if not chunks or any(start + size > most for start, size in chunks):
            raise UnmovableError("samples are missing")
        places = []
        for _, size in chunks:
            places.append(at)
            at += size
        copied += chunks
        _place(trak.find(*_TABLE), places)
        _renumber(trak, renumbered)
        _rescale(trak, ratio)
    if at - position > 2 * most:  # an enemy's index: one stretch over and over
        raise UnmovableError("more samples than bytes")
    header = new.find(b"mvhd")
    header.content = header.content[:-4] + struct.pack(">I", first_free + len(tracks))
    new.boxes = [*(new.boxes or []), *tracks]
    return new, position, copied


_TABLE = (b"mdia", b"minf", b"stbl")


def _index(path: Path) -> tuple[Box, int]:
    """The box of all tracks, and where it begins."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        position = 0
        while position + 8 <= size:
            file.seek(position)
            length, name = struct.unpack(">I4s", file.read(8))
            if length == 1:
                length = struct.unpack(">Q", file.read(8))[0]
            length = length or size - position
            if name == b"moov" and length <= _MOST_BYTES:
                file.seek(position + 8)
                return Box(name, boxes=list(_boxes(file.read(length - 8)))), position
            position += max(8, length)
    raise UnmovableError("no index")


def _boxes(content: bytes) -> Iterator[Box]:
    position = 0
    while position + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[position : position + 8])
        if length < 8 or position + length > len(content):
            if content[position:].strip(b"\0"):
                raise UnmovableError("a box without end")
            return  # QuickTime ends some lists with a zero
        inner = content[position + 8 : position + length]
        yield Box(name, boxes=list(_boxes(inner))) if name in _PARENTS else Box(name, inner)
        position += length


def _number(trak: Box) -> int:
    header = trak.find(b"tkhd").content
    at = 20 if header[0] else 12
    return int(struct.unpack(">I", header[at : at + 4])[0])


def _timescale(moov: Box) -> int:
    header = moov.find(b"mvhd").content
    at = 20 if header[0] else 12
    ticks = int(struct.unpack(">I", header[at : at + 4])[0])
    if not ticks:
        raise UnmovableError("no clock")
    return ticks


def _chunks(table: Box) -> Iterator[tuple[int, int]]:
    """Start and length of every run of samples (8.7.3, 8.7.4, 8.7.5)."""
    sizes = table.find(b"stsz").content
    each, count = struct.unpack(">II", sizes[4:12])
    runs = table.find(b"stsc").content
    steps = [struct.unpack(">III", runs[i : i + 12]) for i in range(8, len(runs) - 11, 12)]
    starts = _starts(table)
    if each == 0 and len(sizes) < 12 + 4 * count:
        raise UnmovableError("sizes are missing")
    sample, step = 0, 0
    for number, start in enumerate(starts, start=1):
        while step + 1 < len(steps) and steps[step + 1][0] <= number:
            step += 1
        samples = min(steps[step][1], count - sample) if steps else 0
        if each:
            length = each * samples
        else:
            at = 12 + 4 * sample
            length = sum(struct.unpack(f">{samples}I", sizes[at : at + 4 * samples]))
        sample += samples
        yield start, length


def _starts(table: Box) -> tuple[int, ...]:
    for name, kind, width in ((b"stco", "I", 4), (b"co64", "Q", 8)):
        for box in table.boxes or []:
            if box.name == name:
                count = struct.unpack(">I", box.content[4:8])[0]
                if len(box.content) < 8 + width * count:
                    raise UnmovableError("places are missing")
                return struct.unpack(f">{count}{kind}", box.content[8 : 8 + width * count])
    raise UnmovableError("no places")


def _place(table: Box, places: list[int]) -> None:
    content = struct.pack(f">II{len(places)}Q", 0, len(places), *places)
    others = [box for box in table.boxes or [] if box.name not in (b"stco", b"co64")]
    table.boxes = [*others, Box(b"co64", content)]


def _renumber(trak: Box, numbers: Mapping[int, int]) -> None:
    """The track's number, and those of the tracks that it describes."""
    header = trak.find(b"tkhd")
    at = 20 if header.content[0] else 12
    number = struct.pack(">I", numbers[_number(trak)])
    header.content = header.content[:at] + number + header.content[at + 4 :]
    boxes = []
    for box in trak.boxes or []:
        if box.name == b"tref":
            box.boxes = [r for r in map(_renamed(numbers), box.boxes or []) if r.content]
        if box.name != b"tref" or box.boxes:
            boxes.append(box)
    trak.boxes = boxes


def _renamed(numbers: Mapping[int, int]) -> Callable[[Box], Box]:
    """References to tracks by their new numbers, without those to tracks that are gone."""

    def renamed(box: Box) -> Box:
        found = struct.unpack(f">{len(box.content) // 4}I", box.content)
        kept = [numbers[number] for number in found if number in numbers]
        return Box(box.name, struct.pack(f">{len(kept)}I", *kept))

    return renamed


def _rescale(trak: Box, ratio: float) -> None:
    """What is counted in ticks of the film: the track's duration, and its edits (8.6.6)."""
    header = trak.find(b"tkhd")
    wide = header.content[0]
    at, kind = (28, ">Q") if wide else (20, ">I")
    header.content = _scaled(header.content, at, kind, ratio)
    for edits in trak.boxes or []:
        if edits.name == b"edts":
            listed = edits.find(b"elst")
            step, kind = (20, ">Q") if listed.content[0] else (12, ">I")
            for at in range(8, len(listed.content) - step + 1, step):
                listed.content = _scaled(listed.content, at, kind, ratio)


def _scaled(content: bytes, at: int, kind: str, ratio: float) -> bytes:
    width = struct.calcsize(kind)
    ticks = round(struct.unpack(kind, content[at : at + width])[0] * ratio)
    if ticks >= 1 << 8 * width:
        raise UnmovableError("a duration beyond its field")
    return content[:at] + struct.pack(kind, ticks) + content[at + width :]
