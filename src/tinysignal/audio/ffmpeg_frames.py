"""Streams without a table of contents: frames and packets that follow each other to the end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

_SEARCHED_BYTES = 1 << 24  # how far the end of a damaged stretch is looked for


@dataclass(frozen=True)
class Damage:
    """Bytes of a file from ``start`` to ``end`` that are missing or not what they should be."""

    start: int
    end: int
    missing: bool

    @property
    def size(self) -> int:
        """Number of bytes."""
        return self.end - self.start


def found(file: BinaryIO, pattern: bytes, position: int, end: int) -> int:
    """Where the next part of a film begins, after a damaged stretch."""
    file.seek(position)
    match = re.search(pattern, file.read(min(end - position, _SEARCHED_BYTES)), re.DOTALL)
    return end if match is None else position + match.start()


def mpegts(file: BinaryIO, size: int) -> Iterator[Damage]:
    """ISO 13818-1: packets of 188 bytes; on Blu-ray, four bytes of time stand before each."""
    file.seek(0)
    head = file.read(2048)
    for first, step in ((0, 188), (4, 192), (0, 204)):
        if head[first::step].count(0x47) == len(head[first::step]):
            break
    else:
        return  # a capture that begins anywhere
    start = position = 0
    while position < size:
        file.seek(position)
        content = file.read(step << 14)
        marks = content[first::step]
        if marks.count(0x47) != len(marks):
            bad = next(i for i, mark in enumerate(marks) if mark != 0x47)
            start = position + bad * step
            pattern = rb"\x47(?=.{%d}\x47.{%d}\x47)" % (step - 1, step - 1)
            yield Damage(start, found(file, pattern, start + 1, size), missing=False)
            return
        position += len(content)
    if size % step:
        yield Damage(size, size + step - size % step, missing=True)


_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_MP2_KBPS_1 = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 0)
_MP2_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)


def bare_frames(file: BinaryIO, size: int) -> Iterator[Damage]:
    """A bare stream of AC-3 (ATSC A/52), E-AC-3 or MPEG Layer II: frames that state their size."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(6)
        if head[:3] in (b"TAG", b"APE", b"ID3") or not head.strip(b"\0"):
            return
        length = _ac3_bytes(head) if head[:2] == b"\x0b\x77" else _mp2_bytes(head)
        if length is None and len(head) == 6:
            pattern = rb"\x0b\x77|\xff[\xfc\xfd\xf4\xf5]"
            yield Damage(position, found(file, pattern, position + 1, size), missing=False)
            return
        if length is None or position + length > size:
            yield Damage(size, position + (length or 6), missing=True)
            return
        position += length


def _ac3_bytes(head: bytes) -> int | None:
    if len(head) < 6 or head[:2] != b"\x0b\x77":
        return None
    if head[5] >> 3 > 10:  # the version of E-AC-3
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 63
    if rate == 3 or code >= 2 * len(_AC3_KBPS):
        return None
    kbps = _AC3_KBPS[code // 2]
    return (4 * kbps, 2 * (96_000 * kbps // 44_100 + code % 2), 6 * kbps)[rate]


def _mp2_bytes(head: bytes) -> int | None:
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF4:
        return None
    newest = head[1] & 8
    kbps = (_MP2_KBPS_1 if newest else _MP2_KBPS_2)[head[2] >> 4]
    rate_hz = (44_100, 48_000, 32_000, 0)[head[2] >> 2 & 3] // (1 if newest else 2)
    if not kbps or not rate_hz:
        return None
    return 144_000 * kbps // rate_hz + (head[2] >> 1 & 1)
