"""Sound that flows: uncompressed samples as bytes, bare or behind the header of a WAV file."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinysignal.audio.validate import Signal, check_channels, check_rate
from tinysignal.errors import SignalError

PcmKind = Literal["u8", "s16le", "s24le", "s32le", "f32le", "f64le"]

_DTYPES = {"u8": "u1", "s16le": "<i2", "s32le": "<i4", "f32le": "<f4", "f64le": "<f8"}
_BITS = {"u8": 8, "s16le": 16, "s24le": 24, "s32le": 32}
# Tags of a WAV file's format chunk and bytes of a sample.
_WAV_KINDS: dict[tuple[int, int], PcmKind] = {
    (1, 1): "u8",
    (1, 2): "s16le",
    (1, 3): "s24le",
    (1, 4): "s32le",
    (3, 4): "f32le",
    (3, 8): "f64le",
}
_EXTENSIBLE = 0xFFFE  # the tag is in the chunk's extension
_UNSTATED = 0xFFFFFFFF
# What programs write for a length that they do not know begins here: sox 0x7FFFF000, arecord 2^31.
_PLACEHOLDERS = 0x7FFF0000
_MOST_HEADER_BYTES = 1 << 24


@dataclass(frozen=True)
class PcmFormat:
    """Uncompressed samples: rate, channels, and how a sample is written.

    Parameters
    ----------
    sample_rate_hz, channels : int
    kind : {"u8", "s16le", "s24le", "s32le", "f32le", "f64le"}
        Unsigned, signed or floating; bits; little-endian.

    Raises
    ------
    SignalError
        A rate or a number of channels that is out of bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.audio.pcm import PcmFormat
    >>> stereo = PcmFormat(48_000, 2, "s16le")
    >>> stereo.encode(np.float32([[0.5], [-1]]))
    b'\\x00@\\x00\\x80'
    >>> stereo.decode(b"\\x00@\\x00\\x80").tolist()
    [[0.5], [-1.0]]
    """

    sample_rate_hz: int
    channels: int
    kind: PcmKind

    def __post_init__(self) -> None:
        check_rate(self.sample_rate_hz)
        check_channels(self.channels)

    @property
    def is_float(self) -> bool:
        """Whether samples may exceed full scale."""
        return self.kind.startswith("f")

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * int("".join(filter(str.isdigit, self.kind))) // 8

    def decode(self, data: bytes) -> Signal:
        """Samples of bytes that are whole frames, float32 (channels, time)."""
        values: NDArray[Any]
        if self.kind == "s24le":
            upper = np.zeros((len(data) // 3, 4), np.uint8)
            upper[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            values = upper.view("<i4")[:, 0] / 2.0**31
        else:
            values = np.frombuffer(data, _DTYPES[self.kind])
            if self.kind == "u8":
                values = values / 128.0 - 1
            elif not self.is_float:
                values = values / 2.0 ** (_BITS[self.kind] - 1)
        rows = values.reshape(-1, self.channels).T
        with np.errstate(over="ignore"):  # to infinity, which whoever takes it refuses
            return np.ascontiguousarray(rows, np.float32)

    def encode(self, signal: Signal) -> bytes:
        """Bytes of float32 (channels, time); integers are rounded, and saturate at full scale."""
        values: NDArray[Any] = signal.T
        if not self.is_float:
            top = 2 ** (_BITS[self.kind] - 1)
            values = np.clip(np.rint(values.astype(np.float64) * top), -top, top - 1)
        if self.kind == "u8":
            values = values + 128
        if self.kind == "s24le":
            whole = np.ascontiguousarray(values, "<i4")
            return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
        return bytes(values.astype(_DTYPES[self.kind]).tobytes())


@dataclass(frozen=True)
class WavHead:
    """What stands before the samples of a WAV file.

    Parameters
    ----------
    content : bytes
        All of it, up to the first sample.
    pcm : PcmFormat or None
        None where the samples are compressed or this is no WAV file.
    data_bytes : int or None
        Length of the samples; None if it is not stated.
    """

    content: bytes
    pcm: PcmFormat | None = None
    data_bytes: int | None = None

    @property
    def is_sure(self) -> bool:
        """Whether the length is no placeholder."""
        return self.data_bytes is not None and self.data_bytes < _PLACEHOLDERS


def read_wav_head(read: Callable[[int], bytes]) -> WavHead:
    """Read a WAV file's beginning from a pipe.

    Parameters
    ----------
    read : callable
        ``read(n)`` returns ``n`` bytes, fewer only at the end.

    Returns
    -------
    WavHead
        With what was read so far, whatever it is.
    """
    content = read(12)
    if content[:4] not in (b"RIFF", b"RF64") or content[8:] != b"WAVE":
        return WavHead(content)
    pcm, long_bytes = None, None
    while len(content) < _MOST_HEADER_BYTES:
        head = read(8)
        content += head
        if len(head) < 8:
            break
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            return WavHead(content, pcm, _stated(size, long_bytes))
        if size > _MOST_HEADER_BYTES:
            break
        chunk = read(size + size % 2)
        content += chunk
        if name == b"fmt ":
            pcm = _pcm_of(chunk)
        elif name == b"ds64" and len(chunk) >= 16:
            long_bytes = struct.unpack_from("<Q", chunk, 8)[0]
    return WavHead(content)


def is_chunk(head: bytes) -> bool:
    """Whether 8 bytes may begin a chunk: a name of letters, and a length that is no placeholder."""
    return (
        len(head) == 8 and head[:4].isascii() and head[:4].decode().isprintable() and head[7] < 16
    )


def _stated(size: int, long_bytes: int | None) -> int | None:
    if size == _UNSTATED:
        return long_bytes or None
    return size or None


def _pcm_of(chunk: bytes) -> PcmFormat | None:
    if len(chunk) < 16:
        return None
    tag, channels, rate_hz, _, frame_bytes, _ = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    kind = _WAV_KINDS.get((tag, frame_bytes // channels if channels else 0))
    if kind is None or frame_bytes % channels:
        return None
    try:
        return PcmFormat(rate_hz, channels, kind)
    except SignalError:
        return None  # whoever reads the whole file says why
