"""Labelled examples in memory; a batch is a slice of the epoch's order."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets import Examples


class ExampleBatches:
    """Batches of all examples, shuffled anew in every epoch; the last one may be smaller.

    Parameters
    ----------
    examples : Examples
    batch : int
        Examples in a batch.
    seed : int
        Of the order.
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
