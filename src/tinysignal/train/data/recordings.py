"""Recordings of folders and manifests, in splits that share no group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray

from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.datasets.manifest import read_manifest
from tinysignal.datasets.splits import hold_out
from tinysignal.errors import DataError
from tinysignal.files import find_anywhere
from tinysignal.remote import Place, inside, state_of
from tinysignal.train.data.sound import Mono, Sound, load_sound, lost_db, mono_blocks


@dataclass(frozen=True, slots=True)
class Recording:
    """Audio file with its group (a speaker, an original recording) and its split."""

    path: Place
    group: str
    split: str  # "train", "valid", or another word, whose files training does not read
    kind: str = ""  # kind of noise: rain, keyboard, ...


@dataclass(frozen=True, slots=True)
class Clip:
    """Recording that is drawn from, with its group and, if known, its kind.

    Its samples are a `Sound`, or int16 (time,).
    """

    samples: Sound | NDArray[np.int16]
    group: str
    kind: str = ""

    def part(self, start: int, stop: int) -> Mono:
        """Samples from ``start`` to ``stop``, float32 (time,), full scale at 1."""
        found = np.asarray(self.samples[start:stop])
        if found.dtype == np.int16:
            return found.astype(np.float32) / np.float32(32768)
        return found


def list_recordings(
    source: Place,
    *,
    valid_fraction: float,
    seed: int,
    test_fraction: float = 0.0,
    data_dir: Path | None = None,
    passed_over: Counter[str] | None = None,
) -> list[Recording]:
    """Recordings in a folder or a manifest, each with its group and split.

    Without a manifest, the group is the first subfolder below ``source``, or the name of the file.

    Parameters
    ----------
    source : Path or Url
        Folder, here or in a store; folder with a ``manifest.csv``, or manifest; see
        `tinysignal.datasets.manifest.read_manifest`.
    valid_fraction : float
        Fraction of the groups to use for validation if no split is given.
    seed : int
        Random seed of these groups.
    test_fraction : float
        Fraction of the validation groups to mark ``test``, the same for every seed. Training never
        reads them, which keeps them unseen for a later test.
    data_dir : Path or None
        Folder that the files of a manifest may be in too.
    passed_over : Counter or None
        Is told the extensions of the files of a folder that are no audio files.

    Returns
    -------
    list of Recording

    Raises
    ------
    DataError
        The source holds no audio files, or its manifest is not readable.
    """
    found = _listed(source, data_dir, passed_over)
    if not found:
        raise DataError(f"{source}: 0 audio files, expected 1 or more.")
    valid = {r.group for r in found if r.split == "valid"}
    if not any(recording.split for recording in found):
        valid = hold_out({r.group for r in found}, valid_fraction, seed)
        found = [replace(r, split="valid" if r.group in valid else "train") for r in found]
    test = hold_out(valid, test_fraction, seed=0)
    return [replace(r, split="test") if r.group in test else r for r in found]


def _listed(
    source: Place, data_dir: Path | None, passed_over: Counter[str] | None
) -> list[Recording]:
    manifest = source if source.suffix == ".csv" else source / "manifest.csv"
    if manifest.is_file() if isinstance(manifest, Path) else state_of(manifest):
        listed = read_manifest(manifest, data_dir=data_dir)
        return [Recording(e.path, e.group, e.split, e.label) for e in listed]
    if isinstance(source, Path) and not source.is_dir():
        raise DataError(f"{source}: no such folder. Give a folder of recordings, or a .csv file.")
    paths = find_anywhere(source, SOUND_SUFFIXES, passed_over=passed_over)
    return [Recording(path, folder_group(inside(path, source)), "") for path in paths]


def load_clips(recordings: Iterable[Recording], *, sample_rate_hz: int) -> list[Clip]:
    """Read recordings in parallel, as mono of 16 bits at one sample rate.

    Raises
    ------
    AudioFileError
        A file is not readable as audio.
    """

    def load(recording: Recording) -> Clip:
        sound = load_sound(recording.path, sample_rate_hz=sample_rate_hz)
        return Clip(sound, recording.group, recording.kind)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(load, recordings))


def load_mono(path: Path, *, sample_rate_hz: int) -> Mono:
    """Mean of the channels of a file at a sample rate, float32 (time,)."""
    return read_mono(path, sample_rate_hz=sample_rate_hz)[0]


def read_mono(path: Place, *, sample_rate_hz: int) -> tuple[Mono, float]:
    """Mean of the channels of a file, and the power that is lost in it.

    Returns
    -------
    float32 (time,)
    float
        Mean power of the channels relative to that of their mean, see `Facts`.
    """
    blocks = list(mono_blocks(path, sample_rate_hz=sample_rate_hz))
    mono = np.concatenate([block for block, _ in blocks])
    return mono, lost_db(sum(power for _, power in blocks), float(np.dot(mono, mono)))


def folder_group(relative: PurePath) -> str:
    """Group of a file without a manifest: its first folder, or its name without ending."""
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem
