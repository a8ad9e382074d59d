"""The progress bar of a training run, on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tinysignal.train.budget import Budget
from tinysignal.train.task import Measure


class TrainingProgress:
    """Loss, score and time left; silent where stderr is no terminal or when told to be."""

    def __init__(self, budget: Budget, measure: Measure, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._budget = budget
        self._measure = measure
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

    def __enter__(self) -> TrainingProgress:
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
        """Show an epoch's loss, the last score, and how long is left."""
        parts = [f"epoch {latest['epoch']:.0f}", f"loss {latest['loss']:.3g}"]
        for side in ("valid", "train"):
            if f"{side}_{self._measure.key}" in latest:
                value = self._measure.shown(latest[f"{side}_{self._measure.key}"])
                parts.append(f"{side} {self._measure.label} {value}")
        left_s = self._budget.remaining_s(step)
        self._bar.update(
            self._task,
            completed=self._budget.spent(step),
            description=", ".join(parts),
            left="" if left_s is None else f"{_duration(left_s)} left",
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
