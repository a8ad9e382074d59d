"""What every reader of a sound file offers, whichever library decodes it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from types import TracebackType

from tinysignal.audio.formats import AudioInfo
from tinysignal.audio.validate import Signal


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
