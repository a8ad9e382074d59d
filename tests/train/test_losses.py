"""The loss of signals: least for clean ones, blind to levels, finite where nothing is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from speech import speech_like
from tinysignal.metrics.audio import si_sdr
from tinysignal.stft import StftSize
from tinysignal.train.losses import SI_SDR_WEIGHT, spectral

SIZE = StftSize(512, 256)


def speech(clips: int = 2) -> Tensor:
    """Float (clips, 8000), without a mean."""
    clean = np.concatenate([speech_like(0.5, seed=seed) for seed in range(clips)])
    return torch.from_numpy(clean - clean.mean(axis=1, keepdims=True))


def noise(clips: int = 2, *, seed: int = 0) -> Tensor:
    """White, about 5 dB below `speech`."""
    generator = torch.Generator().manual_seed(seed)
    return 0.03 * torch.randn(clips, 8000, generator=generator)


def loss(estimate: Tensor, clean: Tensor, noisy: Tensor) -> float:
    return float(spectral(estimate, clean, noisy, SIZE))


CLEAN, NOISE = speech(), noise()
NOISY = CLEAN + NOISE
ESTIMATES = {
    "noisy": NOISY,
    "silence": torch.zeros_like(CLEAN),
    "too quiet": 0.9 * CLEAN,
    "too loud": 1.1 * CLEAN,
    "upside down": -CLEAN,
    "a sample late": CLEAN.roll(1, dims=1),
    "at another time": CLEAN.roll(2000, dims=1),
    "a little noise left": CLEAN + 0.01 * NOISE,
    "a little noise added": CLEAN + 0.01 * noise(seed=1),
    "the noise": NOISE,
}


@pytest.mark.parametrize("estimate", ESTIMATES.values(), ids=ESTIMATES.keys())
def test_nothing_is_better_than_the_clean_signal(estimate: Tensor) -> None:
    assert loss(CLEAN, CLEAN, NOISY) < loss(estimate, CLEAN, NOISY) - 0.001


def test_the_less_noise_is_left_the_better() -> None:
    left = [loss(CLEAN + share * NOISE, CLEAN, NOISY) for share in (0, 0.01, 0.1, 0.3, 0.6, 1)]
    assert left == sorted(left)


@pytest.mark.parametrize("gain", [0.01, 10])
@pytest.mark.parametrize("estimate", [CLEAN, *ESTIMATES.values()], ids=["clean", *ESTIMATES])
def test_the_level_of_a_recording_does_not_matter(estimate: Tensor, gain: float) -> None:
    expected = loss(estimate, CLEAN, NOISY)
    found = loss(gain * estimate, gain * CLEAN, gain * NOISY)
    # At a hundredth, noisy speech is at -64 dBFS, and what bounds the gradients at -100 is felt.
    assert found == pytest.approx(expected, rel=0.02, abs=0.005)


SILENCE = torch.zeros(1, 8000)
WITHOUT_SPEECH = {
    "silent": (SILENCE, SILENCE),
    "noise only": (SILENCE, NOISE[:1]),
    "speech only": (CLEAN[:1], CLEAN[:1]),
    "mixed": (
        torch.cat([CLEAN[:1], SILENCE, SILENCE]),
        torch.cat([NOISY[:1], NOISE[:1], SILENCE]),
    ),
}


@pytest.mark.parametrize("estimated", ["nothing", "noisy", "half", "clean", "hum"])
@pytest.mark.parametrize(("clean", "noisy"), WITHOUT_SPEECH.values(), ids=list(WITHOUT_SPEECH))
def test_loss_and_gradients_are_finite_whatever_a_clip_holds(
    clean: Tensor, noisy: Tensor, estimated: str
) -> None:
    hum = torch.sin(torch.arange(8000) / 50).expand_as(noisy)
    choices = {"nothing": 0 * noisy, "noisy": noisy, "half": noisy / 2, "clean": clean, "hum": hum}
    estimate = choices[estimated].clone().requires_grad_()
    value = spectral(estimate, clean, noisy, SIZE)
    value.backward()
    assert estimate.grad is not None
    assert torch.isfinite(value)
    assert torch.isfinite(estimate.grad).all()


def test_noise_left_where_nobody_speaks_is_worse_than_silence() -> None:
    left = [loss(share * NOISE, 0 * NOISE, NOISE) for share in (0, 0.1, 0.5, 1)]
    assert left == sorted(left)
    assert left[0] < left[1]


def test_si_sdr_is_of_the_clips_that_hold_speech() -> None:
    """All else is a mean over clips, and SI-SDR one over those with speech, as if it were alone."""
    clean, noisy = torch.cat([CLEAN[:1], SILENCE]), torch.cat([NOISY[:1], NOISE[1:]])
    estimate = torch.cat([CLEAN[:1] + 0.3 * NOISE[:1], 0.5 * NOISE[1:]])
    alone = [loss(estimate[i : i + 1], clean[i : i + 1], noisy[i : i + 1]) for i in range(2)]
    ratio_db = float(si_sdr(estimate[:1].numpy(), clean[:1].numpy())[0])
    ratio_db = -10 * math.log10(10 ** (-ratio_db / 10) + 1e-3)  # 30 dB at most
    # Alone, the first clip has all of it; the mean of both would have half as much.
    expected = sum(alone) / 2 - SI_SDR_WEIGHT / 2 * ratio_db
    assert loss(estimate, clean, noisy) == pytest.approx(expected, abs=1e-3)
    assert SI_SDR_WEIGHT / 2 * ratio_db > 0.05  # a mean over both would be seen


@pytest.mark.parametrize("share", [0.001, 0.01, 0.03])
def test_a_nearly_clean_clip_does_not_outweigh_noisy_ones(share: float) -> None:
    def pull(share: float) -> float:
        estimate = (CLEAN + share * NOISE).requires_grad_()
        spectral(estimate, CLEAN, NOISY, SIZE).backward()
        assert estimate.grad is not None
        return float(estimate.grad.norm())

    assert pull(share) < 4 * pull(0.5)  # which is that of about 11 dB
