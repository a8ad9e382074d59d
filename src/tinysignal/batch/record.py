"""What earlier runs made: a line for every output, in a hidden file beside it.

The file is only ever appended to, a line at once, so several runs may share a folder, and a run
that is killed loses nothing. A line that cannot be read counts as absent. Nothing can be appended
to a file of an object store; there the lines are in several files of a hidden folder, each written
once. A run that is killed loses the lines of its last minute, and then times alone decide.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from tinysignal.batch.plan import Work
from tinysignal.denoise_file import FileOptions
from tinysignal.denoiser import RULE, Denoiser
from tinysignal.errors import FileError
from tinysignal.remote import Place, State, Url, list_folder, read_bytes, state_of, write_bytes

NAME = ".tinysignal.jsonl"
FOLDER = ".tinysignal"  # in a store
_MOST_BYTES = 1 << 28  # of a file that is read; a longer one is none of ours
_MOST_LINES, _MOST_S = 500, 60  # that wait to be stored
_Content: TypeAlias = tuple[int, int | str]


@dataclass(frozen=True, slots=True)
class _Made:
    """What an output was made of, and how.

    Contents are sizes in bytes, with times in ns or what a store calls them.
    """

    how: str
    source: _Content
    target: _Content


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
        self._folders: dict[Place, _Folder] = {}
        self._lock = threading.Lock()

    def is_done(self, work: Work) -> bool:
        """Whether the outputs exist, from this source as it is now, made in this way.

        An output that this record does not know, or that somebody has changed since, is done if it
        is no older than its source: it may be somebody's work.

        Raises
        ------
        FileError
            A store refuses to tell.
        """

        def state(path: Place) -> State | None:
            return state_of(path) if path == work.source else self._folder(path).state(path)

        target, source = state(work.target), state_of(work.source)
        if source is None or any(state(path) is None for path in work.outputs):
            return False
        made = self._folder(work.target).made.get(work.target.name)
        if made is None or made.target != _content(target):
            return work.is_done(state)
        return (made.how, made.source) == (self._how, _content(source))

    def add(self, work: Work, *, new: bool = True) -> None:
        """Note that the work is done; without ``new``, only in a folder that has a record."""
        with suppress(FileError):  # only the saving of time is lost
            source, target = _content(state_of(work.source)), _content(state_of(work.target))
            if source is not None and target is not None:
                made = _Made(self._how, source, target)
                self._folder(work.target).add(work.target.name, made, new=new)

    def close(self) -> None:
        """Store what has to be stored; the record can still be used."""
        for folder in [*self._folders.values()]:
            with suppress(FileError):
                folder.close()

    def _folder(self, path: Place) -> _Folder:
        with self._lock:
            folder = path.parent
            if folder not in self._folders:
                self._folders[folder] = (
                    _InStore(folder) if isinstance(folder, Url) else _Here(folder)
                )
            return self._folders[folder]


class _Folder(Protocol):
    """A folder of outputs and its record."""

    @property
    def made(self) -> dict[str, _Made]:
        """What the record tells, by the names of the outputs."""

    def state(self, path: Place) -> State | None:
        """What there is of an output."""

    def add(self, name: str, made: _Made, *, new: bool) -> None:
        """Append to the record; without ``new``, only if there is one."""

    def close(self) -> None:
        """Store what waits."""


class _Here:
    """A folder of this machine; its record is read when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._made: dict[str, _Made] | None = None
        self._lock = threading.Lock()

    @property
    def made(self) -> dict[str, _Made]:
        with self._lock:
            if self._made is None:
                content = b""
                with suppress(OSError), self._path.open("rb") as file:
                    content = file.read(_MOST_BYTES)
                self._made = _parsed([content])
            return self._made

    def state(self, path: Place) -> State | None:
        return state_of(path)

    def add(self, name: str, made: _Made, *, new: bool) -> None:
        flags = os.O_APPEND | os.O_WRONLY | (os.O_CREAT if new else 0)
        # Only the saving of time is lost where the folder takes no record.
        with suppress(OSError):
            file = os.open(self._path, flags, 0o666)
            try:
                os.write(file, _line(name, made))
            finally:
                os.close(file)
        with self._lock:
            if self._made is not None:
                self._made[name] = made

    def close(self) -> None:
        pass


class _InStore:
    """A folder of a store: it is listed once, with all that the record says of it."""

    def __init__(self, folder: Url) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._known = _Known()
        self._problem: FileError | None = None
        self._read = False
        self._waiting: list[bytes] = []
        self._since_s = 0.0

    @property
    def made(self) -> dict[str, _Made]:
        return self._listed().made

    def state(self, path: Place) -> State | None:
        return self._listed().files.get(path.name)

    def _listed(self) -> _Known:
        with self._lock:
            if not self._read:
                self._read = True
                try:
                    self._known = _known(self._folder)
                except FileError as error:
                    self._problem = error
            if self._problem is not None:  # it is not asked again for every file
                raise FileError(str(self._problem))
            return self._known

    def add(self, name: str, made: _Made, *, new: bool) -> None:
        if not new and not list_folder(self._folder / FOLDER)[0]:
            return
        with self._lock:
            self._known.made[name] = made
            self._since_s = self._since_s if self._waiting else time.monotonic()
            self._waiting.append(_line(name, made))
            waited_s = time.monotonic() - self._since_s
            full = len(self._waiting) >= _MOST_LINES or waited_s >= _MOST_S
        if full:
            self.close()

    def close(self) -> None:
        with self._lock:
            lines, self._waiting = self._waiting, []
        if lines:
            # Sorted by name, the later is the last.
            name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
            write_bytes(self._folder / FOLDER / name, b"".join(lines))


@dataclass
class _Known:
    """What there is in a folder of a store: its files, and what its record says of them."""

    files: dict[str, State] = field(default_factory=dict)
    made: dict[str, _Made] = field(default_factory=dict)


def _known(folder: Url) -> _Known:
    files, folders = list_folder(folder)
    parts = sorted(list_folder(folder / FOLDER)[0]) if FOLDER in folders else []
    contents = (read_bytes(folder / FOLDER / part, _MOST_BYTES) for part in parts)
    return _Known(files, _parsed(contents))


def _line(name: str, made: _Made) -> bytes:
    line = {"output": name, "how": made.how, "source": made.source, "target": made.target}
    return (json.dumps(line) + "\n").encode()


def _parsed(contents: Iterable[bytes]) -> dict[str, _Made]:
    """The last line of every output."""
    found: dict[str, _Made] = {}
    for content in contents:
        for line in content.splitlines():
            with suppress(ValueError, KeyError, TypeError, RecursionError):
                entry = json.loads(line)
                made = _Made(str(entry["how"]), _pair(entry["source"]), _pair(entry["target"]))
                found[str(entry["output"])] = made
    return found


def _pair(values: Any) -> _Content:
    size, mark = values
    return (size, mark)


def _content(state: State | None) -> _Content | None:
    return None if state is None else (state.size, state.version or state.mtime_ns)
