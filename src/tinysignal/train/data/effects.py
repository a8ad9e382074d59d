"""What happens to sound on its way into a recording, at random: speed, rooms, clipping, hum."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from tinysignal.stft import StftSize, istft, stft

Signal = NDArray[np.float32]

_EARLY_S = 0.05  # reflections until here belong to the speech
_GRID, _MOST_KNOTS = StftSize(512, 256), 12  # along frequency, of the gains that vary a noise
_SLOWEST_HZ, _FASTEST_HZ = 0.3, 25.0
_HUM_HARMONICS = 12
_SLOW_HZ = 4.0  # at most this fast does the level of a synthetic noise change


def changed_speed(samples: Signal, factor: float) -> Signal:
    """Faster and higher by a factor, as a tape; float32 (samples / factor,)."""
    # The quick resampler: what it loses lies above 95 % of the band.
    changed: Signal = soxr.resample(samples, factor, 1.0, quality="MQ")
    return changed


def filtered(samples: Signal, response: NDArray[np.float64]) -> Signal:
    """Multiplied by a real response of ``samples // 2 + 1`` frequencies, around the circle."""
    spectrum = np.fft.rfft(samples) * response.astype(np.float32)
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def reverberated(
    rng: np.random.Generator, samples: Signal, sample_rate_hz: int
) -> tuple[Signal, Signal]:
    """Speech in a random room, and the part of it that is to be kept.

    The room's response is the direct sound and noise that decays by 60 dB in 0.1 to 0.6 s, duller
    the later, 0 to 12 dB below the direct sound in all. Kept is what arrives within 50 ms.

    Parameters
    ----------
    rng : numpy Generator
    samples : float32 (samples,)
    sample_rate_hz : int

    Returns
    -------
    two of float32 (samples,)

    References
    ----------
    Habets (2007), "Single- and multi-microphone speech dereverberation using spectral
    enhancement", section 2.2: Polack's statistical model of a room.
    """
    decay_s = rng.uniform(0.1, 0.6)
    size = round(decay_s * sample_rate_hz)
    time_s = np.arange(size) / sample_rate_hz
    tail = rng.standard_normal(size) * 10 ** (-3 * time_s / decay_s)
    delay = round(rng.uniform(0.001, 0.01) * sample_rate_hz)
    tail[:delay] = 0.0
    direct_db = rng.uniform(0, 12)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.square(tail).sum() + 1e-12)
    tail[0] = 1.0
    early = np.where(time_s < _EARLY_S, tail, 0.0)
    whole = samples.size + size
    spectrum = np.fft.rfft(samples, whole)
    both = [
        np.fft.irfft(spectrum * np.fft.rfft(response, whole), whole)[: samples.size]
        for response in (tail, early)
    ]
    return both[0].astype(np.float32), both[1].astype(np.float32)


def varied(rng: np.random.Generator, samples: Signal, sample_rate_hz: int) -> Signal:
    """Louder and quieter at random, by up to 15 dB, smoothly in time and in frequency: a new noise.

    The level changes up to 25 times a second, as slowly as wind or as fast as engines.

    Parameters
    ----------
    rng : numpy Generator
    samples : float32 (samples,)
    sample_rate_hz : int

    Returns
    -------
    float32 (samples,)
    """
    spectrum = stft(samples[np.newaxis], _GRID)
    frames, bins = spectrum.shape[1:]
    rate_hz = _SLOWEST_HZ * (_FASTEST_HZ / _SLOWEST_HZ) ** rng.random()
    knots = 2 + int(rate_hz * samples.size / sample_rate_hz), rng.integers(2, _MOST_KNOTS + 1)
    depth_db = rng.uniform(3, 15)
    knots_db = rng.uniform(-depth_db, depth_db, knots)
    # Bands as wide as the square root of frequency: denser where speech has its power.
    along = np.sqrt(np.linspace(0, 1, bins)) * float(knots[1] - 1)
    gain_db = _between(knots_db, np.linspace(0, knots[0] - 1, frames), along)
    gain = (10 ** (gain_db / 20)).astype(np.float32)
    changed: Signal = istft(spectrum * gain, _GRID, samples.size)[0]
    return changed


def _between(
    knots: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear interpolation of (rows, columns) at all pairs of these places."""
    for places in (row, column):
        below = np.minimum(places.astype(int), len(knots) - 2)
        share = (places - below)[:, np.newaxis]
        knots = ((1 - share) * knots[below] + share * knots[below + 1]).T
    return knots


def clipped(rng: np.random.Generator, samples: Signal) -> Signal:
    """Cut off at 0.25 to 0.9 of the peak."""
    limit = np.float32(rng.uniform(0.25, 0.9) * np.abs(samples).max())
    return np.clip(samples, -limit, limit)


def synthetic_noise(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """Coloured noise, at times with hum, whose level changes slowly; float32 (size,)."""
    freq_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    slope_db = rng.uniform(-9, 3)  # an octave: brown is -6, white 0
    knots_db = rng.uniform(-12, 12, 6)
    shape_db = slope_db * np.log2(np.maximum(freq_hz, 50) / 1000)
    shape_db += np.interp(freq_hz, np.geomspace(50, sample_rate_hz / 2, 6), knots_db)
    noise = filtered(rng.standard_normal(size).astype(np.float32), 10 ** (shape_db / 20))
    noise /= np.float32(np.sqrt(np.square(noise).mean()) + 1e-12)
    if rng.random() < 0.3:
        noise += _hum(rng, size, sample_rate_hz)
    knots = max(2, round(size / sample_rate_hz * rng.uniform(0.2, _SLOW_HZ)))
    depth_db = rng.uniform(0, 12)
    level_db = np.interp(
        np.linspace(0, 1, size), np.linspace(0, 1, knots), rng.uniform(-depth_db, 0, knots)
    )
    return (noise * 10 ** (level_db / 20)).astype(np.float32)


def _hum(rng: np.random.Generator, size: int, sample_rate_hz: int) -> Signal:
    """A tone of 45 to 400 Hz with harmonics, as mains and motors have, as loud as 1."""
    time_s = np.arange(size) / sample_rate_hz
    base_hz = 45 * (400 / 45) ** rng.random()
    hum = np.zeros(size)
    for harmonic in range(1, _HUM_HARMONICS + 1):
        phase = rng.uniform(0, 2 * np.pi)
        hum += rng.random() / harmonic * np.sin(2 * np.pi * base_hz * harmonic * time_s + phase)
    scaled: Signal = (hum / (np.sqrt(np.square(hum).mean()) + 1e-12)).astype(np.float32)
    return scaled
