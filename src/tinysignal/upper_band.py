"""What lies above the network's band: a gain from the noise there, with the network as the guide.

Noise is what a band never falls below. Where the network hears speech, a band keeps what rises out
of its noise (a Wiener gain, which makes no band noisier than it was); where it hears none, bands
fall as the network's own do.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.stft import Spectrum, StftSize

Gain = NDArray[np.float32]

_BANDS_PER_OCTAVE = 6
_MEAN_S, _MEMORY_S, _LEAST_S = 0.064, 1.5, 0.25
_BIAS = 1.4  # of the least of many means, below their own mean
_ABSENT_DB, _PRESENT_DB = -22.0, -8.0  # of what the network keeps: no speech, and speech
_LOW_DB, _HIGH_DB = 8.0, 20.0  # of a band above its noise: hardly, and clearly
_LEAST_GAIN = 0.1  # beside speech: a band that is switched off sounds worse than its noise
_TINY = 1e-16  # power far below one 24-bit step


class UpperBand:
    """Gains of the bins above a network's band, frame by frame; any blocks give the same.

    Parameters
    ----------
    size : StftSize
        Of the signal.
    sample_rate_hz : int
    first : int
        The lowest bin above the network's band.
    channels : int
        Gains that are asked for: of every channel, or 1.
    lookahead_frames : int
        Frames by which the network's answers are late.
    """

    def __init__(
        self, size: StftSize, sample_rate_hz: int, first: int, channels: int, lookahead_frames: int
    ) -> None:
        frames_per_s = sample_rate_hz / size.hop_samples
        self._mean = max(1, round(_MEAN_S * frames_per_s))
        self._memory = max(2, round(_MEMORY_S * frames_per_s))
        self._least = round(_LEAST_S * frames_per_s)
        self._late = lookahead_frames
        self._pool, self._spread = _bands(first, size.bins)
        past = self._memory + self._mean - 2 + self._late
        # Before the signal there is nothing: no level that could be its noise.
        self._past = np.full((channels, past, self._pool.shape[1]), np.nan, np.float32)
        self._seen = -lookahead_frames

    def __call__(self, spectrum: Spectrum, kept: Gain) -> Gain:
        """Gains of the next frames.

        Parameters
        ----------
        spectrum : complex64 (channels, frames, bins from the first on)
        kept : float32 (channels, frames)
            What the network keeps of the magnitude, of frames ``lookahead_frames`` before.

        Returns
        -------
        float32 (channels, frames, bins from the first on), as late as ``kept``
        """
        frames = spectrum.shape[1]
        power = np.asarray(np.square(np.abs(spectrum)) @ self._pool, np.float32)
        known = np.concatenate([self._past, power], axis=1)
        self._past = known[:, frames:]
        known = known[:, : known.shape[1] - self._late]
        now = known[:, -frames:]
        order = np.arange(self._seen, self._seen + frames)
        self._seen += frames
        # So soon after the start, a word may be all that was heard.
        settled = (order >= self._least)[:, np.newaxis]
        noise = np.where(settled, _BIAS * self._floor(known), 0)
        rising = np.maximum(1 - noise / (now + _TINY), _LEAST_GAIN)
        kept = kept[..., np.newaxis]
        absent = 1 - _ramp(20 * np.log10(kept + _TINY), _ABSENT_DB, _PRESENT_DB)
        # A band far above its noise is kept whatever the network hears below it.
        above_db = 10 * np.log10((now + _TINY) / (noise + _TINY))
        doubtful = np.where(settled, 1 - _ramp(above_db, _LOW_DB, _HIGH_DB), 1)
        gain = rising + absent * doubtful * (kept - rising)
        return np.asarray(gain @ self._spread, np.float32)

    def _floor(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """The least mean of `_MEAN_S` within `_MEMORY_S`, for each of the last frames."""
        count = power.shape[1] - self._mean + 1
        means = np.zeros_like(power[:, :count])
        for i in range(self._mean):
            means += power[:, i : i + count] / np.float32(self._mean)
        width = 1
        while width < self._memory:  # windows that double
            step = min(width, self._memory - width)
            means = np.fmin(means[:, :-step], means[:, step:])
            width += step
        return np.nan_to_num(means, nan=0.0)


def _ramp(value: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """0 below the one, 1 above the other."""
    return np.clip((value - low) / (high - low), 0, 1)


def _bands(first: int, bins: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """From bins to the mean power of bands, and from bands' gains back to bins, between centres."""
    count = max(1, round(_BANDS_PER_OCTAVE * np.log2(bins / first)))
    edges = np.unique(np.round(np.geomspace(first, bins, count + 1)).astype(int)) - first
    place = np.arange(bins - first)
    pool = np.zeros((place.size, edges.size - 1), np.float32)
    for band, (begin, end) in enumerate(pairwise(edges)):
        pool[begin:end, band] = 1 / (end - begin)
    centres = (edges[:-1] + edges[1:] - 1) / 2
    spread = np.stack([np.interp(place, centres, row) for row in np.eye(centres.size)])
    return pool, spread.astype(np.float32)
