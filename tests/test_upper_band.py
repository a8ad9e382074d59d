"""Above the network's band: noise falls, speech stays, and no blocks are heard."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysignal import upper_band
from tinysignal.errors import ModelError
from tinysignal.stft import StftSize, istft, stft
from tinysignal.upper_band import UpperBand

RATE_HZ, SIZE, FIRST = 48_000, StftSize(1536, 384), 249
SILENT = 0.03  # what the network keeps of noise


def upper(lookahead_frames: int = 0) -> UpperBand:
    return UpperBand(SIZE, RATE_HZ, FIRST, 1, lookahead_frames)


def hiss(seconds: float = 3.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.01, round(seconds * RATE_HZ))


def sibilants() -> np.ndarray:
    """Hiss in five bursts of 100 ms, 30 dB above `hiss`, after a second."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    return hiss(seed=1) * 10 ** (30 / 20) * ((time_s > 1) & (time_s % 0.4 < 0.1))


def above(signal: np.ndarray) -> np.ndarray:
    return stft(signal[np.newaxis].astype(np.float32), SIZE)[:, :, FIRST:]


def heard(noisy: np.ndarray, clean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a network keeps of every frame that hears the same below, and the powers of its parts.

    Parameters
    ----------
    noisy, clean : complex64 (channels, frames, bins)
    """
    powers = [np.square(np.abs(s)).mean(axis=2) for s in (clean, noisy - clean)]
    left, taken = powers[0] + SILENT**2 * powers[1], powers[1]
    kept = np.sqrt(left / (powers[0] + taken + 1e-20))
    return kept.astype(np.float32), np.stack([left, taken], axis=2, dtype=np.float32)


def band_only(spectrum: np.ndarray) -> np.ndarray:
    whole = np.zeros((*spectrum.shape[:2], SIZE.bins), np.complex64)
    whole[:, :, FIRST:] = spectrum
    return istft(whole, SIZE, 3 * RATE_HZ)[0]


def test_hiss_falls_between_words_and_sibilants_stay() -> None:
    noisy, clean = above(hiss() + sibilants()), above(sibilants())
    found = upper()(noisy, *heard(noisy, clean))[0]
    time_s = np.arange(found.shape[0]) * SIZE.hop_samples / RATE_HZ
    within = np.abs(time_s - 1.25) < 0.02  # the first burst
    between = np.abs(time_s - 1.5) < 0.05
    assert found[within].min() > 0.9
    assert np.median(found[between]) < 10 ** (-12 / 20)


@pytest.mark.parametrize(("below_voice_db", "left"), [(30, (0, 0.04)), (90, (0.2, 1))])
def test_hiss_that_is_heard_falls_as_far_as_below(
    below_voice_db: float, left: tuple[float, float]
) -> None:
    clean = sibilants() * 10 ** ((below_voice_db - 30) / 20)
    noisy = above(hiss() + clean)
    found = upper()(noisy, *heard(noisy, above(clean)))[0]
    time_s = np.arange(found.shape[0]) * SIZE.hop_samples / RATE_HZ
    between = np.abs(time_s - 1.5) < 0.03
    assert left[0] <= np.median(found[between]) <= left[1]


@pytest.mark.parametrize(("kept", "most"), [(SILENT, 0.1), (1.0, 0.2)])
def test_steady_noise_falls_whether_or_not_somebody_speaks(kept: float, most: float) -> None:
    noisy = above(hiss())
    taken = np.square(np.abs(noisy)).mean(axis=2)
    inside = np.stack([np.maximum(kept**2, SILENT**2) * taken, taken], axis=2)
    found = upper()(noisy, np.full(noisy.shape[:2], kept, np.float32), inside)
    assert np.median(found[:, 60:]) < most


def test_before_its_noise_is_known_a_band_takes_what_the_network_keeps() -> None:
    noisy = above(hiss(0.2))
    kept, inside = heard(noisy, np.zeros_like(noisy))
    np.testing.assert_allclose(upper()(noisy, kept, inside), SILENT, rtol=1e-3)


@pytest.mark.parametrize("snr_db", [-5, 0, 10, 20, 30])
def test_no_band_gets_noisier_by_more_than_1_db(snr_db: float) -> None:
    speech = sibilants()
    noise = hiss(seed=2)
    noise *= 10 ** (-snr_db / 20) * np.sqrt(np.mean(speech**2) / np.mean(noise**2))
    spectra = [above(signal) for signal in (speech + noise, speech)]
    gain = upper()(spectra[0], *heard(*spectra))
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
    powers = np.stack([kept, 1 - kept], axis=2)
    whole = upper(lookahead)(spectrum, kept, powers)
    band, edges = upper(lookahead), [0, *sorted(cuts), spectrum.shape[1]]
    pieces = [
        band(spectrum[:, a:b], kept[:, a:b], powers[:, a:b]) for a, b in pairwise(edges) if b > a
    ]
    np.testing.assert_allclose(np.concatenate(pieces, axis=1), whole, atol=1e-4)


def test_gains_are_as_late_as_the_networks() -> None:
    spectrum = above(hiss() + sibilants())
    kept, powers = heard(spectrum, above(sibilants()))
    late = np.pad(kept, ((0, 0), (2, 0)))[:, :-2], np.pad(powers, ((0, 0), (2, 0), (0, 0)))[:, :-2]
    found = upper(2)(spectrum, *late)
    expected = upper()(spectrum, kept, powers)
    np.testing.assert_allclose(found[:, 2:], expected[:, :-2], atol=1e-4)


@pytest.mark.parametrize("level_db", [-40, 20])
def test_gains_do_not_depend_on_the_level(level_db: float) -> None:
    spectrum = above(hiss() + sibilants())
    kept, powers = heard(spectrum, above(sibilants()))
    factor = np.float32(10 ** (level_db / 20))
    found = upper()(spectrum * factor, kept, powers * factor**2)
    np.testing.assert_allclose(found, upper()(spectrum, kept, powers), atol=5e-3)


def test_silence_has_finite_gains() -> None:
    silence = above(np.zeros(RATE_HZ))
    assert np.isfinite(upper()(silence, *heard(silence, silence))).all()


@pytest.mark.parametrize("place", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_damaged_weights_are_noticed(
    place: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = Path(upper_band.__file__).parent / "models" / upper_band.WEIGHTS
    content = bytearray(weights.read_bytes())
    content[round(place * (len(content) - 1))] ^= 0xFF
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / upper_band.WEIGHTS).write_bytes(content)
    monkeypatch.setattr(upper_band.resources, "files", lambda package: tmp_path)
    upper_band._weights.cache_clear()
    try:
        with pytest.raises(ModelError, match="Install tinysignal again"):
            upper_band._weights()
    finally:
        upper_band._weights.cache_clear()
