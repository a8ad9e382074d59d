"""Files and folders: which are read, which are written, and writing them whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import os
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysignal.errors import ConfigError, FileError


@dataclass(frozen=True)
class Pair:
    """An input and where its output goes."""

    source: Path
    target: Path


@contextmanager
def atomic(target: str | Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that replaces it when the block ends well.

    When the block ends with any exception, an interrupt included, the temporary file is removed
    and ``target`` is as it was.

    Parameters
    ----------
    target : str or Path
        A symbolic link is followed. Keeps its permissions if it exists.

    Raises
    ------
    FileError
        The folder is missing or cannot be written, ``target`` is a folder or a device, or the disk
        is full.
    """
    final = Path(os.path.realpath(target))
    # The suffix stays last: libraries take the container from it. The stem is left out: with it, a
    # long name would become too long.
    part = final.with_name(f".{secrets.token_hex(8)}.part{final.suffix}")
    try:
        _check_place(Path(target), final)
        part.touch(exist_ok=False)
        yield part
        if final.exists():
            part.chmod(final.stat().st_mode & 0o7777)
        _sync(part)
        part.replace(final)
    except OSError as error:
        if isinstance(error, FileError):
            # People know the file by its own name.
            raise type(error)(str(error).replace(str(part), str(target))) from None
        raise FileError(f"{target}: cannot be written ({error.strerror}).") from None
    finally:
        with suppress(OSError):  # mostly, it is not there
            part.unlink()


def check_writable(*targets: Path | None) -> None:
    """Refuse, before the work, what could not be written after it.

    Parameters
    ----------
    targets : Path or None
        Files to write, all different; None for one that is not asked for.

    Raises
    ------
    ConfigError
        See `atomic`; or one place for two files.
    """
    asked = [target for target in targets if target is not None]
    check_pairs([], also_written=asked)
    for target in asked:
        try:
            _check_place(target, Path(os.path.realpath(target)))
        except FileError as error:
            raise ConfigError(str(error)) from None
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror}).") from None


def _check_place(target: Path, final: Path) -> None:
    if final.is_dir():
        raise FileError(f"{target}: a folder, expected the name of a file to write.")
    if final.exists() and not final.is_file():
        raise FileError(f"{target}: not a regular file, expected the name of one to write.")
    if not final.parent.is_dir():
        raise FileError(f"{target}: there is no folder {final.parent}. Create it first.")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise FileError(f"{target}: the folder {final.parent} cannot be written to.")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it.

    Raises
    ------
    FileError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{folder}: cannot be created ({os.strerror(error.errno or errno.EIO)})."
        ) from None


def find_files(
    folder: Path, suffixes: Collection[str], *, leave_out: Path | None = None
) -> list[Path]:
    """Files below a folder, by their extension, in a fixed order; hidden ones are passed over.

    Parameters
    ----------
    folder : Path
    suffixes : collection of str
        In lower case, such as ``.png``.
    leave_out : Path or None
        A folder that is passed over.

    Raises
    ------
    FileError
        A folder that cannot be read.
    """
    left_out = None if leave_out is None else leave_out.resolve()
    found = []

    def refuse(error: OSError) -> None:
        raise FileError(f"{error.filename}: cannot be read ({error.strerror}).")

    for where, folders, names in os.walk(folder, onerror=refuse):
        here = Path(where)
        folders[:] = [f for f in folders if not f.startswith(".")]
        if left_out is not None:
            folders[:] = [f for f in folders if (here / f).resolve() != left_out]
        shown = [Path(name) for name in names if not name.startswith(".")]
        found += [here / path for path in shown if path.suffix.lower() in suffixes]
    return sorted(found)


def check_pairs(pairs: Iterable[Pair], *, also_written: Iterable[Path] = ()) -> None:
    """Refuse outputs that meet each other or an input, through links as well.

    Parameters
    ----------
    pairs : iterable of Pair
    also_written : iterable of Path
        Further files that the run writes.

    Raises
    ------
    ConfigError
    """
    pairs = list(pairs)
    inputs = {_identity(p.source): p.source for p in pairs}
    outputs: dict[object, Path] = {}
    written = [(p.target, p.source) for p in pairs] + [(path, path) for path in also_written]
    for target, source in written:
        identity = _identity(target)
        if identity in inputs:
            raise ConfigError(
                f"{target}: the output is the input {inputs[identity]}. Choose another name."
            )
        if identity in outputs:
            raise ConfigError(
                f"{target}: would be written twice, for {outputs[identity]} and {source}. "
                "Run them apart, or into different folders."
            )
        outputs[identity] = source


def _identity(path: Path) -> object:
    """Equal for two paths of one file, be it through symbolic or hard links."""
    try:
        status = path.stat()
    except OSError:
        return os.path.realpath(path)
    return (status.st_dev, status.st_ino)


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON text."""
    with atomic(path) as temporary:
        text = json.dumps(values, ensure_ascii=False, indent=2)
        temporary.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, str | int | float]]) -> None:
    """Write rows of the same keys, at least one, whole or not at all.

    Raises
    ------
    FileError
        See `tinysignal.files.atomic`.
    """
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
