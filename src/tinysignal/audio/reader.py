"""What every reader of a sound file offers, whichever library decodes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType

import numpy as np

from tinysignal.audio.formats import AudioInfo
from tinysignal.audio.validate import MAX_AMPLITUDE, Signal, check_channels, check_rate
from tinysignal.errors import AudioFileError, SignalError


class SoundReader(AbstractContextManager["SoundReader"]):
    """An open sound file, read in blocks; made by `tinysignal.audio.open`.

    Attributes
    ----------
    info : AudioInfo
        Its rate, channels, length, format and tags.
    notes : tuple of str
        What a user should know of how it was read.
    """

    info: AudioInfo
    notes: tuple[str, ...] = ()

    @abstractmethod
    def blocks(self) -> Iterator[Signal]:
        """The signal from its start, float32 (channels, time) block by block.

        Raises
        ------
        AudioFileError
            Damaged or truncated; NaN or infinite samples.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def check_readable(path: Path) -> None:
    """Refuse what is missing, a folder, out of reach or empty.

    Raises
    ------
    AudioFileError
    """
    try:
        if path.is_dir():
            raise AudioFileError(f"{path}: a folder, expected an audio file.")
        if path.exists() and not path.is_file():  # opening it may wait for ever
            raise AudioFileError(f"{path}: not a regular file. Use '-' to read from a pipe.")
        with path.open("rb") as file:
            empty = not file.read(1)
    except AudioFileError:
        raise
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror}).") from None
    if empty:
        raise AudioFileError(f"{path}: an empty file, expected an audio file.")


def check_facts(path: str | Path, info: AudioInfo) -> None:
    """Refuse a file without samples, or with a rate or number of channels out of bounds.

    Raises
    ------
    AudioFileError
    """
    try:
        check_rate(info.sample_rate_hz)
        check_channels(info.channels)
    except SignalError as error:
        raise AudioFileError(f"{path}: {error}") from None
    if info.samples == 0:
        raise AudioFileError(f"{path}: there are no samples in it.")


def check_finite(path: str | Path, block: Signal, *, start: int, info: AudioInfo) -> None:
    """Refuse NaN, infinite and absurdly large samples, saying where they are.

    Raises
    ------
    AudioFileError
    """
    if np.abs(block).max(initial=0.0) <= MAX_AMPLITUDE:  # NaN compares false
        return
    bad = ~(np.abs(block) <= MAX_AMPLITUDE)
    at = int(np.argmax(bad.any(axis=0)))
    channel = int(np.argmax(bad[:, at]))
    raise AudioFileError(
        f"{path}: a sample of {block[channel, at]} at {(start + at) / info.sample_rate_hz:.3f} s, "
        f"channel {channel + 1}; expected finite numbers with full scale at 1.0."
    )
