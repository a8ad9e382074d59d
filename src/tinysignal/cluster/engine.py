"""What does the work on many files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinysignal.errors import ConfigError
from tinysignal.options import Options, option

RETRIES = 2
MACHINES = "Many machines"  # heading of these options in --help


@dataclass(frozen=True, kw_only=True)
class Engine(Options):
    """What does the work on many files.

    Parameters
    ----------
    engine : {"local", "ray"}
        ``local``: this process. ``ray``: the workers of a Ray cluster, which needs the extra
        ``ray``.
    address : str or None
        The cluster to join, ``HOST:PORT`` or ``auto`` for the one that runs on this machine; None
        to start one for this run, which only this machine reaches.
    retries : int or None
        How often an item is tried again whose worker died or whose disk or network failed; None
        for 2. What is damaged is not tried again.

    Raises
    ------
    ConfigError
        An option out of its bounds, or one that the engine does not have.

    Examples
    --------
    >>> from tinysignal.cluster import Engine
    >>> Engine(engine="ray", address="auto").address
    'auto'
    """

    engine: Literal["local", "ray"] = option(
        "local", "What does the work: this process, or the workers of Ray.", group=MACHINES
    )
    address: str | None = option(
        None,
        "Ray cluster to join.",
        group=MACHINES,
        shown="one for this run, on this machine",
        metavar="HOST:PORT|auto",
    )
    retries: int | None = option(
        None,
        "How often Ray tries a file again whose worker died or whose disk failed.",
        group=MACHINES,
        shown=str(RETRIES),
        at_least=0,
        at_most=100,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("address", "retries"):
            if self.engine != "ray" and getattr(self, name) is not None:
                raise ConfigError(f"{name} is for Ray. Pass --engine ray as well.")

    @property
    def is_ray(self) -> bool:
        """Whether Ray does the work."""
        return self.engine == "ray"
