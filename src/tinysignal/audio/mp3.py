"""MP3 frames: lengths that no header states, bit rates, and the header that states a length.

libsndfile takes the length of an MP3 file without a Xing header as if the bit rate of its first
frame held to the end, and LAME writes no such header where a frame has no room for it.

Sources: ISO 11172-3 and 13818-3, Layer III; the "MP3 Info Tag" of LAME.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from tinysignal.audio.chunks import insert

# kbit/s by index, and Hz by index for MPEG 1.
_KBPS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0)
_KBPS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
_HZ = (44_100, 48_000, 32_000, 0)
_INFO_BYTES = 156  # of the header that states a length, after the side information
_ENCODER_DELAY = 576  # samples, of LAME
_MOST_BYTES = 1 << 16  # read at once

BitrateMode = Literal["CONSTANT", "AVERAGE"]


@dataclass(frozen=True)
class Frame:
    """One frame: its bytes in all, its samples, kbit/s, and the bytes before its sound."""

    size: int
    samples: int
    kbps: int
    side: int


@dataclass(frozen=True)
class Mp3Facts:
    """What the frames of an MP3 file say.

    Parameters
    ----------
    mode : {"CONSTANT", "AVERAGE"}
        Of its bit rate.
    sound_bytes : int
        Bytes of the file without the tags around the frames.
    samples : int or None
        In all frames, where no header states it.
    """

    mode: BitrateMode
    sound_bytes: int
    samples: int | None


def kbps_range(rate_hz: int) -> tuple[int, int]:
    """The lowest and highest kbit/s at that rate."""
    if rate_hz >= 32_000:
        return 32, 320
    return 8, 160 if rate_hz >= 16_000 else 64


def nearest_kbps(rate_hz: int, kbps: float) -> int:
    """The next of the rates that a file of constant bit rate can have."""
    low, high = kbps_range(rate_hz)
    table = _KBPS_1 if rate_hz >= 32_000 else _KBPS_2
    return min((k for k in table if low <= k <= high), key=lambda known: abs(known - kbps))


def read_facts(path: Path) -> Mp3Facts | None:
    """The facts of an MP3 file; None for any other kind.

    A file with a header that states its length is not read any further.
    """
    with path.open("rb") as file:
        start = leading_bytes(file)
        end = path.stat().st_size - trailing_bytes(file)
        first = _frame_at(file, start)
        if first is None:
            return None
        head = _read(file, start, 4 + first.side + 4)
        name = head[4 + first.side :]
        vbri = _read(file, start + 36, 4) == b"VBRI"
        if name in (b"Xing", b"Info") or vbri:
            mode: BitrateMode = "CONSTANT" if name == b"Info" else "AVERAGE"
            return Mp3Facts(mode, end - start, None)
        kinds = set()
        samples = 0
        for frame in _frames(file, start):
            kinds.add(frame.kbps)
            samples += frame.samples
    return Mp3Facts("CONSTANT" if len(kinds) == 1 else "AVERAGE", end - start, samples)


class Mp3Samples(NamedTuple):
    """Samples of an MP3 file."""

    stated: int | None  # by a Xing, Info or VBRI header, if there is one
    held: int  # in the frames with sound that follow each other from the first one


def samples_of(path: Path) -> Mp3Samples | None:
    """Samples that an MP3 file states and holds; None if it is no MPEG Layer III file."""
    with path.open("rb") as file:
        start = leading_bytes(file)
        first = _frame_at(file, start)
        if first is None:
            return None
        frames = _stated_frames(_read(file, start, 200))
        held = sum(frame.samples for frame in _frames(file, start))
    if frames is None:
        return Mp3Samples(None, held)
    return Mp3Samples(frames * first.samples, held - first.samples)


def _stated_frames(first: bytes) -> int | None:
    """Frames after the first one, if that holds a header and no sound; 0 if it does not say."""
    for name, place in ((b"Xing", 8), (b"Info", 8), (b"VBRI", 14)):
        at = first.find(name)
        if at >= 0 and len(first) >= at + place + 4:
            says = name == b"VBRI" or first[at + 7] & 1
            count: int = struct.unpack(">I", first[at + place : at + place + 4])[0]
            return count if says else 0
    return None


def leading_bytes(file: BinaryIO) -> int:
    """Bytes of the ID3 tags before the first frame."""
    at = 0
    while (head := _read(file, at, 10))[:3] == b"ID3" and len(head) == 10:
        a, b, c, d = head[6:10]
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    return at


def trailing_bytes(file: BinaryIO) -> int:
    """Bytes of the ID3v1, Lyrics3 and APE tags after the last frame."""
    end = size = file.seek(0, 2)
    if _read(file, max(0, end - 128), 3) == b"TAG":
        end -= 128
    lyrics = _read(file, max(0, end - 15), 15)
    if lyrics[6:] == b"LYRICS200" and lyrics[:6].isdigit():
        end -= 15 + int(lyrics[:6])
    ape = _read(file, max(0, end - 32), 32)
    if ape[:8] == b"APETAGEX":
        length, _, flags = struct.unpack("<3I", ape[12:24])
        end -= length + (32 if flags >> 31 else 0)
    return size - end if 0 <= end <= size else 0


def _read(file: BinaryIO, at: int, size: int) -> bytes:
    file.seek(at)
    return file.read(size)


def _frame_at(file: BinaryIO, at: int) -> Frame | None:
    return _parsed(_read(file, at, 4))


def _frames(file: BinaryIO, start: int) -> Iterator[Frame]:
    """Frames one after the other, the file read in blocks."""
    held, at = b"", 0  # bytes, and where the next frame starts among them
    file.seek(start)
    while True:
        while at + 4 > len(held):
            block = file.read(_MOST_BYTES)
            if not block:
                return
            held, at = held[at:] + block, max(0, at - len(held))
        frame = _parsed(held[at : at + 4])
        if frame is None:
            return
        yield frame
        at += frame.size


def _parsed(header: bytes) -> Frame | None:
    """The frame that starts with these four bytes."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE6 != 0xE2:
        return None
    version = header[1] >> 3 & 3  # 3: MPEG 1, 2: MPEG 2, 0: MPEG 2.5
    kbps = (_KBPS_1 if version == 3 else _KBPS_2)[header[2] >> 4]
    rate_hz = _HZ[header[2] >> 2 & 3] // {3: 1, 2: 2, 0: 4}.get(version, 1)
    if version == 1 or not kbps or not rate_hz:
        return None
    samples = 1152 if version == 3 else 576
    mono = header[3] >> 6 == 3
    side = (17 if mono else 32) if version == 3 else (9 if mono else 17)
    size = samples * kbps * 125 // rate_hz + (header[2] >> 1 & 1)
    return Frame(size, samples, kbps, side)


def state_length(path: Path, *, samples: int) -> None:
    """Put a frame without sound, which states the length, before frames that have none.

    LAME leaves it out where its frames are too short for it: at low constant bit rates.

    Parameters
    ----------
    path : Path
        What LAME wrote, without tags.
    samples : int
        What it was given.
    """
    with path.open("r+b") as file:
        first = _frame_at(file, 0)
        if first is None or first.size >= 4 + first.side + _INFO_BYTES:
            return
        frame = _length_frame(file, first, samples)
        insert(file, 0, frame)


def _length_frame(file: BinaryIO, first: Frame, samples: int) -> bytes:
    header = bytearray(_read(file, 0, 4))
    whole = first
    for index in range(1, 15):  # the smallest that has room for it
        header[2] = index << 4 | header[2] & 0x0C
        whole = _parsed(bytes(header)) or first
        if whole.size >= 4 + whole.side + _INFO_BYTES:
            break
    frames = sum(1 for _ in _frames(file, 0))
    size = file.seek(0, 2) + whole.size
    padding = frames * first.samples - samples - _ENCODER_DELAY
    seconds = bytes(percent * 256 // 100 for percent in range(100))  # where each percent starts
    body = b"Info" + struct.pack(">III", 15, frames, size) + seconds + bytes(4)
    lame = bytearray(36)
    lame[:9] = b"LAME3.100"
    lame[9] = 1  # revision 0, constant bit rate
    lame[20] = min(255, first.kbps)
    lame[21:24] = (_ENCODER_DELAY << 12 | max(0, min(4095, padding))).to_bytes(3, "big")
    lame[28:32] = struct.pack(">I", size)
    return (bytes(header) + bytes(whole.side) + body + bytes(lame)).ljust(whole.size, b"\0")
