"""Claims about real recordings; skipped where ``TINYSIGNAL_DATA`` names no folder of them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tinysignal import Denoiser, metrics
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Recording, list_recordings, load_clips

DATA = Path(os.environ.get("TINYSIGNAL_DATA", ""))

pytestmark = pytest.mark.skipif(
    not (os.environ.get("TINYSIGNAL_DATA") and (DATA / "speech" / "manifest.csv").is_file()),
    reason="TINYSIGNAL_DATA names no folder with speech/manifest.csv and noise/manifest.csv",
)


def recordings(kind: str) -> list[Recording]:
    """As the bundled model's training listed them."""
    return list_recordings(DATA / kind, valid_fraction=0.1, seed=0, test_fraction=0.5)


@pytest.mark.parametrize("kind", ["speech", "noise"])
def test_no_group_is_on_two_sides_and_nothing_lossy_is_measured_on(kind: str) -> None:
    listed = recordings(kind)
    groups = {s: {r.group for r in listed if r.split == s} for s in ("train", "valid", "test")}
    assert all(groups.values())
    assert sum(map(len, groups.values())) == len(set.union(*groups.values()))
    assert all(r.path.suffix == ".flac" for r in listed if r.split != "train")


def test_the_bundled_model_helps_speakers_and_noises_it_was_not_trained_on() -> None:
    clips = {
        kind: load_clips((r for r in recordings(kind) if r.split == "valid"), sample_rate_hz=16_000)
        for kind in ("speech", "noise")
    }
    plain = MixOptions(filter_db=0, low_pass_share=0, second_noise_share=0)
    mixtures = Mixtures(
        clips["speech"],
        clips["noise"],
        plain,
        sample_rate_hz=16_000,
        clip_samples=64_000,
        batch=1,
        steps_per_epoch=1,
        seed=1,
    )
    denoiser = Denoiser.load()
    gains_db = []
    for pair in mixtures.fixed_pairs(20, (0.0, 5.0, 10.0)):
        denoised = denoiser(pair.noisy[np.newaxis], sample_rate_hz=16_000)
        before, after = (
            metrics.si_sdr(x, pair.clean[np.newaxis])[0] for x in (pair.noisy[np.newaxis], denoised)
        )
        gains_db.append(after - before)
    # 7.5 dB when the model was bundled; the margin is for other files in the folder.
    assert np.mean(gains_db) > 5
