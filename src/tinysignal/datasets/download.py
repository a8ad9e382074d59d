"""Downloads from the first mirror that responds, checked by their SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinysignal.errors import DataError, MissingExtraError

_CONNECT_S, _READ_S = 10, 30


def fetch(file: str, mirrors: Sequence[str], *, sha256: str, what: str, folder: str) -> Path:
    """Path of a file in the user's cache, downloaded on first use.

    Parameters
    ----------
    file : str
        Name of the file, the same on every mirror.
    mirrors : sequence of str
        Addresses of folders, each with a slash at its end.
    sha256 : str
        SHA-256 of the file, in hexadecimal digits.
    what : str
        Name of the data set in error messages.
    folder : str
        Subfolder of the cache.

    Raises
    ------
    DataError
        No mirror has the file, or the cache cannot be written.
    MissingExtraError
        pooch is not installed.
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
                downloader=pooch.HTTPDownloader(
                    timeout=(_CONNECT_S, _READ_S),
                    headers={"Accept-Encoding": "identity"},  # keeps .gz files compressed
                ),
            )
            return Path(found)
        except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
            failures.append(f"{mirror} ({_reason(error)})")
        except OSError as error:
            raise DataError(f"{cache}: cannot be written ({error.strerror}).") from None
    raise DataError(
        f"{what}: {file} could not be downloaded from {', '.join(failures)}. "
        "Download it by other means and pass its folder with --data-dir."
    )


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "its SHA-256 differs from the published one"
    return type(error).__name__
