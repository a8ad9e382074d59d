"""Channels that share a sound keep its place; those that do not are as good as alone."""

from __future__ import annotations

import numpy as np
import pytest

from speech import speech_like
from tinysignal.denoiser import Denoiser
from tinysignal.metrics import si_sdr

RATE_HZ = 16_000


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.load()


def noise(seed: int, level: float, samples: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, (1, samples))


def recording(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy, (2, time)."""
    speech = speech_like(6)
    samples = speech.shape[1]
    first, second = noise(1, 0.02, samples), noise(2, 0.02, samples)
    silent = np.zeros_like(speech)
    clean, added = {
        "cancelling": ([speech, -speech], [first, -first]),
        "cancelling, noises apart": ([speech, -speech], [first, second]),
        "noise": ([speech, silent], [first, second]),
        "loud noise": ([speech, silent], [first, 10 * second]),
        "silent": ([speech, silent], [first, silent]),
    }[kind]
    target = np.concatenate(clean)
    return target, (target + np.concatenate(added)).astype(np.float32)


@pytest.mark.parametrize(
    "kind", ["cancelling", "cancelling, noises apart", "noise", "loud noise", "silent"]
)
def test_channels_without_an_image_come_out_as_good_as_independent(
    denoiser: Denoiser, kind: str
) -> None:
    target, noisy = recording(kind)
    shared = denoiser(noisy, sample_rate_hz=RATE_HZ)
    apart = denoiser(noisy, sample_rate_hz=RATE_HZ, channel_mode="independent")
    heard = target.any(axis=1)
    assert (si_sdr(shared[heard], target[heard]) > si_sdr(apart[heard], target[heard]) - 0.3).all()
    for one, other in zip(shared[~heard], apart[~heard], strict=True):
        settled = slice(RATE_HZ, None)
        assert np.mean(one[settled] ** 2) <= 1.1 * np.mean(other[settled] ** 2)


@pytest.mark.parametrize("right", [0.3, -0.3])
def test_a_voice_keeps_its_place(denoiser: Denoiser, right: float) -> None:
    """With noises of the channels' own that would each sway an independent gain."""
    speech = speech_like(6)
    own = np.concatenate([noise(seed, 0.004, speech.shape[1]) for seed in (1, 2)])
    noisy = (np.concatenate([speech, right * speech]) + own).astype(np.float32)

    def sway_db(**options: str) -> float:
        """By how much the voice's side changes in time."""
        frames = denoiser(noisy, sample_rate_hz=RATE_HZ, **options)[:, : 6 * RATE_HZ]
        frames = frames.reshape(2, -1, 800)
        loud = np.sum(frames**2, axis=(0, 2))
        loud = loud > 0.3 * loud.max()
        ratio = np.sum(frames[1] ** 2, axis=1)[loud] / np.sum(frames[0] ** 2, axis=1)[loud]
        return float(np.std(10 * np.log10(ratio)))

    assert sway_db() < 0.2
    assert sway_db() < sway_db(channel_mode="independent")


@pytest.mark.parametrize("exponent", [-45, -40, -38, -35, -30, -25, -20, -15])
def test_sounds_too_faint_for_float32_stay_finite(denoiser: Denoiser, exponent: int) -> None:
    # Decoders fade in from such values: a file of Opus failed.
    faint = (10.0**exponent * np.random.default_rng(0).normal(size=(2, 8000))).astype(np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(denoiser(faint, sample_rate_hz=16_000)).all()
