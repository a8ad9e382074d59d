"""Small recordings made on the spot, for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE_HZ = 16_000


def synthetic_speech(seed: int, seconds: float) -> NDArray[np.float32]:
    """Harmonic bursts with pauses, (time,), peaks below 0.5."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    pitch_hz = rng.uniform(100, 220)
    tones = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 12))
    bursts = np.sin(2 * np.pi * rng.uniform(2, 4) * time_s + seed) > -0.2
    return (0.15 * tones * bursts).astype(np.float32)


def synthetic_noise(seed: int, seconds: float) -> NDArray[np.float32]:
    """White noise, (time,)."""
    rng = np.random.default_rng(1000 + seed)
    return rng.normal(0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


@pytest.fixture
def pair_files(tmp_path: Path) -> tuple[Path, Path]:
    """A clean and a noisy recording of 2 s."""
    clean = synthetic_speech(0, 2)
    files = tmp_path / "clean.wav", tmp_path / "noisy.wav"
    soundfile.write(files[0], clean, RATE_HZ, subtype="FLOAT")
    soundfile.write(files[1], clean + synthetic_noise(0, 2), RATE_HZ, subtype="FLOAT")
    return files


@pytest.fixture
def speech_and_noise(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of six speakers with two files each, and a folder of four noises."""
    speech, noise = tmp_path / "speech", tmp_path / "noise"
    noise.mkdir()
    for i in range(6):
        (speech / f"speaker{i}").mkdir(parents=True)
        for take in "ab":
            name = speech / f"speaker{i}" / f"{take}.wav"
            soundfile.write(name, synthetic_speech(i + 10 * (take == "b"), 1.5), RATE_HZ)
    for i in range(4):
        soundfile.write(noise / f"noise{i}.wav", synthetic_noise(i, 1), RATE_HZ)
    return speech, noise
