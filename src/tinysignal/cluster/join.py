"""A cluster of our own on this machine, or one that is there."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tinysignal.cluster.engine import Engine
from tinysignal.cluster.spread import Cluster
from tinysignal.errors import ConfigError, MissingExtraError

_STORE_BYTES = 200 << 20  # of shared memory on this machine: only paths and reports go through it
_CONNECT_S = 5.0
_LONGEST_FOLDER = 30  # Ray's sockets lie 60 characters below it, of the system's 107


@contextmanager
def joined(engine: Engine, *, workers: int | None = None) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts; one that the program has joined itself stays.

    A program that has imported Ray before gets a cluster of its own as Ray makes it: behind a
    token, but not on loopback alone. After such a cluster, a process does not join another one.

    Parameters
    ----------
    engine : Engine
    workers : int or None
        Processes that work; None for one for each processor of the cluster.

    Raises
    ------
    MissingExtraError
        Ray is not installed.
    ConfigError
        There is no cluster at the address.

    Examples
    --------
    >>> from tinysignal.cluster import Engine, joined
    >>> with joined(Engine(engine="ray", address="nonsense")):
    ...     pass
    Traceback (most recent call last):
    ...
    tinysignal.errors.ConfigError: --address nonsense, expected HOST:PORT or auto.
    """
    address = engine.address
    if address not in (None, "auto"):
        _check_address(address)
    if address is None and "ray" not in sys.modules:  # it reads them once
        _keep_to_this_machine()
    with _quiet():
        try:
            import ray
            import ray.data
        except ImportError:
            raise MissingExtraError("--engine ray", "ray") from None
        if ray.is_initialized():
            yield Cluster(engine, workers)
            return
        with _place(address) as place:
            how: dict[str, Any] = {"address": address} if address else _own_cluster(workers, place)
            handler = signal.getsignal(signal.SIGTERM)
            try:
                _init(how)
                with suppress(ValueError):  # another thread than the main one
                    signal.signal(signal.SIGTERM, handler)  # Ray has put its own there
                yield Cluster(engine, workers)
            finally:
                ray.shutdown()


def _init(how: dict[str, Any]) -> None:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **how)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError, SystemExit) as error:
        reason = " ".join(str(error).split()).partition(". ")[0]
        what = f"--address {how['address']}" if how["address"] != "local" else "--engine ray"
        raise ConfigError(f"{what}: Ray cannot be used ({reason:.300}).") from None


def _keep_to_this_machine() -> None:
    """Let no other machine, nor other people on this one, reach a cluster of our own."""
    values = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for: loopback only
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),  # else Ray writes one into the home folder
    }
    for name, value in values.items():
        os.environ.setdefault(name, value)


def _own_cluster(workers: int | None, place: str) -> dict[str, Any]:
    return {
        "address": "local",  # whatever runs on this machine already, and whatever RAY_ADDRESS says
        "num_cpus": workers,
        "num_gpus": 0,
        "include_dashboard": False,
        "object_store_memory": _STORE_BYTES,
        "_temp_dir": place,
    }


@contextmanager
def _place(address: str | None) -> Iterator[str]:
    """A folder for what Ray writes on this machine."""
    if address is not None:
        yield ""
        return
    above = None if len(tempfile.gettempdir()) <= _LONGEST_FOLDER else "/tmp"
    place = tempfile.mkdtemp(prefix="ts-", dir=above)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Variables for the time of the block; what is set already stays as it is."""
    added = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Ray says nothing: what it has to say is for those who write programs with it."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [logger.level for logger in loggers]
    # Ray Data reads it when it is imported.
    with _environment({"RAY_DATA_LOG_LEVEL": "CRITICAL"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="ray")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _check_address(address: str) -> None:
    """Refuse, soon and in a line, what Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise ConfigError(f"--address {address}, expected HOST:PORT or auto.")
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S) as connection:
            if "RAY_USE_TLS" in os.environ:
                return
            connection.sendall(hello)
            answer = connection.recv(9)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"--address {address}: no Ray cluster answers ({reason}).") from None
    if answer[3:4] != b"\4":  # the settings of a server of HTTP/2
        raise ConfigError(f"--address {address}: what answers is no Ray cluster.")
