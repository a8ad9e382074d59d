"""What `tinysignal denoise` says while it works: the time left, and a line for every file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinysignal import audio
from tinysignal.batch import Outcome, Work
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.errors import TinysignalError
from tinysignal.remote import Url, state_of


class Advance:
    """How much is done, in bytes of the inputs: their lengths are not known before they are read.

    Inside a file, bytes are estimated from its seconds, as the files before it had them.

    Parameters
    ----------
    show : callable
        Called with the bytes that are done and the seconds of sound.
    bytes_per_s : float
        Of the first file.
    """

    def __init__(self, show: Callable[[float, float], None], bytes_per_s: float) -> None:
        self._show = show
        self._bytes_per_s = bytes_per_s
        self._seconds = 0.0
        self._ended_bytes = self._done_bytes = self._done_s = 0.0

    def seconds(self, seconds: float) -> None:
        """More sound is done."""
        self._seconds += seconds
        self._tell()

    def outcome(self, outcome: Outcome) -> None:
        """A file is done, skipped or failed."""
        size = _bytes(outcome.work)
        self._ended_bytes += size
        if outcome.report is not None:
            self._done_bytes += size
            self._done_s += outcome.report.duration_s
            self._bytes_per_s = self._done_bytes / self._done_s
        self._tell()

    def _tell(self) -> None:
        open_s = max(0.0, self._seconds - self._done_s)
        self._show(self._ended_bytes + open_s * self._bytes_per_s, self._seconds)


@contextmanager
def progress(work: Sequence[Work], console: Console) -> Iterator[Advance]:
    """A bar with the time left and the speed as a multiple of real time."""
    if not console.is_terminal or console.quiet:
        yield Advance(lambda done, seconds: None, 0.0)
        return
    columns = (
        TextColumn("denoising"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(map(_bytes, work)) or None, speed="")

        def show(done: float, seconds: float) -> None:
            elapsed_s = bar.tasks[0].elapsed
            speed = f"{seconds / elapsed_s:.0f} x real time" if elapsed_s else ""
            bar.update(task, completed=done, speed=speed)

        yield Advance(show, _bytes_per_s(work[0]))


def report(outcome: Outcome, console: Console) -> None:
    """A line on what became of one file, and one for each note."""
    source, target = map(on_one_line, outcome.work.names)
    if outcome.error is not None:
        # On stderr even when the console is quiet.
        loud = Console(stderr=True, soft_wrap=True, highlight=False) if console.quiet else console
        loud.print(f"error: {on_one_line(outcome.error)}", markup=False)
    elif outcome.report is None:
        console.print(f"{source}: skipped, {target} is done (--overwrite redoes it)", markup=False)
    else:
        made = outcome.report
        console.print(
            f"{source} -> {target}: {made.duration_s:.1f} s, {made.speed:.0f} x real time",
            markup=False,
        )
        for note in made.notes:
            console.print(f"{target}: {on_one_line(note)}", markup=False)


def _bytes(item: Work) -> int:
    try:
        state = state_of(item.source)
    except TinysignalError:
        state = None  # the run itself reports it
    return 0 if state is None else state.size


def _bytes_per_s(item: Work) -> float:
    if isinstance(item.source, Url):
        return 0.0  # it is not fetched for this
    try:
        return _bytes(item) / audio.info(item.source).duration_s
    except (TinysignalError, ZeroDivisionError):
        return 0.0
