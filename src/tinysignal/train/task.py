"""One kind of network: what training, compression and inspection need to know of it."""

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
    """Labelled examples that a training never saw.

    Parameters
    ----------
    data, split : str
        Names of the data set and of its split.
    classes : tuple of str
        In the order of the labels and of the network's outputs.
    batches : iterable of (Tensor, Tensor)
        Inputs and labels.
    """

    data: str
    split: str
    classes: tuple[str, ...]
    batches: Iterable[tuple[Tensor, Tensor]] = field(repr=False)


@dataclass(frozen=True)
class Task:
    """A kind of network, from its configuration to a run folder and back.

    Parameters
    ----------
    config : type of TrainConfig
    train : callable
        ``train(config, folder, *, data_dir, resume, quiet)`` writes a run folder and returns a
        `RunResult`.
    build : callable
        ``build(config, spec)`` is the network of a run with weights that are not set.
    open : callable
        ``open(run, net, spec, config, *, data, data_dir, seed)`` is a `TrainedRun`.
    held_out : callable or None
        ``held_out(spec, config, *, data, data_dir)`` is a `HeldOut`; None for a network that is no
        classifier, which `tinysignal.inspect` does not take.
    """

    config: type[TrainConfig]
    train: Callable[..., RunResult]
    build: Callable[[Any, Any], nn.Module]
    open: Callable[..., TrainedRun]
    held_out: Callable[..., HeldOut] | None = None


@dataclass(frozen=True, kw_only=True)
class TrainedRun(ABC):
    """A run that is to be compressed or looked into, with its data.

    Parameters
    ----------
    folder : Path
    net : nn.Module
        Without batch normalisation, in evaluation mode.
    spec : Spec
    config : TrainConfig
        What it was trained with.
    batches : tuple
        Of its training data, as `tinysignal.compress.profile` takes them.
    split : {"valid", "train"}
        What it is scored on.
    data_facts : dict
        Counts and durations of the data, for reports.
    seed : int
        Of every random choice but the split of the data, which is the run's own.

    Attributes
    ----------
    metric : ValidationMetric
        The score that counts, a key of what `score` gives.
    tolerance : float
        How much less of it counts as equally good.
    counted : str
        What the network is timed on: ``examples`` or ``frames``.
    macs_field : str
        The field of the spec that holds multiply-accumulates.
    default_budget : dict
        Budget of a compression for which none is given; empty for none.
    int8_ways : tuple of str
        Ways of 8-bit storage that it may take: ``weights``, ``static``, ``dynamic``.
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
    int8_ways: ClassVar[tuple[str, ...]] = ("weights", "static", "dynamic")

    @property
    def unit_ms(self) -> float | None:
        """Duration of what is counted, where that is a piece of a signal, in ms."""
        return None

    @abstractmethod
    def interface(self, net: nn.Module, spec: Spec) -> tuple[object, ...]:
        """What two networks must share for one to learn from the other."""

    @abstractmethod
    def export(self, net: nn.Module, path: Path, *, name: str) -> Spec:
        """Write a network in this one's place as ONNX, and return the spec in it."""

    @abstractmethod
    def score(self, model: nn.Module | Path, *, split: str | None = None) -> dict[str, float]:
        """Scores of a network, or of a model file in the light runtime, on a split of the data."""

    @abstractmethod
    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        """A call that runs a network, or a model file in the light runtime, on so many at once."""

    @abstractmethod
    def parity(self, net: nn.Module, model: Path) -> float:
        """Largest difference of a network's outputs from those of its file, relative to them."""

    @abstractmethod
    def examples(self) -> list[NDArray[np.float32]]:
        """The calibration data in batches, as a model file takes them."""

    @abstractmethod
    def tuned_config(self, options: TuneOptions) -> TrainConfig:
        """The configuration of a further training: the run's, changed by the options."""

    @abstractmethod
    def module(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[TrainingModule, BatchSource]:
        """The further training of a network in this one's place, and its batches."""
