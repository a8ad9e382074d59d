"""Audio in memory and in files; owns "(channels, time) float32".

Files are those of libsndfile: WAV (RF64, W64), AIFF, FLAC, CAF, AU, Ogg Vorbis and Opus, MP3 and
more; `tinysignal.video` adds what FFmpeg reads. A signal that is written and read back has the
same number of samples in every format that `Writer` accepts, the lossy ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike

from tinysignal.audio_checks import (
    MAX_AMPLITUDE,
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    Signal,
    check_block,
    check_channels,
    check_rate,
    check_signal,
)
from tinysignal.audio_file import Reader, Writer
from tinysignal.audio_format import AudioFormat, AudioInfo, choose_format

__all__ = [
    "MAX_AMPLITUDE",
    "MAX_CHANNELS",
    "MAX_RATE_HZ",
    "MIN_RATE_HZ",
    "AudioFormat",
    "AudioInfo",
    "Reader",
    "Signal",
    "Writer",
    "check_block",
    "check_channels",
    "check_rate",
    "check_signal",
    "info",
    "read",
    "resample",
    "write",
]


def info(path: str | Path) -> AudioInfo:
    """The facts of a sound file.

    Raises
    ------
    AudioFileError
    """
    with Reader(path) as reader:
        return reader.info


def read(path: str | Path, *, sample_rate_hz: int | None = None) -> tuple[Signal, int]:
    """Read a whole sound file.

    Parameters
    ----------
    path : str or Path
        Of a file that libsndfile reads.
    sample_rate_hz : int or None
        Resample to that rate; None for the file's own.

    Returns
    -------
    float32 (channels, time)
    int
        The rate in Hz.

    Raises
    ------
    AudioFileError, SignalError
    """
    with Reader(path) as reader:
        signal = np.concatenate(list(reader.blocks()), axis=1)
        rate_hz = reader.info.sample_rate_hz
    if sample_rate_hz is None:
        return signal, rate_hz
    return resample(signal, from_hz=rate_hz, to_hz=sample_rate_hz), sample_rate_hz


def write(
    path: str | Path,
    signal: ArrayLike,
    *,
    sample_rate_hz: int,
    subtype: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write a whole signal; the container follows from the file name.

    Parameters
    ----------
    path : str or Path
        Overwritten if it exists.
    signal : floating (time,) or (channels, time)
        Saturates at full scale, 1.0, unless the subtype is floating point.
    sample_rate_hz : int
        4000 to 192000.
    subtype : str or None
        libsndfile's name: PCM_16, FLOAT, ...; None for 24 bits or what comes closest.
    tags : mapping of str to str or None
        Title, artist, album, comment, date, ...

    Raises
    ------
    AudioFileError, ConfigError, SignalError
    """
    rows = check_signal(signal)
    channels, samples = rows.shape
    like = AudioInfo(
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        samples=samples,
        container="",
        subtype="PCM_24",
    )
    audio_format, _ = choose_format(like, Path(path).suffix, subtype=subtype)
    with Writer(
        path,
        sample_rate_hz=sample_rate_hz,
        channels=channels,
        audio_format=audio_format,
        samples=samples,
        tags=tags,
    ) as writer:
        writer.write(rows)


def resample(signal: ArrayLike, *, from_hz: int, to_hz: int) -> Signal:
    """Band-limited resampling (soxr, very high quality).

    Parameters
    ----------
    signal : floating (time,) or (channels, time)
        Any level.
    from_hz, to_hz : int
        4000 to 192000.

    Returns
    -------
    float32 (channels, about time * to_hz / from_hz)

    Raises
    ------
    SignalError
    """
    rows = check_signal(signal)
    if check_rate(from_hz) == check_rate(to_hz):
        return rows
    resampled = soxr.resample(rows.T, from_hz, to_hz, quality="VHQ")
    return np.ascontiguousarray(resampled.T, dtype=np.float32)
