"""uvicorn around the service: one process, which ends when what it does is done."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import uvicorn

from tinysignal.errors import ConfigError
from tinysignal.serve.service import create_app
from tinysignal.serve.settings import ServeSettings

_MOST_MESSAGE_BYTES = 1 << 20


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def serve(settings: ServeSettings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until interrupted.

    SIGTERM and Ctrl-C let requests go on for ``settings.drain_s``; streams are closed with code
    1012, which asks to come again.

    Parameters
    ----------
    settings : ServeSettings
    on_ready : callable or None
        Called with the address once it answers.

    Raises
    ------
    ConfigError
        The address cannot be had.
    ModelError
        The model cannot be used.

    Examples
    --------
    >>> from tinysignal.serve import ServeSettings, serve
    >>> serve(ServeSettings(port=8000), on_ready=print)  # doctest: +SKIP
    http://127.0.0.1:8000
    """
    app = create_app(settings)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listening = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise ConfigError(
            f"{settings.host}:{settings.port} cannot be listened on ({error.strerror}). "
            "Pass another --port."
        ) from None
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    url = f"http://{host}:{listening.getsockname()[1]}"
    with listening:
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False, date_header=False,
            ws_max_size=_MOST_MESSAGE_BYTES, timeout_graceful_shutdown=settings.drain_s,
            ws_per_message_deflate=False,  # samples hardly get smaller, for as much work as theirs
        )  # fmt: skip
        tell: Any = on_ready or (lambda _: None)
        _Server(config, lambda: tell(url)).run(sockets=[listening])
