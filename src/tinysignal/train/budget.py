"""How long a run lasts, and the learning rate along the way."""

from __future__ import annotations

import math
import time
from typing import Any

import lightning as pl
import torch

from tinysignal.train.options import RunOptions

_RISE = {"cosine": 0.02, "onecycle": 0.1}  # share of the schedule in which the rate rises
_END = {"cosine": 0.01, "onecycle": 0.0}  # share of the rate at the end


class Budget(pl.Callback):
    """Ends a run after its epochs, steps or minutes, and sets the learning rate by the share spent.

    Minutes are counted over all parts of a resumed run. Several processes agree after every step on
    the time, that of the slowest clock, and on whether somebody asked them to stop.

    Attributes
    ----------
    interrupted : bool
        Whether the run was asked to stop and does.
    """

    def __init__(self, config: RunOptions, steps_per_epoch: int) -> None:
        self._minutes = config.minutes
        self._steps = config.steps or config.epochs * steps_per_epoch
        self._schedule = config.schedule
        self._learning_rate = config.learning_rate
        self.interrupted = False
        self._asked = False
        self.elapsed_s = 0.0  # of training until the last step, before a resume included
        self._started_s = 0.0

    def interrupt(self) -> None:
        """Ask for an end after the current step."""
        self._asked = True

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
        self._started_s = time.monotonic() - self.elapsed_s

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
        """Stop when the budget is spent, or when asked to."""
        now = torch.tensor([time.monotonic() - self._started_s, self._asked], dtype=torch.float64)
        if trainer.world_size > 1:
            now = trainer.strategy.reduce(now.to(pl_module.device), reduce_op="max")
        self.elapsed_s, asked = now.tolist()
        self.interrupted = bool(asked)
        trainer.should_stop = self.interrupted or self.spent(trainer.global_step) >= 1

    def state_dict(self) -> dict[str, Any]:
        """The clock, for a resume."""
        return {"elapsed_s": self.elapsed_s}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the clock."""
        self.elapsed_s = state_dict["elapsed_s"]
