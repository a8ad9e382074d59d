"""Processes that are measured: their time, their peak memory, and the machine they run on.

This module imports nothing large, and neither may a program before its measurements: a child's peak
memory is never below that of the process that starts it.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
}
VERSIONS = ("tinysignal", "noisereduce", "numpy", "scipy", "onnxruntime", "soundfile", "torch")


class ProcessError(Exception):
    """A process cannot be started, fails, or prints something else than numbers: one line."""


@dataclass(frozen=True)
class Finished:
    """One finished process, and what it printed."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    printed: str = ""


def finish(command: list[str]) -> Finished:
    """Run a command to its end, alone, with one thread.

    Raises
    ------
    ProcessError
        It cannot be started, or fails: its status and the last line of its errors.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start_s = time.perf_counter()
        try:
            process = subprocess.Popen(
                command, stdout=output, stderr=errors, env=os.environ | ONE_THREAD
            )
        except OSError as error:
            raise ProcessError(f"{Path(command[0]).name}: {error.strerror}") from None
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            said = [line for line in errors.read().splitlines() if line.strip()] or ["no message"]
            raise ProcessError(f"exit status {process.returncode}: {said[-1].strip()}")
        unit_bytes = 1 if sys.platform == "darwin" else 1024
        cpu_s = usage.ru_utime + usage.ru_stime
        return Finished(wall_s, cpu_s, usage.ru_maxrss * unit_bytes, output.read())


def pin_to_one_core() -> int | None:
    """Stay on one core, with all children; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def machine(*, pinned: bool) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": 1,
        "pinned_to_one_core": pinned,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in VERSIONS if (found := _version(name))},
    }


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def contents(site: Path) -> dict[str, int]:
    files = (path for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(site).as_posix(): path.stat().st_size for path in files}


def say(message: str) -> None:
    print(f"{time.strftime('%X')} {message}", file=sys.stderr, flush=True)
