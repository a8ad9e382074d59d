"""Synthetic noise: coloured noise, hum, knocks and notes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.train.data.effects import Signal, as_loud_as_1
from tinysignal.train.data.paths import Values, passed

_NOTES_SHARE, _KNOCKS_SHARE = 0.3, 0.2
_HARMONICS = 12  # largest number of harmonics
_WAVERING = 0.03  # largest relative vibrato of a note
_SLOW_HZ = 4.0  # largest rate of level changes


def synthetic_noise(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """Coloured noise with hum, or notes, or knocks, of changing level; float32 (size,)."""
    kind = rng.random()
    if kind < _NOTES_SHARE:
        noise = _notes(rng, size, sample_rate_hz)
    elif kind < _NOTES_SHARE + _KNOCKS_SHARE:
        noise = _coloured(rng, _knocks(rng, size, sample_rate_hz), sample_rate_hz)
    else:
        noise = _coloured(rng, rng.standard_normal(size).astype(np.float32), sample_rate_hz)
        if rng.random() < 0.3:
            noise += _hum(rng, size, sample_rate_hz)
    knots = max(2, round(size / sample_rate_hz * rng.uniform(0.2, _SLOW_HZ)))
    depth_db = rng.uniform(0, 12)
    level_db = np.interp(
        np.linspace(0, 1, size), np.linspace(0, 1, knots), rng.uniform(-depth_db, 0, knots)
    )
    return (noise * 10 ** (level_db / 20)).astype(np.float32)


def _coloured(rng: np.random.Generator, noise: Signal, sample_rate_hz: int) -> Signal:
    """Noise with a random spectral slope and shape, of root mean square 1."""
    slope_db = rng.uniform(-9, 3)  # dB per octave: brown -6, white 0
    knots_db = rng.uniform(-12, 12, 6)

    def gains(freq_hz: Values) -> Values:
        shape_db = slope_db * np.log2(np.maximum(freq_hz, 50) / 1000)
        shape_db += np.interp(freq_hz, np.geomspace(50, sample_rate_hz / 2, 6), knots_db)
        return np.asarray(10 ** (shape_db / 20))

    return as_loud_as_1(passed(noise, sample_rate_hz, [gains])[0])


def _knocks(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """Bursts of noise that decay in 5 to 200 ms, 0.5 to 15 a second."""
    knocks = rng.standard_normal(size).astype(np.float32) * np.float32(10 ** rng.uniform(-4, -2))
    decay_s = 0.005 * 40 ** rng.random()
    count = max(1, rng.poisson(size / sample_rate_hz * 0.5 * 30 ** rng.random()))
    for start in rng.integers(0, size, count):
        length = min(size - start, round(5 * decay_s * sample_rate_hz))
        envelope = np.exp(-np.arange(length) / (decay_s * sample_rate_hz)) * rng.uniform(0.1, 1)
        knocks[start : start + length] += rng.standard_normal(length) * envelope
    return knocks


def _notes(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """One to four voices of notes, as in music, birdsong and signals, of root mean square 1."""
    voices = [_voice(rng, size, sample_rate_hz) for _ in range(rng.integers(1, 5))]
    return as_loud_as_1(np.sum(voices, axis=0, dtype=np.float32))


def _voice(rng: np.random.Generator, size: int, sample_rate_hz: int) -> NDArray[np.float64]:
    """Decaying notes with harmonics and vibrato, 0.7 to 8 a second, within two octaves."""
    time_s = np.arange(size) / sample_rate_hz
    per_s, base_hz = rng.uniform(0.7, 8), 60 * 25 ** rng.random()
    starts_s = np.sort(rng.uniform(0, time_s[-1], max(1, round(per_s * time_s[-1]))))
    note = np.maximum(np.searchsorted(starts_s, time_s, side="right") - 1, 0)
    pitch_hz = base_hz * 2 ** (rng.integers(-12, 13, starts_s.size) / 12)
    wavering = rng.uniform(0, _WAVERING) * np.sin(2 * np.pi * rng.uniform(3, 9) * time_s)
    phase = 2 * np.pi * np.cumsum(pitch_hz[note] * (1 + wavering)) / sample_rate_hz
    since_s = np.maximum(time_s - starts_s[note], 0)
    envelope = np.exp(-since_s / (0.05 * 60 ** rng.random())) * -np.expm1(-since_s / 0.01)
    slope = rng.uniform(0.5, 2.5)
    highest = int(sample_rate_hz / 2 / (pitch_hz.max() * (1 + _WAVERING)))
    harmonics = np.arange(1, min(int(rng.integers(1, _HARMONICS)), highest) + 1)
    strengths = rng.random(harmonics.size) * harmonics**-slope
    return np.asarray(envelope * _sines(phase, strengths))


def _hum(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """Tone of 45 to 400 Hz with harmonics, as of mains and motors, of root mean square 1."""
    time_s = np.arange(size) / sample_rate_hz
    base_hz = 45 * (400 / 45) ** rng.random()
    strengths = rng.random(_HARMONICS) / np.arange(1, _HARMONICS + 1)
    turned = np.exp(2j * np.pi * rng.random(_HARMONICS))
    hum = _sines(2 * np.pi * base_hz * time_s, strengths * turned)
    return as_loud_as_1(hum.astype(np.float32))


def _sines(phase: NDArray[np.float64], strengths: NDArray[Any]) -> NDArray[np.float32]:
    """Sum of sines of 1, 2, 3, ... times a phase; complex strengths turn them."""
    turn = np.exp(1j * phase).astype(np.complex64)
    total, power = np.zeros_like(turn), np.ones_like(turn)
    for strength in strengths:  # a product is ten times faster than another sine
        power *= turn
        total += np.complex64(strength) * power
    return np.asarray(total.imag)
