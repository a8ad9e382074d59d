"""Many inputs denoised, several at once: progress and messages on stderr, a report for stdout."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import TinysignalError
from tinysignal.files import Pair, is_done
from tinysignal.spectrogram import save_before_after
from tinysignal.video import open_sound


@dataclass(frozen=True)
class Work:
    """One input, what is written for it, and what people are told they are."""

    files: Pair
    names: tuple[str, str]
    residual: Path | None = None
    plot: Path | None = None

    def is_done(self) -> bool:
        """Whether everything to write exists and is no older than the input."""
        written = [self.files.target, self.residual, self.plot]
        return all(is_done(Pair(self.files.source, path)) for path in written if path is not None)


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    work: Work
    status: str  # done, skipped, failed
    report: FileReport | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The entry in the JSON report; unknown and infinite numbers are null."""
        report = self.report
        facts: dict[str, Any] = {
            "input": self.work.names[0],
            "output": self.work.names[1],
            "status": self.status,
            "error": self.error,
        }
        for name in ("sample_rate_hz", "channels", "samples", "container", "subtype"):
            facts[name] = None if report is None else getattr(report, name)
        facts["residual"] = None if self.work.residual is None else str(self.work.residual)
        facts["plot"] = None if self.work.plot is None else str(self.work.plot)
        for name in ("level_in_dbfs", "level_out_dbfs", "gain_db", "elapsed_s", "speed"):
            facts[name] = None if report is None else _finite(getattr(report, name))
        facts["seconds"] = None if report is None else _finite(report.duration_s)
        facts["real_time_factor"] = None if report is None else _finite(1 / report.speed)
        facts["notes"] = [] if report is None else list(report.notes)
        return facts


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def run_batch(
    work: list[Work],
    denoiser: Denoiser,
    options: FileOptions,
    *,
    jobs: int,
    overwrite: bool,
    console: Console,
) -> list[Outcome]:
    """Denoise all inputs; they are reported in their order, whichever ends first.

    Parameters
    ----------
    work : list of Work
    denoiser : Denoiser
    options : FileOptions
    jobs : int
        Files at once.
    overwrite : bool
        Whether to redo what is done.
    console : Console
        For messages and progress, on stderr.

    Returns
    -------
    list of Outcome
        One for each input; what failed is among them.
    """
    stop = threading.Event()
    outcomes = []
    with _progress(work, console) as advance:

        def on_block(seconds: float) -> None:
            if stop.is_set():
                raise _StoppedError
            advance(seconds)

        def one(item: Work) -> Outcome:
            if not overwrite and item.is_done():
                return Outcome(item, "skipped")
            return _one(item, denoiser, options, on_block)

        # Threads, not processes: the network, the FFT and the codecs work outside Python's lock,
        # and only the main thread is ever interrupted, so a worker always cleans up.
        pool = ThreadPoolExecutor(jobs)
        try:
            for future in [pool.submit(one, item) for item in work]:
                outcomes.append(future.result())
                _report(outcomes[-1], console)
        except BaseException:
            stop.set()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
    return outcomes


class _StoppedError(Exception):
    """The run is over; leave what is half done."""


def _one(
    item: Work, denoiser: Denoiser, options: FileOptions, on_block: Callable[[float], None]
) -> Outcome:
    source, target = item.files.source, item.files.target
    try:
        report = denoise_file(
            source,
            target,
            denoiser=denoiser,
            options=options,
            residual=item.residual,
            on_block=on_block,
        )
        if item.plot is not None:
            save_before_after(source, target, item.plot)
    except TinysignalError as error:
        message = str(error).replace(str(source), item.names[0]).replace(str(target), item.names[1])
        return Outcome(item, "failed", error=message)
    return Outcome(item, "done", report)


@contextmanager
def _progress(work: list[Work], console: Console) -> Iterator[Callable[[float], None]]:
    """A bar over the seconds of sound, with the speed as a multiple of real time."""
    if not console.is_terminal or console.quiet:
        yield lambda seconds: None
        return
    columns = (
        TextColumn("denoising"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(map(_seconds, work)) or None, speed="")

        def advance(seconds: float) -> None:
            bar.advance(task, seconds)
            state = bar.tasks[0]
            if state.elapsed:
                bar.update(task, speed=f"{state.completed / state.elapsed:.0f} x real time")

        yield advance


def _seconds(item: Work) -> float:
    try:
        with open_sound(item.files.source) as reader:
            return reader.info.duration_s
    except TinysignalError:
        return 0.0  # the run itself reports it


def _report(outcome: Outcome, console: Console) -> None:
    source, target = outcome.work.names
    if outcome.error is not None:
        # On one line, and on stderr even when the console is quiet.
        loud = Console(stderr=True, soft_wrap=True, highlight=False) if console.quiet else console
        loud.print(f"error: {' '.join(outcome.error.split())}", markup=False)
    elif outcome.report is None:
        console.print(f"{source}: skipped, {target} is newer (--overwrite redoes it)", markup=False)
    else:
        report = outcome.report
        console.print(
            f"{source} -> {target}: {report.duration_s:.1f} s, {report.speed:.0f} x real time",
            markup=False,
        )
        for note in report.notes:
            console.print(f"{target}: {note}", markup=False)


def print_json(outcomes: list[Outcome], model: str) -> None:
    """One JSON document on stdout."""
    statuses = [outcome.status for outcome in outcomes]
    counts = {status: statuses.count(status) for status in ("done", "skipped", "failed")}
    files = [outcome.to_json() for outcome in outcomes]
    document = {"model": model, **counts, "files": files}
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
