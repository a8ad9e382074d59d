"""Folders and lists of recordings, split so that no group is on two splits."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysignal import audio
from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.datasets.manifest import read_manifest
from tinysignal.datasets.splits import hold_out
from tinysignal.errors import DataError
from tinysignal.files import find_files


@dataclass(frozen=True)
class Recording:
    """One file, whose group (a speaker, an original recording) never crosses a split."""

    path: Path
    group: str
    split: str  # "train", "valid", or another word, which training never reads
    kind: str = ""  # of noise: rain, keyboard, ...


@dataclass(frozen=True)
class Clip:
    """A recording in memory: int16 (time,), its group, and its kind where it is known."""

    samples: NDArray[np.int16]
    group: str
    kind: str = ""


def list_recordings(
    source: Path, *, valid_fraction: float, seed: int, test_fraction: float = 0.0
) -> list[Recording]:
    """Recordings below a folder, or in a manifest, each with its group and split.

    A manifest is a CSV file, ``manifest.csv`` in the folder or given itself, with a column
    ``path`` (relative to the manifest's folder or to the one above it) and, if it has them,
    ``speaker`` / ``recording`` / ``group``, ``split`` and ``noise_class``. Without it the group is
    the first folder below ``source``, or the file's own name.

    Parameters
    ----------
    source : Path
    valid_fraction : float
        Share of the groups that goes to validation where no split is given.
    seed : int
        Which groups these are.
    test_fraction : float
        Share of the validation groups that is marked ``test`` instead, the same ones for every
        seed, so that a test set made of them later was never read in training.

    Raises
    ------
    DataError
        Nothing there, or a manifest that names missing files or has no ``path`` column.
    """
    manifest = source if source.suffix == ".csv" else source / "manifest.csv"
    if manifest.is_file():
        found = [Recording(e.path, e.group, e.split, e.label) for e in read_manifest(manifest)]
    elif source.is_dir():
        found = [
            Recording(path, folder_group(path.relative_to(source)), "")
            for path in find_files(source, SOUND_SUFFIXES)
        ]
    else:
        raise DataError(f"{source}: no such folder of recordings, nor a manifest (.csv).")
    if not found:
        raise DataError(f"{source}: no audio files in it.")
    valid = {r.group for r in found if r.split == "valid"}
    if not any(recording.split for recording in found):
        valid = hold_out({r.group for r in found}, valid_fraction, seed)
        found = [replace(r, split="valid" if r.group in valid else "train") for r in found]
    test = hold_out(valid, test_fraction, seed=0)
    return [replace(r, split="test") if r.group in test else r for r in found]


def load_clips(recordings: Iterable[Recording], *, sample_rate_hz: int) -> list[Clip]:
    """Read recordings into memory as mono int16 at one rate, several at a time.

    Raises
    ------
    AudioFileError
    """

    def load(recording: Recording) -> Clip:
        mono = load_mono(recording.path, sample_rate_hz=sample_rate_hz)
        scaled = np.clip(np.round(mono * 32768), -32768, 32767).astype(np.int16)
        return Clip(scaled, recording.group, recording.kind)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, recordings))


def load_mono(path: Path, *, sample_rate_hz: int) -> NDArray[np.float32]:
    """Mean of a file's channels, float32 (time,), at the rate asked for."""
    signal, _ = audio.read(path, sample_rate_hz=sample_rate_hz)
    mono: NDArray[np.float32] = signal.mean(axis=0, dtype=np.float32)
    return mono


def folder_group(relative: Path) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem
