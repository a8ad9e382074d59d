"""What was asked for: address, limits, runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinysignal.errors import ConfigError
from tinysignal.privacy import LOOPBACK, is_loopback

LONGEST_S = 4 * 3600  # of a recording
MOST_WORK_S = 2 * 3600  # for the recordings of one drop


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the page is served.

    Parameters
    ----------
    host : str
        Address to listen on; one that other machines reach needs ``auth``.
    port : int
        0 for any that is free.
    auth : str or None
        ``USER:PASSWORD`` that the page asks for.
    runs : tuple of Path
        Run folders to show.
    data_dir : Path or None
        Folder of MNIST's files.
    max_mb : int
        Size of the largest file that is taken, in millions of bytes.

    Raises
    ------
    ConfigError
        A host without ``auth``, or a value that cannot be used.

    Examples
    --------
    >>> from tinysignal.app.settings import Settings
    >>> Settings(auth="ann:secret").login
    ('ann', 'secret')
    """

    host: str = LOOPBACK
    port: int = 7860
    auth: str | None = None
    runs: tuple[Path, ...] = ()
    data_dir: Path | None = None
    max_mb: int = 500

    def __post_init__(self) -> None:
        if self.auth is not None and not all(self.login or ("",)):
            raise ConfigError("--auth: expected USER:PASSWORD.")
        if self.auth is None and not is_loopback(self.host):
            raise ConfigError(
                f"--host {self.host} lets other machines in. Pass --auth USER:PASSWORD as well."
            )
        for run in self.runs:
            if not run.is_dir():
                raise ConfigError(
                    f"{run}: no such folder. Give a folder made by 'tinysignal train'."
                )

    @property
    def login(self) -> tuple[str, str] | None:
        """User and password."""
        if self.auth is None:
            return None
        user, _, password = self.auth.partition(":")
        return user, password
