"""Temporary files and folders beside what they become; those of killed processes are removed.

A killed process cannot remove what it was writing, so the next one does. A file is removed only if
its name says that this package made it on this machine, and nobody holds the lock that its process
keeps for as long as it lives. Process numbers would not do: they are used again, and containers on
one machine have their own. Machines that share a folder may not know each other's locks; there the
name decides. Windows has no such locks, and nothing is removed there.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, lru_cache
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_PREFIX, _PART = ".tinysignal-", ".part"
_NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF}  # not of this file system


@contextmanager
def temporary_file(final: Path, *, mode: int) -> Iterator[Path]:
    """An empty file beside ``final``, which is removed after the block if it is still there.

    Parameters
    ----------
    final : Path
        What it is to become; it has the same extension.
    mode : int
        Its permissions from the first byte, less the umask.

    Raises
    ------
    OSError
    """
    sweep(final.parent)
    path, held = _new_file(final, mode)
    try:
        yield path
    finally:
        with suppress(OSError):  # mostly, it is not there
            path.unlink()
        _release(held)


@contextmanager
def temporary_folder(final: Path, *, mode: int = 0o777) -> Iterator[Path]:
    """An empty folder beside ``final``, which is removed after the block if it is still there.

    Parameters
    ----------
    final : Path
        What it is to become.
    mode : int
        Its permissions, less the umask.

    Raises
    ------
    OSError
    """
    sweep(final.parent)
    path, held = _new_folder(final, mode)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        _release(held)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process or thread has a file locked, and lock it for the block.

    The lock ends with the process. Where there are no locks, the block simply runs.

    Parameters
    ----------
    path : Path
        An empty file, which is made and stays.

    Raises
    ------
    OSError
        The file cannot be made.
    """
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if fcntl is not None:
            _lock(held, wait=True)
        yield
    finally:
        os.close(held)


def is_temporary(path: str | Path) -> bool:
    """Whether a name is one of ours."""
    return Path(path).name.startswith(_PREFIX)


@lru_cache(maxsize=1024)
def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder, once for each: it may hold many files."""
    sweep_again(folder)


def sweep_again(folder: Path) -> None:
    """Remove what killed processes left in a folder."""
    if fcntl is None:
        return
    ours = f"{_PREFIX}{_machine()}-"
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(ours) and _PART in entry.name:
                _remove_if_left(Path(entry.path))


def sync_folder(folder: Path) -> None:
    """Make names that were changed in a folder outlast a power cut, where its system can.

    Raises
    ------
    OSError
    """
    if os.name == "nt":
        return
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _new_file(final: Path, mode: int) -> tuple[Path, int | None]:
    """A new file, and what holds its lock."""
    while True:
        path = final.with_name(_name(final.suffix))
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)
        if fcntl is None:
            os.close(held)  # an open file cannot be renamed there
            return path, None
        if _locked(path, held):
            return path, held


def _new_folder(final: Path, mode: int) -> tuple[Path, int | None]:
    """A new folder, and what holds its lock."""
    while True:
        path = final.with_name(_name(""))
        path.mkdir(mode)
        if fcntl is None:
            return path, None
        try:
            held = os.open(path, os.O_RDONLY)
        except FileNotFoundError:  # another process took it for left behind
            continue
        except OSError:
            path.rmdir()
            raise
        if _locked(path, held):
            return path, held


def _locked(path: Path, held: int) -> bool:
    """Take the lock; False, and closed, if another process took the path for left behind before."""
    _lock(held, wait=True)
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), os.fstat(held)):
            return True
    os.close(held)
    return False


def _remove_if_left(path: Path) -> None:
    is_folder = stat.S_ISDIR(path.lstat().st_mode)
    flags = os.O_RDONLY if is_folder else os.O_RDWR  # NFS locks only what may be written
    with suppress(OSError):
        held = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not _lock(held, wait=False):
                return
            if is_folder:
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(held)


def _lock(descriptor: int | None, *, wait: bool) -> bool:
    """Take the lock, which ends with the process; False if another has it or there is none."""
    if descriptor is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _release(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _name(suffix: str) -> str:
    # The suffix stays last: libraries take the container from it. The stem is left out: with it, a
    # long name would become too long.
    return f"{_PREFIX}{_machine()}-{secrets.token_hex(6)}{_PART}{suffix}"


@cache
def _machine() -> str:
    """What tells this machine from others that share its folders."""
    identity = platform.node().encode(errors="replace")
    with suppress(OSError):
        identity += Path("/etc/machine-id").read_bytes()
    return hashlib.sha256(identity).hexdigest()[:8]
