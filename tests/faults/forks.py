"""Commands in forked children: an interpreter that has imported all is copied for each of them.

A start takes milliseconds, a crash or a hang ends one child, and each child's memory is measured.
For programs of one thread, as those in this folder are.
"""

from __future__ import annotations

import gc
import importlib
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HANG_S = 30.0
MOST_BYTES = 1 << 30
_MOST_DATA_BYTES = 8 << 30  # so that the machine survives what the test would find anyway
_BROKEN = 70  # status of a child whose body raised


@dataclass(frozen=True)
class Ended:
    """What became of a child."""

    status: int  # negative: the signal that ended it
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int
    timed_out: bool = False

    @property
    def fault(self) -> str | None:
        """What no program should do, whatever it is given; None for a clean end."""
        lines = self.stderr.splitlines()
        shown = self.stdout + self.stderr
        named = any(line.startswith("error: ") for line in lines)
        faults = {
            f"hang: more than {HANG_S:g} s": self.timed_out,
            f"crash: signal {-self.status}": self.status < 0,
            f"traceback: {lines[-1:]}": self.status > 2 or "Traceback" in self.stderr,
            f"memory: {self.peak_bytes >> 20} MiB": self.peak_bytes > MOST_BYTES,
            f"status {self.status} without an error: {lines}": self.status > 0 and not named,
            f"control characters: {ascii(shown)[:300]}": not all(
                c.isprintable() or c in "\n\t" for c in shown
            ),
        }
        return next((what for what, is_so in faults.items() if is_so), None)


def command(*arguments: object) -> Callable[[], int]:
    """The command line, as a body of `run`."""

    def body() -> int:
        from tinysignal.cli import main

        sys.argv = ["tinysignal", *map(str, arguments)]
        try:
            main.main()
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return body


def start(body: Callable[[], int], stdout: Any, stderr: Any) -> int:
    """Start a child; its number."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = _BROKEN
    try:
        os.setsid()
        os.dup2(stdout.fileno(), 1)
        os.dup2(stderr.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_DATA_BYTES, _MOST_DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        status = body()
    except BaseException:  # noqa: BLE001 - the child ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    raise AssertionError


def run(body: Callable[[], int], *, kill_after_s: float | None = None) -> Ended:
    """Run a body in a child to its end, or until it is killed."""
    with tempfile.TemporaryFile("w+b") as stdout, tempfile.TemporaryFile("w+b") as stderr:
        begun = time.monotonic()
        child = start(body, stdout, stderr)
        limit_s = HANG_S if kill_after_s is None else kill_after_s
        over = _wait(child, limit_s)
        if over:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:  # it has no group of its own yet
                os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        seconds = time.monotonic() - begun
        texts = []
        for file in (stdout, stderr):
            file.seek(0)
            texts.append(file.read(1 << 20).decode("utf-8", "backslashreplace"))
    return Ended(
        os.waitstatus_to_exitcode(status),
        *texts,
        seconds=seconds,
        peak_bytes=used.ru_maxrss * 1024,
        timed_out=over and kill_after_s is None,
    )


def _wait(child: int, seconds: float) -> bool:
    """Wait for a child's end; whether the time was over first."""
    handle = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        return not poll.poll(max(0, round(1000 * seconds)))
    finally:
        os.close(handle)


def ready() -> None:
    """Before the first child: what is imported is shared with all of them."""
    from tinysignal.cli import main

    for name in ("av", "PIL.Image"):
        if find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    with redirect_stderr(io.StringIO()):  # an error in one line imports all that the command does
        assert main.run(["denoise", "absent.wav", "-o", "absent.flac"]) == 1
    gc.collect()
    gc.freeze()


def ready_to_train() -> None:
    """`ready`, and what trains, compresses and inspects."""
    import torch

    import tinysignal.runs.compress
    import tinysignal.runs.inspect
    import tinysignal.runs.report
    import tinysignal.runs.sweep
    import tinysignal.train.classification.task
    import tinysignal.train.denoising.task  # noqa: F401

    torch.set_num_threads(1)
    ready()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is emptied at the end; temporary files go there too."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        yield Path(name).resolve()


def names_in(folder: Path) -> set[str]:
    """Everything in a folder, by its path inside it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by their paths inside it."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def left_behind(folder: Path) -> set[str]:
    """Temporary files of ours in a folder."""
    return {name for name in names_in(folder) if Path(name).name.startswith(".tinysignal-")}


def add_to_report(report: Path | None, name: str, found: dict[str, Any]) -> None:
    """Print what a program found, and put it into the report under its name."""
    print(json.dumps({name: found}, indent=2))
    if report is not None:
        everything = json.loads(report.read_text()) if report.exists() else {}
        everything[name] = found
        report.write_text(json.dumps(everything, indent=2, sort_keys=True) + "\n")
