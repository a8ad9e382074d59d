"""The measure above 8 kHz: bands, SNR, pauses and the log-spectral distance."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.full_band import BANDS_HZ, RATE_HZ, by_band, decibels, distance_db, only, summary

HALF_S = RATE_HZ // 2


def speech() -> np.ndarray:
    """Hiss for half a second, and nothing for as long."""
    signal = np.random.default_rng(0).normal(0, 0.1, 2 * HALF_S)
    signal[HALF_S:] = 0
    return signal.astype(np.float32)


def noise() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.01, 2 * HALF_S).astype(np.float32)


def test_a_gain_shows_in_its_own_band_alone() -> None:
    clean = speech()
    noisy = clean + noise()
    low, high = BANDS_HZ[3]
    denoised = (noisy - 0.5 * only(noise(), low, high)).astype(np.float32)
    for (start, _), row in zip(BANDS_HZ, by_band(noisy, clean, denoised).values(), strict=True):
        halved = start == low
        assert row["noisy"] == pytest.approx(17, abs=0.6)
        assert row["denoised"] - row["noisy"] == pytest.approx(6.02 if halved else 0, abs=0.05)
        assert row["pauses"] == pytest.approx(-6.02 if halved else 0, abs=0.6)
        assert (row["distance"] < row["noisy_distance"] - 1) == halved


def test_distance_is_that_of_the_levels() -> None:
    levels = decibels(speech()[:HALF_S])
    assert distance_db(levels, levels) == 0
    assert distance_db(levels + 6, levels) == pytest.approx(6)
    assert distance_db(decibels(speech()[:HALF_S] / 2), levels) == pytest.approx(6.02, abs=0.01)


def test_summary_has_the_worst_change_and_leaves_out_files_without_pauses() -> None:
    rows = [
        {"all": dict.fromkeys(("noisy", "noisy_distance", "distance"), 5.0) | more}
        for more in ({"denoised": 9.0, "pauses": -10.0}, {"denoised": 4.0, "pauses": np.nan})
    ]
    found = summary(rows)["all"]
    assert (found["change"], found["worst"], found["pauses"]) == (1.5, -1.0, -10.0)
