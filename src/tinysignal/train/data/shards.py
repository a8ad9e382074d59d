"""Files of decoded recordings: samples, and what they are.

A shard is the samples of some recordings, int16 one after another, then JSON that says what they
are, its digest, its length and a mark. It is written whole or not at all and never changed, so that
any number of processes may read and add at once. Parts are read by their place and checked by the
sums of their blocks. They are not mapped: the system's cache is shared all the same, the memory of
a process does not grow with what it has read, and a file that is cut short does not kill it.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from tinysignal.files import atomic
from tinysignal.remote import Place
from tinysignal.train.data.sound import Facts, block_samples, mono_blocks, quantised

_SUFFIX, _MARK = ".corpus", b"tscorp01"
_DIGEST_BYTES = 16
_TAIL_BYTES = _DIGEST_BYTES + 8 + len(_MARK)
_IN_MEMORY = 32 << 20  # bytes of a recording while it is decoded; more goes to a nameless file


class Key(NamedTuple):
    """What tells a recording from another, and from itself before it was changed."""

    name: str
    bytes: int
    changed_ns: int


class Position(NamedTuple):
    """Where samples are: a shard, and the first byte in it."""

    shard: Path
    offset: int


class Entry(NamedTuple):
    """A recording of a shard.

    Parameters
    ----------
    key : Key
    place : Position
    size : int
        Number of samples.
    sums : bytes
        CRC-32 of each block of samples, 4 bytes each.
    scale : float
    facts : Facts
    """

    key: Key
    place: Position
    size: int
    sums: bytes
    scale: float
    facts: Facts


class Shard(NamedTuple):
    """What a shard holds.

    Parameters
    ----------
    made_ns : int
        When it was finished; of two entries of a recording, the later one counts.
    entries : list of Entry
    notes : dict
        What was found out about recordings, values of JSON by name.
    """

    made_ns: int
    entries: list[Entry]
    notes: dict[str, Any]


class NewShard:
    """A shard in the making, see `new_shard`."""

    def __init__(self, file: BinaryIO, folder: Path, *, sample_rate_hz: int) -> None:
        self._file = file
        self._folder = folder
        self._rate_hz = sample_rate_hz
        self._rows: list[list[Any]] = []
        self.notes: dict[str, Any] = {}

    def add(self, key: Key, path: Place) -> None:
        """Decode a recording.

        Raises
        ------
        AudioFileError
            It is not readable as audio; the shard is as before.
        """
        sums: list[bytes] = []
        offset = self._file.tell()

        def keep(block: NDArray[np.int16]) -> None:
            content = block.tobytes()
            self._file.write(content)
            sums.append(zlib.crc32(content).to_bytes(4, "little"))

        blocks = mono_blocks(path, sample_rate_hz=self._rate_hz)
        with SpooledTemporaryFile(_IN_MEMORY, dir=str(self._folder)) as spool:
            scale, facts = quantised(
                blocks, keep, spool=cast(BinaryIO, spool), sample_rate_hz=self._rate_hz
            )
        size = (self._file.tell() - offset) // 2
        content, *others = astuple(facts)
        self._rows.append([*key, offset, size, b"".join(sums).hex(), scale, content.hex(), *others])

    def finish(self) -> bool:
        """Write what the samples are; whether there is anything."""
        values = {"made_ns": time.time_ns(), "entries": self._rows, "notes": self.notes}
        text = json.dumps(values, separators=(",", ":"), ensure_ascii=True).encode()
        self._file.write(text + _digest(text) + len(text).to_bytes(8, "little") + _MARK)
        return bool(self._rows or self.notes)


class _NothingError(Exception):
    pass


@contextmanager
def new_shard(folder: Path, *, sample_rate_hz: int) -> Iterator[NewShard]:
    """A shard that appears in a folder when the block ends well, unless it is empty.

    Raises
    ------
    FileError
        The folder cannot be written.
    """
    target = folder / f"{sample_rate_hz}-{secrets.token_hex(8)}{_SUFFIX}"
    with suppress(_NothingError), atomic(target) as part, part.open("wb") as file:
        shard = NewShard(file, folder, sample_rate_hz=sample_rate_hz)
        yield shard
        if not shard.finish():
            raise _NothingError


def shards_of(folder: Path, *, sample_rate_hz: int) -> list[Path]:
    """The shards of a folder that hold recordings of a rate."""
    return list(folder.glob(f"{sample_rate_hz}-*{_SUFFIX}"))


def read_shard(path: Path) -> Shard | None:
    """What a shard holds; None if it is damaged, was cut short, or is none."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - _TAIL_BYTES))
            tail = file.read()
            length = int.from_bytes(tail[_DIGEST_BYTES:-8], "little")
            begin = end - _TAIL_BYTES - length
            if tail[-8:] != _MARK or begin < 0:
                return None
            file.seek(begin)
            text = file.read(length)
        if _digest(text) != tail[:_DIGEST_BYTES]:
            return None
        values = json.loads(text)
        entries = [_entry(path, row) for row in values["entries"]]
        made_ns, notes = int(values["made_ns"]), dict(values["notes"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if any(not 0 <= e.place.offset <= begin - 2 * e.size for e in entries):
        return None
    return Shard(made_ns, entries, notes)


def _entry(shard: Path, row: list[Any]) -> Entry:
    name, size_bytes, changed_ns, offset, size, sums, scale, content, *others = row
    return Entry(
        Key(name, size_bytes, changed_ns),
        Position(shard, offset),
        size,
        bytes.fromhex(sums),
        scale,
        Facts(bytes.fromhex(content), *others),
    )


def read_checked(
    entry: Entry, start: int, stop: int, *, sample_rate_hz: int
) -> NDArray[np.int16] | None:
    """Samples of a recording from a shard, int16 (stop - start,); None if they are damaged."""
    if stop <= start:
        return np.zeros(0, np.int16)
    block = block_samples(sample_rate_hz)
    first, last = start // block, -(-stop // block)
    skipped = first * block
    count = min(last * block, entry.size) - skipped
    try:
        at = entry.place.offset + 2 * skipped
        found = np.fromfile(entry.place.shard, "<i2", count=count, offset=at)
    except FileNotFoundError:
        return None
    if found.size < count:
        return None
    content = found.tobytes()
    for number in range(first, last):
        begin = 2 * (number * block - skipped)
        wanted = int.from_bytes(entry.sums[4 * number : 4 * number + 4], "little")
        if zlib.crc32(content[begin : begin + 2 * block]) != wanted:
            return None
    return found[start - skipped : stop - skipped]


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
