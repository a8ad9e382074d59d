"""Batches that depend on nothing but the seed and their number, so a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

Array = NDArray[np.float32]


class BatchSource(Protocol):
    """Where training batches come from."""

    steps_per_epoch: int

    def batch(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets.

        Noisy and clean signals (batch, time) or magnitudes (batch, frames, freq); examples
        (batch, rows, columns) and labels (batch,).
        """
        ...


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """A source as a torch data set whose items are whole batches."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return self.source.steps_per_epoch

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.source.batch(number)
        return torch.from_numpy(inputs), torch.from_numpy(targets)


class EpochSampler(Sampler[int]):
    """Numbers of a process's batches in an epoch, counted on from epoch to epoch.

    Parameters
    ----------
    batches_per_epoch : int
        For all processes together; what cannot be shared evenly is left out.
    rank, processes : int
        Which process takes every how-many-th batch.
    """

    def __init__(self, batches_per_epoch: int, *, rank: int = 0, processes: int = 1) -> None:
        self._batches = batches_per_epoch
        self._rank = rank
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches // self._processes

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._batches + self._rank
        yield from range(first, first + len(self) * self._processes, self._processes)
