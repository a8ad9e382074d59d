"""Many files denoised: where their outputs go, several at once, and what became of each."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, TinysignalError
from tinysignal.files import Pair, check_pairs, find_files
from tinysignal.plots import save_before_after

CLEAN, RESIDUAL = ".clean", ".residual"  # before the extension of what is written beside its input


def beside(path: Path, mark: str, suffix: str | None = None) -> Path:
    """``talk.wav`` with a mark before its extension: ``talk.clean.wav``."""
    return path.with_name(f"{path.stem}{mark}{suffix or path.suffix}")


def find_sounds(folder: Path, *, leave_out: Path | None = None) -> list[Path]:
    """Sound files below a folder, by their extension, in a fixed order.

    Hidden files are passed over, and so is what an earlier run wrote: the folder ``leave_out``, and
    ``NAME.clean.EXT`` and ``NAME.residual.EXT`` beside a ``NAME``.

    Raises
    ------
    AudioFileError
        A folder that cannot be read, or no sound file.
    """
    paths = find_files(folder, SOUND_SUFFIXES, leave_out=leave_out)
    known = {path.with_suffix("") for path in paths}

    def is_ours(path: Path) -> bool:
        unmarked = path.with_suffix("")
        return unmarked.suffix in (CLEAN, RESIDUAL) and unmarked.with_suffix("") in known

    found = [path for path in paths if not is_ours(path)]
    if not found:
        raise AudioFileError(f"{folder}: there is no audio file in this folder.")
    return found


def pair(
    inputs: Sequence[Path], *, out_folder: Path | None = None, suffix: str | None = None
) -> list[Pair]:
    """Inputs and their outputs; folders are walked and their structure is kept.

    Parameters
    ----------
    inputs : sequence of Path
        Files and folders. A file that is missing is paired all the same: reading it will tell.
    out_folder : Path or None
        None to write ``NAME.clean.EXT`` beside every input.
    suffix : str or None
        Extension of the outputs; None for that of the input.

    Raises
    ------
    ConfigError
        Two inputs that would be written to the same place, or an output that is an input.
    AudioFileError
        A folder that cannot be read or holds no sound file.
    """
    pairs = []
    for item in inputs:
        folder = item if item.is_dir() else item.parent
        sources = find_sounds(item, leave_out=out_folder) if item.is_dir() else [item]
        for source in sources:
            if out_folder is None:
                target = beside(source, CLEAN, suffix)
            else:
                target = out_folder / source.relative_to(folder)
                target = target.with_suffix(suffix or target.suffix)
            pairs.append(Pair(source, target))
    check_pairs(pairs)
    return pairs


def is_done(item: Pair) -> bool:
    """Whether the output exists and is no older than its input."""
    try:
        return item.target.stat().st_mtime_ns >= item.source.stat().st_mtime_ns
    except OSError:
        return False


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
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_seconds: Callable[[float], None] = lambda seconds: None,
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
    on_outcome : callable
        Called with each `Outcome`, in the order of the inputs, from this thread.
    on_seconds : callable
        Called with the seconds of sound that were done since its last call, from any thread.

    Returns
    -------
    list of Outcome
        One for each input; what failed is among them.
    """
    stop = threading.Event()
    outcomes = []

    def on_block(seconds: float) -> None:
        if stop.is_set():
            raise _StoppedError
        on_seconds(seconds)

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
            on_outcome(outcomes[-1])
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
