"""Films whose structure is broken: cut off, or with a stretch that is no part of the format.

FFmpeg skips over such a stretch without an error. Every walk below follows the sizes that a
container states from its first byte to its last and says where they stop making sense.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from tinysignal.audio.ffmpeg_frames import Damage, bare_frames, found, mpegts


def first_damage(path: Path) -> Damage | None:
    """The first place where the sizes and checksums of a container do not hold.

    None as well for a container without any: a bare stream, MPEG.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(16)
        for mark, walk in _WALKS.items():
            if re.match(mark, head, re.DOTALL):
                try:
                    return next(walk(file, size), None)
                except struct.error:  # a header that ends with the file
                    return Damage(size, size + 1, missing=True)
                except (OSError, OverflowError, ValueError):  # sizes beyond any file
                    return Damage(0, size, missing=False)
    return None


def is_container(path: Path) -> bool:
    """Whether a file begins as a container that only FFmpeg reads."""
    with path.open("rb") as file:
        head = file.read(16)
    marks = [mark for mark, walk in _WALKS.items() if walk not in _OF_OTHERS]
    return any(re.match(mark, head, re.DOTALL) for mark in marks)


_MOST_BYTES = 1 << 26  # of a part that is read at once; real ones are far smaller

# Matroska and WebM: RFC 9559. An element is its identifier, its size and its content.
_SEGMENT, _CLUSTER, _CRC = 0x18538067, 0x1F43B675, 0xBF
_IN_SEGMENT = frozenset(
    (_CLUSTER, _CRC, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1043A770, 0x1941A469)
) | {0x1254C367, 0xEC, 0x1B538667}
_IN_CLUSTER = frozenset((0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, 0xEC, _CRC))


def _matroska(file: BinaryIO, size: int) -> Iterator[Damage]:
    position = 0
    while position < size:
        name, start, end = _element(file, position)
        if name == _SEGMENT:
            yield from _segment(file, start, size if end is None else end, size)
            end = size if end is None else end
        elif name not in (0x1A45DFA3, 0xEC) or end is None:
            return  # what follows the film is not its own
        if end > size:
            yield Damage(size, end, missing=True)
        position = end


def _segment(file: BinaryIO, position: int, end: int, size: int) -> Iterator[Damage]:
    """The parts of a film; those in a cluster of unknown size follow each other like them."""
    within = min(end, size)
    allowed = _IN_SEGMENT
    while position < within:
        name, start, stop = _element(file, position)
        if name == _CLUSTER and stop is None:
            allowed, position = _IN_SEGMENT | _IN_CLUSTER, start
            continue
        if name not in allowed or stop is None or stop > end:
            if stop is not None and stop > size and name in allowed:
                yield Damage(size, stop, missing=True)
            yield Damage(position, _next_cluster(file, position + 1, within), missing=False)
        if stop is None:
            return
        if stop > size:
            yield Damage(size, max(stop, end), missing=True)
        if name == _CLUSTER and stop - start <= _MOST_BYTES:
            yield from _cluster(file, start, stop)
        position = stop


def _cluster(file: BinaryIO, start: int, end: int) -> Iterator[Damage]:
    file.seek(start)
    content = file.read(end - start)
    position = 0
    while position < len(content):
        name, after = _identifier(content, position)
        stop = _sized(content, after)
        if name not in _IN_CLUSTER or stop is None or stop[1] > len(content):
            yield Damage(start + position, end, missing=False)
            return
        first, position = stop
        if name == _CRC and first + 4 == position:
            stated = struct.unpack("<I", content[first:position])[0]
            if zlib.crc32(memoryview(content)[position:]) != stated:
                yield Damage(start, end, missing=False)
                return


def _element(file: BinaryIO, position: int) -> tuple[int, int, int | None]:
    """Identifier, start of the content and end; None for an unknown size or what is none."""
    file.seek(position)
    head = file.read(12)
    name, after = _identifier(head, 0)
    sized = _sized(head, after)
    if sized is None:
        width = 8 - head[after].bit_length() + 1 if after < len(head) else 1
        return name, position + after + width, None
    return name, position + sized[0], position + sized[1]


def _identifier(content: bytes, position: int) -> tuple[int, int]:
    width = 9 - content[position].bit_length()
    end = position + min(width, 4)
    return (int.from_bytes(content[position:end]), end) if width <= 4 else (0, end)


def _sized(content: bytes, position: int) -> tuple[int, int] | None:
    """Start and end of an element's content; None if its size is unknown or no number."""
    if position >= len(content) or not content[position]:
        return None
    width = 9 - content[position].bit_length()
    value = int.from_bytes(content[position : position + width]) & ((1 << 7 * width) - 1)
    if value == (1 << 7 * width) - 1:
        return None
    return position + width, position + width + value


def _next_cluster(file: BinaryIO, position: int, end: int) -> int:
    return found(file, rb"\x1f\x43\xb6\x75", position, end)


# AVI: chunks in the lists of one or several RIFF chunks.
_AVI_CHUNK = rb"[0-9A-Za-z]{2}(?:db|dc|wb|tx|pc|sb|iv)|ix[0-9A-Za-z]{2}|JUNK|LIST|idx1|rec "


def _avi(file: BinaryIO, size: int) -> Iterator[Damage]:
    position = 0
    while position + 12 <= size:
        file.seek(position)
        name, length, _ = struct.unpack("<4sI4s", file.read(12))
        if name != b"RIFF" or not length:
            return
        end = position + 8 + length
        if end > size + 1:  # the last byte may be a missing pad
            yield Damage(size, end, missing=True)
        yield from _avi_lists(file, position + 12, min(end, size))
        position = end + length % 2


def _avi_lists(file: BinaryIO, position: int, end: int) -> Iterator[Damage]:
    while position + 8 <= end:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        stop = position + 8 + length
        if name == b"LIST" and file.read(4) == b"movi" and length > 4:
            yield from _avi_movie(file, position + 12, min(stop, end))
        position = stop + length % 2


def _avi_movie(file: BinaryIO, position: int, end: int) -> Iterator[Damage]:
    while position + 8 <= end:
        file.seek(position)
        name, length = struct.unpack("<4sI", file.read(8))
        if name == b"LIST":  # a group of chunks, whose own follow
            position += 12
            continue
        stop = position + 8 + length
        if not re.fullmatch(_AVI_CHUNK, name) or stop > end + 1:
            # The chunk before may be the one that was hit: its size is what led here.
            yield Damage(position, found(file, _AVI_CHUNK, position + 1, end), missing=False)
            return
        position = stop + length % 2


_HEADER_BYTES = 1 << 24
_SMALLEST_PACKET = 64

# ASF: objects with a 16-byte name; the samples are in packets of one size.
_ASF_FACTS = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _asf(file: BinaryIO, size: int) -> Iterator[Damage]:
    file.seek(16)
    end = struct.unpack("<Q", file.read(8))[0]
    file.seek(0)
    head = file.read(min(end, _HEADER_BYTES))
    at = head.find(_ASF_FACTS)
    if at < 0:
        return
    flags, packet = struct.unpack("<II", head[at + 88 : at + 96])
    file.seek(end)
    name, length, _, packets = struct.unpack("<16sQ16sQ", file.read(48))
    if (
        name != _ASF_DATA or flags & 1 or packet < _SMALLEST_PACKET
    ):  # recorded live: sizes are not known
        return
    first, stop = end + 50, end + 50 + packets * packet
    broken = mark = None
    for start in range(first, min(stop, size - packet + 1), packet):
        file.seek(start)
        mark = mark or file.read(3)  # all begin alike, mostly with 82 00 00
        file.seek(start)
        whole = file.read(3) == mark
        if not whole and broken is None:
            broken = start
        elif whole and broken is not None:
            yield Damage(broken, start, missing=False)
    if broken is not None:
        yield Damage(broken, min(stop, size), missing=False)
    if max(stop, end + length) > size:
        yield Damage(size, max(stop, end + length), missing=True)


def _flv(file: BinaryIO, size: int) -> Iterator[Damage]:
    file.seek(5)
    position = struct.unpack(">I", file.read(4))[0] + 4
    while position < size:
        file.seek(position)
        head = file.read(11)
        if len(head) == 11 and (head[0] & 0x1F not in (8, 9, 18) or head[8:] != b"\0\0\0"):
            pattern = rb"[\x08\x09\x12].{7}\0\0\0"
            yield Damage(position, found(file, pattern, position + 1, size), missing=False)
            return
        stop = position + 11 + int.from_bytes(head[1:4]) + 4
        if stop > size:
            yield Damage(size, stop, missing=True)
        position = stop


def _mp4(file: BinaryIO, size: int) -> Iterator[Damage]:
    """ISO 14496-12: boxes; what stands after the last of them is left alone."""
    position, seen = 0, False
    while position + 8 <= size:
        file.seek(position)
        length, name = struct.unpack(">I4s", file.read(8))
        if length == 1:
            length = struct.unpack(">Q", file.read(8))[0]
        if length == 0:  # to the end of the file
            return
        if not name.isascii() or not name.decode().isprintable():
            name = b""
        if length < 8 or not name:
            if not seen and position:  # the index is not where the sizes lead
                yield Damage(position, size, missing=False)
            return
        seen |= name in (b"moov", b"moof")
        position += length
        if position > size and name in (b"mdat", b"moov", b"moof", b"free", b"skip", b"uuid"):
            yield Damage(size, position, missing=True)


def _tta(file: BinaryIO, size: int) -> Iterator[Damage]:
    """True Audio: a table of frame sizes; every frame ends in its checksum."""
    file.seek(10)
    rate_hz, samples = struct.unpack("<II", file.read(8))
    frames = -(-samples // (256 * rate_hz // 245)) if rate_hz else 0
    if frames * 4 > size:
        return
    file.seek(22)
    sizes = struct.unpack(f"<{frames}I", file.read(4 * frames))
    position = 26 + 4 * frames
    for length in sizes:
        if position + length > size:
            yield Damage(size, position + length, missing=True)
        if length > _MOST_BYTES:
            return
        file.seek(position)
        frame = file.read(length)
        if length < 4 or zlib.crc32(frame[:-4]) != struct.unpack("<I", frame[-4:])[0]:
            yield Damage(position, position + length, missing=False)
        position += length


def _wavpack(file: BinaryIO, size: int) -> Iterator[Damage]:
    position = 0
    reached, total = 0, None
    while position + 32 <= size:
        file.seek(position)
        name, length, _, total_samples, index, samples = struct.unpack("<4sIIIII", file.read(24))
        if name != b"wvpk":
            if name[:3] in (b"APE", b"TAG") or reached == total:
                return
            yield Damage(position, found(file, b"wvpk", position + 1, size), missing=False)
            return
        if total is None and total_samples != 0xFFFFFFFF:
            total = total_samples
        position += 8 + length
        if position > size:
            yield Damage(size, position, missing=True)
        reached = index + samples
    if total is not None and reached < total:
        yield Damage(size, round(size * total / max(1, reached)), missing=True)


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _ogg(file: BinaryIO, size: int) -> Iterator[Damage]:
    """RFC 3533: pages, each with a checksum."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(27)
        if head[:4] != b"OggS":
            yield Damage(position, found(file, b"OggS", position + 1, size), missing=False)
            return
        if len(head) < 27:
            yield Damage(size, position + 27, missing=True)
        lengths = file.read(head[26])
        body = file.read(sum(lengths))
        stop = position + 27 + head[26] + sum(lengths)
        if stop > size:
            yield Damage(size, stop, missing=True)
        # zlib's polynomial, but from the other end of every byte and of the sum.
        page = (head[:22] + b"\0\0\0\0" + head[26:] + lengths + body).translate(_REVERSED)
        checksum = zlib.crc32(page, 0xFFFFFFFF) ^ 0xFFFFFFFF
        if checksum != int.from_bytes(head[22:26].translate(_REVERSED)):
            yield Damage(position, stop, missing=False)
        position = stop


_WALKS: dict[bytes, Callable[[BinaryIO, int], Iterator[Damage]]] = {
    rb"\x1a\x45\xdf\xa3": _matroska,
    rb"RIFF....AVI ": _avi,
    re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")): _asf,
    rb"FLV\x01": _flv,
    rb"....(?:ftyp|moov|mdat|free|skip|wide|pnot)": _mp4,
    rb"TTA1": _tta,
    rb"wvpk": _wavpack,
    rb"OggS": _ogg,
    rb"\x47|....\x47": mpegts,
    rb"\x0b\x77|\xff[\xfc\xfd\xf4\xf5]": bare_frames,
}
_OF_OTHERS = (_ogg, mpegts, bare_frames)  # libsndfile reads some of these, or the mark is no proof
