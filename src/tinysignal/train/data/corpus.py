"""Recordings that are decoded once, into a folder that all processes and runs share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import AudioFileError, FileError, SignalError
from tinysignal.files import make_folder
from tinysignal.remote import Place, Url, place, state_of
from tinysignal.temporaries import locked
from tinysignal.train.data.shards import Entry, Key, new_shard, read_checked, read_shard, shards_of
from tinysignal.train.data.sound import Sound

_SOURCE_BYTES, _MOST_FILES = 64 << 20, 1024  # of one shard, at most

OnDecoded = Callable[[int, int], None]
"""Called with the number of recordings that are decoded so far, and of those to decode."""

Problem = FileError | SignalError


def key_of(path: Place) -> Key:
    """The key of a recording: with `sound.open_recording`, all that is asked of where files lie.

    Raises
    ------
    AudioFileError
        There is no such file.
    FileError
        Its store refuses to tell.
    """
    if isinstance(path, Url):
        state = state_of(path)
        if state is None:
            raise AudioFileError(f"{path}: there is no such file.")
        return Key(str(path), state.size, state.mtime_ns)
    try:
        status = path.stat()
    except OSError as error:
        raise AudioFileError(f"{path}: cannot be read ({error.strerror}).") from None
    return Key(os.path.realpath(path), status.st_size, status.st_mtime_ns)


class Corpus:
    """Decoded recordings of one sample rate in a folder, which is made if it is missing.

    Parameters
    ----------
    folder : Path
    sample_rate_hz : int
    on_decoded : callable or None
        See `OnDecoded`.

    Raises
    ------
    FileError
        The folder cannot be made.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> from tinysignal.train.data.corpus import Corpus
    >>> audio.write("tone.wav", np.sin(np.arange(48000) / 10), sample_rate_hz=48000)
    >>> corpus = Corpus(Path("cache"), sample_rate_hz=16000)
    >>> [sound] = corpus.sounds([Path("tone.wav")])
    >>> sound.size, float(np.abs(sound[1000:15000]).max().round(2))
    (16000, 1.0)
    """

    def __init__(
        self, folder: Path, *, sample_rate_hz: int, on_decoded: OnDecoded | None = None
    ) -> None:
        make_folder(folder)
        self._folder = folder
        self._rate_hz = sample_rate_hz
        self._on_decoded = on_decoded
        self._notes: dict[str, Any] = {}
        self._new_notes: dict[str, Any] = {}

    def sounds(self, paths: Sequence[Place]) -> list[Sound | Problem]:
        """Recordings, decoded if they are not yet, or why one is not readable.

        While one process decodes into the folder, others wait for it.

        Raises
        ------
        FileError
            The folder cannot be written.
        """
        keys = [_key_or_problem(path) for path in paths]
        wanted = {key: p for key, p in zip(keys, paths, strict=True) if isinstance(key, Key)}
        entries, problems = self._known(wanted), dict[Key, Problem]()
        if len(entries) < len(wanted):
            with self._alone():
                entries |= self._known(wanted, tidy=True)  # another process may have added some
                problems = self._decode({k: p for k, p in wanted.items() if k not in entries})
            entries |= self._known(wanted)
        return [
            key
            if not isinstance(key, Key)
            else problems[key]
            if key in problems
            else self._sound(entries[key])
            for key in keys
        ]

    def recalled(self, name: str, find: Callable[[], Any]) -> Any:
        """What an earlier run found out, or else ``find()``, which gives values of JSON."""
        if name not in self._notes:
            self._notes[name] = self._new_notes[name] = find()
        return self._notes[name]

    def save_notes(self) -> None:
        """Keep what was found out for later runs.

        Raises
        ------
        FileError
        """
        if self._new_notes:
            with new_shard(self._folder, sample_rate_hz=self._rate_hz) as shard:
                shard.notes = self._new_notes
            self._new_notes = {}

    def read(self, entry: Entry, start: int, stop: int) -> NDArray[np.int16] | None:
        """Samples of a recording; None if they are damaged."""
        return read_checked(entry, start, stop, sample_rate_hz=self._rate_hz)

    def mended(self, damaged: Entry) -> Entry:
        """A recording decoded anew, here or by another process.

        Raises
        ------
        AudioFileError
            It was changed or removed since it was decoded.
        """
        key, path = damaged.key, place(damaged.key.name)
        with self._alone():
            other = self._known({key: path}).get(key, damaged)
            if other.place != damaged.place and self.read(other, 0, other.size) is not None:
                return other
            if key_of(path) != key:
                raise AudioFileError(f"{path}: changed while it was used for training.")
            for problem in self._decode({key: path}).values():
                raise problem
        return self._known({key: path})[key]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else decodes into the folder during the block."""
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise FileError(f"{self._folder}: cannot be written to, and not all is decoded there.")
        with locked(self._folder / "lock"):
            yield

    def _sound(self, entry: Entry) -> Sound:
        return Sound(Stored(self, entry), entry.scale, entry.facts, 0, entry.size)

    def _known(self, wanted: Mapping[Key, Place], *, tidy: bool = False) -> dict[Key, Entry]:
        """Those of the recordings that are in shards; damaged shards are removed if asked to."""
        shards = []
        for path in shards_of(self._folder, sample_rate_hz=self._rate_hz):
            shard = read_shard(path)
            if shard is not None:
                shards.append(shard)
            elif tidy:
                path.unlink(missing_ok=True)
        found: dict[Key, Entry] = {}
        for shard in sorted(shards, key=lambda s: s.made_ns):
            self._notes |= shard.notes
            found |= {entry.key: entry for entry in shard.entries if entry.key in wanted}
        return found

    def _decode(self, missing: Mapping[Key, Place]) -> dict[Key, Problem]:
        """Decode recordings in parallel; when this is interrupted, what is done stays."""
        problems: dict[Key, Problem] = {}
        done, stop, turn = 0, threading.Event(), threading.Lock()

        def decode(share: list[tuple[Key, Place]]) -> None:
            nonlocal done
            with new_shard(self._folder, sample_rate_hz=self._rate_hz) as shard:
                for key, path in share:
                    if stop.is_set():
                        return
                    try:
                        shard.add(key, path)
                    except (FileError, SignalError) as error:
                        problems[key] = error
                    with turn:
                        done += 1
                        if self._on_decoded is not None:
                            self._on_decoded(done, len(missing))

        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        with ThreadPoolExecutor(threads) as pool:
            shares = _shares(missing, sum(k.bytes for k in missing) / (threads or 1))
            futures = [pool.submit(decode, share) for share in shares]
            try:
                for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                    future.result()
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        return problems


class Stored:
    """Samples of a recording in a shard, int16 (time,), checked whenever a part is read.

    What is damaged is decoded anew.

    Parameters
    ----------
    corpus : Corpus
    entry : Entry
    """

    __slots__ = ("_corpus", "_entry")

    def __init__(self, corpus: Corpus, entry: Entry) -> None:
        self._corpus, self._entry = corpus, entry

    @property
    def size(self) -> int:
        """Number of samples."""
        return self._entry.size

    def __getitem__(self, part: slice) -> NDArray[np.int16]:
        start, stop, _ = part.indices(self.size)
        found = self._corpus.read(self._entry, start, stop)
        if found is None:
            self._entry = self._corpus.mended(self._entry)
            found = self._corpus.read(self._entry, start, stop)
        if found is None:
            raise FileError(f"{self._entry.place.shard}: damaged as soon as it is written.")
        return found


def _key_or_problem(path: Place) -> Key | FileError:
    try:
        return key_of(path)
    except FileError as error:
        return error


def _shares(missing: Mapping[Key, Place], most_bytes: float) -> Iterator[list[tuple[Key, Place]]]:
    """Recordings of one shard each, in their order."""
    share: list[tuple[Key, Place]] = []
    held = 0
    for key, path in missing.items():
        full = held + key.bytes > min(most_bytes, _SOURCE_BYTES) or len(share) == _MOST_FILES
        if share and full:
            yield share
            share, held = [], 0
        share.append((key, path))
        held += key.bytes
    if share:
        yield share
