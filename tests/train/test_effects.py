"""Effects on sound, each against what it is said to do."""

from __future__ import annotations

import numpy as np
import pytest

from tinysignal.stft import StftSize, stft
from tinysignal.train.data.effects import changed_speed, crossed, varied
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Clip

RATE_HZ = 16_000
PLAIN = MixOptions(
    filter_db=0, low_pass_share=0, second_noise_share=0, noise_only_share=0, clean_only_share=0
)


def tone(freq_hz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * freq_hz * np.arange(seconds * RATE_HZ) / RATE_HZ).astype(np.float32)


def peak_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(spectrum.argmax() * RATE_HZ / samples.size)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
def test_speed_changes_pitch_and_length(factor: float) -> None:
    changed = changed_speed(tone(1000), factor)
    assert changed.size == pytest.approx(RATE_HZ / factor, abs=2)
    assert peak_hz(changed) == pytest.approx(1000 * factor, abs=2)
    assert changed.dtype == np.float32


def mixtures(**shares: float) -> Mixtures:
    """Speakers are tones of their own, the noise is silence with one click."""
    speech = [
        Clip((9000 * tone(200 + 50 * i, 2)).astype(np.int16), f"speaker {i}") for i in range(20)
    ]
    noise = np.zeros(2 * RATE_HZ, np.int16)
    noise[::4000] = 9000
    options = MixOptions(**{**vars(PLAIN), "snr_db": (0, 0), **shares})
    return Mixtures(
        speech, [Clip(noise, "clicks")], options,
        sample_rate_hz=RATE_HZ, clip_samples=RATE_HZ, batch=4, steps_per_epoch=1, seed=0,
    )  # fmt: skip


def tones_in(samples: np.ndarray) -> int:
    """How many of the speakers' tones stand out."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    levels = spectrum[200:1200:50]
    return int((levels > 0.2 * levels.max()).sum())


def test_babble_is_many_talkers() -> None:
    noisy, clean = mixtures(babble_share=1.0).batch(0)
    for row in noisy - clean:
        assert 4 <= tones_in(row) <= 12  # 6 to 12, some of them twice
    noisy, clean = mixtures().batch(0)
    assert all(np.abs(row).max() > 20 * np.median(np.abs(row)) for row in noisy - clean)


def test_speakers_change_their_pitch() -> None:
    def off_pitch(**shares: float) -> float:
        peaks = [peak_hz(row) for n in range(3) for row in mixtures(**shares).batch(n)[1]]
        return float(np.mean([abs(hz - 50 * round(hz / 50)) > 2 for hz in peaks]))

    assert off_pitch() == 0
    assert off_pitch(speed_share=1.0) > 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_varied_noise_has_another_level_at_every_time_and_frequency(seed: int) -> None:
    noise = np.random.default_rng(9).standard_normal(3 * RATE_HZ).astype(np.float32)
    changed = varied(np.random.default_rng(seed), noise, RATE_HZ)
    assert changed.shape == noise.shape
    assert changed.dtype == np.float32
    before, after = (
        np.square(np.abs(stft(s[None], StftSize(512, 256))))[0] for s in (noise, changed)
    )
    gains_db = 10 * np.log10([
        [band.sum() for band in np.array_split(part, 8, axis=1)]
        for spectrum in (after, before)
        for part in np.array_split(spectrum, 12)
    ]).reshape(2, 12, 8)  # fmt: skip
    gain_db = gains_db[0] - gains_db[1]
    assert np.abs(gain_db).max() < 15.5
    assert np.std(gain_db, axis=0).mean() > 0.5  # in time
    assert np.std(gain_db, axis=1).mean() > 0.5  # in frequency


def test_a_noise_of_silence_stays_silent() -> None:
    silence = np.zeros(RATE_HZ, np.float32)
    np.testing.assert_array_equal(varied(np.random.default_rng(0), silence, RATE_HZ), silence)
    np.testing.assert_array_equal(crossed(silence, tone(500)), silence)


def test_a_crossed_noise_has_the_texture_of_one_and_the_levels_of_the_other() -> None:
    rng = np.random.default_rng(0)
    hiss = rng.standard_normal(2 * RATE_HZ).astype(np.float32)
    low_then_high = np.concatenate([tone(500), tone(5000)])
    noise = crossed(hiss, 0.01 * low_then_high)
    assert noise.shape == hiss.shape
    assert noise.dtype == np.float32
    assert np.square(noise).mean() == pytest.approx(1, rel=1e-4)
    low, high = noise[2000:14_000], noise[18_000:30_000]
    assert 400 < peak_hz(low) < 700
    assert 4500 < peak_hz(high) < 5500
    for part, centre_hz in ((low, 500), (high, 5000)):
        power = np.square(np.abs(np.fft.rfft(part)))
        freq_hz = np.fft.rfftfreq(part.size, 1 / RATE_HZ)
        near = np.abs(freq_hz - centre_hz) < 0.4 * centre_hz + 200
        assert power[near].sum() > 0.9 * power.sum()
        assert power.max() < 0.1 * power.sum()  # still a hiss, no tone


@pytest.mark.parametrize(
    "share",
    [
        "room_share",
        "noise_room_share",
        "microphone_share",
        "jump_share",
        "clip_share",
        "code_share",
        "synthetic_share",
        "vary_share",
        "cross_share",
    ],
)
def test_an_effect_changes_the_mixture(share: str) -> None:
    plain, changed = mixtures().batch(0)[0], mixtures(**{share: 1.0}).batch(0)[0]
    assert changed.shape == plain.shape
    assert np.isfinite(changed).all()
    assert not np.allclose(plain, changed, atol=1e-3)
