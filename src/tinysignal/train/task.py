"""What compression asks of a run, whatever its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tinysignal.spec import Spec
from tinysignal.train.config import RunOptions
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.distillation import TuneOptions
from tinysignal.train.module import Measure, Task


@dataclass(frozen=True, kw_only=True)
class TrainedRun(ABC):
    """A run that is to be compressed, with its data.

    Parameters
    ----------
    folder : Path
    net : nn.Module
        Without batch normalisation, in evaluation mode.
    spec : ClassifierSpec or DenoiserSpec
    config : RunOptions
        What it was trained with.
    batches : tuple
        Of its training data, as `tinysignal.compress.profile` takes them.
    side : {"valid", "train"}
        What it is scored on.
    summary : dict
        Said of the data in reports.
    seed : int
        Of what is chosen at random, the split of the data aside, which is the run's own.

    Attributes
    ----------
    measure : Measure
        The score that counts, a key of what `score` gives.
    tolerance : float
        How much less of it counts as equally good.
    counted : str
        What the network is timed on: ``examples`` or ``frames``.
    int8_ways : tuple of str
        Ways of 8-bit storage that it may take: "weights", "static", "dynamic".
    """

    folder: Path
    net: nn.Module = field(repr=False)
    spec: Spec
    config: RunOptions
    batches: tuple[Any, ...] = field(repr=False)
    side: str
    summary: dict[str, Any]
    seed: int = 0

    measure: ClassVar[Measure]
    tolerance: ClassVar[float]
    counted: ClassVar[str]
    int8_ways: ClassVar[tuple[str, ...]] = ("weights", "static", "dynamic")

    @abstractmethod
    def export(self, net: nn.Module, path: Path, *, name: str) -> Spec:
        """Write a network in this one's place as ONNX, and return the spec in it."""

    @abstractmethod
    def score(self, model: nn.Module | Path, *, side: str | None = None) -> dict[str, float]:
        """Scores of a network, or of a model file in the light runtime, on a side of the data."""

    @abstractmethod
    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        """What runs a network, or a model file in the light runtime, on so many at once."""

    @abstractmethod
    def parity(self, net: nn.Module, model: Path) -> float:
        """Largest difference of a network's answers from those of its file, relative to them."""

    @abstractmethod
    def examples(self) -> list[NDArray[np.float32]]:
        """The calibration data in batches, as a model file takes them."""

    @abstractmethod
    def tuned_config(self, options: TuneOptions) -> RunOptions:
        """What it was trained with, but for what further training decides."""

    @abstractmethod
    def task(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[Task, BatchSource]:
        """The further training of a network in this one's place."""
