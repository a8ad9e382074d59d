"""A file of a store fetched for a while, and one stored when it is whole.

Both go by way of a private folder for temporary files (TMPDIR), some megabytes at a time. What is
stored appears at once or not at all. Object stores show nothing before an upload is complete, so
there an upload needs no name of its own; elsewhere it has one and is renamed.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tinysignal.errors import FileError, TinysignalError
from tinysignal.remote.store import (
    BLOCK_BYTES,
    TRIES,
    StoreError,
    blocks,
    check_target,
    filesystem,
    find_files,
    state_of,
    telling,
)
from tinysignal.remote.url import OBJECT_STORES, Place, Url, place
from tinysignal.temporaries import temporary_folder

_PART_BYTES = 2 * BLOCK_BYTES  # of an upload: with 10,000 parts, 160 GB
_LONGEST_SUFFIX = 16


def _nothing() -> None:
    pass


@contextmanager
def fetched(source: str | Path | Url, *, on_block: Callable[[], None] = _nothing) -> Iterator[Path]:
    """A local file with the content of a URL, which is gone after the block; a path as it is.

    Errors that name the local file name the URL instead.

    Parameters
    ----------
    source : str, Path or Url
    on_block : callable
        Called after some megabytes each. What it raises ends the transfer.

    Yields
    ------
    Path
        With the extension and the time of change of the source.

    Raises
    ------
    FileError
        The file cannot be read, or there is no room for it.
    ConfigError, MissingExtraError
        A store that is not known, or needs a package.

    Examples
    --------
    >>> from tinysignal.remote import fetched, place, write_bytes
    >>> write_bytes(place("memory://bucket/note.txt"), b"hello")
    >>> with fetched("memory://bucket/note.txt") as path:
    ...     path.read_text(), path.suffix
    ('hello', '.txt')
    """
    url = place(source)
    if isinstance(url, Path):
        yield url
        return
    with _spool(url) as folder:
        local = folder / f"source{_suffix(url)}"
        _download(url, local, on_block)
        with _naming(local, url):
            yield local


@contextmanager
def fetched_folder(
    folder: str | Path | Url,
    suffixes: Collection[str],
    *,
    on_block: Callable[[], None] = _nothing,
) -> Iterator[Path]:
    """A local folder with the files of a folder in a store; a path as it is.

    Parameters
    ----------
    folder : str, Path or Url
    suffixes : collection of str
        The extensions of the files to fetch, in lower case with their dot.
    on_block : callable
        As of `fetched`.

    Yields
    ------
    Path
        A temporary folder with the same subfolders, which is gone after the block.

    Raises
    ------
    FileError, ConfigError, MissingExtraError
        As `fetched`.

    Examples
    --------
    >>> from tinysignal.remote import fetched_folder, place, write_bytes
    >>> write_bytes(place("memory://bucket/notes/a/one.txt"), b"1")
    >>> with fetched_folder("memory://bucket/notes", {".txt"}) as path:
    ...     [found.relative_to(path).as_posix() for found in path.rglob("*.txt")]
    ['a/one.txt']
    """
    url = place(folder)
    if isinstance(url, Path):
        yield url
        return
    with _spool(url) as spool:
        local = spool / (url.name or "folder")
        local.mkdir()
        for source in find_files(url, suffixes):
            target = local / source.relative_to(url)
            target.parent.mkdir(parents=True, exist_ok=True)
            _download(source, target, on_block)
        with _naming(local, url):
            yield local


@contextmanager
def stored(target: str | Path | Url, *, on_block: Callable[[], None] = _nothing) -> Iterator[Path]:
    """A local path to write to, whose file is stored when the block ends well; a path as it is.

    When the block or the upload ends with any exception, an interrupt included, the target is as
    it was.

    Parameters
    ----------
    target : str, Path or Url
    on_block : callable
        As of `fetched`.

    Yields
    ------
    Path
        With the extension of the target. There is no such file yet.

    Raises
    ------
    FileError
        The target cannot be written, or there is no room to make it.
    ConfigError, MissingExtraError
        A place that is never written, or needs a package.

    Examples
    --------
    >>> from tinysignal.remote import place, read_bytes, stored
    >>> with stored("memory://bucket/note.txt") as path:
    ...     _ = path.write_text("hello")
    >>> read_bytes(place("memory://bucket/note.txt"), 100)
    b'hello'
    """
    url = place(target)
    if isinstance(url, Path):
        yield url
        return
    check_target(url)
    with _spool(url) as folder:
        local = folder / f"target{_suffix(url)}"
        with _naming(local, url):
            yield local
        _upload(local, url, on_block)


def write_bytes(url: Url, content: bytes) -> None:
    """Store a few bytes, whole or not at all.

    Raises
    ------
    FileError, ConfigError, MissingExtraError
        As `stored`.
    """
    with stored(url) as local:
        local.write_bytes(content)


@contextmanager
def _spool(url: Url) -> Iterator[Path]:
    """A folder that nobody else can look into."""
    with ExitStack() as stack:
        with _room(url):
            folder = Path(tempfile.gettempdir()) / "spool"
            spool = stack.enter_context(temporary_folder(folder, mode=0o700))
        yield spool


@contextmanager
def _room(url: Url) -> Iterator[None]:
    """Say what is wrong with the folder for temporary files.

    Raises
    ------
    FileError
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, FileError):
            raise
        raise FileError(
            f"{url}: cannot be kept in {tempfile.gettempdir()} ({error.strerror or error}). "
            "TMPDIR names another folder for temporary files."
        ) from None


@contextmanager
def _naming(local: Path, place: Place) -> Iterator[None]:
    """Let errors call a file as people do."""
    try:
        yield
    except TinysignalError as error:
        if str(local) in str(error):
            error.args = (str(error).replace(str(local), str(place)),)
        raise


def _suffix(url: Url) -> str:
    """The extension; none where it is no name of a kind of file."""
    suffix = url.suffix
    return suffix if len(suffix) <= _LONGEST_SUFFIX and suffix.isprintable() else ""


def _download(url: Url, local: Path, on_block: Callable[[], None]) -> None:
    tries = 1 if url.scheme in OBJECT_STORES else TRIES  # their libraries try again themselves
    for left in reversed(range(tries)):
        try:
            with _room(url), local.open("wb") as file:
                for block in blocks(url):
                    file.write(block)
                    on_block()
            break
        except StoreError as error:
            if not left or not error.may_pass:
                raise
            time.sleep(0.5 * (tries - left))
    state = state_of(url)
    if state is not None and state.mtime_ns:
        os.utime(local, ns=(state.mtime_ns, state.mtime_ns))


def _upload(local: Path, url: Url, on_block: Callable[[], None]) -> None:
    fs, path = filesystem(url)
    with telling(url, "written"), local.open("rb") as file:
        first = file.read(_PART_BYTES)
        small = len(first) < _PART_BYTES
        if url.scheme == "memory" or (url.scheme in OBJECT_STORES and small):
            fs.pipe_file(path, first + file.read() if url.scheme == "memory" else first)
        elif url.scheme in OBJECT_STORES:
            _abort_left(fs, path)
            _in_parts(fs, path, first, file, on_block)
        else:
            _and_rename(fs, path, first, file, on_block)


def _in_parts(fs: Any, path: str, first: bytes, file: Any, on_block: Callable[[], None]) -> None:
    target = fs.open(path, "wb", block_size=_PART_BYTES, autocommit=False)
    try:
        block = first
        while block:
            target.write(block)
            on_block()
            block = file.read(_PART_BYTES)
        target.close()
        on_block()
        target.commit()
    except BaseException:
        with suppress(Exception):
            target.discard()
        target.closed = True  # or the last reference to it would store what there is
        raise


def _abort_left(fs: Any, path: str) -> None:
    """End what a killed process has begun to upload to this name: it would be paid for, unseen."""
    if not hasattr(fs, "call_s3"):
        return  # elsewhere the store forgets it
    bucket, key, _ = fs.split_path(path)
    with suppress(Exception):  # the right to upload does not imply this one
        found = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
        for upload in found.get("Uploads", []):
            if upload["Key"] == key:
                fs.abort_mpu(bucket, key, upload["UploadId"])


def _and_rename(fs: Any, path: str, first: bytes, file: Any, on_block: Callable[[], None]) -> None:
    folder, _, name = path.rpartition("/")
    part = f"{folder}/.tinysignal-{secrets.token_hex(6)}.part"
    fs.makedirs(folder, exist_ok=True)
    try:
        with fs.open(part, "wb") as target:
            block = first
            while block:
                target.write(block)
                on_block()
                block = file.read(_PART_BYTES)
        fs.mv(part, f"{folder}/{name}")
    except BaseException:
        with suppress(Exception):
            fs.rm_file(part)
        raise
