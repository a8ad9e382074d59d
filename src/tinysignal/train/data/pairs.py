"""Pairs of a noisy and a clean recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.datasets.splits import hold_out
from tinysignal.errors import DataError
from tinysignal.stft import StftSize, stft
from tinysignal.train.data.batches import Array
from tinysignal.train.data.recordings import folder_group, load_mono

Mono = NDArray[np.float32]  # (time,)
_MAX_DIFFERENCE = 0.01  # largest relative difference of the lengths of a pair


@dataclass(frozen=True)
class Pair:
    """Noisy signal and its clean signal, aligned to the sample, float32 (time,)."""

    noisy: Mono
    clean: Mono
    name: str

    def __post_init__(self) -> None:
        if self.noisy.shape != self.clean.shape:
            raise DataError(
                f"{self.name}: {self.noisy.size} noisy and {self.clean.size} clean samples, "
                "expected equal numbers."
            )


def load_pair(noisy: Path, clean: Path, *, sample_rate_hz: int) -> Pair:
    """Read a pair of files; up to 1 % of excess length is cut from the end of the longer.

    Raises
    ------
    AudioFileError
        A file is not readable as audio.
    DataError
        The lengths differ by more than 1 %.
    """
    signals = [load_mono(path, sample_rate_hz=sample_rate_hz) for path in (noisy, clean)]
    lengths = [signal.size for signal in signals]
    shorter = min(lengths)
    if max(lengths) - shorter > _MAX_DIFFERENCE * shorter:
        raise DataError(
            f"{noisy} has {lengths[0]} samples at {sample_rate_hz} Hz and {clean} has "
            f"{lengths[1]}, expected equal lengths. Both must be the same recording, aligned to "
            "the sample."
        )
    return Pair(signals[0][:shorter], signals[1][:shorter], noisy.name)


def load_pair_folders(
    noisy: Path, clean: Path, *, sample_rate_hz: int, valid_fraction: float, seed: int
) -> tuple[list[Pair], list[Pair]]:
    """Pairs of files with the same relative name in two folders, for training and validation.

    Files of one subfolder stay in one split; without subfolders, each file is its own group.

    Raises
    ------
    DataError
        A folder is missing or empty, or a file has no partner.
    """
    folders = [_by_name(folder) for folder in (noisy, clean)]
    lonely = sorted(set(folders[0]) ^ set(folders[1]))
    if lonely:
        raise DataError(
            f"{noisy} and {clean}: {len(lonely)} files without a partner, such as {lonely[0]}. "
            "Give both files of a pair the same name."
        )
    groups = {name: folder_group(Path(name)) for name in folders[0]}
    held_out = hold_out(set(groups.values()), valid_fraction, seed)
    split: tuple[list[Pair], list[Pair]] = ([], [])
    for name in sorted(groups):
        pair = load_pair(folders[0][name], folders[1][name], sample_rate_hz=sample_rate_hz)
        split[groups[name] in held_out].append(pair)
    return split


def hold_out_end(pair: Pair, share: float) -> tuple[Pair, Pair]:
    """Pair without its last part, and that part, a fraction ``share`` of its length."""
    first = round(pair.noisy.size * (1 - share))
    return (
        Pair(pair.noisy[:first], pair.clean[:first], pair.name),
        Pair(pair.noisy[first:], pair.clean[first:], f"{pair.name} (end)"),
    )


class WholePair:
    """Batch source whose only batch is the magnitudes of one whole recording."""

    steps_per_epoch = 1

    def __init__(self, pair: Pair, size: StftSize) -> None:
        noisy, clean = (np.abs(stft(s[np.newaxis], size)) for s in (pair.noisy, pair.clean))
        self._batch = (noisy, clean)

    def batch(self, number: int) -> tuple[Array, Array]:
        """Noisy and clean magnitudes, float32 (1, frames, freq)."""
        return self._batch


class PairClips:
    """Batches of clips from random places of random pairs.

    Parameters
    ----------
    pairs : list of Pair
    clip_samples : int
        Length of a clip in samples.
    batch, steps_per_epoch : int
        Number of clips in a batch, and of batches in an epoch.
    seed : int
        Random seed.
    """

    def __init__(
        self, pairs: list[Pair], *, clip_samples: int, batch: int, steps_per_epoch: int, seed: int
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


def _by_name(folder: Path) -> dict[str, Path]:
    """Audio files in a folder by their relative name without suffix."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder.")
    found = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()
    }
    if not found:
        raise DataError(f"{folder}: 0 audio files, expected 1 or more.")
    return found
