"""Lightning callbacks: curve and best weights, length and learning rate, progress bar."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import lightning as pl
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from torch import Tensor

from tinysignal.files import atomic, write_csv
from tinysignal.train.checkpoint import save_tensors, save_weights
from tinysignal.train.config import TrainConfig
from tinysignal.train.folder import CHECKPOINT
from tinysignal.train.module import TrainingModule, ValidationMetric
from tinysignal.train.processes import process_rank

BEST = "best.safetensors"
CURVE = "curve.csv"
_COLUMNS = ["epoch", "step", "minutes", "learning_rate", "loss"]
_SAVE_EVERY_S = 20.0


class RunRecorder(pl.Callback):
    """Scores, curve and checkpoints at the end of epochs.

    Checkpoints are written at the end of an epoch only: a run that is resumed after a kill gives
    the result of an uninterrupted one.

    Parameters
    ----------
    folder : Path
        Run folder.
    split : {"valid", "train"}
        Split of the scores; the best weights are recorded on ``valid`` only.
    every_epochs : int
        Number of epochs between two scorings.
    schedule : Schedule
    on_start : callable
        Called after the first step, when all is read and nothing is written.
    report : callable
        ``report(step, latest)`` is called after each epoch with its loss and the last scores.
    """

    def __init__(
        self,
        *,
        folder: Path,
        split: str,
        every_epochs: int,
        schedule: Schedule,
        on_start: Callable[[], None],
        report: Callable[[int, dict[str, float]], None],
    ) -> None:
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, float] = {}
        self._best_weights: dict[str, Tensor] = {}
        self._folder = folder
        self._split = split
        self._every = every_epochs
        self._schedule = schedule
        self._on_start = on_start
        self._report = report
        self.started = False
        self._losses: list[Tensor] = []
        self._latest: dict[str, float] = {}
        self._saved_s = 0.0

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints."""
        return "recorder"

    def start(self) -> None:
        """Note that the training starts, or goes on with the best weights of its checkpoint.

        Those in the folder may be of an epoch after it.
        """
        self.started = True
        if self._best_weights and process_rank() == 0:
            save_tensors(self._folder / BEST, self._best_weights)
        self._on_start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Record the loss; the first step shows that a checkpoint is what it should be."""
        if not self.started:
            self.start()
        # Lightning has divided the loss by the number of batches of a step.
        self._losses.append(outputs["loss"].detach() * trainer.accumulate_grad_batches)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add a row to the curve; score and save every ``every_epochs`` epochs."""
        if not self._losses:
            return
        finished = self._schedule.share_done(trainer.global_step) >= 1
        row = {
            "epoch": trainer.current_epoch + 1,
            "step": trainer.global_step,
            "minutes": self._schedule.elapsed_s / 60,
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "loss": float(trainer.strategy.reduce(torch.stack(self._losses).mean())),
        }
        self._losses.clear()
        if self._schedule.interrupted and not finished:
            return  # no checkpoint of an incomplete epoch
        if trainer.is_global_zero:
            if finished or row["epoch"] % self._every == 0:
                row |= self._score(trainer, pl_module)
            self.rows.append(row)
            self._latest |= row
            self._report(trainer.global_step, self._latest)
            for logger in trainer.loggers:
                logger.log_metrics(row, step=trainer.global_step)
        if finished or self._schedule.elapsed_s - self._saved_s > _SAVE_EVERY_S:
            trainer.save_checkpoint(self._folder / CHECKPOINT)  # contains a barrier: all processes
            if trainer.is_global_zero:
                write_curve(self._folder / CURVE, self.rows)
            self._saved_s = self._schedule.elapsed_s

    def _score(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, float]:
        assert isinstance(pl_module, TrainingModule)
        scores = {f"{self._split}_{k}": v for k, v in pl_module.score().items()}
        key = f"valid_{pl_module.metric.key}"
        if key in scores and scores[key] > self.best.get(key, -float("inf")):
            self.best = {"epoch": trainer.current_epoch + 1, **scores}
            weights = pl_module.exported.state_dict()
            self._best_weights = {name: t.detach().cpu().clone() for name, t in weights.items()}
            save_weights(self._folder / BEST, pl_module.exported)
        return scores

    def state_dict(self) -> dict[str, Any]:
        """Curve, best scores and their weights for a checkpoint."""
        return {"rows": self.rows, "best": self.best, "weights": self._best_weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the curve, the best scores and their weights."""
        self.rows = list(state_dict["rows"])
        self.best = dict(state_dict["best"])
        self._best_weights = dict(state_dict.get("weights", {}))


def write_curve(path: Path, rows: list[dict[str, float]]) -> None:
    """Write the curve as CSV, one row for each epoch; scores are empty in epochs without one."""
    columns = _COLUMNS + sorted({name for row in rows for name in row} - set(_COLUMNS))
    write_csv(path, [{c: f"{row[c]:.7g}" if c in row else None for c in columns} for row in rows])


def plot_curve(path: Path, rows: list[dict[str, float]], metric: ValidationMetric) -> None:
    """Plot loss and score against epochs as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    losses = [r["loss"] for r in rows]
    axes.plot([r["epoch"] for r in rows], losses, color="tab:blue")
    axes.set(xlabel="epoch", yscale="log" if min(losses) > 0 else "linear")
    axes.set_ylabel("training loss", color="tab:blue")
    axes.grid(alpha=0.3)
    for split in ("valid", "train"):
        key = f"{split}_{metric.key}"
        scored = [(r["epoch"], r[key]) for r in rows if key in r]
        if scored:
            right = axes.twinx()
            right.plot(*zip(*scored, strict=True), color="tab:orange", marker=".")
            unit = ", dB" if metric.key.endswith("_db") else ""
            right.set_ylabel(f"{metric.label} ({split}){unit}", color="tab:orange")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


_RISE = {"cosine": 0.02, "onecycle": 0.1}  # warm-up as a fraction of the run
_END = {"cosine": 0.01, "onecycle": 0.0}  # final rate as a fraction of the peak


class Schedule(pl.Callback):
    """Learning rate of each step, and end of the run after its epochs, steps or minutes.

    Minutes are counted over all parts of a resumed run. After every step, several processes agree
    on the largest elapsed time and on requests to stop.

    Parameters
    ----------
    config : TrainConfig
    steps_per_epoch : int
        Steps of the optimiser.
    processes : int
        That take each step together.

    Attributes
    ----------
    interrupted : bool
        Whether the run stops by request.
    """

    def __init__(self, config: TrainConfig, steps_per_epoch: int, *, processes: int = 1) -> None:
        self._minutes, self._steps, self._epochs = config.minutes, config.steps, config.epochs
        self._steps_per_epoch = steps_per_epoch
        self._batches_per_step = config.accumulate
        self._processes = processes
        self._passed = 0  # steps, as if all epochs had had as many as those of this part of the run
        self._schedule = config.schedule
        self._learning_rate = config.learning_rate
        self.interrupted = False
        self._asked = False
        self.elapsed_s = 0.0  # training time up to the last step, over all parts of the run
        self._started_s = 0.0

    @property
    def state_key(self) -> str:
        """Key of the state in checkpoints."""
        return "schedule"

    def interrupt(self) -> None:
        """Request a stop after the current step."""
        self._asked = True

    def share_done(self, step: int) -> float:
        """Completed fraction of the run, 0 to 1, after so many steps."""
        if self._minutes:
            return min(1.0, self.elapsed_s / (60 * self._minutes))
        if self._steps:
            return min(1.0, step / self._steps)
        return min(1.0, self._passed / (self._epochs * self._steps_per_epoch))

    def remaining_s(self, step: int) -> float | None:
        """Estimated remaining time in seconds; None before the first step."""
        share = self.share_done(step)
        return self.elapsed_s * (1 - share) / share if share > 0 else None

    def rate(self, share: float) -> float:
        """Learning rate at a completed fraction of the run."""
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
        """Set the learning rate of the next step."""
        rate = self.rate(self.share_done(trainer.global_step))
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
        """Stop at the end of the run or on request, after a step."""
        if (batch_idx + 1) % self._batches_per_step:
            return
        steps = (batch_idx + 1) // self._batches_per_step
        self._passed = trainer.current_epoch * self._steps_per_epoch + steps
        now = torch.tensor([time.monotonic() - self._started_s, self._asked], dtype=torch.float64)
        if trainer.world_size > 1:
            now = trainer.strategy.reduce(now.to(pl_module.device), reduce_op="max")
        self.elapsed_s, asked = now.tolist()
        self.interrupted = bool(asked)
        trainer.should_stop = self.interrupted or self.share_done(trainer.global_step) >= 1

    def state_dict(self) -> dict[str, Any]:
        """Elapsed time, epochs and processes for a checkpoint."""
        epochs = self._passed // self._steps_per_epoch
        return {"elapsed_s": self.elapsed_s, "epochs": epochs, "processes": self._processes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the elapsed time and the epochs."""
        self.elapsed_s = state_dict["elapsed_s"]
        self._passed = state_dict.get("epochs", 0) * self._steps_per_epoch


class ProgressBar:
    """Progress bar on stderr with loss, score and remaining time.

    Parameters
    ----------
    schedule : Schedule
    metric : ValidationMetric
    quiet : bool
        Whether to show nothing, as if stderr were no terminal.
    """

    def __init__(self, schedule: Schedule, metric: ValidationMetric, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._schedule = schedule
        self._metric = metric
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:5.1f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=quiet or not console.is_terminal,
        )
        self._task = self._bar.add_task("training", total=1.0, left="")

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def report(self, step: int, latest: dict[str, float]) -> None:
        """Show the loss of an epoch, the last score and the remaining time."""
        parts = [f"epoch {latest['epoch']:.0f}", f"loss {latest['loss']:.3g}"]
        for split in ("valid", "train"):
            if f"{split}_{self._metric.key}" in latest:
                value = self._metric.shown(latest[f"{split}_{self._metric.key}"])
                parts.append(f"{split} {self._metric.label} {value}")
        left_s = self._schedule.remaining_s(step)
        self._bar.update(
            self._task,
            completed=self._schedule.share_done(step),
            description=", ".join(parts),
            left="" if left_s is None else f"{_duration(left_s)} left",
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
