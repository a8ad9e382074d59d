"""Noise made on the spot: finite, as loud as it says, and of the kinds that it says."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.train.data.synthetic import synthetic_noise

RATE_HZ = 16_000


@given(seed=st.integers(0, 1000))
def test_synthetic_noise_is_finite_and_differs(seed: int) -> None:
    noise = synthetic_noise(np.random.default_rng(seed), 8000, RATE_HZ)
    assert noise.shape == (8000,)
    assert noise.dtype == np.float32
    assert np.isfinite(noise).all()
    assert 0.1 < np.sqrt(np.square(noise).mean()) < 2
    other = synthetic_noise(np.random.default_rng(seed + 1), 8000, RATE_HZ)
    assert abs(np.corrcoef(noise, other)[0, 1]) < 0.5


def flatness(noise: np.ndarray) -> float:
    """Of the spectrum, against its neighbourhood: low for tones, about 0.56 for hiss."""
    power = np.square(np.abs(np.fft.rfft(noise * np.hanning(noise.size)))) + 1e-12
    groups = power[: power.size // 100 * 100].reshape(-1, 100)
    share = np.exp(np.log(groups).mean(1)) / groups.mean(1)
    return float((share * groups.sum(1)).sum() / groups.sum())


def crest(noise: np.ndarray) -> float:
    """The loudest 10 ms against the median, in dB."""
    power = np.square(noise[: noise.size // 160 * 160]).reshape(-1, 160).mean(1)
    return float(10 * np.log10(power.max() / np.median(power)))


def moves(noise: np.ndarray) -> bool:
    """Whether its strongest frequency changes from each fifth of a second to the next."""
    parts = noise[: noise.size // 3200 * 3200].reshape(-1, 3200)
    peaks_hz = np.abs(np.fft.rfft(parts * np.hanning(3200))).argmax(axis=1) * 5
    return bool(np.unique(peaks_hz).size > 3)


def test_some_of_it_is_notes_some_knocks_some_hum_some_hiss() -> None:
    noises = [synthetic_noise(np.random.default_rng(s), 3 * RATE_HZ, RATE_HZ) for s in range(60)]
    tonal = [noise for noise in noises if flatness(noise) < 0.4]
    rest = [noise for noise in noises if flatness(noise) >= 0.4]
    assert sum(moves(noise) for noise in tonal) > 6  # notes
    assert sum(not moves(noise) for noise in tonal) > 3  # hum
    assert sum(crest(noise) > 20 for noise in rest) > 6  # knocks
    assert sum(crest(noise) < 12 for noise in rest) > 12  # hiss
