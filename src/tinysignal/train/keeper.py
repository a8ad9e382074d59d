"""What a run keeps as it goes: curve, best weights, a checkpoint to resume from."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as pl
import torch
from torch import Tensor

from tinysignal.files import atomic
from tinysignal.train.budget import Budget
from tinysignal.train.checkpoint import save_weights
from tinysignal.train.task import Measure, Task

CHECKPOINT = "last.safetensors"
BEST = "best.safetensors"
CURVE = "curve.csv"
_COLUMNS = ["epoch", "step", "minutes", "learning_rate", "loss"]
_SAVE_EVERY_S = 20.0


class Keeper(pl.Callback):
    """Scores, curve and checkpoints at the end of epochs.

    A checkpoint always stands at the end of an epoch, so that a run resumed after a kill goes
    on exactly where an uninterrupted one would have been.

    Parameters
    ----------
    folder : Path
        The run folder.
    side : {"valid", "train"}
        What the task is scored on; ``best`` is chosen on ``valid`` only.
    every_epochs : int
        Epochs between two scorings.
    budget : Budget
    report : callable
        Told the latest loss and scores after each epoch.
    """

    def __init__(
        self,
        *,
        folder: Path,
        side: str,
        every_epochs: int,
        budget: Budget,
        report: Callable[[int, dict[str, float]], None],
    ) -> None:
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self._folder = folder
        self._side = side
        self._every = every_epochs
        self._budget = budget
        self._report = report
        self._losses: list[Tensor] = []
        self._latest: dict[str, float] = {}
        self._saved_s = 0.0

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Collect the loss."""
        self._losses.append(outputs["loss"].detach())

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row to the curve; score and save when it is time."""
        if not self._losses:
            return
        finished = self._budget.spent(trainer.global_step) >= 1
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "minutes": self._budget.elapsed_s / 60,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": float(trainer.strategy.reduce(torch.stack(self._losses).mean())),
        }
        self._losses.clear()
        if self._budget.interrupted and not finished:
            return  # an epoch cut short is no place to resume from
        if trainer.is_global_zero:
            if finished or row["epoch"] % self._every == 0:
                row |= self._score(trainer, pl_module)
            self.rows.append(row)
            self._latest |= row
            self._report(trainer.global_step, self._latest)
            for logger in trainer.loggers:
                logger.log_metrics(row, step=trainer.global_step)
        if finished or self._budget.elapsed_s - self._saved_s > _SAVE_EVERY_S:
            trainer.save_checkpoint(self._folder / CHECKPOINT)  # all processes: they wait in it
            if trainer.is_global_zero:
                write_curve(self._folder / CURVE, self.rows)
            self._saved_s = self._budget.elapsed_s

    def _score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        assert isinstance(pl_module, Task)
        scores = {f"{self._side}_{k}": v for k, v in pl_module.score().items()}
        key = f"valid_{pl_module.measure.key}"
        if key in scores and scores[key] > self.best.get(key, -float("inf")):
            self.best = {"epoch": trainer.current_epoch + 1, **scores}
            save_weights(self._folder / BEST, pl_module.result)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """Curve and best scores, for a resume."""
        return {"rows": self.rows, "best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the curve."""
        self.rows = list(state_dict["rows"])
        self.best = dict(state_dict["best"])


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """The curve as CSV, a row an epoch; scores are empty where none were taken."""
    columns = _COLUMNS + sorted({name for row in rows for name in row} - set(_COLUMNS))
    with atomic(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({name: f"{value:.7g}" for name, value in row.items()})


def plot_curve(path: Path, rows: list[dict[str, float]], measure: Measure) -> None:
    """Loss and score against epochs, as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    losses = [r["loss"] for r in rows]
    axes.plot([r["epoch"] for r in rows], losses, color="tab:blue")
    axes.set(xlabel="epoch", yscale="log" if min(losses) > 0 else "linear")
    axes.set_ylabel("training loss", color="tab:blue")
    axes.grid(alpha=0.3)
    for side in ("valid", "train"):
        key = f"{side}_{measure.key}"
        scored = [(r["epoch"], r[key]) for r in rows if key in r]
        if scored:
            right = axes.twinx()
            right.plot(*zip(*scored, strict=True), color="tab:orange", marker=".")
            unit = ", dB" if measure.key.endswith("_db") else ""
            right.set_ylabel(f"{measure.label} ({side}){unit}", color="tab:orange")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
