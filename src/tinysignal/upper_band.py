"""What lies above the network's band: learnt gains of bands, with the network as the guide.

The network hears up to 7.75 kHz. Above, a small recurrent network judges bands of a sixth of an
octave together: each by its level beside its own noise (what it never falls below) and beside the
voice, and all by what the network makes of the sound below. A Wiener gain stands beside it, against
noise that is loud beside the voice, and alone where a sound is speech for certain: it holds for
sounds that the recurrent network never met. Where a band holds steady noise alone, no more of it
is left than the network leaves below. All were trained together by ``benchmarks/upper_band.py`` and
are the same for every model.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any, ClassVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.stft import Spectrum, StftSize

Gain = NDArray[np.float32]
Values = NDArray[np.float32]

WEIGHTS = "upper_band.npz"
EDGES_HZ = np.geomspace(7_750, 24_000, 11)
"""Of the bands. A band above the signal's own range is silent; beyond the last, its gain holds."""

LEAST_GAIN = 0.1
"""Of the Wiener gain."""
HEARD_DB = -50.0, -30.0
"""Noise beside the voice that the Wiener gain leaves alone, and that it takes wholly."""
CLEAR_DB, PRESENT_DB = (8.0, 20.0), (-22.0, -8.0)
"""Level above the noise, and what the network keeps: not speech, and speech for certain."""
STEADY_DB = 3.0, 8.0
"""Mean level above the noise: the noise itself, and not."""
HISS_DB = -65.0, -50.0
"""Noise beside the voice that nobody hears in pauses, and that is heard."""

_MEAN_S, _NOISE_S, _LEAST_S = 0.064, 1.5, 0.25
_EARLY_DB = -30.0, -15.0  # the network keeps, before noise is known: no speech, and speech
_RAMP = 0.2  # of a band at either edge, over which its gain goes to the next one's
_FORGET_DB_PER_S = 1.0  # of what was loudest
_BIAS = 1.4  # of the least of many means, below their own mean
_TINY = 1e-16  # power far below one 24-bit step

BAND_FEATURES = (
    "level above its noise",
    "mean level above its noise",
    "noise beside the voice",
    "level beside the voice",
    "noise beside what the network takes",
    "loudest above its noise",
)
FEATURES = ("voice beside its loudest", "taken beside the voice", "kept", "most kept of late")


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

    LANES: ClassVar[tuple[str, ...]] = (
        "_powers",
        "_inside",
        "_kept",
        "_loudest",
        "_voice",
        "_state",
    )

    def __init__(
        self, size: StftSize, sample_rate_hz: int, first: int, channels: int, lookahead_frames: int
    ) -> None:
        frames_per_s = sample_rate_hz / size.hop_samples
        self._mean = max(1, round(_MEAN_S * frames_per_s))
        self._noise = max(2, round(_NOISE_S * frames_per_s))
        self._least = round(_LEAST_S * frames_per_s)
        self._forget = 10 ** (-_FORGET_DB_PER_S / 10 / frames_per_s)
        self._late = lookahead_frames
        bins_hz = np.arange(first, size.bins) * sample_rate_hz / size.window_samples
        self.pool, self._spread = _bands(bins_hz)
        bands, past = self.pool.shape[1], self._noise + self._mean - 2
        # Before the signal there is nothing: no level that could be its noise.
        self._powers = np.full((channels, past + self._late, bands), np.nan, np.float32)
        self._inside = np.full((channels, past, 2), np.nan, np.float32)
        self._kept = np.full((channels, self._mean - 1, 1), np.nan, np.float32)
        self._loudest = np.zeros((channels, bands), np.float32)
        self._voice = np.zeros((channels, 1), np.float32)
        # As wide as the weights, once they are read.
        self._state = np.zeros((channels, 0), np.float32)
        self._seen = -lookahead_frames

    @property
    def settled(self) -> bool:
        """Whether how long it has run changes nothing any more."""
        return self._seen >= self._least

    def __call__(self, spectrum: Spectrum, kept: Gain, inside: Values) -> Gain:
        """Gains of the next frames.

        Parameters
        ----------
        spectrum : complex64 (channels, frames, bins from the first on)
        kept : float32 (channels, frames)
            What the network keeps of the magnitude, of frames ``lookahead_frames`` before.
        inside : float32 (channels, frames, 2)
            Power that the network leaves, and takes, in a bin of its band, of the same frames.

        Returns
        -------
        float32 (channels, frames, bins from the first on), as late as ``kept``
        """
        order = np.arange(self._seen, self._seen + spectrum.shape[1])
        asked = self.features(spectrum, kept, inside)
        gains = self._answers(asked, early=int(np.sum(order < 0)))
        # So soon after the start no noise is known: what is heard may be a word, all of it.
        settled = (order >= self._least)[:, np.newaxis]
        kept = kept[..., np.newaxis]
        present = ramp(20 * np.log10(kept + _TINY), *_EARLY_DB)
        gains = np.where(settled, gains, kept + present * (1 - kept))
        return np.asarray(gains @ self._spread, np.float32)

    def features(self, spectrum: Spectrum, kept: Gain, inside: Values) -> Values:
        """What the recurrent network is asked about the next frames; parameters as of a call.

        Returns
        -------
        float32 (channels, frames, features)
            `BAND_FEATURES` for each band, then `FEATURES`.
        """
        frames = spectrum.shape[1]
        order = np.arange(self._seen, self._seen + frames)
        self._seen += frames
        # What the network says of frames before the signal.
        kept = np.where(order < 0, np.nan, kept)
        inside = np.where(order[:, np.newaxis] < 0, np.nan, inside)
        powers, self._powers = _with_past(self._powers, np.square(np.abs(spectrum)) @ self.pool)
        inside, self._inside = _with_past(self._inside, inside)
        held, self._kept = _with_past(self._kept, kept[..., np.newaxis])
        powers = powers[:, : powers.shape[1] - self._late]
        now, means = powers[:, -frames:], _means(powers, self._mean)
        settled = (order >= self._least)[:, np.newaxis]
        noise = np.where(settled, _BIAS * _least(means, self._noise), np.float32(0))
        inside_means = _means(inside, self._mean)
        taken, steady = inside_means[:, -frames:, 1:], _least(inside_means[..., 1:], self._noise)
        voice = self._forgetting(self._voice, inside_means[:, -frames:, :1])
        loudest = self._forgetting(self._loudest, means[:, -frames:])
        self._voice, self._loudest = voice[:, -1], loudest[:, -1]
        of_bands = [
            _decibels(now, noise, -10, 40),
            _decibels(means[:, -frames:], noise, -10, 40),
            _decibels(noise, voice, -90, 10),
            _decibels(now, voice, -90, 10),
            _decibels(noise, steady, -50, 50),
            _decibels(loudest, noise, -10, 60),
        ]
        of_all = [
            _decibels(inside[:, -frames:, :1], voice, -60, 10),
            _decibels(taken, voice, -90, 10),
            _decibels(np.square(kept[..., np.newaxis]), 1, -50, 0),
            _decibels(np.square(-_least(-held, self._mean)), 1, -50, 0),
        ]
        flat = np.stack(of_bands, axis=-1).reshape(*now.shape[:2], -1)
        return np.concatenate([flat, *of_all], axis=-1, dtype=np.float32) / np.float32(20)

    def _answers(self, asked: Values, *, early: int) -> Gain:
        """Gains of bands, by a gated recurrent unit (Cho et al., 2014) between two linear layers.

        The first ``early`` frames come before the signal.
        """
        weights = _weights()
        hidden = np.maximum(asked @ weights["in_weight"] + weights["in_bias"], 0)
        given = hidden @ weights["gate_weight"] + weights["gate_bias"]
        width = weights["state_weight"].shape[0]
        if not self._state.size:
            self._state = np.zeros((asked.shape[0], width), np.float32)
        states = np.zeros((*asked.shape[:2], width), np.float32)
        for i in range(early, asked.shape[1]):
            own = self._state @ weights["state_weight"] + weights["state_bias"]
            gates = _sigmoid(given[:, i, : 2 * width] + own[:, : 2 * width])
            reset, stay = gates[:, :width], gates[:, width:]
            new = np.tanh(given[:, i, 2 * width :] + reset * own[:, 2 * width :])
            self._state = new + stay * (self._state - new)
            states[:, i] = self._state
        learnt = _sigmoid(states @ weights["out_weight"] + weights["out_bias"])
        return np.asarray(judged(learnt, asked), np.float32)

    def _forgetting(self, last: Values, values: Values) -> Values:
        """What was loudest up to each frame, forgotten slowly."""
        left = self._forget ** np.arange(1, values.shape[1] + 1)[:, np.newaxis]
        loudest = np.maximum.accumulate(np.nan_to_num(values) / left, axis=1)
        return np.asarray(left * np.maximum(loudest, last[:, np.newaxis]), np.float32)


def judged(learnt: Any, asked: Any) -> Any:
    """Gains of bands: the learnt ones, a Wiener gain, and what the network keeps, where each holds.

    Arrays and tensors alike: ``learnt`` (..., bands), ``asked`` (..., features).
    """
    of_bands = asked[..., : -len(FEATURES)].reshape(*learnt.shape, len(BAND_FEATURES))
    above_db, mean_above_db, noise_db = (20 * of_bands[..., i] for i in range(3))
    kept_db, most_kept_db = (20 * asked[..., -i, np.newaxis] for i in (2, 1))
    wiener = (1 - 10 ** (-above_db / 10)).clip(LEAST_GAIN)
    certain = ramp(above_db, *CLEAR_DB) * ramp(kept_db, *PRESENT_DB)
    gains = learnt * (1 + ramp(noise_db, *HEARD_DB) * (wiener - 1))
    gains = gains + certain * (wiener - gains)
    # Steady, and not far below the voice: no louder than the network leaves its own band.
    steady = (1 - ramp(mean_above_db, *STEADY_DB)) * ramp(noise_db, *HISS_DB)
    return gains - steady * (gains - 10 ** (most_kept_db / 20)).clip(0)


def _with_past(past: Values, new: NDArray[np.floating]) -> tuple[Values, Values]:
    """All that is known, and what of it the next frames need."""
    known = np.concatenate([past, np.asarray(new, np.float32)], axis=1)
    return known, known[:, new.shape[1] :]


def _means(values: Values, width: int) -> Values:
    """Of every ``width`` frames, (channels, frames - width + 1, ...)."""
    count = values.shape[1] - width + 1
    means = np.zeros_like(values[:, :count])
    for i in range(width):
        means += values[:, i : i + count] / np.float32(width)
    return means


def _least(values: Values, width: int) -> Values:
    """The least of every ``width`` frames that are known, 0 where none is."""
    done = 1
    while done < width:  # windows that double
        step = min(done, width - done)
        values = np.fmin(values[:, :-step], values[:, step:])
        done += step
    return np.nan_to_num(values, nan=0.0)


def _decibels(power: Values, reference: Values | float, low: float, high: float) -> Values:
    ratio = (np.nan_to_num(power) + _TINY) / (np.asarray(reference) + _TINY)
    return np.asarray(np.clip(10 * np.log10(ratio), low, high), np.float32)


def ramp(value: Any, low: float, high: float) -> Any:
    """0 below the one, 1 above the other; of arrays and tensors."""
    return ((value - low) / (high - low)).clip(0, 1)


def _sigmoid(values: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-values)), np.float32)


@cache
def _weights() -> dict[str, Values]:
    """Weights, for products from the left, and biases."""
    try:
        with (resources.files("tinysignal") / "models" / WEIGHTS).open("rb") as file:
            return dict(np.load(file, allow_pickle=False))
    except (OSError, ValueError, BadZipFile) as error:  # it holds sums of its bytes
        raise ModelError("the gains above 8 kHz are damaged. Install tinysignal again.") from error


def _bands(bins_hz: NDArray[np.float64]) -> tuple[Values, Values]:
    """From bins to bands' mean power; from bands' gains to bins, with ramps at the edges."""
    pool = np.zeros((bins_hz.size, EDGES_HZ.size - 1), np.float32)
    for band, (low, high) in enumerate(pairwise(EDGES_HZ)):
        inside = (bins_hz >= low) & (bins_hz < high)
        pool[inside, band] = 1 / max(1, inside.sum())
    ramps_hz = _RAMP * np.diff(EDGES_HZ)
    flat_hz = np.stack([EDGES_HZ[:-1] + ramps_hz, EDGES_HZ[1:] - ramps_hz], axis=1).ravel()
    rows = np.repeat(np.eye(pool.shape[1]), 2, axis=1)
    spread = np.stack([np.interp(bins_hz, flat_hz, row) for row in rows])
    return pool, spread.astype(np.float32)
