"""Files for libsndfile, which does not tell when the system fails to read or to write them."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any, Literal


class CheckedFile(io.FileIO):
    """A file that remembers the first error of the system, for a library that loses it.

    libsndfile takes a failed read for the end of the file, and a failed write of the header for
    none at all. An exception could not pass through it.

    Parameters
    ----------
    path : Path
    mode : {"r", "w"}

    Attributes
    ----------
    error : OSError or None
    """

    def __init__(self, path: Path, mode: Literal["r", "w"] = "r") -> None:
        super().__init__(os.fspath(path), mode)
        self.error: OSError | None = None

    def readinto(self, buffer: Any) -> int:
        """Read as `io.FileIO` does; nothing after an error."""
        try:
            return super().readinto(buffer) or 0
        except OSError as error:
            self.error = self.error or error
            return 0

    def write(self, content: Any) -> int:
        """Write all of it; nothing after an error."""
        left = memoryview(content).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) or 0 :]
        except OSError as error:
            self.error = self.error or error
            return 0
        return size

    def seek(self, place: int, whence: int = 0, /) -> int:
        """Seek as `io.FileIO` does; not at all after an error."""
        try:
            return super().seek(place, whence)
        except OSError as error:  # before the start: a damaged header
            self.error = self.error or (error if error.errno != errno.EINVAL else None)
            return -1
