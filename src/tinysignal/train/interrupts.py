"""Signals that end a training run early."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

import lightning as pl
import torch.distributed

from tinysignal.train.callbacks import Schedule

_ENDS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class StopOnSignals(pl.Callback):
    """Stop after the current step on SIGINT, SIGTERM or SIGHUP, and still write the model.

    The second signal of a kind ends the run at once. Not under ``torchrun``, which sends each of
    its own to processes that have it already.

    Parameters
    ----------
    schedule : Schedule
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # required for signal handlers
            held = {number: signal.getsignal(number) for number in _ENDS}
            # nohup has SIGHUP ignored.
            self._before = {
                number: handler
                for number, handler in held.items()
                if number == signal.SIGINT or handler is not signal.SIG_IGN
            }
        self._listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take SIGTERM back, for which Lightning has just set a handler of its own.

        At its end Lightning gives back what it found, which is this.
        """
        self._listen()

    def _listen(self) -> None:
        for number in self._before:
            signal.signal(number, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._schedule.interrupt()
        if not torch.distributed.is_torchelastic_launched():
            signal.signal(number, self._before[number])
