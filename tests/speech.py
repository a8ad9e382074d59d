"""A stand-in for speech, made on the spot: gliding harmonics in syllables, hiss in between."""

from __future__ import annotations

import numpy as np


def speech_like(seconds: float, *, rate_hz: int = 16_000, seed: int = 0) -> np.ndarray:
    """float32 (1, time), the same numbers for the same arguments."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voiced = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s), 0, None) ** 0.5
    pauses = np.clip(-np.sin(2 * np.pi * 1.25 * time_s), 0, None)
    hiss = 0.1 * rng.normal(size=time_s.size) * pauses
    return (0.1 * (voiced * syllables + hiss))[np.newaxis].astype(np.float32)
