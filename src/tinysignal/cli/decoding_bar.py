"""Bar on stderr while recordings are decoded into a cache."""

from __future__ import annotations

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tinysignal.cli.terminal import Console


class DecodingBar:
    """Bar that appears with the first recording and goes with the last.

    Parameters
    ----------
    quiet : bool
        Whether to show nothing, as if stderr were no terminal.
    """

    def __init__(self, *, quiet: bool) -> None:
        console = Console(stderr=True)
        columns = TextColumn("decoding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, transient=True, disable=hidden)
        self._task = self._bar.add_task("")

    def show(self, done: int, total: int) -> None:
        """See `tinysignal.train.data.corpus.OnDecoded`."""
        self._bar.start()
        self._bar.update(self._task, completed=done, total=total)
        if done == total:
            self._bar.stop()
