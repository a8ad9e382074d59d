"""Interface of a task: its training, and its trained runs for compression and inspection."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal.spec import Spec
from tinysignal.train.config import TrainConfig
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.fit import RunResult
from tinysignal.train.module import TrainingModule, ValidationMetric
from tinysignal.train.tuning import TuneOptions


@dataclass(frozen=True)
class HeldOut:
    """Labelled examples that were not used in training.

    Parameters
    ----------
    data, split : str
        Names of the data set and of the split.
    classes : tuple of str
        Class names in the order of the labels and of the network's outputs.
    batches : iterable of (Tensor, Tensor)
        Inputs and labels of each batch.
    notes : tuple of str
        What differs from a test split of all files, a sentence each.
    """

    data: str
    split: str
    classes: tuple[str, ...]
    batches: Iterable[tuple[Tensor, Tensor]] = field(repr=False)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """Functions of a task, from a configuration to a run folder and back.

    Parameters
    ----------
    config : type of TrainConfig
        Configuration of its training.
    train : callable
        ``train(config, folder, *, data_dir, resume, quiet)`` writes a run folder and returns a
        `RunResult`.
    build : callable
        ``build(config, spec)`` returns the network of a run with random weights.
    open : callable
        ``open(run, net, spec, config, *, data, data_dir, seed, calibration)`` returns a
        `TrainedRun`; ``calibration`` is the size of its calibration data, None for the usual one.
    held_out : callable or None
        ``held_out(spec, config, *, data, data_dir, fewest)`` returns a `HeldOut`; None for tasks
        other than classification, which `tinysignal.inspect` does not support.
    """

    config: type[TrainConfig]
    train: Callable[..., RunResult]
    build: Callable[[Any, Any], nn.Module]
    open: Callable[..., TrainedRun]
    held_out: Callable[..., HeldOut] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedRun(ABC):
    """Trained network with its data, for compression.

    Parameters
    ----------
    folder : Path
        Run folder.
    net : nn.Module
        Network in evaluation mode, with batch normalisation folded into other layers.
    spec : Spec
    config : TrainConfig
        Configuration of its training.
    batches : tuple
        Calibration batches from the training data, see `tinysignal.compress.profile`.
    split : {"valid", "train"}
        Split of the scores.
    data_facts : dict
        Counts and durations of the data, for reports.
    seed : int
        Random seed of all choices except the split of the data, which the run's config defines.

    Attributes
    ----------
    metric : ValidationMetric
        Main score; its key is one of those of `score`.
    tolerance : float
        Loss of the main score that counts as equal.
    counted : str
        Unit of the timed batches: ``examples`` or ``frames``.
    macs_field : str
        Field of the spec with the multiply-accumulates.
    default_budget : dict
        Budget of a compression without a given one; empty for no default.
    """

    folder: Path
    net: nn.Module = field(repr=False)
    spec: Spec
    config: TrainConfig
    batches: tuple[Any, ...] = field(repr=False)
    split: str
    data_facts: dict[str, Any]
    seed: int = 0

    metric: ClassVar[ValidationMetric]
    tolerance: ClassVar[float]
    counted: ClassVar[str] = "examples"
    macs_field: ClassVar[str] = "macs"
    default_budget: ClassVar[dict[str, float]] = {}

    @property
    def int8_ways(self) -> tuple[str, ...]:
        """Kinds of 8-bit numbers to choose from, see `tinysignal.compress.quantize`."""
        return ("weights", "static", "dynamic")

    @property
    def unit_ms(self) -> float | None:
        """Duration of one counted unit in ms; None if it has none."""
        return None

    @abstractmethod
    def interface(self, net: nn.Module, spec: Spec) -> tuple[object, ...]:
        """Task, inputs and outputs, which a network and its teacher must share."""

    @abstractmethod
    def export(self, net: nn.Module, path: Path, *, name: str) -> Spec:
        """Write a network of the same inputs and outputs as ONNX, and return its spec."""

    @abstractmethod
    def score(self, model: nn.Module | Path, *, split: str | None = None) -> dict[str, float]:
        """Scores of a network, or of a model file in the light runtime, on a split of the data."""

    @abstractmethod
    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        """Call that runs a network, or a model file in the light runtime, on ``count`` units."""

    @abstractmethod
    def parity(self, net: nn.Module, model: Path) -> float:
        """Largest relative difference between the outputs of a network and of its file."""

    @abstractmethod
    def examples(self) -> list[NDArray[np.float32]]:
        """Calibration batches as inputs of a model file, float32 (channels or examples, ...)."""

    @abstractmethod
    def tuned_config(self, options: TuneOptions) -> TrainConfig:
        """Configuration of fine-tuning: that of the run, changed by the options."""

    @abstractmethod
    def module(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[TrainingModule, BatchSource]:
        """Lightning module of fine-tuning a network, and its batches."""
