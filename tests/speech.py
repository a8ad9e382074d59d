"""A stand-in for speech, made on the spot, and pairs of noisy and clean files of it."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tinysignal.evaluation import Pair


def speech_like(seconds: float, *, rate_hz: int = 16_000, seed: int = 0) -> np.ndarray:
    """Gliding harmonics in syllables, hiss in between, float32 (1, time); always the same."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch_hz = 120 + 30 * np.sin(2 * np.pi * 0.7 * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz) / rate_hz
    voiced = sum(np.sin(k * phase) / k for k in range(1, 25))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s), 0, None) ** 0.5
    pauses = np.clip(-np.sin(2 * np.pi * 1.25 * time_s), 0, None)
    hiss = 0.1 * rng.normal(size=time_s.size) * pauses
    return (0.1 * (voiced * syllables + hiss))[np.newaxis].astype(np.float32)


def save_pair(
    folder: Path,
    name: str,
    *,
    snr_db: float = 10,
    seconds: float = 1.0,
    rate_hz: int = 16_000,
    channels: int = 1,
) -> Pair:
    """A pair with white noise at an exact SNR in every channel."""
    target = np.tile(speech_like(seconds, rate_hz=rate_hz), (channels, 1))
    noise = np.random.default_rng(len(name)).normal(size=target.shape)
    noise *= np.sqrt((target**2).sum() / (noise**2).sum()) / 10 ** (snr_db / 20)
    pair = Pair(name=name, noisy=folder / f"noisy/{name}.wav", clean=folder / f"clean/{name}.wav")
    for path, signal in ((pair.noisy, target + noise), (pair.clean, target)):
        path.parent.mkdir(parents=True, exist_ok=True)
        sf.write(path, signal.T, rate_hz, subtype="FLOAT")
    return pair


def save_m4a(path: Path, signal: np.ndarray, *, rate_hz: int = 16_000) -> Path:
    """An Apple Lossless file, which only FFmpeg reads, of a mono signal (1, time)."""
    av = pytest.importorskip("av", reason="the 'video' extra")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        track = file.add_stream("alac", rate=rate_hz, layout="mono")
        samples = np.round(32768 * np.asarray(signal)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format="s16p", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        frame.time_base = Fraction(1, rate_hz)
        file.mux(track.encode(frame))
        file.mux(track.encode())
    return path
