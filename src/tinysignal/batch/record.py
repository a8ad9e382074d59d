"""What earlier runs made: a line for every output, in a hidden file beside it.

The file is only ever appended to, a line at once, so several runs may share a folder, and a run
that is killed loses nothing. A line that cannot be read counts as absent.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tinysignal.batch.plan import Work
from tinysignal.denoise_file import FileOptions
from tinysignal.denoiser import RULE, Denoiser

NAME = ".tinysignal.jsonl"
_MOST_BYTES = 1 << 28  # of a file that is read; a longer one is none of ours


@dataclass(frozen=True, slots=True)
class _Made:
    """What an output was made of, and how; sizes in bytes and times in ns."""

    how: str
    source: tuple[int, int]
    target: tuple[int, int]


class Records:
    """Which outputs are already as a denoiser and options would make them.

    Parameters
    ----------
    denoiser : Denoiser
    options : FileOptions or None

    Examples
    --------
    >>> from tinysignal import Denoiser
    >>> from tinysignal.batch import Records, plan_work
    >>> (item,) = plan_work(["absent.wav"])
    >>> Records(Denoiser.load(mix=0.8)).is_done(item)
    False
    """

    def __init__(self, denoiser: Denoiser, options: FileOptions | None = None) -> None:
        how = {
            "rule": RULE,
            "model": denoiser.checksum,
            **vars(denoiser.options),
            **vars(options or FileOptions()),
        }
        text = json.dumps(how, sort_keys=True, default=str)
        self._how = hashlib.sha256(text.encode()).hexdigest()[:16]
        self._folders: dict[Path, dict[str, _Made]] = {}
        self._lock = threading.Lock()

    def is_done(self, work: Work) -> bool:
        """Whether the outputs exist, from this source as it is now, made in this way.

        An output that this record does not know, or that somebody has changed since, is done if it
        is no older than its source: it may be somebody's work.
        """
        target, source = _state(work.target), _state(work.source)
        if source is None or any(_state(path) is None for path in work.outputs):
            return False
        made = self._known(work.target.parent).get(work.target.name)
        if made is None or made.target != target:
            return work.is_done()
        return (made.how, made.source) == (self._how, source)

    def add(self, work: Work, *, new: bool = True) -> None:
        """Note that the work is done; without ``new``, only in a folder that has a record."""
        source, target = _state(work.source), _state(work.target)
        if source is None or target is None:
            return
        made = _Made(self._how, source, target)
        path = work.target.parent / NAME
        line = {"output": work.target.name, "how": made.how, "source": source, "target": target}
        flags = os.O_APPEND | os.O_WRONLY | (os.O_CREAT if new else 0)
        # Only the saving of time is lost where the folder takes no record.
        with suppress(OSError):
            file = os.open(path, flags, 0o666)
            try:
                os.write(file, (json.dumps(line) + "\n").encode())
            finally:
                os.close(file)
        with self._lock:
            if work.target.parent in self._folders:
                self._folders[work.target.parent][work.target.name] = made

    def _known(self, folder: Path) -> dict[str, _Made]:
        with self._lock:
            if folder not in self._folders:
                self._folders[folder] = _read(folder / NAME)
            return self._folders[folder]


def _read(path: Path) -> dict[str, _Made]:
    """The last line of every output."""
    found: dict[str, _Made] = {}
    try:
        with path.open("rb") as file:
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return found
    for line in lines:
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            entry = json.loads(line)
            (size, time_ns), (made_size, made_ns) = entry["source"], entry["target"]
            made = _Made(str(entry["how"]), (size, time_ns), (made_size, made_ns))
            found[str(entry["output"])] = made
    return found


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of change, None for no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
