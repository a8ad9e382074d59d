"""Log-mel patches: what does not change them, and the filters against an independent reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speech import speech_like
from tinysignal.errors import AudioFileError, SignalError
from tinysignal.mel import log_mel, mel_filters, read_patch
from tinysignal.spec import SoundInput

SPEC = SoundInput()


@given(gain_db=st.floats(-60, 20), seed=st.integers(0, 5))
def test_a_gain_changes_nothing(gain_db: float, seed: int) -> None:
    signal = speech_like(1.0, seed=seed)
    louder = (signal * 10 ** (gain_db / 20)).astype(np.float32)
    patch, other = (log_mel(s, sample_rate_hz=16_000, spec=SPEC) for s in (signal, louder))
    np.testing.assert_allclose(patch, other, atol=2e-4)  # float32 samples are rounded anew


def test_a_second_at_16_khz_fills_a_patch_from_0_to_1() -> None:
    patch = log_mel(speech_like(1.0), sample_rate_hz=16_000, spec=SPEC)
    assert patch.shape == SPEC.shape == (63, 40)
    assert patch.dtype == np.float32
    assert patch.min() >= 0
    assert patch.max() == 1


@pytest.mark.parametrize("samples", [1, 100, 16_000, 80_000])
def test_silence_is_a_constant(samples: int) -> None:
    patch = log_mel(np.zeros(samples, np.float32), sample_rate_hz=16_000, spec=SPEC)
    np.testing.assert_array_equal(patch, np.zeros(SPEC.shape))


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100])
def test_any_rate_gives_the_patch_of_the_model_s_rate(rate_hz: int) -> None:
    """Up to 3 kHz, which all of them hold."""
    time_s = np.arange(48_000) / 48_000
    sweep = np.sin(2 * np.pi * (300 + 1300 * time_s) * time_s).astype(np.float32)
    from tinysignal.audio.files import resample

    patches = [
        log_mel(resample(sweep, from_hz=48_000, to_hz=r), sample_rate_hz=r, spec=SPEC)
        for r in (16_000, rate_hz)
    ]
    loud = patches[0] > 0.5  # 40 dB below the peak, filters' slopes play a part
    assert loud.sum() > 100
    np.testing.assert_allclose(patches[1][loud], patches[0][loud], atol=0.02)


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000).astype(np.float32)
    patch = log_mel(tone, sample_rate_hz=16_000, spec=SPEC)
    filters = mel_filters(sample_rate_hz=16_000, window_samples=512, mels=40)
    assert patch[30].argmax() == filters[:, 32].argmax()  # bin 32 is 1000 Hz


def test_of_a_long_sound_the_loudest_stretch_is_taken() -> None:
    word = speech_like(1.0)[0]
    quiet = np.random.default_rng(0).normal(0, 1e-4, 5 * 16_000).astype(np.float32)
    patches = []
    for start in (16_384, 40_960):  # whole hops
        long = quiet.copy()
        long[start : start + word.size] += word
        patches.append(log_mel(long, sample_rate_hz=16_000, spec=SPEC))
    loud = patches[0] > 0.5
    np.testing.assert_allclose(patches[1][loud], patches[0][loud], atol=0.02)


def test_a_short_sound_is_in_the_middle() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 4800).astype(np.float32)
    patch = log_mel(noise, sample_rate_hz=16_000, spec=SPEC)
    frames = np.flatnonzero(patch.any(axis=1))
    assert abs(frames[0] - (62 - frames[-1])) <= 1


def test_channels_are_averaged() -> None:
    mono = speech_like(1.0)
    stereo = np.concatenate([0.5 * mono, 1.5 * mono])
    patches = [log_mel(s, sample_rate_hz=16_000, spec=SPEC) for s in (mono[0], stereo)]
    np.testing.assert_allclose(patches[0], patches[1], atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_refused(bad: float) -> None:
    signal = np.zeros(1000, np.float32)
    signal[5] = bad
    with pytest.raises(SignalError, match="NaN or infinite"):
        log_mel(signal, sample_rate_hz=16_000, spec=SPEC)


def test_filters_peak_where_slaney_s_scale_says() -> None:
    """Below 1 kHz bands are equally wide, above they grow by a constant factor; areas are equal."""
    filters = mel_filters(sample_rate_hz=16_000, window_samples=16_384, mels=40)
    hz = np.arange(filters.shape[1]) * 16_000 / 16_384
    peaks_hz = hz[filters.argmax(axis=1)]
    low, high = peaks_hz[peaks_hz < 900], peaks_hz[peaks_hz > 1100]
    np.testing.assert_allclose(np.diff(low), np.diff(low).mean(), atol=1.0)
    np.testing.assert_allclose(high[1:] / high[:-1], (high[1:] / high[:-1]).mean(), rtol=1e-3)
    np.testing.assert_allclose(filters.sum(axis=1) * hz[1], 1, rtol=1e-2)


def test_a_filter_reaches_to_the_middle_of_its_neighbours() -> None:
    filters = mel_filters(sample_rate_hz=16_000, window_samples=512, mels=40)
    hz = np.arange(257) * 31.25
    above = 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)
    mel = np.where(hz < 1000, hz * 3 / 200, above)  # as Slaney's toolbox has it
    step = (15 + 27 * np.log(8) / np.log(6.4)) / 41
    for band, filter_ in enumerate(filters):
        inside = (mel > band * step + 1e-9) & (mel < (band + 2) * step - 1e-9)
        np.testing.assert_array_equal(filter_ > 0, inside)


def test_a_file_is_read_at_any_rate_and_refused_by_name(tmp_path: Path) -> None:
    signal = speech_like(1.0)
    soundfile.write(tmp_path / "a.wav", signal.T, 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(
        read_patch(tmp_path / "a.wav", SPEC), log_mel(signal, sample_rate_hz=16_000, spec=SPEC)
    )
    (tmp_path / "b.wav").write_bytes(b"")
    with pytest.raises(AudioFileError, match=r"b\.wav"):
        read_patch(tmp_path / "b.wav", SPEC)
