"""What happens to sound on its way into a recording, at random: speed, rooms, clipping, hum."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

from tinysignal.stft import StftSize, istft, stft

Signal = NDArray[np.float32]

_EARLY_S = 0.05  # reflections until here belong to the speech
_GRID, _MOST_KNOTS = StftSize(512, 256), 12  # along frequency, of the gains that vary a noise
_CROSSED_BANDS = 20
_SLOWEST_HZ, _FASTEST_HZ = 0.3, 25.0


def changed_speed(samples: Signal, factor: float) -> Signal:
    """Faster and higher by a factor, as a tape; float32 (samples / factor,)."""
    # The quick resampler: what it loses lies above 95 % of the band.
    changed: Signal = soxr.resample(samples, factor, 1.0, quality="MQ")
    return changed


def as_loud_as_1(samples: Signal) -> Signal:
    """Divided by its root mean square; silence stays silence."""
    scaled: Signal = samples / np.float32(np.sqrt(np.square(samples).mean()) + 1e-12)
    return scaled


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


def crossed(texture: Signal, shape: Signal) -> Signal:
    """One sound's fine structure with the levels that another has in time and frequency.

    In each of 20 bands and frames of 32 ms, ``texture`` gets the level of ``shape``, within 40 dB
    of its mean: a new noise of any two. As loud as 1.

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
