"""The stores that fsspec knows: listed, asked and read, with their errors in one line."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tinysignal.errors import ConfigError, FileError, MissingExtraError, TinysignalError
from tinysignal.remote.url import (
    OBJECT_STORES,
    PACKAGES,
    READ_ONLY,
    Place,
    State,
    Url,
    is_plain,
    without_secrets,
)

BLOCK_BYTES = 8 << 20  # of a download
TRIES = 3  # of what the libraries do not try again themselves
_CONNECT_S, _SILENCE_S = 10, 60  # how long a server may take to answer, and say nothing
_OF_EXTRA = ("s3fs", "aiohttp")
_DEEPEST = 16  # folders in folders of a web server, whose listing may have no end
_TIMES = ("LastModified", "mtime", "last_modified", "updated", "modified", "created")
_VERSIONS = ("ETag", "etag", "md5Hash", "content_md5")


class StoreError(FileError):
    """What a store's library raised, in one line."""

    may_pass = False  # whether the next try may go well


def filesystem(url: Url) -> tuple[Any, str]:
    """The fsspec file system of a URL, and what it calls the file; nothing is asked yet.

    Raises
    ------
    MissingExtraError
        fsspec or s3fs is not installed.
    ConfigError
        Another package that this kind of store needs is not.
    """
    package = PACKAGES[url.scheme]
    try:
        from fsspec import filesystem as made  # noqa: PLC0415 - an optional package
        from fsspec import get_filesystem_class  # noqa: PLC0415

        if package in _OF_EXTRA:
            import_module(package)
    except ImportError:
        raise MissingExtraError(f"{url.scheme}://", "remote") from None
    if package is not None and find_spec(package) is None:
        raise ConfigError(f"{url}: needs the package {package}: pip install {package}.")
    if package is not None:
        _only_errors(package)
    with telling(url, "opened"):
        kind = get_filesystem_class(url.scheme)
        options = kind._get_kwargs_from_urls(url.raw)
        found = made(url.scheme, **{**options, **_options(url.scheme)})
        if url.scheme == "s3":
            found.retries = TRIES
        return found, kind._strip_protocol(url.raw)


def _only_errors(package: str) -> None:
    """Keep a library's warnings to itself, unless somebody has asked for them."""
    logger = logging.getLogger(package)
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.ERROR)


def _options(scheme: str) -> dict[str, Any]:
    """Timeouts and retries, below what the user's own configuration of fsspec says."""
    from fsspec.config import conf  # noqa: PLC0415

    own: Mapping[str, Any] = conf.get(scheme, {})
    if scheme == "s3":
        config: dict[str, Any] = {"connect_timeout": _CONNECT_S, "read_timeout": _SILENCE_S}
        if not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & os.environ.keys():
            config["retries"] = {"mode": "standard", "total_max_attempts": 4}
        given = own.get("config_kwargs") or {}
        # Parts of one size: some stores take no others.
        return {
            "config_kwargs": {**config, **given},
            "fixed_upload_size": True,
            "use_listings_cache": False,
        }
    if scheme in READ_ONLY:
        from aiohttp import ClientTimeout  # noqa: PLC0415

        limit = ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)
        return {"client_kwargs": {"timeout": limit, **(own.get("client_kwargs") or {})}}
    if scheme == "sftp":
        return {"timeout": _CONNECT_S, **own}
    return {}


@contextmanager
def telling(url: Url, what: str) -> Iterator[None]:
    """Turn whatever a store's library raises into one line that names the URL and no secret.

    Raises
    ------
    StoreError
    """
    try:
        yield
    except TinysignalError:
        raise
    except Exception as error:  # noqa: BLE001 - the libraries of ten stores share no base
        missing = isinstance(error, FileNotFoundError) and url.scheme in OBJECT_STORES
        why = "there is no such bucket" if missing and what == "written" else reason(error)
        told = StoreError(f"{url}: cannot be {what} ({why}).")
        told.may_pass = _may_pass(error)
        raise told from None


def reason(error: BaseException) -> str:
    """Why a store refused, in a few words without secrets."""
    status = _status(error)
    if status is not None and status != 404:
        return f"the server answers {status}"
    message = without_secrets(" ".join(_words(error).split())).rstrip(".")
    kind = type(error).__name__
    if isinstance(error, PermissionError):
        return f"access denied: {message}" if message else "access denied"
    if isinstance(error, FileNotFoundError):
        lacks_bucket = _code(error) == "NoSuchBucket"
        return "there is no such bucket" if lacks_bucket else "there is no such file or folder"
    if kind in ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"):
        return f"no credentials: {message}"
    if isinstance(error, TimeoutError):
        return f"the server does not answer: {message}" if message else "the server does not answer"
    return f"{message:.200}" if message else kind


def _words(error: BaseException) -> str:
    """What an error says first; for those of the system, without their number."""
    if isinstance(error, OSError) and len(error.args) > 1:
        return str(error.args[1])
    return next(iter(str(error).strip().splitlines()), "")  # Azure's go on with the whole answer


def _code(error: BaseException) -> str:
    """The word for a refusal that S3 knows: ``NoSuchBucket``."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _status(error: BaseException) -> int | None:
    """The status that an HTTP server answered, as aiohttp's errors and their causes know it."""
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(cause, "status", None)
        if isinstance(status, int) and status >= 400:
            return status
        cause = cause.__cause__
    return None


def _may_pass(error: BaseException) -> bool:
    status = _status(error)
    if status is not None:
        return status >= 500 or status == 429
    return not isinstance(error, FileNotFoundError | PermissionError | NotImplementedError)


def check_target(url: Url) -> None:
    """Refuse, before the work, what can never be written.

    Raises
    ------
    ConfigError
        A web server, a whole bucket, or a package that is missing.
    MissingExtraError
    """
    if url.scheme in READ_ONLY:
        raise ConfigError(f"{url}: cannot be written over {url.scheme}. Choose another place.")
    if not url.path:
        raise ConfigError(f"{url}: expected the name of a file in it.")
    filesystem(url)


def make_folder(url: Url) -> None:
    """Make a folder where the store has folders, and else see to it that there is the bucket.

    Raises
    ------
    ConfigError, MissingExtraError
        As `check_target`.
    FileError
        There is no such bucket, or nobody answers.
    """
    check_target(url / "file")
    fs, path = filesystem(url)
    with telling(url, "written"):
        if url.scheme in OBJECT_STORES:
            _check_bucket(Url(url.root))
        else:
            fs.makedirs(path, exist_ok=True)


@lru_cache(maxsize=64)
def _check_bucket(bucket: Url) -> None:
    fs, path = filesystem(bucket)
    try:
        fs.info(path)
    except FileNotFoundError:
        raise FileError(f"{bucket}: there is no such bucket. Create it first.") from None
    except PermissionError:
        pass  # the right to write does not imply that to ask


def is_folder(url: Place) -> bool:
    """Whether there is a folder; on a web server, whether its URL ends in a slash.

    Raises
    ------
    FileError
        The store refuses to tell.
    """
    if isinstance(url, Path):
        return url.is_dir()
    if url.is_folder or url.is_web:
        return url.is_folder
    info = _info(url)
    return info is not None and info["type"] == "directory"


def state_of(url: Place) -> State | None:
    """What tells one content of a file from another; None for no file.

    What a listing told of the file is taken for true.

    Raises
    ------
    FileError
        The store refuses to tell.
    """
    if isinstance(url, Path):
        try:
            status = url.stat()
        except OSError:
            return None
        return State(status.st_size, status.st_mtime_ns, "")
    if url.state is not None:
        return url.state
    info = _info(url)
    return None if info is None or info["type"] == "directory" else _state(info)


def bytes_of(file: Place) -> int:
    """The size of a file, as far as it is known without asking a store; otherwise 0."""
    if isinstance(file, Url):
        return 0 if file.state is None else file.state.size
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _info(url: Url) -> dict[str, Any] | None:
    fs, path = filesystem(url)
    with telling(url, "read"):
        try:
            found: dict[str, Any] = fs.info(path)
        except FileNotFoundError as error:
            if _status(error) in (None, 404):
                return None
            raise
    return found


def _state(info: Mapping[str, Any]) -> State:
    when = next((info[name] for name in _TIMES if info.get(name)), None)
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), "")
    return State(info.get("size") or 0, _nanoseconds(when), version.strip('"'))


def _nanoseconds(when: Any) -> int:
    """A time in any of the ways in which stores tell it; 0 for none."""
    if isinstance(when, str):
        parsers: tuple[Callable[[str], datetime], ...] = (
            datetime.fromisoformat,
            parsedate_to_datetime,
        )
        for parser in parsers:
            with suppress(ValueError):
                when = parser(when)
                break
    if isinstance(when, datetime):
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        when = aware.timestamp()
    # Listings tell fractions of a second that other answers leave out.
    return int(when) * 10**9 if isinstance(when, int | float) else 0


def list_folder(url: Url) -> tuple[dict[str, State], set[str]]:
    """The files right in a folder by their names, and the names of its subfolders.

    Returns
    -------
    dict of str to State, set of str
        Empty for a folder that does not exist.

    Raises
    ------
    FileError
        The store refuses to tell, or there is no such bucket.
    """
    fs, path = filesystem(url)
    files: dict[str, State] = {}
    folders: set[str] = set()
    with telling(url, "listed"):
        try:
            entries = fs.ls(path, detail=True)
        except FileNotFoundError as error:
            if _code(error) == "NoSuchBucket":
                raise
            entries = []
    for info in entries:
        name = info["name"].rstrip("/").rpartition("/")[2]
        if info["type"] == "directory":
            folders.add(name)
        else:
            files[name] = _state(info)
    return files, folders


def find_files(
    folder: Url,
    suffixes: Collection[str],
    *,
    leave_out: Url | None = None,
    passed_over: Counter[str] | None = None,
) -> list[Url]:
    """As `tinysignal.files.find_files`; names that no folder can hold are passed over.

    The store lists everything below the folder, some thousand files an answer.

    Raises
    ------
    FileError
    """
    fs, path = filesystem(folder)
    depth = {"maxdepth": _DEEPEST} if folder.is_web else {}
    with telling(folder, "listed"):
        entries = fs.find(path, detail=True, **depth)
    found = []
    above = path.rstrip("/") + "/"
    for name, info in entries.items():
        parts = name[len(above) :].split("/")
        if info["type"] == "directory" or not name.startswith(above) or not parts[-1]:
            continue
        url = Url(folder.root, f"{folder.path}/{'/'.join(parts)}", state=_state(info))
        if any(part.startswith(".") for part in parts) or _is_below(url, leave_out):
            continue
        suffix = os.path.splitext(parts[-1])[1].lower()  # noqa: PTH122 - of many names, no Path each
        if suffix in suffixes and all(map(is_plain, parts)):
            found.append(url)
        elif passed_over is not None:
            passed_over[suffix] += 1
    return sorted(found, key=lambda url: url.path.split("/"))


def _is_below(url: Url, folder: Url | None) -> bool:
    return folder is not None and folder.root == url.root and url.path.startswith(f"{folder.path}/")


def read_bytes(url: Url, most_bytes: int) -> bytes:
    """The beginning of a file: all of it, if it is no longer.

    Raises
    ------
    FileError
    """
    content = bytearray()
    for block in blocks(url):
        content += block
        if len(content) >= most_bytes:
            break
    return bytes(content[:most_bytes])


def blocks(url: Url) -> Iterator[bytes]:
    """The content of a file, some megabytes at a time; all of it, as it was at the start.

    Raises
    ------
    FileError
        Missing, out of reach, changed while it was read, or it ended early.
    """
    fs, path = filesystem(url)
    # A web server is asked once and answers all; others are asked for one stretch after the other.
    how = {"block_size": 0} if url.is_web else {"block_size": BLOCK_BYTES, "cache_type": "none"}
    done = 0
    with telling(url, "read"), fs.open(path, "rb", **how) as file:
        size = getattr(file, "size", None)
        while block := file.read(BLOCK_BYTES):
            done += len(block)
            yield block
    if size is not None and done != size:
        raise FileError(f"{url}: ended after {done} of {size} bytes. Try again when it is whole.")
