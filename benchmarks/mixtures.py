"""Mixtures of speakers and noise recordings that no training reads: a test set of `peers.py`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tinysignal import audio
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import list_recordings, load_clips

RATE_HZ, CLIP_S = 16_000, 6.0


def make_mixtures(
    data: Path, folder: Path, count: int, *, snrs_db: tuple[float, ...], seed: int
) -> dict[str, Any]:
    """Write noisy and clean files of the test groups, and return their makeup for the report.

    Parameters
    ----------
    data : Path
        With ``speech`` and ``noise`` and their manifests. The test groups are the half of the
        held-out speakers and noise recordings that ``test_fraction = 0.5`` keeps from training.
    folder : Path
        Gets the folders ``noisy`` and ``clean``, with 32-bit float files of the same names.
    count : int
        Mixtures, at ``snrs_db`` in turn.
    """
    clips, summary = {}, {}
    for kind in ("speech", "noise"):
        listed = list_recordings(data / kind, valid_fraction=0.1, seed=0, test_fraction=0.5)
        chosen = [r for r in listed if r.split == "test"]
        clips[kind] = load_clips(chosen, sample_rate_hz=RATE_HZ)
        summary[kind] = {"files": len(chosen), "groups": sorted({r.group for r in chosen})}
    options = MixOptions(
        level_dbfs=(-35.0, -18.0), filter_db=0, low_pass_share=0, second_noise_share=0
    )
    mixtures = Mixtures(
        clips["speech"],
        clips["noise"],
        options,
        sample_rate_hz=RATE_HZ,
        clip_samples=round(CLIP_S * RATE_HZ),
        batch=1,
        steps_per_epoch=1,
        seed=seed,
    )
    for side in ("noisy", "clean"):
        (folder / side).mkdir()
    for i, pair in enumerate(mixtures.fixed_pairs(count, snrs_db)):
        for side, signal in (("noisy", pair.noisy), ("clean", pair.clean)):
            path = folder / side / f"{i:03}.wav"
            audio.write(path, signal[np.newaxis], sample_rate_hz=RATE_HZ, subtype="FLOAT")
    return {"mixtures": count, **summary, "options": asdict(options)}
