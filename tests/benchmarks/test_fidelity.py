"""Every kind of file comes back with all that stood in it, or what is lost is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="the files are made by FFmpeg")
pytest.importorskip("PIL", reason="the covers are made by Pillow")

import fidelity
from fidelity_files import FILES, RATE_HZ
from speech import speech_like
from tinysignal import audio
from tinysignal.denoise_file import denoise_file
from tinysignal.denoiser import Denoiser


@pytest.fixture(scope="module")
def signal() -> np.ndarray:
    one = audio.resample(speech_like(3), from_hz=16_000, to_hz=RATE_HZ)[0]
    noise = np.random.default_rng(0).normal(0, 0.003, len(one))
    return np.stack([one + noise, 0.7 * one + noise]).astype(np.float32)


@pytest.mark.parametrize("kind", FILES)
def test_all_that_stood_in_a_file_comes_back_or_is_named(
    kind: str, signal: np.ndarray, onset_model: Path, tmp_path: Path
) -> None:
    name, make = FILES[kind]
    source, target = tmp_path / name, tmp_path / f"clean-{name}"
    make(source, signal)
    report = denoise_file(source, target, denoiser=Denoiser.load(onset_model, mix=0.0))
    before, after = fidelity.facts(source), fidelity.facts(target)
    found = fidelity.compare(before, after, "\n".join(report.notes))
    lost = {column for column, verdict in found["cells"].items() if verdict == fidelity.LOST}
    # What these encoders are asked for is a mean; sparse sound takes less, in our files and theirs.
    sparing = {"bit rate"} if before.values["codec"][0] in ("aac", "opus") else set()
    assert lost <= sparing, found
    assert (found["longer_samples"], abs(found["late_samples"]) <= 1) == (0, True), found
