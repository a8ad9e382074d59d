"""Work done, several files at once; one that fails does not stop the others."""

from __future__ import annotations

import errno
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tinysignal.batch.plan import Work
from tinysignal.batch.record import Records
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, FileError, TinysignalError
from tinysignal.files import make_folder
from tinysignal.plots import save_before_after
from tinysignal.remote import Place, Url, fetched, stored

_PASSING = {
    getattr(errno, name)
    for name in (
        *("EIO", "ESTALE", "EAGAIN", "EBUSY", "EINTR", "ENOMEM", "EMFILE", "ENFILE", "ETIMEDOUT"),
        *("ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN"),
        *("ENETRESET", "ENETUNREACH", "ENOTCONN", "EPIPE", "EREMOTEIO"),
    )
    if hasattr(errno, name)
}
_AHEAD = 8  # files for each job that may wait for the report of an earlier one


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input."""

    work: Work
    status: str  # done, skipped, failed
    report: FileReport | None = None
    error: str | None = None
    passing: bool = False  # it failed, but by the system's fault: another try may do

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
        Whether to redo what is done.
    replace_read_only : bool
        Whether to replace outputs that are read-only.
    make_folders : bool
        Whether to make the folders of the outputs.
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

    Examples
    --------
    >>> from tinysignal import Denoiser
    >>> from tinysignal.batch import plan_work, run_batch
    >>> work = plan_work(["absent.wav"])
    >>> (outcome,) = run_batch(work, Denoiser.load(mix=0.8), on_outcome=lambda done: None)
    >>> outcome.status, outcome.error
    ('failed', 'absent.wav: cannot be read (No such file or directory).')
    """
    found = []
    made = outcomes_of(
        work,
        denoiser,
        options,
        jobs=jobs,
        overwrite=overwrite,
        replace_read_only=replace_read_only,
        make_folders=make_folders,
        on_seconds=on_seconds,
    )
    with closing(made):
        for outcome in made:
            found.append(outcome)
            on_outcome(outcome)
    return found


def outcomes_of(
    work: Iterable[Work],
    denoiser: Denoiser,
    options: FileOptions | None = None,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    replace_read_only: bool = False,
    make_folders: bool = False,
    on_seconds: Callable[[float], None] = lambda seconds: None,
    new_records: bool = True,
) -> Generator[Outcome, None, None]:
    """As `run_batch`, one outcome after the other: none is kept, however many there are.

    Parameters
    ----------
    work, denoiser, options, jobs, overwrite, replace_read_only, make_folders, on_seconds
        As in `run_batch`.
    new_records : bool
        Whether a folder of outputs without a record gets one, see `Records`.

    Yields
    ------
    Outcome

    Raises
    ------
    FileError
        As `run_batch`.

    Examples
    --------
    >>> from tinysignal import Denoiser
    >>> from tinysignal.batch import outcomes_of, plan_work
    >>> work = plan_work(["absent.wav", "lost.wav"])
    >>> [outcome.status for outcome in outcomes_of(work, Denoiser.load(), jobs=2)]
    ['failed', 'failed']
    """
    stop = threading.Event()
    records = Records(denoiser, options)
    made: set[Place] = set()

    def on_block(seconds: float) -> None:
        if stop.is_set():
            raise _StoppedError
        on_seconds(seconds)

    def one(item: Work) -> Outcome:
        if item.clash is not None:
            return Outcome(item, "failed", error=f"{item.names[0]}: {item.clash}")
        try:
            if not overwrite and records.is_done(item):
                return Outcome(item, "skipped")
        except FileError as error:
            return Outcome(item, "failed", error=str(error))
        outcome = denoise_one(item, denoiser, options, on_block, replace_read_only)
        if outcome.status == "done":
            records.add(item, new=new_records)
        return outcome

    def submitted(pool: ThreadPoolExecutor) -> Iterator[Future[Outcome]]:
        for item in work:
            folder = item.target.parent
            if make_folders and item.clash is None and folder not in made:
                make_folder(folder)
                made.add(folder)
            yield pool.submit(one, item)

    # Threads, not processes: the network, the FFT and the codecs work outside Python's lock (see
    # benchmarks/jobs.py), and only the main thread is ever interrupted, so a worker cleans up.
    pool = ThreadPoolExecutor(jobs)
    try:
        futures = submitted(pool)
        waiting = deque(islice(futures, _AHEAD * jobs))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(islice(futures, 1))
    except BaseException:
        stop.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        records.close()


class _StoppedError(BaseException):
    """The run is over; leave what is half done."""


def denoise_one(
    item: Work,
    denoiser: Denoiser,
    options: FileOptions | None,
    on_block: Callable[[float], None],
    replace_read_only: bool,
) -> Outcome:
    """What becomes of one input; what `on_block` raises beyond `Exception` ends the run."""

    def moving() -> None:
        on_block(0.0)

    try:
        _check_times(item, options)
        # What is left last is stored last: the target, when all that belongs to it is there.
        with ExitStack() as places:
            target, *extras = (
                places.enter_context(stored(path, on_block=moving)) for path in item.outputs
            )
            residual = None if item.residual is None else extras.pop(0)
            plot = None if item.plot is None else extras.pop(0)
            source = places.enter_context(fetched(item.source, on_block=moving))
            report = denoise_file(
                source,
                target,
                denoiser=denoiser,
                options=options,
                residual=residual,
                overwrite=replace_read_only,
                on_block=on_block,
            )
            if plot is not None:
                save_before_after(source, target, plot)
    except TinysignalError as error:
        message = str(error)
        for path, name in zip((item.source, item.target), item.names, strict=True):
            message = message.replace(str(path), name)
        return Outcome(item, "failed", error=message, passing=_is_passing(error))
    except Exception as error:  # noqa: BLE001 - a fault of ours in one file must not end the others
        message = f"{item.names[0]}: {_unforeseen(error)}"
        return Outcome(item, "failed", error=message, passing=_is_passing(error))
    return Outcome(item, "done", report)


def _is_passing(error: BaseException | None) -> bool:
    """Whether a disk, a network or a full table of the system is behind an error."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) in _PASSING:
            return True
        error = error.__cause__ or error.__context__
    return False


def _check_times(item: Work, options: FileOptions | None) -> None:
    if options is not None and options.keep_times:
        for path in item.outputs:
            if isinstance(path, Url):
                raise ConfigError(
                    f"{path}: its store sets the times of files itself. Leave out --keep-times."
                )


def _unforeseen(error: Exception) -> str:
    """What and where, on one line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return (
        f"unexpected error ({what:.300}; {Path(place.filename).name}, line {place.lineno}). "
        "Please report this line as a fault of tinysignal."
    )
