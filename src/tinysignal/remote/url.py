"""What a URL is, and what people are shown of it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import NamedTuple, TypeAlias
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from tinysignal.errors import ConfigError

# The package that fsspec needs for each kind of store; None for none.
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "sftp": "paramiko",
    "memory": None,
}
OBJECT_STORES = frozenset(("s3", "gs", "gcs", "az", "abfs", "abfss"))
READ_ONLY = frozenset(("http", "https"))

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_ONE_SLASH = re.compile(r"(s3|gs|gcs|az|abfss?|https?|sftp|memory):/?(?!/)")
_USER = re.compile(r"(?<=://)[^/?#\s@]*(?:@[^/?#\s@]*)*@")
_QUERY = re.compile(r"\?[^\s'\"?]*=[^\s'\"]*")


class State(NamedTuple):
    """What tells one content of a file from another.

    Attributes
    ----------
    size : int
        In bytes.
    mtime_ns : int
        Time of change; 0 where the store does not tell.
    version : str
        What the store calls this content, mostly its ETag; empty where it has no name for it.
    """

    size: int
    mtime_ns: int
    version: str


@dataclass(frozen=True, slots=True)
class Url:
    """A file or folder in a store; used as a `pathlib.Path` is, as far as that makes sense.

    As text it is what people may see: without user, password and query.

    Parameters
    ----------
    root : str
        Kind of store and bucket or host: ``s3://bucket``.
    path : str
        What follows, from its slash on, without one at the end.
    query : str
        Of ``http``, with its question mark.
    is_folder : bool
        Whether its slash at the end said so, or it is a whole bucket.
    state : State or None
        What a listing told of the file.

    Examples
    --------
    >>> from tinysignal.remote import place
    >>> talk = place("s3://bucket/talks/monday.wav")
    >>> str(talk.with_suffix(".flac")), talk.name
    ('s3://bucket/talks/monday.flac', 'monday.wav')
    """

    root: str
    path: str = ""
    query: str = ""
    is_folder: bool = field(default=False, compare=False)
    state: State | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return without_secrets(self.raw)

    @property
    def raw(self) -> str:
        """As it was given, secrets included."""
        end = "/" if self.is_folder and self.is_web else ""
        return f"{self.root}{self.path}{end}{self.query}"

    @property
    def scheme(self) -> str:
        """Kind of store: ``s3``."""
        return self.root.partition(":")[0].lower()

    @property
    def is_web(self) -> bool:
        """Whether special characters of its path are encoded by ``%``."""
        return self.scheme in READ_ONLY

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self._told(self.path.rpartition("/")[2])

    @property
    def suffix(self) -> str:
        """The extension with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return PurePosixPath(self.name).stem

    @property
    def parent(self) -> Url:
        """The folder in which it is."""
        return Url(self.root, self.path.rpartition("/")[0], is_folder=True)

    def with_name(self, name: str) -> Url:
        """Another file in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> Url:
        """The same name with another extension, or without one."""
        return self.with_name(f"{self.stem}{suffix}")

    def __truediv__(self, inner: str | PurePath) -> Url:
        text = inner if isinstance(inner, str) else inner.as_posix()
        return Url(self.root, f"{self.path}/{quote(text) if self.is_web else text}")

    def relative_to(self, folder: Url) -> PurePosixPath:
        """The path below a folder."""
        assert self.root == folder.root, (self, folder)
        assert self.path.startswith(f"{folder.path}/"), (self, folder)
        inner = self.path[len(folder.path) + 1 :]
        return PurePosixPath(*map(self._told, inner.split("/")))

    def _told(self, part: str) -> str:
        """A part of the path as a name of a file."""
        name = unquote(part) if self.is_web else part
        return name if is_plain(name) else part


Place: TypeAlias = Path | Url
"""Where a file lies: here, or in a store."""


def inside(path: Place, folder: Place) -> PurePath:
    """The path of a file below its folder, both here or both in the same store."""
    if isinstance(path, Url):
        assert isinstance(folder, Url)
        return path.relative_to(folder)
    assert isinstance(folder, Path)
    return path.relative_to(folder)


def is_url(text: object) -> bool:
    """Whether a text begins as URLs do; a letter alone is a drive of Windows.

    Examples
    --------
    >>> from tinysignal.remote import is_url
    >>> is_url("s3://bucket/talk.wav"), is_url("talks/monday.wav")
    (True, False)
    """
    return isinstance(text, str) and _URL.fullmatch(text) is not None


def place(given: str | Path | Url) -> Place:
    """Where a file lies that was named by a path or by a URL.

    Parameters
    ----------
    given : str, Path or Url
        ``file://`` stands for a local path.

    Raises
    ------
    ConfigError
        A URL that names no store that is known here, or nothing in it.

    Examples
    --------
    >>> from tinysignal.remote import place
    >>> str(place("https://user:secret@example.com/talk.wav?token=abc"))
    'https://example.com/talk.wav?...'
    >>> place("talk.wav").suffix
    '.wav'
    """
    if not isinstance(given, str):
        return given
    found = _URL.fullmatch(given)
    if found is None:
        wrong = _ONE_SLASH.match(given)
        if wrong and not os.path.lexists(given.partition("/")[0]):
            raise ConfigError(f"{without_secrets(given)}: expected {wrong[1]}:// with two slashes.")
        return Path(given)
    scheme = found[1].lower()
    if scheme == "file":
        return _local(given)
    if scheme not in PACKAGES:
        raise ConfigError(
            f"{without_secrets(given)}: '{scheme}' is no kind of store that is known here; "
            f"expected one of: {', '.join([*PACKAGES, 'file'])}."
        )
    rest, _, query = found[2].partition("?") if scheme in READ_ONLY else (found[2], "", "")
    host, slash, path = rest.partition("/")
    if not host.rpartition("@")[2]:
        what = "bucket" if scheme in OBJECT_STORES else "server"
        raise ConfigError(f"{without_secrets(given)}: names no {what}.")
    path = path.partition("#")[0] if scheme in READ_ONLY else path
    return Url(
        f"{scheme}://{host}",
        f"/{path}".rstrip("/") if slash else "",
        f"?{query}" if query else "",
        is_folder=not path or path.endswith("/"),
    )


def _local(given: str) -> Path:
    parts = urlsplit(given)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise ConfigError(f"{given}: expected file:/// and a path.")
    return Path(url2pathname(parts.path))


def without_secrets(text: str) -> str:
    """A text in which URLs have neither user and password nor a query that may be a key."""
    return _QUERY.sub("?...", _USER.sub("", text))


def is_plain(name: str) -> bool:
    """Whether a part of a path can be the name of a file in a folder, and nothing else."""
    odd = "/\0" if os.name != "nt" else "/\0\\:"
    return name not in ("", ".", "..") and not any(character in name for character in odd)


def with_state(url: Url, state: State) -> Url:
    """The same file with what a listing told of it."""
    return replace(url, state=state)
