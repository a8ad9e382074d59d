"""Batches that depend on the seed and their number only, which makes runs resumable."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from tinysignal.datasets import Examples

Array = NDArray[np.float32]


class BatchSource(Protocol):
    """Source of training batches: batch ``n`` is the same in every call.

    Attributes
    ----------
    steps_per_epoch : int
        Number of batches in an epoch.
    """

    steps_per_epoch: int

    def batch(self, number: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Inputs and targets of a batch.

        For denoisers, noisy and clean signals (batch, time) or magnitudes (batch, frames, freq);
        for classifiers, examples (batch, rows, columns) and labels (batch,).
        """
        ...


class Batches(Dataset[tuple[Tensor, Tensor]]):
    """Batch source as a torch data set whose items are whole batches."""

    def __init__(self, source: BatchSource) -> None:
        self.source = source

    def __len__(self) -> int:
        return self.source.steps_per_epoch

    def __getitem__(self, number: int) -> tuple[Tensor, Tensor]:
        inputs, targets = self.source.batch(number)
        return torch.from_numpy(inputs), torch.from_numpy(targets)


class EpochSampler(Sampler[int]):
    """Batch numbers of one process in an epoch; the numbers continue over epochs.

    Parameters
    ----------
    batches_per_epoch : int
        Number of batches of all processes; a remainder after even division is left out.
    rank, processes : int
        Rank of this process and number of processes: it gets the batches ``rank + k * processes``.
    together : int
        Number of batches of a process that make a step.
    """

    def __init__(
        self, batches_per_epoch: int, *, rank: int = 0, processes: int = 1, together: int = 1
    ) -> None:
        self._batches = batches_per_epoch
        self._together = together
        self._rank = rank
        self._processes = processes
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the epoch; Lightning calls it before every epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches // (self._processes * self._together) * self._together

    def __iter__(self) -> Iterator[int]:
        first = self._epoch * self._batches + self._rank
        yield from range(first, first + len(self) * self._processes, self._processes)


class ExampleBatches:
    """Batches of all examples in a new random order in every epoch; the last may be smaller.

    Parameters
    ----------
    examples : Examples
    batch : int
        Number of examples in a batch.
    seed : int
        Random seed of the order.
    """

    def __init__(self, examples: Examples, *, batch: int, seed: int) -> None:
        self._examples = examples
        self._batch = batch
        self._seed = seed
        self.steps_per_epoch = -(-len(examples) // batch)
        self._order = lru_cache(maxsize=1)(self._shuffled)

    def batch(self, number: int) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
        """Values (batch, rows, columns) and labels (batch,)."""
        epoch, place = divmod(number, self.steps_per_epoch)
        index = self._order(epoch)[place * self._batch : (place + 1) * self._batch]
        return self._examples.values[index], self._examples.labels[index]

    def _shuffled(self, epoch: int) -> NDArray[np.int64]:
        return np.random.default_rng((self._seed, epoch)).permutation(len(self._examples))
