"""An offset or rumble below hearing changes nothing of what is heard, and other signals pass."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech import speech_like
from tinysignal.denoiser import Denoiser
from tinysignal.subsonic import SubsonicStream

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load()


def talk(level_dbfs: float, seconds: float = 6.0) -> np.ndarray:
    """Speech with noise 20 dB below it, (1, time)."""
    speech = speech_like(seconds)
    speech *= 10 ** (level_dbfs / 20) / np.sqrt(np.mean(speech**2))
    noise = np.random.default_rng(0).normal(0, 10 ** ((level_dbfs - 20) / 20), speech.shape)
    return (speech + noise).astype(np.float32)


def parts(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What lies below and above 40 Hz, by an ideal filter, without the ends."""
    spectrum = np.fft.rfft(signal[0])
    low = np.where(np.fft.rfftfreq(signal.shape[1], 1 / RATE_HZ) < 40, spectrum, 0)
    middle = slice(RATE_HZ // 2, -RATE_HZ // 2)
    below = np.fft.irfft(low, signal.shape[1])
    return below[middle], (signal[0] - below)[middle]


def power_db(signal: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(signal, dtype=np.float64))))


@pytest.mark.parametrize("offset", [0.01, 0.05, -0.2])
@pytest.mark.parametrize("level_dbfs", [-56, -26])
def test_speech_on_an_offset_comes_out_as_without_it(
    denoiser: Denoiser, level_dbfs: float, offset: float
) -> None:
    signal = talk(level_dbfs)
    plain = denoiser(signal, sample_rate_hz=RATE_HZ)
    lifted = denoiser(signal + np.float32(offset), sample_rate_hz=RATE_HZ)
    thumps, heard = parts(lifted - plain)
    assert power_db(heard) < power_db(plain) - (50 if abs(offset) > 0.01 else 35)
    assert np.abs(thumps).max() < 1e-3


@pytest.mark.parametrize("frequency_hz", [1, 5, 10])
def test_loud_rumble_below_hearing_neither_quietens_speech_nor_comes_and_goes(
    denoiser: Denoiser, frequency_hz: float
) -> None:
    signal = talk(-56)
    rumble = 0.05 * np.sin(2 * np.pi * frequency_hz * np.arange(signal.shape[1]) / RATE_HZ)
    plain = denoiser(signal, sample_rate_hz=RATE_HZ)
    shaken = denoiser((signal + rumble).astype(np.float32), sample_rate_hz=RATE_HZ)
    assert power_db(parts(shaken)[1]) == pytest.approx(power_db(parts(plain)[1]), abs=0.5)
    assert power_db(parts(shaken)[0]) < power_db(rumble) - 40


def test_an_offset_that_sets_in_is_soon_gone(denoiser: Denoiser) -> None:
    signal = talk(-40)
    lifted = signal + np.float32(0.1) * (np.arange(signal.shape[1]) > 2 * RATE_HZ)
    change = denoiser(lifted, sample_rate_hz=RATE_HZ) - denoiser(signal, sample_rate_hz=RATE_HZ)
    later = change[0, 4 * RATE_HZ :]
    assert power_db(later) < power_db(signal) - 25


def test_the_offset_stays_in_what_is_kept_of_the_input(denoiser: Denoiser) -> None:
    signal = talk(-40) + np.float32(0.05)
    kept = denoiser(signal, sample_rate_hz=RATE_HZ, mix=0.25)
    assert np.mean(kept) == pytest.approx(0.75 * 0.05, rel=1e-2)
    same = denoiser(signal, sample_rate_hz=RATE_HZ, mix=0)
    np.testing.assert_array_equal(same, signal)


@pytest.mark.parametrize("signal", [talk(-26), np.zeros((1, 5000), np.float32)])
def test_other_signals_pass_bit_for_bit(signal: np.ndarray) -> None:
    """But for the first hops, whose mean may be an offset for all that is known."""
    stream = SubsonicStream(256, RATE_HZ, 1)
    passed = np.concatenate([stream.feed(signal), stream.flush()], axis=1)
    np.testing.assert_array_equal(passed[:, 1600:], signal[:, 1600:])
    np.testing.assert_allclose(passed, signal, atol=3e-3)


@given(
    lengths=st.lists(st.integers(0, 2000), min_size=1, max_size=8).filter(any),
    offset=st.sampled_from([0.0, 0.3]),
    samples=st.integers(1, 6000),
)
def test_any_blocks_give_the_same(lengths: list[int], offset: float, samples: int) -> None:
    rng = np.random.default_rng(0)
    shake = np.sin(np.arange(samples) / 300)
    signal = (rng.normal(0, 0.01, (2, samples)) + offset + [[0], [1]] * shake).astype(np.float32)
    whole, blocks = (SubsonicStream(256, RATE_HZ, 2) for _ in range(2))
    expected = np.concatenate([whole.feed(signal), whole.flush()], axis=1)
    pieces, start = [], 0
    while start < samples:
        for length in lengths:
            pieces.append(blocks.feed(signal[:, start : start + length]))
            start += length
    np.testing.assert_allclose(
        np.concatenate([*pieces, blocks.flush()], axis=1), expected, atol=1e-7
    )
    assert expected.shape == signal.shape
