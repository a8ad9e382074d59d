"""Random effects on speech and noise: speed, rooms, level, clipping."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from tinysignal.stft import StftSize, istft, stft

Signal = NDArray[np.float32]

_EARLY_S = 0.05  # reflections up to this delay belong to the target
_GRID, _MOST_KNOTS = StftSize(512, 256), 12  # grid of `varied`, and its knots along frequency
_CROSSED_BANDS = 20
_SLOWEST_HZ, _FASTEST_HZ = 0.3, 25.0


def changed_speed(samples: Signal, factor: float) -> Signal:
    """Signal played faster and higher by a factor, as from a tape; float32 (samples / factor,)."""
    # The quick resampler loses only the upper 5 % of the band.
    changed: Signal = soxr.resample(samples, factor, 1.0, quality="MQ")
    return changed


def as_loud_as_1(samples: Signal) -> Signal:
    """Signal divided by its root mean square; silence is unchanged."""
    scaled: Signal = samples / np.float32(np.sqrt(np.square(samples).mean()) + 1e-12)
    return scaled


def filtered(samples: Signal, response: NDArray[np.float64]) -> Signal:
    """Signal after circular convolution with a real response (samples // 2 + 1,)."""
    spectrum = np.fft.rfft(samples) * response.astype(np.float32)
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def reverberated(
    rng: np.random.Generator, samples: Signal, sample_rate_hz: int
) -> tuple[Signal, Signal]:
    """Speech in a random room, and the target with early reflections only.

    The impulse response is the direct sound, and decaying noise with a reverberation time of 0.1 to
    0.6 s, a low-pass that falls with time and a level of 0 to -12 dB. The target holds the first
    50 ms of it.

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
    """Noise with a random smooth gain of up to 15 dB over time and frequency.

    The gain changes up to 25 times a second, as slowly as wind or as fast as engines.

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
    # Bandwidths grow with the square root of frequency: denser where speech has its power.
    along = np.sqrt(np.linspace(0, 1, bins)) * float(knots[1] - 1)
    gain_db = _between(knots_db, np.linspace(0, knots[0] - 1, frames), along)
    gain = (10 ** (gain_db / 20)).astype(np.float32)
    changed: Signal = istft(spectrum * gain, _GRID, samples.size)[0]
    return changed


def crossed(texture: Signal, shape: Signal) -> Signal:
    """Vocoded noise: the fine structure of one sound with the band levels of another.

    In each of 20 bands and frames of 32 ms, ``texture`` gets the level of ``shape``, bounded to
    40 dB around its mean. The result has a root mean square of 1.

    Parameters
    ----------
    texture, shape : float32 (samples,)

    Returns
    -------
    float32 (samples,)

    References
    ----------
    Dudley (1939), "The vocoder", Bell Laboratories Record 18.
    """
    spectra = stft(np.stack([texture, shape]), _GRID)
    places = np.sqrt(np.linspace(0, 1, spectra.shape[2])) * (_CROSSED_BANDS - 1)
    tents = np.maximum(1 - np.abs(places[:, np.newaxis] - np.arange(_CROSSED_BANDS)), 0)
    power = np.square(np.abs(spectra)) @ tents.astype(np.float32)  # (2, frames, bands)
    power = power / (power.mean((1, 2), keepdims=True) + 1e-20) + 1e-4
    gain = _between(np.sqrt(power[1] / power[0]), np.arange(len(power[0]), dtype=float), places)
    return as_loud_as_1(istft(spectra[:1] * gain.astype(np.float32), _GRID, texture.size)[0])


def _between(
    knots: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear interpolation of a table (rows, columns) at all pairs of two coordinates."""
    for places in (row, column):
        below = np.minimum(places.astype(int), len(knots) - 2)
        share = (places - below)[:, np.newaxis]
        knots = ((1 - share) * knots[below] + share * knots[below + 1]).T
    return knots


def clipped(rng: np.random.Generator, samples: Signal) -> Signal:
    """Signal clipped at 0.25 to 0.9 of its peak."""
    limit = np.float32(rng.uniform(0.25, 0.9) * np.abs(samples).max())
    return np.clip(samples, -limit, limit)
