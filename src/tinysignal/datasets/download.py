"""Files from the web: several mirrors, resumed where they broke off, checked by their SHA-256."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinysignal.errors import DataError, MissingExtraError

_PIECE_BYTES = 1 << 16
_CONNECT_S, _READ_S = 10, 30


def fetch(file: str, mirrors: Sequence[str], *, sha256: str, what: str, folder: str) -> Path:
    """A file in the user's cache, downloaded from the first mirror that has it.

    What a broken download leaves stays beside it as ``FILE.part``; the next one goes on there.

    Parameters
    ----------
    file : str
        Its name, the same on every mirror.
    mirrors : sequence of str
        Addresses that end in a slash.
    sha256 : str
        Of the file.
    what : str
        What error messages call the whole.
    folder : str
        Below the cache.

    Raises
    ------
    DataError
        No mirror has it, or the cache cannot be written.
    MissingExtraError
        It is not in the cache and pooch is not installed.
    """
    try:
        import pooch  # noqa: PLC0415 - optional
        import requests  # noqa: PLC0415 - optional, comes with pooch
        import urllib3  # noqa: PLC0415 - optional, comes with requests
    except ImportError:
        raise MissingExtraError(f"downloading {what}", "train") from None
    cache = Path(pooch.os_cache("tinysignal")) / folder
    failures = []
    for mirror in mirrors:
        try:
            found = pooch.retrieve(
                mirror + file,
                known_hash=f"sha256:{sha256}",
                fname=file,
                path=cache,
                downloader=_Resuming(cache / f"{file}.part", sha256),
            )
            return Path(found)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            failures.append(f"{mirror} ({_reason(error)})")
        except OSError as error:
            raise DataError(f"{cache}: cannot be written ({error.strerror}).") from None
    raise DataError(
        f"{what}: {file} could not be downloaded from {', '.join(failures)}. "
        "Fetch it by other means and name its folder with --data-dir."
    )


class _Resuming:
    """A downloader for pooch that goes on where an earlier try broke off."""

    def __init__(self, part: Path, sha256: str) -> None:
        self._part, self._sha256 = part, sha256

    def __call__(self, url: str, output_file: str, _pooch: Any) -> None:
        import pooch  # noqa: PLC0415 - optional

        resumed = self._size() > 0
        self._complete(url)
        if pooch.file_hash(str(self._part)) != self._sha256 and resumed:
            # What was there may be of another file: once more, from the start.
            self._part.unlink()
            self._complete(url)
        if pooch.file_hash(str(self._part)) != self._sha256:
            self._part.unlink()
            raise ValueError("other content than published")
        os.replace(self._part, output_file)  # noqa: PTH105 - pooch hands over a str

    def _size(self) -> int:
        with suppress(OSError):
            return self._part.stat().st_size
        return 0

    def _complete(self, url: str) -> None:
        """Go on as long as every try brings the file further."""
        import requests  # noqa: PLC0415 - optional
        import urllib3  # noqa: PLC0415 - optional

        while True:
            before = self._size()
            try:
                return self._continue(url)
            except requests.HTTPError:
                raise
            except (requests.RequestException, urllib3.exceptions.HTTPError):
                if self._size() <= before:
                    raise

    def _continue(self, url: str) -> None:
        import requests  # noqa: PLC0415 - optional

        start = self._size()
        headers = {"Accept-Encoding": "identity"}  # a .gz is to stay one
        if start:
            headers["Range"] = f"bytes={start}-"
        with requests.get(
            url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S)
        ) as answer:
            if start and answer.status_code == requests.codes.requested_range_not_satisfiable:
                return  # it is all there, or not this file: the sum will tell
            answer.raise_for_status()
            goes_on = answer.status_code == requests.codes.partial_content
            with self._part.open("ab" if goes_on else "wb") as file:
                for piece in answer.raw.stream(_PIECE_BYTES, decode_content=False):
                    file.write(piece)


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return str(error)
    return type(error).__name__
