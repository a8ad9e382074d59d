"""Above the network's band: noise falls, speech stays, and no blocks are heard."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.stft import StftSize, istft, stft
from tinysignal.upper_band import UpperBand

RATE_HZ, SIZE, FIRST = 48_000, StftSize(1536, 384), 249
SPOKEN, SILENT = 1.0, 0.03  # what the network keeps of the magnitude


def upper(lookahead_frames: int = 0) -> UpperBand:
    return UpperBand(SIZE, RATE_HZ, FIRST, 1, lookahead_frames)


def hiss(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, round(seconds * RATE_HZ))


def sibilants() -> np.ndarray:
    """Hiss in five bursts of 100 ms, 30 dB above `hiss`, after a second."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    spoken = (time_s > 1) & (time_s % 0.4 < 0.1)
    return hiss(seed=1) * 10 ** (30 / 20) * spoken


def above(signal: np.ndarray) -> np.ndarray:
    return stft(signal[np.newaxis].astype(np.float32), SIZE)[:, :, FIRST:]


def gains(signal: np.ndarray, kept: float) -> np.ndarray:
    spectrum = above(signal)
    return upper()(spectrum, np.full(spectrum.shape[:2], kept, np.float32))


def band_only(spectrum: np.ndarray) -> np.ndarray:
    whole = np.zeros((*spectrum.shape[:2], SIZE.bins), np.complex64)
    whole[:, :, FIRST:] = spectrum
    return istft(whole, SIZE, 3 * RATE_HZ)[0]


def test_where_nobody_speaks_the_band_falls_as_the_networks_own() -> None:
    assert np.median(gains(hiss(), SILENT)) == pytest.approx(SILENT, rel=0.01)


def test_steady_noise_falls_beside_speech_by_20_db_at_most() -> None:
    found = gains(hiss(), SPOKEN)[:, 60:]
    assert found.min() == pytest.approx(0.1, rel=1e-3)
    assert np.median(found) < 0.2


@pytest.mark.parametrize("kept", [SPOKEN, 0.2, SILENT])
def test_what_rises_far_above_its_noise_stays(kept: float) -> None:
    signal = hiss() + sibilants()
    found = gains(signal, kept)[0]
    place = round(1.25 * RATE_HZ / SIZE.hop_samples)  # within the first burst
    assert found[place].min() > 0.9


@pytest.mark.parametrize("snr_db", [-5, 0, 10, 20, 30])
def test_no_band_gets_noisier_by_more_than_1_db(snr_db: float) -> None:
    speech = sibilants()
    noise = hiss(seed=2)
    noise *= 10 ** (-snr_db / 20) * np.sqrt(np.mean(speech**2) / np.mean(noise**2))
    spectra = [above(signal) for signal in (speech + noise, speech)]
    gain = upper()(spectra[0], np.full(spectra[0].shape[:2], SPOKEN, np.float32))
    noisy, clean, found = (band_only(s) for s in (*spectra, spectra[0] * gain))
    before, after = (
        10 * np.log10(np.sum(clean**2) / np.sum((s - clean) ** 2)) for s in (noisy, found)
    )
    assert after > before - 1
    assert after > before + (2 if snr_db <= 20 else 0)


@given(cuts=st.lists(st.integers(0, 300), max_size=6), lookahead=st.integers(0, 3))
def test_any_blocks_give_the_same(cuts: list[int], lookahead: int) -> None:
    spectrum = above(hiss() + sibilants())
    kept = np.random.default_rng(0).uniform(0.01, 1, spectrum.shape[:2]).astype(np.float32)
    whole = upper(lookahead)(spectrum, kept)
    band, edges = upper(lookahead), [0, *sorted(cuts), spectrum.shape[1]]
    pieces = [band(spectrum[:, a:b], kept[:, a:b]) for a, b in pairwise(edges) if b > a]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-4)


def test_gains_are_as_late_as_the_networks() -> None:
    spectrum = above(hiss() + sibilants())
    kept = np.ones(spectrum.shape[:2], np.float32)
    late = upper(2)(spectrum, kept)
    np.testing.assert_allclose(late[:, 2:], upper()(spectrum, kept)[:, :-2], atol=1e-4)


def test_silence_has_finite_gains() -> None:
    assert np.isfinite(gains(np.zeros(RATE_HZ), SPOKEN)).all()
