"""Files and folders of any kind: found, checked, and written whole or not at all; JSON and CSV."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tinysignal.errors import ConfigError, DataError, FileError
from tinysignal.remote import Place, Url, read_bytes, store, stored
from tinysignal.temporaries import is_temporary, sync_folder, temporary_file


@contextmanager
def atomic(
    target: str | Path | Url, *, like: str | Path | None = None, overwrite: bool = False
) -> Iterator[Path]:
    """A temporary path beside ``target`` that replaces it when the block ends well.

    When the block ends with any exception, an interrupt included, the temporary file is removed
    and ``target`` is as it was. What a killed process left in the folder is removed, see
    `tinysignal.temporaries`.

    Parameters
    ----------
    target : str, Path or Url
        A symbolic link is followed. Keeps its permissions if it exists. What a `Url` names is
        stored when the block ends, see `tinysignal.remote.stored`.
    like : str, Path or None
        A file whose permissions a new ``target`` gets, as far as the umask lets it: what is made of
        a private file is private, its temporary file too.
    overwrite : bool
        Whether to replace a file that is read-only.

    Raises
    ------
    FileError
        The folder is missing or cannot be written, ``target`` is a folder, a device or read-only,
        or the disk is full.
    """
    if isinstance(target, Url):
        with stored(target) as local:
            yield local
        return
    final = Path(os.path.realpath(target))
    part = final
    try:
        _check_place(Path(target), final, overwrite=overwrite)
        old_mode = final.stat().st_mode & 0o7777 if final.exists() else None
        new_mode = 0o666 if like is None else Path(like).stat().st_mode & 0o666
        mode = new_mode if old_mode is None else old_mode & 0o777
        # Read-only only when it is written.
        with temporary_file(final, mode=mode | 0o600) as part:
            yield part
            if old_mode is not None:
                part.chmod(old_mode)
            _sync(part)
            part.replace(final)
            sync_folder(final.parent)
    except OSError as error:
        if isinstance(error, FileError):
            # People know the file by its own name.
            raise type(error)(str(error).replace(str(part), str(target))) from None
        name, done = target, "written"
        if isinstance(error.filename, str | bytes):
            culprit = Path(os.fsdecode(error.filename))
            if culprit not in (final, final.parent) and not is_temporary(culprit):
                name, done = culprit, "used"
        raise FileError(f"{name}: cannot be {done} ({error.strerror or error}).") from None


def check_writable(*targets: Place | None) -> None:
    """Refuse, before the work, what could not be written after it.

    Parameters
    ----------
    targets : Path, Url or None
        Files to write, all different; None for one that is not asked for.

    Raises
    ------
    ConfigError
        See `atomic`; or one place for two files.
    """
    asked = [target for target in targets if target is not None]
    check_outputs([], also_written=asked)
    for target in asked:
        if isinstance(target, Url):
            continue  # its store is asked when there is something to write
        try:
            _check_place(target, Path(os.path.realpath(target)), overwrite=False)
        except FileError as error:
            raise ConfigError(str(error)) from None
        except OSError as error:
            raise ConfigError(f"{target}: cannot be written ({error.strerror}).") from None


def _check_place(target: Path, final: Path, *, overwrite: bool) -> None:
    if final.is_dir():
        raise FileError(f"{target}: a folder, expected the name of a file to write.")
    if final.exists() and not final.is_file():
        raise FileError(f"{target}: not a regular file, expected the name of one to write.")
    if final.exists() and not overwrite and _is_read_only(final):
        raise FileError(
            f"{target}: read-only. Write elsewhere, or make it writable; 'tinysignal denoise "
            "--overwrite' replaces it."
        )
    if not final.parent.is_dir():
        raise FileError(f"{target}: there is no folder {final.parent}. Create it first.")
    if not os.access(final.parent, os.W_OK | os.X_OK):
        raise FileError(f"{target}: the folder {final.parent} cannot be written to.")


def _is_read_only(path: Path) -> bool:
    # The superuser may write everything, and yet means it.
    return not path.stat().st_mode & 0o222 or not os.access(path, os.W_OK)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Place) -> None:
    """Create a folder and those above it; a bucket has to be there.

    Raises
    ------
    FileError
    ConfigError, MissingExtraError
        A store that is never written, or needs a package.
    """
    if isinstance(folder, Url):
        store.make_folder(folder)
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(
            f"{folder}: cannot be created ({os.strerror(error.errno or errno.EIO)})."
        ) from None


def find_anywhere(
    folder: Place,
    suffixes: Collection[str],
    *,
    leave_out: Place | None = None,
    passed_over: Counter[str] | None = None,
) -> Sequence[Place]:
    """As `find_files`, of a folder here or in a store."""
    if isinstance(folder, Url):
        elsewhere = leave_out if isinstance(leave_out, Url) else None
        return store.find_files(folder, suffixes, leave_out=elsewhere, passed_over=passed_over)
    here = leave_out if isinstance(leave_out, Path) else None
    return find_files(folder, suffixes, leave_out=here, passed_over=passed_over)


def find_files(
    folder: Path,
    suffixes: Collection[str],
    *,
    leave_out: Path | None = None,
    passed_over: Counter[str] | None = None,
) -> list[Path]:
    """Files in a folder and its subfolders that have one of the extensions, sorted by path.

    Files and folders whose names begin with a dot are left out; links to folders are not followed.

    Parameters
    ----------
    folder : Path
    suffixes : collection of str
        In lower case, with their dot: ``.png``.
    leave_out : Path or None
        A subfolder that is not searched.
    passed_over : Counter or None
        Is told the extensions, in lower case, of the files that have none of these.

    Returns
    -------
    list of Path

    Raises
    ------
    FileError
        A folder that does not exist or cannot be read.
    """
    left_out = None if leave_out is None else file_identity(leave_out)
    found = []

    def refuse(error: OSError) -> None:
        raise FileError(f"{error.filename}: cannot be read ({error.strerror}).")

    for where, folders, names in os.walk(folder, onerror=refuse):
        here = Path(where)
        folders[:] = [f for f in folders if not f.startswith(".")]
        if left_out is not None:
            folders[:] = [f for f in folders if file_identity(here / f) != left_out]
        for name in names:
            suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - of many names, no Path each
            if name.startswith("."):
                continue
            if suffix in suffixes:
                found.append(here / name)
            elif passed_over is not None:
                passed_over[suffix] += 1
    return sorted(found)


def check_outputs(
    files: Iterable[tuple[Place, Place]], *, also_written: Iterable[Place] = ()
) -> None:
    """Refuse outputs that are an input, or that two inputs share, through links as well.

    Parameters
    ----------
    files : iterable of (Path or Url, Path or Url)
        Inputs, each with its output.
    also_written : iterable of Path or Url
        Further files that the run writes.

    Raises
    ------
    ConfigError
        Or an output in a store that is never written.
    MissingExtraError
        An output in a store that needs a package.
    """
    files = list(files)
    inputs = {file_identity(source): source for source, _ in files}
    outputs: dict[object, Place] = {}
    for source, target in [*files, *((path, path) for path in also_written)]:
        check_place(target)
        identity = file_identity(target)
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


def check_place(target: Place) -> None:
    """Refuse, before the work, a store that is never written, or needs a package.

    Raises
    ------
    ConfigError, MissingExtraError
    """
    if isinstance(target, Url):
        store.check_target(target)


def file_identity(path: Place) -> object:
    """Equal for two paths of one file, be it through symbolic or hard links."""
    if isinstance(path, Url):
        return path
    try:
        status = path.stat()
    except (OSError, ValueError):  # a name with a zero in it
        return os.path.normcase(os.path.realpath(path))
    return (status.st_dev, status.st_ino)


def json_text(values: Any) -> str:
    """Values as indented JSON text."""
    return json.dumps(values, ensure_ascii=False, indent=2)


def write_json(path: Place, values: Any) -> None:
    """Write values as JSON text, whole or not at all.

    Raises
    ------
    FileError
        See `atomic`.
    """
    with atomic(path) as part:
        part.write_text(json_text(values) + "\n", encoding="utf-8")


def write_csv(path: Place, rows: Sequence[Mapping[str, str | int | float | None]]) -> None:
    """Write rows as a CSV file, whole or not at all.

    Parameters
    ----------
    path : Path or Url
    rows : sequence of mapping
        At least one. The columns are the keys of all rows in the order in which they first occur;
        a key that a row lacks, or None, is an empty cell.

    Raises
    ------
    FileError
        See `atomic`.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def read_text(path: Place, *, most_bytes: int = 16 << 20) -> str:
    """Text of a file in UTF-8 that is small for what it is.

    Raises
    ------
    FileError
        Missing, not a regular file, larger than ``most_bytes``, or not UTF-8.
    """
    try:
        content = _beginning(path, most_bytes + 1)
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(content) > most_bytes:
        raise FileError(f"{path}: larger than {most_bytes >> 20} MiB, which such files never are.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path}: not text in UTF-8 ({error.reason}).") from None


def _beginning(path: Place, most_bytes: int) -> bytes:
    if isinstance(path, Url):
        return read_bytes(path, most_bytes)
    if path.exists() and not path.is_file():  # reading it may never end
        raise FileError(f"{path}: not a regular file.")
    with path.open("rb") as file:
        return file.read(most_bytes)


def read_toml(path: Place) -> dict[str, Any]:
    """Values of a TOML file.

    Raises
    ------
    ConfigError
        The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(read_text(path, most_bytes=1 << 20))
    except FileError as error:
        raise ConfigError(str(error)) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}).") from None


def read_csv(path: Place, columns: Collection[str]) -> list[dict[str, str]]:
    """The rows of a CSV file in UTF-8; empty cells are empty strings.

    Parameters
    ----------
    path : Path or Url
    columns : collection of str
        Those that its header must name.

    Raises
    ------
    DataError
        The file cannot be read as that, a column is missing, or there are more than 1,000,000 rows
        or 1000 columns.
    """
    rows: list[dict[str, str]] = []
    try:
        lines = csv.reader(io.StringIO(read_text(path, most_bytes=64 << 20), newline=""))
        found = next(lines, [])
        for row in lines:
            if len(rows) == _MOST_ROWS or len(row) > _MOST_COLUMNS:
                raise DataError(f"{path}: more than {_MOST_ROWS} rows or {_MOST_COLUMNS} columns.")
            if row:
                rows.append(dict.fromkeys(columns, "") | dict(zip(found, row, strict=False)))
    except FileError as error:
        raise DataError(str(error)) from None
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file in UTF-8 ({error}).") from None
    missing = [name for name in columns if name not in found]
    if missing:
        raise DataError(
            f"{path}: columns {', '.join(found):.200}, expected a column "
            f"{' and a column '.join(map(repr, missing))} too."
        )
    return rows


_MOST_ROWS, _MOST_COLUMNS = 1_000_000, 1_000
