"""Where the service listens, whom it lets in, and how much it takes on."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tinysignal.errors import ConfigError
from tinysignal.model import DEFAULT_MODEL
from tinysignal.privacy import LOOPBACK, is_loopback

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Settings of the service.

    Parameters
    ----------
    host : str
        Address to listen on; one that other machines reach needs ``token``.
    port : int
        0 for any that is free.
    token : str or None
        What every request but ``/healthz`` must carry.
    origins : tuple of str
        Web pages' origins, such as ``https://example.org``, that may use the service besides pages
        of its own host.
    model : str
        Bundled name, model file or run folder.
    streams : int
        Live streams at once; more are refused.
    jobs : int
        Files that are denoised at once; 0 for as many as there are processors.
    queue : int
        Files that may wait for their turn; more are refused.
    max_mb : int
        Largest file that is taken, in millions of bytes.
    idle_s : float
        A stream that is silent for so long is closed.
    drain_s : int
        How long requests may go on after the service was told to end.

    Raises
    ------
    ConfigError
        A host without a token, or a value out of its bounds.

    Examples
    --------
    >>> from tinysignal.serve.settings import ServeSettings
    >>> ServeSettings(jobs=2).workers
    2
    """

    host: str = LOOPBACK
    port: int = 8000
    token: str | None = None
    origins: tuple[str, ...] = ()
    model: str = DEFAULT_MODEL
    streams: int = 64
    jobs: int = 0
    queue: int = 32
    max_mb: int = 500
    idle_s: float = 60.0
    drain_s: int = 30

    def __post_init__(self) -> None:
        if self.token is not None and len(self.token) < 8:
            raise ConfigError(f"token of {len(self.token)} characters, expected 8 or more.")
        if self.token is None and not self.is_local:
            raise ConfigError(
                f"host {self.host} lets other machines in. Pass a token as well (--token, or the "
                "environment variable TINYSIGNAL_TOKEN)."
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can come in."""
        return is_loopback(self.host)

    @property
    def workers(self) -> int:
        """Files at once."""
        return self.jobs or os.cpu_count() or 1
