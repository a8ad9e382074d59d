"""Recordings as they are held for training: mono, 16 bits, in memory or in a corpus.

Every recording has a scale of its own, the least power of two at which nothing clips. What was 16
bits before stays what it was, to the bit; everything else gets noise 98 dB below full scale at that
scale, which is at most 6 dB above its peak.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import soxr
from numpy.typing import DTypeLike, NDArray

from tinysignal import audio
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal
from tinysignal.remote import Place, fetched

Mono = NDArray[np.float32]  # (time,)

_SILENT = 1e-4  # -80 dBFS
_LEAST_POWER = 1e-9
EXCERPT_S = 2.0  # the loudest stretch that `Facts` knows
_HOPS = 128  # of 10 ms in a block of samples
_QUIETEST = -60  # least exponent of a scale


class Samples(Protocol):
    """Samples in memory or in a file, int16 (time,)."""

    @property
    def size(self) -> int: ...

    def __getitem__(self, part: slice) -> NDArray[np.int16]: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What the check of the data needs to know of a recording.

    Parameters
    ----------
    content : bytes
        Digest of the samples: equal for copies of a recording in any lossless format.
    lost_db : float
        Power that is lost in the mean of the channels: 0 for equal ones, 3 for two that have
        nothing in common, more for channels that cancel.
    silent : bool
        Whether no sample is above -80 dBFS.
    range_db : float
        Between the loudest and the quietest twentieth of frames of 20 ms: large where pauses are.
    loudest : int
        First sample of the loudest 2 s.
    """

    content: bytes
    lost_db: float
    silent: bool
    range_db: float
    loudest: int


@dataclass(frozen=True, slots=True)
class Sound:
    """Recording at one rate that numpy takes for float32 (time,); parts are read when used.

    Parameters
    ----------
    samples : int16 (time,), or what reads them
    scale : float
        Factor of the samples, below 0 for an inverted recording.
    facts : Facts
        Of the whole recording.
    start : int
        First sample of this part in the recording.
    size : int
        Samples of this part.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.train.data.sound import in_memory
    >>> sound = in_memory(np.array([0.5, -2.0, 0.25], np.float32), sample_rate_hz=16000)
    >>> sound.samples, sound.scale
    (array([  8192, -32768,   4096], dtype=int16), 6.103515625e-05)
    >>> np.asarray(sound[1:])
    array([-2.  ,  0.25], dtype=float32)
    """

    samples: Samples
    scale: float
    facts: Facts
    start: int
    size: int

    @property
    def shape(self) -> tuple[int]:
        """As of an array."""
        return (self.size,)

    def __getitem__(self, part: slice) -> Self:
        start, stop, step = part.indices(self.size)
        if step != 1:
            raise IndexError(f"step of {step}, expected 1.")
        return type(self)(
            self.samples, self.scale, self.facts, self.start + start, max(0, stop - start)
        )

    def __neg__(self) -> Self:
        return type(self)(self.samples, -self.scale, self.facts, self.start, self.size)

    def __array__(
        self, dtype: DTypeLike | None = None, *, copy: bool | None = None
    ) -> NDArray[Any]:
        found = self.samples[self.start : self.start + self.size]
        return (found.astype(np.float32) * np.float32(self.scale)).astype(
            dtype or np.float32, copy=False
        )

    def any(self) -> bool:
        """Whether a sample is not 0."""
        return bool(np.asarray(self).any())

    @property
    def loudest(self) -> int:
        """First sample of the loudest 2 s of the recording, within this part."""
        return max(0, self.facts.loudest - self.start)


@contextmanager
def open_recording(path: Place) -> Iterator[SoundReader]:
    """A recording of a data set, here or in a store: the one place where training opens sound.

    Raises
    ------
    AudioFileError
        It is not readable as audio.
    FileError
        Its store does not give it.
    """
    with fetched(path) as local, audio.open(local) as reader:
        yield reader


def mono_blocks(path: Place, *, sample_rate_hz: int) -> Iterator[tuple[Mono, float]]:
    """The mean of the channels of a file at a sample rate, block by block.

    Returns
    -------
    iterator of (float32 (time,), float)
        Each with the mean energy of its channels.

    Raises
    ------
    AudioFileError
        The file is not readable as audio.
    """
    with open_recording(path) as reader:
        for block in _at_rate(reader, sample_rate_hz):
            power = float(np.mean([np.dot(channel, channel) for channel in block]))
            yield block.mean(axis=0, dtype=np.float32), power


def _at_rate(reader: SoundReader, sample_rate_hz: int) -> Iterator[Signal]:
    """The blocks of a file, together equal to all of it after `tinysignal.audio.resample`."""
    info = reader.info
    if info.sample_rate_hz == sample_rate_hz:
        yield from reader.blocks()
        return
    stream = soxr.ResampleStream(
        info.sample_rate_hz, sample_rate_hz, info.channels, dtype="float32", quality="VHQ"
    )
    for block in reader.blocks():
        yield np.ascontiguousarray(stream.resample_chunk(np.ascontiguousarray(block.T)).T)
    last = stream.resample_chunk(np.zeros((0, info.channels), np.float32), last=True)
    yield np.ascontiguousarray(last.T)


def quantised(
    blocks: Iterable[tuple[Mono, float]],
    keep: Callable[[NDArray[np.int16]], object],
    *,
    spool: BinaryIO,
    sample_rate_hz: int,
) -> tuple[float, Facts]:
    """Turn a recording into 16 bits, and note its facts.

    Parameters
    ----------
    blocks : iterable of (float32 (time,), float)
        See `mono_blocks`.
    keep : callable
        Is called with each block of `block_samples`, int16.
    spool : file
        Holds the recording until its peak is known.
    sample_rate_hz : int

    Returns
    -------
    float
        Scale of the samples.
    Facts
    """
    high = low = power = mono_power = 0.0
    for mono, energy in blocks:
        high, low = max(high, float(mono.max(initial=0))), min(low, float(mono.min(initial=0)))
        power, mono_power = power + energy, mono_power + float(np.dot(mono, mono))
        spool.write(mono.tobytes())
    scale, hop = _scale(high, low), _hop(sample_rate_hz)
    digest = hashlib.blake2b(str(scale).encode(), digest_size=16)
    levels: list[NDArray[np.float64]] = [np.zeros(0)]
    size = 0
    spool.seek(0)
    while content := spool.read(4 * block_samples(sample_rate_hz)):
        block = np.rint(np.frombuffer(content, np.float32) / np.float32(scale)).astype("<i2")
        digest.update(block.tobytes())
        keep(block)
        size += block.size
        frames = block[: block.size // hop * hop].reshape(-1, hop)
        levels.append(np.square(frames, dtype=np.float64).sum(axis=1))
    found = np.concatenate(levels) * (32768 * scale) ** 2
    excerpt = round(EXCERPT_S * sample_rate_hz)
    return scale, Facts(
        digest.digest(),
        lost_db(power, mono_power),
        max(high, -low) <= _SILENT,
        _range_db(found),
        _loudest(found, excerpt // hop) * hop if size > excerpt else 0,
    )


def lost_db(power: float, mono_power: float) -> float:
    """Power of the channels that is lost in their mean, see `Facts`."""
    return float(10 * np.log10((power + _LEAST_POWER) / (mono_power + _LEAST_POWER)))


def _scale(high: float, low: float) -> float:
    """The least power of two at which no sample from ``low`` to ``high`` clips."""
    peak = max(high, -low)
    if peak == 0:
        return 2.0**-15
    scale = 2.0 ** max(_QUIETEST, math.frexp(peak)[1] - 16)
    while round(high / scale) > 32767 or round(low / scale) < -32768:
        scale *= 2
    return scale


def _hop(sample_rate_hz: int) -> int:
    return max(1, sample_rate_hz // 100)


def block_samples(sample_rate_hz: int) -> int:
    """Samples that are read and checked at once: 1.28 s."""
    return _HOPS * _hop(sample_rate_hz)


def _range_db(levels: NDArray[np.float64]) -> float:
    """Between the loudest and the quietest twentieth of frames of 20 ms, from frames of 10 ms."""
    pairs = levels[: levels.size // 2 * 2].reshape(-1, 2).sum(axis=1) + 1e-9
    if not pairs.size:
        return 0.0
    quiet, loud = np.percentile(pairs, [5, 95])
    return float(10 * np.log10(loud / quiet))


def _loudest(levels: NDArray[np.float64], span: int) -> int:
    """Begin of the loudest ``span`` frames."""
    sums = np.cumsum(np.concatenate([[0.0], levels]))
    return int(np.argmax(sums[span:] - sums[:-span]))


def in_memory(mono: Mono, *, sample_rate_hz: int) -> Sound:
    """Sound of samples in memory, float32 (time,)."""
    return _held([(mono, float(np.dot(mono, mono)))], sample_rate_hz)


def load_sound(path: Place, *, sample_rate_hz: int) -> Sound:
    """Read a recording into memory.

    Raises
    ------
    AudioFileError
        The file is not readable as audio.
    """
    return _held(mono_blocks(path, sample_rate_hz=sample_rate_hz), sample_rate_hz)


def _held(blocks: Iterable[tuple[Mono, float]], sample_rate_hz: int) -> Sound:
    kept: list[NDArray[np.int16]] = [np.zeros(0, np.int16)]
    scale, facts = quantised(blocks, kept.append, spool=BytesIO(), sample_rate_hz=sample_rate_hz)
    samples = np.concatenate(kept)
    return Sound(samples, scale, facts, 0, samples.size)
