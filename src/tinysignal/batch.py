"""Many files denoised: where their outputs go, several at once, and what became of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tinysignal.audio import SOUND_SUFFIXES
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file, residual_suffix
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, TinysignalError
from tinysignal.files import check_outputs, find_files, make_folder
from tinysignal.plots import save_before_after

__all__ = [
    "FileOptions",
    "FileReport",
    "Outcome",
    "Work",
    "denoise_file",
    "denoise_folder",
    "plan_work",
    "run_batch",
]

CLEAN, RESIDUAL = ".clean", ".residual"  # before the extension of what is written beside its input


def beside(path: Path, mark: str, suffix: str | None = None) -> Path:
    """``talk.wav`` with a mark before its extension: ``talk.clean.wav``."""
    return path.with_name(f"{path.stem}{mark}{suffix or path.suffix}")


def find_sounds(folder: Path, *, leave_out: Path | None = None) -> list[Path]:
    """Sound files in a folder and its subfolders, as `tinysignal.files.find_files` finds them.

    What an earlier run wrote is left out: the folder ``leave_out``, and ``NAME.clean.EXT`` and
    ``NAME.residual.EXT`` beside a ``NAME``.

    Raises
    ------
    FileError
        A folder that cannot be read.
    AudioFileError
        There is no sound file in it.
    """
    paths = find_files(folder, SOUND_SUFFIXES, leave_out=leave_out)
    known = {path.with_suffix("") for path in paths}

    def is_ours(path: Path) -> bool:
        unmarked = path.with_suffix("")
        return unmarked.suffix in (CLEAN, RESIDUAL) and unmarked.with_suffix("") in known

    found = [path for path in paths if not is_ours(path)]
    if not found:
        raise AudioFileError(f"{folder}: no audio file in this folder.")
    return found


@dataclass(frozen=True)
class Work:
    """One input and what is written for it.

    Parameters
    ----------
    source, target : Path
    residual, plot : Path or None
        Where what was removed, and the spectrograms before and after, are written.
    shown : (str, str) or None
        What messages call the source and the target; None for their paths.
    """

    source: Path
    target: Path
    residual: Path | None = None
    plot: Path | None = None
    shown: tuple[str, str] | None = None

    @property
    def names(self) -> tuple[str, str]:
        """What messages call the source and the target."""
        return self.shown or (str(self.source), str(self.target))

    @property
    def outputs(self) -> list[Path]:
        """Everything that is written."""
        return [p for p in (self.target, self.residual, self.plot) if p is not None]

    def is_done(self) -> bool:
        """Whether all outputs exist and are no older than the source."""
        try:
            made_ns = self.source.stat().st_mtime_ns
            return all(path.stat().st_mtime_ns >= made_ns for path in self.outputs)
        except OSError:
            return False


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    work: Work
    status: str  # done, skipped, failed
    report: FileReport | None = None
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The entry of a JSON report; what is unknown is None."""
        work = self.work
        return {
            "input": work.names[0],
            "output": work.names[1],
            "status": self.status,
            "error": self.error,
            "residual": None if work.residual is None else str(work.residual),
            "plot": None if work.plot is None else str(work.plot),
            **(FileReport.nothing() if self.report is None else self.report.to_dict()),
        }


def plan_work(
    inputs: Iterable[str | Path],
    *,
    out_folder: str | Path | None = None,
    suffix: str | None = None,
    residual: bool = False,
    plot: bool = False,
) -> list[Work]:
    """Inputs and where their outputs go; folders are searched, and their structure is kept.

    Parameters
    ----------
    inputs : iterable of str or Path
        Files and folders. A file that is missing is listed all the same: reading it will tell.
    out_folder : str, Path or None
        None to write ``NAME.clean.EXT`` beside every input.
    suffix : str or None
        Extension of the outputs, such as ``.flac``; None for that of the input.
    residual, plot : bool
        Whether to write ``NAME.residual.EXT`` and ``NAME.png`` beside the output too.

    Returns
    -------
    list of Work

    Raises
    ------
    ConfigError
        Two inputs that would be written to the same place, or an output that is an input.
    FileError
        A folder that cannot be read.
    AudioFileError
        A folder without sound files.

    Example
    -------
    >>> from tinysignal.batch import plan_work
    >>> work = plan_work(["a.wav", "deep/b.mp3"], out_folder="cleaned", suffix=".flac")
    >>> [item.target.as_posix() for item in work]
    ['cleaned/a.flac', 'cleaned/b.flac']
    """
    place = None if out_folder is None else Path(out_folder)
    work = []
    for item in map(Path, inputs):
        folder = item if item.is_dir() else item.parent
        sources = find_sounds(item, leave_out=place) if item.is_dir() else [item]
        for source in sources:
            if place is None:
                target = beside(source, CLEAN, suffix)
            else:
                target = place / source.relative_to(folder)
                target = target.with_suffix(suffix or target.suffix)
            work.append(with_extras(Work(source, target), residual=residual, plot=plot))
    check_work(work)
    return work


def with_extras(item: Work, *, residual: bool, plot: bool) -> Work:
    """The same work, with ``NAME.residual.EXT`` and ``NAME.png`` written beside its target."""
    target = item.target
    return replace(
        item,
        residual=beside(target, RESIDUAL, residual_suffix(target)) if residual else item.residual,
        plot=target.with_suffix(".png") if plot else item.plot,
    )


def check_work(work: Iterable[Work]) -> None:
    """Refuse outputs that are an input, or that two inputs share.

    Raises
    ------
    ConfigError
    """
    check_outputs([(item.source, path) for item in work for path in item.outputs])


def denoise_folder(
    folder: str | Path,
    out_folder: str | Path,
    *,
    denoiser: Denoiser | None = None,
    options: FileOptions | None = None,
    suffix: str | None = None,
    jobs: int = 1,
    overwrite: bool = False,
) -> list[Outcome]:
    """Denoise every sound file in a folder and its subfolders into another folder.

    An output that is newer than its input is skipped. A file that fails does not stop the others.

    Parameters
    ----------
    folder, out_folder : str or Path
        ``out_folder`` and its subfolders are made if they are missing.
    denoiser : Denoiser or None
        None for the bundled default.
    options : FileOptions or None
        How the outputs are stored; None for as their inputs are.
    suffix : str or None
        Extension of the outputs, such as ``.flac``; None for that of the input.
    jobs : int
        Files at once.
    overwrite : bool
        Whether to redo outputs that are newer than their input or read-only.

    Returns
    -------
    list of Outcome
        One for each file, sorted by path; look at its ``status`` and ``error``.

    Raises
    ------
    FileError, AudioFileError
        The folder cannot be read or holds no sound file, or the output folder cannot be made.
    ConfigError
        Two files would be written to the same place.

    Example
    -------
    >>> import numpy as np
    >>> from pathlib import Path
    >>> from tinysignal import audio
    >>> from tinysignal.batch import denoise_folder
    >>> Path("talks").mkdir()
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 16000)
    >>> audio.write("talks/first.wav", noise, sample_rate_hz=16000)
    >>> for outcome in denoise_folder("talks", "cleaned"):
    ...     print(outcome.status, outcome.work.target.as_posix())
    done cleaned/first.wav
    """
    work = plan_work([folder], out_folder=out_folder, suffix=suffix)
    return run_batch(
        work,
        denoiser or Denoiser.load(),
        options,
        jobs=jobs,
        overwrite=overwrite,
        replace_read_only=overwrite,
        make_folders=True,
    )


def run_batch(
    work: list[Work],
    denoiser: Denoiser,
    options: FileOptions | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    replace_read_only: bool = False,
    make_folders: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_seconds: Callable[[float], None] = lambda seconds: None,
) -> list[Outcome]:
    """Denoise all inputs; they are reported in their order, whichever ends first.

    Parameters
    ----------
    work : list of Work
        See `plan_work`.
    denoiser : Denoiser
    options : FileOptions or None
    jobs : int
        Files at once.
    overwrite : bool
        Whether to redo outputs that are newer than their input.
    replace_read_only : bool
        Whether to replace outputs that are read-only.
    make_folders : bool
        Whether to make the folders of the outputs first.
    on_outcome : callable
        Called with each `Outcome`, in the order of the inputs, from this thread.
    on_seconds : callable
        Called with the seconds of sound that were done since its last call, from any thread.

    Returns
    -------
    list of Outcome
        One for each input; what failed is among them.

    Raises
    ------
    FileError
        A folder cannot be made.

    Example
    -------
    >>> from tinysignal import Denoiser
    >>> from tinysignal.batch import plan_work, run_batch
    >>> work = plan_work(["absent.wav"])
    >>> (outcome,) = run_batch(work, Denoiser.load(mix=0.8), on_outcome=lambda done: None)
    >>> outcome.status, outcome.error
    ('failed', 'absent.wav: cannot be read (No such file or directory).')
    """
    if make_folders:
        for folder in dict.fromkeys(item.target.parent for item in work):
            make_folder(folder)
    stop = threading.Event()
    outcomes = []

    def on_block(seconds: float) -> None:
        if stop.is_set():
            raise _StoppedError
        on_seconds(seconds)

    def one(item: Work) -> Outcome:
        if not overwrite and item.is_done():
            return Outcome(item, "skipped")
        return _one(item, denoiser, options, on_block, overwrite=replace_read_only)

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
    item: Work,
    denoiser: Denoiser,
    options: FileOptions | None,
    on_block: Callable[[float], None],
    *,
    overwrite: bool,
) -> Outcome:
    source, target = item.source, item.target
    try:
        report = denoise_file(
            source,
            target,
            denoiser=denoiser,
            options=options,
            residual=item.residual,
            overwrite=overwrite,
            on_block=on_block,
        )
        if item.plot is not None:
            save_before_after(source, target, item.plot)
    except TinysignalError as error:
        message = str(error).replace(str(source), item.names[0]).replace(str(target), item.names[1])
        return Outcome(item, "failed", error=message)
    return Outcome(item, "done", report)
