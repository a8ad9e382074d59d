"""What every denoiser keeps to: the bundled ones, and one without training that has a state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinysignal import Denoiser, SignalError
from tinysignal.model import bundled_models, read_spec

RATES_HZ = (8_000, 16_000, 44_100)


BUNDLED = [name for name in bundled_models() if read_spec(name).task == "denoise"]


@pytest.fixture(scope="module", params=[*BUNDLED, "onset"])
def denoiser(request: pytest.FixtureRequest, onset_model: Path) -> Denoiser:
    """Every model there is."""
    return Denoiser.load(onset_model if request.param == "onset" else request.param)


def signal(channels: int, samples: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Tone bursts in noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples)
    tone = 0.2 * np.sin(time * 0.1) * (np.sin(time * 0.0004) > 0)
    return (tone + rng.normal(0, 0.05, (channels, samples))).astype(np.float32)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("channel_mode", ["shared", "independent"])
def test_stream_is_offline_for_any_block_sizes(
    denoiser: Denoiser, rate_hz: int, channel_mode: str
) -> None:
    @given(sizes=st.lists(st.integers(0, 5000), max_size=8), seed=st.integers(0, 9))
    @example(sizes=[1280, 1729, 5000], seed=4)  # at a rounding boundary of an 8-bit LSTM
    @settings(max_examples=5, deadline=None)
    def check(sizes: list[int], seed: int) -> None:
        noisy = signal(2, sum(sizes) + 1000, seed=seed)
        options = {"sample_rate_hz": rate_hz, "channel_mode": channel_mode}
        stream = denoiser.stream(channels=2, **options)
        cuts = np.cumsum(sizes)
        blocks = [stream.feed(b) for b in np.split(noisy, cuts, axis=1)]
        streamed = np.concatenate([*blocks, stream.flush()], axis=1)
        np.testing.assert_allclose(streamed, denoiser(noisy, **options), atol=1e-6)

    check()


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_no_sample_depends_on_what_comes_after_the_latency(
    denoiser: Denoiser, rate_hz: int
) -> None:
    noisy = signal(1, 2 * rate_hz)
    changed, at = noisy.copy(), rate_hz + 123
    changed[:, at:] = signal(1, noisy.shape[1] - at, seed=5)
    known = at - denoiser.stream(sample_rate_hz=rate_hz).latency_samples
    before, after = (denoiser(x, sample_rate_hz=rate_hz) for x in (noisy, changed))
    np.testing.assert_allclose(before[:, :known], after[:, :known], atol=1e-6)
    assert not np.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_samples_come_out_within_the_latency(denoiser: Denoiser, rate_hz: int) -> None:
    stream = denoiser.stream(sample_rate_hz=rate_hz)
    fed = given_back = 0
    for block in np.array_split(signal(1, rate_hz), 97, axis=1):
        fed += block.shape[1]
        given_back += stream.feed(block).shape[1]
        assert fed - given_back <= stream.latency_samples


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_shape_and_length_are_those_of_the_input(denoiser: Denoiser, channels: int) -> None:
    for samples in (channels, 100, 4097):
        output = denoiser(signal(channels, samples), sample_rate_hz=16_000)
        assert output.shape == (channels, samples)
        assert output.dtype == np.float32


def test_silence_stays_silent_and_loud_stays_finite(denoiser: Denoiser) -> None:
    silent = denoiser(np.zeros((1, 16_000), np.float32), sample_rate_hz=16_000)
    assert not silent.any()
    clipped = np.sign(signal(1, 16_000))
    for loud in (clipped, clipped * 1e6, clipped * 1e-6):
        assert np.isfinite(denoiser(loud, sample_rate_hz=16_000)).all()


def test_two_equal_channels_give_what_one_gives(denoiser: Denoiser) -> None:
    mono = signal(1, 8000)
    one = denoiser(mono, sample_rate_hz=16_000)
    both = denoiser(np.repeat(mono, 2, axis=0), sample_rate_hz=16_000)
    np.testing.assert_allclose(both, np.repeat(one, 2, axis=0), atol=1e-5)


def test_reset_forgets_the_signal_before(denoiser: Denoiser) -> None:
    stream = denoiser.stream(sample_rate_hz=16_000)
    stream.feed(signal(1, 9000, seed=3))
    stream.reset()
    noisy = signal(1, 6000)
    again = np.concatenate([stream.feed(noisy), stream.flush()], axis=1)
    np.testing.assert_allclose(again, denoiser(noisy, sample_rate_hz=16_000), atol=1e-6)


@pytest.mark.parametrize(
    ("array", "rate_hz", "message"),
    [
        (np.full((1, 99), np.nan, np.float32), 16_000, "NaN"),
        (np.zeros((16_000, 2), np.float32), 16_000, r"\(16000, 2\)"),
        (np.zeros((1, 99), np.int16), 16_000, "int16"),
        (np.zeros((1, 99), np.float32), 999, "999 Hz"),
        (np.zeros((1, 0), np.float32), 16_000, "no samples"),
    ],
)
def test_what_is_no_signal_is_refused_by_name(
    denoiser: Denoiser, array: NDArray[np.float32], rate_hz: int, message: str
) -> None:
    with pytest.raises(SignalError, match=message):
        denoiser(array, sample_rate_hz=rate_hz)
