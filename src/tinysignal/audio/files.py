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

from tinysignal.audio.ffmpeg import TrackReader
from tinysignal.audio.ffmpeg_structure import is_container
from tinysignal.audio.ffmpeg_tracks import SUFFIXES, what_it_is
from tinysignal.audio.formats import CONTAINERS, AudioInfo, choose_format
from tinysignal.audio.libsndfile import ForeignFileError, Reader, Writer
from tinysignal.audio.reader import SoundReader, check_readable
from tinysignal.audio.validate import Signal, check_rate, check_signal
from tinysignal.errors import AudioFileError, ConfigError, MissingExtraError

SOUND_SUFFIXES = SUFFIXES | CONTAINERS.keys()
"""Extensions, in lower case with their dot, of the sound files that are looked for in folders."""

# How files of libsndfile's kinds begin, whatever they are called.
_LIBSNDFILES = frozenset(
    (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b".snd", b"fLaC", b"OggS", b"caff")
)
# What libsndfile reads in containers that FFmpeg knows by these names: if it refuses such a file,
# the file is damaged, and FFmpeg would leave the damage out without an error.
_KNOWN = {
    "wav": ("pcm_", "adpcm_ms", "adpcm_ima_wav", "gsm_ms"),
    "w64": ("pcm_",),
    "aiff": ("pcm_",),
    "au": ("pcm_",),
    "caf": ("pcm_",),
    "flac": ("flac",),
    "ogg": ("vorbis", "opus"),
}


def open(path: str | Path, *, track: int | None = None) -> SoundReader:
    """Open any sound file to read it block by block.

    The content decides which library reads it, not the extension.

    Parameters
    ----------
    path : str or Path
        A sound file or a film.
    track : int or None
        Which sound track of a film, counted from 1; None for its default one.

    Returns
    -------
    SoundReader
        To be used in a ``with`` statement, or closed.

    Raises
    ------
    AudioFileError
        Missing, unreadable, empty, truncated, not audio; rate or channels out of bounds.
    ConfigError
        There is no track of that number.
    MissingExtraError
        Only FFmpeg can read it, and PyAV is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.write("tone.wav", np.sin(np.arange(16000) / 10), sample_rate_hz=16000)
    >>> with audio.open("tone.wav") as reader:
    ...     peak = max(abs(block).max() for block in reader.blocks())
    >>> round(float(peak), 2)
    1.0
    """
    path = Path(path)
    check_readable(path)
    found = what_it_is(path)
    if found is not None:
        raise AudioFileError(f"{path}: not a readable audio file ({found}).")
    named = path.suffix.lower() in SUFFIXES
    if is_container(path) or (named and not _is_libsndfiles(path)):
        return TrackReader(path, track=track)
    try:
        reader = Reader(path)
    except ForeignFileError as error:
        return _foreign(path, track, error)
    if reader.info.container == "WAV" and reader.info.subtype.startswith("MPEG"):
        reader.close()  # libsndfile guesses its length
        return TrackReader(path, track=track)
    if reader.info.container == "RAW":  # libsndfile goes by the extension, too
        reader.close()
        raise AudioFileError(f"{path}: not a readable audio file (headerless samples).")
    if track not in (None, 1):
        reader.close()
        raise ConfigError(f"track {track}, but {path} has 1 sound track.")
    return reader


def _is_libsndfiles(path: Path) -> bool:
    """Whether a file begins as libsndfile's do; a film may be in Ogg as well."""
    with path.open("rb") as file:
        head = file.read(4)
    is_film = head == b"OggS" and path.suffix.lower() == ".ogv"
    return head in _LIBSNDFILES and not is_film


def _foreign(path: Path, track: int | None, error: ForeignFileError) -> SoundReader:
    """The reader of a file that libsndfile refuses."""
    try:
        reader = TrackReader(path, track=track)
    except MissingExtraError:
        if path.suffix.lower() in SUFFIXES:
            raise
        raise error from None
    except AudioFileError as other:
        truncated = "truncated" in str(other) or "damaged" in str(other)
        raise (other if truncated else error) from None
    known = reader.info.subtype.startswith(_KNOWN.get(reader.container_name, ()))
    if known and not reader.has_picture:
        reader.close()
        raise error
    return reader


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

    Examples
    --------
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

    Examples
    --------
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

    Examples
    --------
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

    Examples
    --------
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
