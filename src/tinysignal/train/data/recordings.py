"""Folders and lists of recordings, split so that no group is on two sides."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysignal import audio
from tinysignal.errors import DataError
from tinysignal.files import SOUND_SUFFIXES

GROUP_COLUMNS = ("speaker", "recording", "group")


@dataclass(frozen=True)
class Recording:
    """One file, whose group (a speaker, an original recording) never crosses a split."""

    path: Path
    group: str
    split: str  # "train", "valid", or another word, which training never reads


@dataclass(frozen=True)
class Clip:
    """A recording in memory: int16 (time,), and its group."""

    samples: NDArray[np.int16]
    group: str


def list_recordings(
    source: Path, *, valid_share: float, seed: int, test_share: float = 0.0
) -> list[Recording]:
    """Recordings below a folder, or in a manifest, each with its group and split.

    A manifest is a CSV file, ``manifest.csv`` in the folder or given itself, with a column
    ``path`` (relative to the manifest's folder or to the one above it) and, if it has them,
    ``speaker`` / ``recording`` / ``group`` and ``split``. Without it the group is the first
    folder below ``source``, or the file's own name.

    Parameters
    ----------
    source : Path
    valid_share : float
        Share of the groups that goes to validation where no split is given.
    seed : int
        Which groups these are.
    test_share : float
        Share of the validation groups that is marked ``test`` instead, the same ones for every
        seed, so that a test set made of them later was never read in training.

    Raises
    ------
    DataError
        Nothing there, or a manifest that names missing files or has no ``path`` column.
    """
    manifest = source if source.suffix == ".csv" else source / "manifest.csv"
    if manifest.is_file():
        found = _from_manifest(manifest)
    elif source.is_dir():
        found = [
            Recording(path, folder_group(path.relative_to(source)), "")
            for path in sorted(source.rglob("*"))
            if path.suffix.lower() in SOUND_SUFFIXES and path.is_file()
        ]
    else:
        raise DataError(f"{source}: no such folder of recordings, nor a manifest (.csv).")
    if not found:
        raise DataError(f"{source}: no audio files in it.")
    valid = {r.group for r in found if r.split == "valid"}
    if not any(recording.split for recording in found):
        valid = hold_out({r.group for r in found}, valid_share, seed)
        found = [replace(r, split="valid" if r.group in valid else "train") for r in found]
    test = hold_out(valid, test_share, seed=0)
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
        return Clip(scaled, recording.group)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, recordings))


def load_mono(path: Path, *, sample_rate_hz: int) -> NDArray[np.float32]:
    """Mean of a file's channels, float32 (time,), at the rate asked for."""
    signal, _ = audio.read(path, sample_rate_hz=sample_rate_hz)
    mono: NDArray[np.float32] = signal.mean(axis=0, dtype=np.float32)
    return mono


def _from_manifest(manifest: Path) -> list[Recording]:
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if rows and "path" not in rows[0]:
        raise DataError(f"{manifest}: no column 'path', but {', '.join(rows[0])}.")
    roots = (manifest.parent, manifest.parent.parent)
    found = []
    for row in rows:
        path = next((r / row["path"] for r in roots if (r / row["path"]).is_file()), None)
        if path is None:
            raise DataError(f"{manifest}: {row['path']} is listed but not there.")
        group = next((row[c] for c in GROUP_COLUMNS if row.get(c)), row["path"])
        found.append(Recording(path, group, row.get("split") or ""))
    return found


def folder_group(relative: Path) -> str:
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def hold_out(groups: set[str], share: float, seed: int) -> set[str]:
    """At least one group and not all, in an order that depends on names and seed only."""
    if len(groups) < 2 or share <= 0:
        return set()
    count = min(len(groups) - 1, max(1, round(share * len(groups))))
    ranked = sorted(groups, key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest())
    return set(ranked[:count])
