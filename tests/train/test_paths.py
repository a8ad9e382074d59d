"""From a source to a recording: each step does what it says, and the clean signal goes with it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.paths import (
    CODECS,
    clipped,
    coded,
    level_jumps,
    low_pass,
    microphone,
    passed,
)
from tinysignal.train.data.recordings import Clip

RATE_HZ = 16_000
PLAIN = MixOptions(
    filter_db=0, low_pass_share=0, second_noise_share=0, noise_only_share=0, clean_only_share=0
)
Signal = NDArray[np.float32]


def tone(freq_hz: float, seconds: float = 1.0) -> Signal:
    return np.sin(2 * np.pi * freq_hz * np.arange(seconds * RATE_HZ) / RATE_HZ).astype(np.float32)


def hiss(seconds: float = 1.0, seed: int = 0) -> Signal:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def lowered_db(after: Signal, before: Signal) -> float:
    powers = [float(np.square(s, dtype=float).mean()) for s in (before, after)]
    return float(10 * np.log10(powers[0] / powers[1]))


def mixtures(**options: object) -> Mixtures:
    speech = [Clip((9000 * tone(200 + 50 * i, 2)).astype(np.int16), f"{i}") for i in range(5)]
    noise = [Clip((9000 * hiss(2, seed=i)).astype(np.int16), f"{i}") for i in range(3)]
    return Mixtures(
        speech, noise, MixOptions(**{**vars(PLAIN), "snr_db": (0, 0), **options}),
        sample_rate_hz=RATE_HZ, clip_samples=RATE_HZ, batch=6, steps_per_epoch=1, seed=0,
    )  # fmt: skip


def test_a_filter_keeps_what_it_passes() -> None:
    (kept,) = passed(tone(1000) + tone(7500), RATE_HZ, [low_pass(3000)])
    np.testing.assert_allclose(kept, tone(1000), atol=1e-4)


def test_without_filters_and_rooms_a_signal_stays_as_it_is() -> None:
    signal = hiss()
    (same,) = passed(signal, RATE_HZ, [])
    assert same is signal


def test_filters_and_rooms_act_together_and_nothing_wraps_around() -> None:
    rooms = [np.array([1.0]), np.r_[np.zeros(100), 0.5]]
    signal = hiss()
    direct, late = passed(signal, RATE_HZ, [lambda freq_hz: np.full(freq_hz.size, 2.0)], rooms)
    np.testing.assert_allclose(direct, 2 * signal, atol=1e-5)
    np.testing.assert_allclose(late[100:], signal[:-100], atol=1e-5)
    assert np.abs(late[:100]).max() < 1e-5


@pytest.mark.parametrize("seed", range(8))
def test_a_microphone_cuts_the_lows_and_bounds_its_gain(seed: int) -> None:
    gains = microphone(np.random.default_rng(seed))
    found_db = 20 * np.log10(gains(np.array([0.0, 5.0, 1000.0, 2500.0])) + 1e-12)
    assert found_db[0] < found_db[1] < -3
    assert np.abs(found_db[2:]).max() < 9


@pytest.mark.parametrize("seed", range(8))
def test_a_level_control_jumps_within_15_db_and_holds(seed: int) -> None:
    gain_db = 20 * np.log10(level_jumps(np.random.default_rng(seed), 3 * RATE_HZ, RATE_HZ))
    assert gain_db[0] == pytest.approx(0, abs=1e-3)
    assert 2.9 < np.abs(gain_db).max() < 15.1
    assert (np.abs(np.diff(gain_db)) < 1e-6).mean() > 0.7  # moves for 3 x 0.2 of 3 s at most


def test_clipping_is_flat_at_the_top_and_nothing_below() -> None:
    samples = tone(100)
    cut = clipped(np.random.default_rng(0), samples)
    limit = np.abs(cut).max()
    assert 0.25 <= limit <= 0.9
    below = np.abs(samples) < limit
    np.testing.assert_array_equal(cut[below], samples[below])
    assert np.unique(np.abs(cut[~below])).size == 1


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("seed", range(3))
def test_a_codec_loses_something_and_is_not_late(
    codec: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinysignal.train.data.paths.CODECS", {codec: CODECS[codec]})
    before = 3 * passed(hiss(2), RATE_HZ, [low_pass(2000)])[0] * (tone(3, 2) > 0)
    after = coded(np.random.default_rng(seed), before, RATE_HZ)
    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert 5 < lowered_db(after - before, before) < 60
    match = np.fft.irfft(np.fft.rfft(after) * np.conj(np.fft.rfft(before)))
    assert match.argmax() == 0


def test_codec_and_silence() -> None:
    for seed in range(6):
        after = coded(np.random.default_rng(seed), np.zeros(8000, np.float32), RATE_HZ)
        assert np.abs(after).max() < 1e-4


def test_what_a_microphone_and_a_level_control_do_is_no_noise() -> None:
    for share in ("microphone_share", "jump_share"):
        noisy, clean = mixtures(**{share: 1.0}, clean_only_share=1.0).batch(0)
        np.testing.assert_allclose(noisy, clean, atol=1e-5)


def test_what_clipping_and_a_codec_do_is_noise() -> None:
    for share in ("clip_share", "code_share"):
        noisy, clean = mixtures(**{share: 1.0}, clean_only_share=1.0).batch(0)
        changed = np.abs(noisy - clean).max(axis=1)
        assert (changed > 1e-3).all()
