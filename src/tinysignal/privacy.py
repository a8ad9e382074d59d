"""Nothing leaves the machine: the libraries below report nothing and leave nothing behind."""

from __future__ import annotations

import atexit
import ipaddress
import os
import shutil
import sys
import tempfile
from pathlib import Path

# What each library reads when it is imported. None of it is needed by what this package does.
SILENT = {
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime: Microsoft's collector, a device id, an event store
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "RAY_USAGE_STATS_ENABLED": "0",
}


LOOPBACK = "127.0.0.1"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens on that address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def be_silent() -> None:
    """Turn the reports of other libraries off, for this process and those that it starts.

    What is set already stays as it is. It must come before the first import of these libraries:
    the package calls it as it is imported itself.
    """
    for name, value in SILENT.items():
        os.environ.setdefault(name, value)


def leave_no_caches() -> None:
    """Give Matplotlib and torch's compiler a folder that goes when the program ends.

    Matplotlib writes a list of fonts as it is imported, torch's compiler makes a folder. Caches
    that the user has stay in use. Call it before the first import of either.
    """
    wanted = {
        "MPLCONFIGDIR": not any(folder.exists() for folder in _matplotlib_folders()),
        "TORCHINDUCTOR_CACHE_DIR": True,
    }
    names = [name for name, needed in wanted.items() if needed and name not in os.environ]
    if not names:
        return
    try:
        scratch, owner = tempfile.mkdtemp(prefix="tinysignal-"), os.getpid()
    except OSError:  # nowhere to write: nor can they
        return
    os.environ.update((name, str(Path(scratch) / name.lower())) for name in names)

    @atexit.register
    def _remove() -> None:
        if os.getpid() == owner:  # and not a fork
            shutil.rmtree(scratch, ignore_errors=True)


def _matplotlib_folders() -> list[Path]:
    """Where Matplotlib looks for its settings and its list of fonts."""
    try:
        home = Path.home()
    except RuntimeError:  # there is none
        return []
    if not sys.platform.startswith(("linux", "freebsd")):
        return [home / ".matplotlib"]
    rooms = {"XDG_CONFIG_HOME": ".config", "XDG_CACHE_HOME": ".cache"}
    return [Path(os.environ.get(k) or home / v) / "matplotlib" for k, v in rooms.items()]
