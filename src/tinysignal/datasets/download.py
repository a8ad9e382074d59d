"""Files from the web: the first mirror that has one, held to its SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tinysignal.errors import DataError, MissingExtraError

_CONNECT_S, _READ_S = 10, 30


def fetch(file: str, mirrors: Sequence[str], *, sha256: str, what: str, folder: str) -> Path:
    """A file in the user's cache, downloaded from the first mirror that has it.

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
                downloader=pooch.HTTPDownloader(
                    timeout=(_CONNECT_S, _READ_S),
                    headers={"Accept-Encoding": "identity"},  # a .gz is to stay one
                ),
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


def _reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"status {response.status_code}"
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "other content than published"
    return type(error).__name__
