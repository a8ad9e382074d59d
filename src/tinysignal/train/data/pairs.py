"""Pairs of a noisy and a clean recording."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinysignal.errors import DataError
from tinysignal.stft import StftSize, stft
from tinysignal.train.data.batches import Array
from tinysignal.train.data.sound import Mono, Sound


@dataclass(frozen=True)
class SignalPair:
    """Noisy signal and its clean signal, aligned to the sample, float32 (time,) or a `Sound`."""

    noisy: Mono | Sound
    clean: Mono | Sound
    name: str

    def __post_init__(self) -> None:
        if self.noisy.shape != self.clean.shape:
            raise DataError(
                f"{self.name}: {self.noisy.size} noisy and {self.clean.size} clean samples, "
                "expected equal numbers."
            )

    def arrays(self) -> tuple[Mono, Mono]:
        """Noisy and clean signal, float32 (time,)."""
        return np.asarray(self.noisy), np.asarray(self.clean)


def hold_out_end(pair: SignalPair, share: float) -> tuple[SignalPair, SignalPair]:
    """Pair without its last part, and that part, a fraction ``share`` of its length."""
    first = round(pair.noisy.size * (1 - share))
    return (
        SignalPair(pair.noisy[:first], pair.clean[:first], pair.name),
        SignalPair(pair.noisy[first:], pair.clean[first:], f"{pair.name} (end)"),
    )


class WholePair:
    """Batch source whose only batch is the magnitudes of one whole recording."""

    steps_per_epoch = 1

    def __init__(self, pair: SignalPair, size: StftSize) -> None:
        noisy, clean = (np.abs(stft(s[np.newaxis], size)) for s in pair.arrays())
        self._batch = (noisy, clean)

    def batch(self, number: int) -> tuple[Array, Array]:
        """Noisy and clean magnitudes, float32 (1, frames, freq)."""
        return self._batch


class PairClips:
    """Batches of clips from random places of random pairs.

    Parameters
    ----------
    pairs : list of SignalPair
    clip_samples : int
        Length of a clip in samples.
    batch, steps_per_epoch : int
        Number of clips in a batch, and of batches in an epoch.
    seed : int
        Random seed.
    """

    def __init__(
        self,
        pairs: list[SignalPair],
        *,
        clip_samples: int,
        batch: int,
        steps_per_epoch: int,
        seed: int,
    ) -> None:
        self._pairs = pairs
        self._share = np.array([p.noisy.size for p in pairs]) / sum(p.noisy.size for p in pairs)
        self._clip_samples = clip_samples
        self._batch = batch
        self._seed = seed
        self.steps_per_epoch = steps_per_epoch

    def batch(self, number: int) -> tuple[Array, Array]:
        """Noisy and clean clips, float32 (batch, clip_samples)."""
        rng = np.random.default_rng([self._seed, number])
        signals = np.zeros((2, self._batch, self._clip_samples), np.float32)
        for row, index in enumerate(rng.choice(len(self._pairs), self._batch, p=self._share)):
            pair = self._pairs[index]
            start = rng.integers(0, max(1, pair.noisy.size - self._clip_samples + 1))
            end = min(start + self._clip_samples, pair.noisy.size)
            signals[0, row, : end - start] = pair.noisy[start:end]
            signals[1, row, : end - start] = pair.clean[start:end]
        return signals[0], signals[1]
