"""How long a run lasts, and the learning rate along the way."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as pl

from tinysignal.train.options import RunOptions

_RISE = {"cosine": 0.02, "onecycle": 0.1}  # share of the schedule in which the rate rises
_END = {"cosine": 0.01, "onecycle": 0.0}  # share of the rate at the end


class Budget(pl.Callback):
    """Ends a run after its epochs, steps or minutes, and sets the learning rate by the share spent.

    Minutes are counted over all parts of a resumed run.
    """

    def __init__(self, config: RunOptions, steps_per_epoch: int) -> None:
        self._minutes = config.minutes
        self._steps = config.steps or config.epochs * steps_per_epoch
        self._schedule = config.schedule
        self._learning_rate = config.learning_rate
        self._elapsed_before_s = 0.0
        self._started_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds of training, those before a resume included."""
        running = time.monotonic() - self._started_s if self._started_s else 0.0
        return self._elapsed_before_s + running

    def spent(self, step: int) -> float:
        """Share of the budget, 0 to 1, after that many steps."""
        if self._minutes:
            return min(1.0, self.elapsed_s / (60 * self._minutes))
        return min(1.0, step / self._steps)

    def remaining_s(self, step: int) -> float | None:
        """Seconds left, None before anything is known."""
        share = self.spent(step)
        return self.elapsed_s * (1 - share) / share if share > 0 else None

    def rate(self, share: float) -> float:
        """Learning rate at that share of the budget."""
        if self._schedule == "constant":
            return self._learning_rate
        rise, end = _RISE[self._schedule], _END[self._schedule]
        if share < rise:
            return self._learning_rate * max(share / rise, 0.01)
        along = (share - rise) / (1 - rise)
        return self._learning_rate * (end + (1 - end) * 0.5 * (1 + math.cos(math.pi * along)))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started_s = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Set the rate of the coming step."""
        rate = self.rate(self.spent(trainer.global_step))
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop when the budget is spent."""
        if self.spent(trainer.global_step) >= 1:
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """The clock, for a resume."""
        return {"elapsed_s": self.elapsed_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the clock."""
        self._elapsed_before_s = state_dict["elapsed_s"]
