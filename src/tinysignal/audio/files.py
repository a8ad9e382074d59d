"""Sound files, whole or in blocks: read, write, resample.

Files are those of libsndfile: WAV (RF64, W64), AIFF, FLAC, CAF, AU, Ogg Vorbis and Opus, MP3 and
more; `tinysignal.audio.ffmpeg` adds what FFmpeg reads. A signal that is written and read back has
the same number of samples in every format that `Writer` accepts, the lossy ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike

from tinysignal.audio.ffmpeg import SUFFIXES, TrackReader
from tinysignal.audio.formats import CONTAINERS, AudioInfo, choose_format
from tinysignal.audio.libsndfile import (
    ForeignFileError,
    Reader,
    Writer,
    check_readable,
)
from tinysignal.audio.validate import (
    Signal,
    check_rate,
    check_signal,
)
from tinysignal.errors import AudioFileError, MissingExtraError


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


SOUND_SUFFIXES = SUFFIXES | CONTAINERS.keys()


def open_sound(path: str | Path) -> Reader | TrackReader:
    """A reader of any sound file: libsndfile's own, or a sound track through FFmpeg.

    Raises
    ------
    AudioFileError
        Not readable.
    MissingExtraError
        Only FFmpeg may read it, and PyAV is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        check_readable(Path(path))
        return TrackReader(path)
    try:
        return Reader(path)
    except ForeignFileError as error:
        # A damaged file of a kind that libsndfile knows is not FFmpeg's to patch up in silence.
        if suffix in CONTAINERS and suffix != ".mp3":
            raise
        try:
            return TrackReader(path)
        except (AudioFileError, MissingExtraError):
            raise error from None
