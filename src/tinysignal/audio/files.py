"""Sound files, whole or in blocks: open, read, write, resample.

`open`, `read` and `info` take every file that libsndfile reads (WAV, RF64, W64, AIFF, FLAC, CAF,
AU, Ogg Vorbis and Opus, MP3 and more) or that FFmpeg reads (M4A, films and more; the ``video``
extra). A signal that is written and read back has the same number of samples in every format that
`write` accepts, the lossy ones included.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import ArrayLike

from tinysignal.audio.ffmpeg import SUFFIXES, TrackReader
from tinysignal.audio.formats import CONTAINERS, AudioInfo, choose_format
from tinysignal.audio.libsndfile import ForeignFileError, Reader, Writer, check_readable
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal, check_rate, check_signal
from tinysignal.errors import AudioFileError, MissingExtraError

SOUND_SUFFIXES = SUFFIXES | CONTAINERS.keys()
"""Extensions, in lower case with their dot, of the sound files that are looked for in folders."""


def open(path: str | Path) -> SoundReader:
    """Open any sound file to read it block by block.

    Parameters
    ----------
    path : str or Path
        A sound file, or a film, of which the first sound track is read.

    Returns
    -------
    SoundReader
        To be used in a ``with`` statement, or closed.

    Raises
    ------
    AudioFileError
        Missing, unreadable, empty, truncated, not audio; rate or channels out of bounds.
    MissingExtraError
        Only FFmpeg can read it, and PyAV is not installed.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.write("tone.wav", np.sin(np.arange(16000) / 10), sample_rate_hz=16000)
    >>> with audio.open("tone.wav") as reader:
    ...     peak = max(abs(block).max() for block in reader.blocks())
    >>> round(float(peak), 2)
    1.0
    """
    suffix = Path(path).suffix.lower()
    if suffix in SUFFIXES:
        check_readable(Path(path))
        return TrackReader(path)
    try:
        return Reader(path)
    except ForeignFileError as error:
        # FFmpeg would leave out what is damaged in a file of libsndfile's kinds, without an error.
        if suffix in CONTAINERS and suffix != ".mp3":
            raise
        try:
            return TrackReader(path)
        except (AudioFileError, MissingExtraError):
            raise error from None


def info(path: str | Path) -> AudioInfo:
    """The facts of a sound file: rate, channels, length, format and tags.

    Parameters
    ----------
    path : str or Path
        Any file that `open` reads.

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioFileError, MissingExtraError
        As `open`.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.write("noise.flac", np.zeros((2, 24000)), sample_rate_hz=48000)
    >>> facts = audio.info("noise.flac")
    >>> facts.channels, facts.duration_s, facts.subtype
    (2, 0.5, 'PCM_24')
    """
    with open(path) as reader:
        return reader.info


def read(path: str | Path, *, sample_rate_hz: int | None = None) -> tuple[Signal, int]:
    """Read a whole sound file.

    Parameters
    ----------
    path : str or Path
        Any file that `open` reads.
    sample_rate_hz : int or None
        Resample to that rate; None for the file's own.

    Returns
    -------
    float32 (channels, time)
        Full scale at 1.0.
    int
        The rate in Hz.

    Raises
    ------
    AudioFileError, MissingExtraError
        As `open`; damaged, or NaN or infinite samples.
    SignalError
        ``sample_rate_hz`` is out of bounds.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.write("noise.wav", np.zeros((2, 24000)), sample_rate_hz=48000)
    >>> signal, rate_hz = audio.read("noise.wav", sample_rate_hz=16000)
    >>> signal.shape, rate_hz
    ((2, 8000), 16000)
    """
    with open(path) as reader:
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
    AudioFileError
        The file cannot be written, or its extension names no container.
    ConfigError
        The container does not take the subtype.
    SignalError
        A rate or a signal that is out of bounds.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    >>> audio.write("tone.flac", np.stack([tone, -tone]), sample_rate_hz=48000, subtype="PCM_16")
    >>> audio.info("tone.flac").channels
    2
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
        Any level and number of channels.
    from_hz, to_hz : int
        4000 to 192000.

    Returns
    -------
    float32 (channels, about time * to_hz / from_hz)

    Raises
    ------
    SignalError
        A rate or a signal that is out of bounds.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.resample(np.zeros((2, 48000)), from_hz=48000, to_hz=16000).shape
    (2, 16000)
    """
    rows = check_signal(signal, max_channels=None)
    if check_rate(from_hz) == check_rate(to_hz):
        return rows
    resampled = soxr.resample(rows.T, from_hz, to_hz, quality="VHQ")
    return np.ascontiguousarray(resampled.T, dtype=np.float32)
