"""Random effects that make new noises: speed, and level over time and frequency."""

from __future__ import annotations

import numpy as np
import soxr
import torch
from numpy.typing import NDArray

from tinysignal.nets.stft import istft, stft
from tinysignal.stft import StftSize

Signal = NDArray[np.float32]

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
    spectrum = _spectra(samples[np.newaxis])
    frames, bins = spectrum.shape[1:]
    rate_hz = _SLOWEST_HZ * (_FASTEST_HZ / _SLOWEST_HZ) ** rng.random()
    knots = 2 + int(rate_hz * samples.size / sample_rate_hz), rng.integers(2, _MOST_KNOTS + 1)
    depth_db = rng.uniform(3, 15)
    knots_db = rng.uniform(-depth_db, depth_db, knots)
    # Bandwidths grow with the square root of frequency: denser where speech has its power.
    along = np.sqrt(np.linspace(0, 1, bins)) * float(knots[1] - 1)
    gain_db = _between(knots_db, np.linspace(0, knots[0] - 1, frames), along)
    gain = (10 ** (gain_db / 20)).astype(np.float32)
    return _signal(spectrum[0] * gain, samples.size)


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
    spectra = _spectra(np.stack([texture, shape]))
    places = np.sqrt(np.linspace(0, 1, spectra.shape[2])) * (_CROSSED_BANDS - 1)
    tents = np.maximum(1 - np.abs(places[:, np.newaxis] - np.arange(_CROSSED_BANDS)), 0)
    power = np.square(np.abs(spectra)) @ tents.astype(np.float32)  # (2, frames, bands)
    power = power / (power.mean((1, 2), keepdims=True) + 1e-20) + 1e-4
    gain = _between(np.sqrt(power[1] / power[0]), np.arange(len(power[0]), dtype=float), places)
    return as_loud_as_1(_signal(spectra[0] * gain.astype(np.float32), texture.size))


def _spectra(signals: Signal) -> NDArray[np.complex64]:
    """STFT of float32 (signals, samples) by torch, which is faster than numpy for many frames."""
    given = torch.from_numpy(np.ascontiguousarray(signals))
    spectra: NDArray[np.complex64] = stft(given, _GRID).numpy()
    return spectra


def _signal(spectrum: NDArray[np.complex64], samples: int) -> Signal:
    signal: Signal = istft(torch.from_numpy(spectrum)[None], _GRID, samples)[0].numpy()
    return signal


def _between(
    knots: NDArray[np.float64], row: NDArray[np.float64], column: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Linear interpolation of a table (rows, columns) at all pairs of two coordinates."""
    for places in (row, column):
        below = np.minimum(places.astype(int), len(knots) - 2)
        share = (places - below)[:, np.newaxis]
        knots = ((1 - share) * knots[below] + share * knots[below + 1]).T
    return knots
