"""The server: a private folder, start, end."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tinysignal.app.settings import Settings
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.temporaries import temporary_folder

# What Gradio and what it builds on would otherwise look up, or keep outside the private folder.
_PRIVATE = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1", "GRADIO_SHARE": "False"}


def serve(settings: Settings, *, on_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve the page until the process is interrupted.

    What is uploaded and made lies in a folder that only this user can read, and that is removed at
    the end, also after a signal.

    Parameters
    ----------
    settings : Settings
    on_ready : callable
        Called with the page's address when it answers.

    Raises
    ------
    ConfigError
        The port is taken, or the address is not this machine's.
    MissingExtraError
        Gradio is not installed.

    Examples
    --------
    >>> from tinysignal.app import Settings, serve
    >>> serve(Settings(port=7860), on_ready=print)  # doctest: +SKIP
    http://127.0.0.1:7860
    """
    port = _free_port(settings)
    with _private_folder() as folder:
        os.environ.update(_PRIVATE, GRADIO_TEMP_DIR=str(folder / "files"))
        try:
            from tinysignal.app.page import launch
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"the page ({error.name})", "app") from None
        for name in ("httpx", "uvicorn", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with launch(settings, folder, port=port):
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            on_ready(f"http://{host}:{port}")
            threading.Event().wait()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder for this user alone; what a killed server left is removed first."""
    with temporary_folder(Path(tempfile.gettempdir()) / "app") as folder:
        folder.chmod(0o700)
        (folder / "files").mkdir()
        yield folder


def _free_port(settings: Settings) -> int:
    """The port, told to be free before the work of importing Gradio."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((settings.host, settings.port))
        except OSError as error:
            raise ConfigError(
                f"{settings.host}:{settings.port} cannot be used ({error.strerror}). Pass another "
                "--port."
            ) from None
        port: int = trial.getsockname()[1]
        return port
