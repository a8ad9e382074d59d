"""The STFT against a definition written out frame by frame, and its streams against it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysignal.stft import IstftStream, StftSize, StftStream, istft, stft

SIZES = st.builds(
    lambda hop, even: StftSize(2 * even * hop, hop), st.integers(1, 300), st.integers(1, 4)
)


def white(channels: int, samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.3, (channels, samples)).astype(np.float32)


def cut(signal: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    """The signal in blocks of those lengths, over and over."""
    blocks, start = [], 0
    while start < signal.shape[1]:
        for length in lengths:
            blocks.append(signal[:, start : start + length])
            start += length
    return blocks


def stft_by_definition(signal: np.ndarray, size: StftSize) -> np.ndarray:
    """Frame t: the Fourier sum over samples [t*hop - overlap, t*hop + hop), zero outside."""
    window_samples, hop = size.window_samples, size.hop_samples
    n = np.arange(window_samples)
    hann = np.sin(np.pi * n / window_samples) ** 2
    fourier = np.exp(-2j * np.pi * np.outer(n, np.arange(window_samples // 2 + 1)) / window_samples)
    frames = []
    for t in range(size.frames(signal.shape[1])):
        positions = t * hop - (window_samples - hop) + n
        inside = (positions >= 0) & (positions < signal.shape[1])
        frame = np.where(inside, signal[:, np.clip(positions, 0, signal.shape[1] - 1)], 0)
        frames.append((frame * hann).astype(np.float64) @ fourier)
    return np.stack(frames, axis=1)


@settings(deadline=None)
@given(size=SIZES, samples=st.integers(1, 5000), channels=st.integers(1, 2))
def test_the_inverse_gives_the_signal_back_at_any_length_and_size(
    size: StftSize, samples: int, channels: int
) -> None:
    signal = white(channels, samples)
    spectrum = stft(signal, size)
    assert spectrum.dtype == np.complex64
    assert spectrum.shape == (channels, size.frames(samples), size.bins)
    back = istft(spectrum, size, samples)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, signal, atol=1e-5)


@pytest.mark.parametrize("size", [StftSize(64, 32), StftSize(48, 12), StftSize(60, 10)])
@pytest.mark.parametrize("samples", [1, 47, 500])
def test_frames_equal_the_definition(size: StftSize, samples: int) -> None:
    signal = white(2, samples)
    np.testing.assert_allclose(stft(signal, size), stft_by_definition(signal, size), atol=1e-5)


@pytest.mark.parametrize("size", [StftSize(512, 256), StftSize(512, 128), StftSize(600, 100)])
def test_every_sample_lies_in_window_over_hop_frames(size: StftSize) -> None:
    """So the first and the last sample are denoised with as much context as any other."""
    overlap, hop = size.overlap_samples, size.hop_samples
    for samples in (1, hop - 1, hop, hop + 1, 1000):
        starts = np.arange(size.frames(samples)) * hop - overlap
        for position in (0, samples - 1):
            covered = (starts <= position) & (position < starts + size.window_samples)
            assert covered.sum() == size.window_samples // hop


def test_a_sine_on_a_bin_peaks_there_with_half_the_window_sum() -> None:
    size = StftSize(512, 128)
    tone = np.cos(2 * np.pi * 40 / 512 * np.arange(4096), dtype=np.float32)[np.newaxis]
    magnitude = np.abs(stft(tone, size))[0, 16]  # a frame wholly inside
    assert magnitude.argmax() == 40
    assert magnitude[40] == pytest.approx(512 / 4, rel=1e-4)  # amplitude / 2 * sum of Hann = N/2


@settings(deadline=None)
@given(
    size=SIZES,
    samples=st.integers(1, 3000),
    lengths=st.lists(st.integers(0, 700), min_size=1, max_size=6).filter(any),
)
def test_blocks_of_any_length_give_the_offline_frames(
    size: StftSize, samples: int, lengths: list[int]
) -> None:
    signal = white(2, samples)
    stream = StftStream(size, 2)
    streamed = np.concatenate([stream.feed(block) for block in cut(signal, lengths)], axis=1)
    offline = stft(signal, size)
    # What is left needs the zeros after the signal, which only its end can tell.
    assert streamed.shape[1] == samples // size.hop_samples
    np.testing.assert_allclose(streamed, offline[:, : streamed.shape[1]], atol=1e-5)


@settings(deadline=None)
@given(
    size=SIZES,
    samples=st.integers(1, 3000),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6).filter(any),
)
def test_frames_in_groups_of_any_length_give_the_offline_samples(
    size: StftSize, samples: int, lengths: list[int]
) -> None:
    spectrum = stft(white(2, samples), size)
    stream = IstftStream(size, 2)
    streamed = np.concatenate([stream.feed(group) for group in cut(spectrum, lengths)], axis=1)
    assert streamed.shape[1] >= samples
    offline = istft(spectrum, size, samples)
    np.testing.assert_allclose(streamed[:, :samples], offline, atol=1e-5)


def test_an_empty_signal_has_no_frames() -> None:
    size = StftSize(512, 256)
    assert stft(np.zeros((2, 0), np.float32), size).shape == (2, 0, 257)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 32_000, 48_000, 96_000, 192_000])
def test_a_bin_is_the_same_frequency_at_every_multiple_of_8_khz(rate_hz: int) -> None:
    size = StftSize.at_rate(
        window_samples=512, hop_samples=256, model_rate_hz=16_000, sample_rate_hz=rate_hz
    )
    assert rate_hz / size.window_samples == 16_000 / 512
    assert size.window_samples / size.hop_samples == 2


@pytest.mark.parametrize("rate_hz", [22_050, 44_100, 88_200])
def test_a_bin_is_within_six_hundredths_of_a_percent_elsewhere(rate_hz: int) -> None:
    size = StftSize.at_rate(
        window_samples=512, hop_samples=256, model_rate_hz=16_000, sample_rate_hz=rate_hz
    )
    assert rate_hz / size.window_samples == pytest.approx(16_000 / 512, rel=6e-4)


@given(
    hop=st.integers(1, 512),
    even=st.integers(1, 4),
    model_rate_hz=st.integers(4_000, 48_000),
    rate_hz=st.integers(4_000, 192_000),
)
def test_any_rate_keeps_the_window_an_even_number_of_hops(
    hop: int, even: int, model_rate_hz: int, rate_hz: int
) -> None:
    size = StftSize.at_rate(
        window_samples=2 * even * hop,
        hop_samples=hop,
        model_rate_hz=model_rate_hz,
        sample_rate_hz=rate_hz,
    )
    assert size.hop_samples >= 1
    assert size.window_samples == 2 * even * size.hop_samples
