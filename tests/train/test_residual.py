"""Noise that is left and speech that is gone, each measured in decibels where it matters."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tinysignal.train.residual import ResidualLoss, half_erb_bands

RATE_HZ = 16_000
LOST = ResidualLoss(sample_rate_hz=RATE_HZ)


def hiss(seed: int = 0, seconds: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(2, round(seconds * RATE_HZ), generator=generator)


def spoken() -> Tensor:
    """Speech-like: harmonics of 150 Hz for half a second, half a second of silence, and again."""
    time_s = torch.arange(2 * RATE_HZ) / RATE_HZ
    tones = sum(torch.sin(2 * torch.pi * 150 * k * time_s) / k for k in range(1, 20))
    return (0.1 * tones * (time_s % 1 < 0.5)).expand(2, -1)


NOISE, SPEECH = hiss(), spoken()
NOISY = SPEECH + NOISE


@pytest.mark.parametrize("gain_db", [-40.0, -20.0, -6.0])
def test_what_is_left_of_noise_alone_is_its_level_over_45_db_below_it(gain_db: float) -> None:
    left = LOST(10 ** (gain_db / 20) * NOISE, 0 * NOISE, NOISE).residual_db
    assert float(left) == pytest.approx(45 + gain_db, abs=1.5)


def test_45_db_less_noise_is_enough() -> None:
    assert float(LOST(0 * NOISE, 0 * NOISE, NOISE).residual_db) == 0
    left = LOST(10 ** (-60 / 20) * NOISE, 0 * NOISE, NOISE).residual_db
    assert float(left) < 0.2


def test_the_clean_signal_loses_nothing() -> None:
    for term in LOST(SPEECH, SPEECH, NOISY):
        assert float(term) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("gain_db", [-12.0, -3.0])
def test_what_is_gone_of_clean_speech_is_its_fall(gain_db: float) -> None:
    terms = LOST(10 ** (gain_db / 20) * SPEECH, SPEECH, SPEECH)
    assert float(terms.removed_db) == pytest.approx(-gain_db, abs=0.6)
    assert float(terms.residual_db) == pytest.approx(0, abs=1e-3)


def test_noise_in_pauses_counts_and_noise_during_speech_hardly() -> None:
    pauses = (SPEECH == 0).float()
    in_pauses = LOST(SPEECH + 0.3 * NOISE * pauses, SPEECH, NOISY)
    in_speech = LOST(SPEECH + 0.3 * NOISE * (1 - pauses), SPEECH, NOISY)
    assert float(in_pauses.residual_db) > 2 * float(in_speech.residual_db)


def test_noise_just_before_an_onset_counts_less() -> None:
    """So that a network may open in time."""
    begin = RATE_HZ
    near, far = torch.zeros_like(NOISE), torch.zeros_like(NOISE)
    near[:, begin - 480 : begin] = 1
    far[:, begin - 4480 : begin - 4000] = 1
    left = [float(LOST(SPEECH + NOISE * at, SPEECH, NOISY).residual_db) for at in (near, far)]
    assert left[0] < 0.6 * left[1]


@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_the_level_of_a_recording_does_not_matter(gain: float) -> None:
    estimate = 0.9 * SPEECH + 0.2 * NOISE
    expected = LOST(estimate, SPEECH, NOISY)
    found = LOST(gain * estimate, gain * SPEECH, gain * NOISY)
    assert [float(t) for t in found] == pytest.approx([float(t) for t in expected], rel=1e-2)


@pytest.mark.parametrize("clean", [SPEECH, 0 * SPEECH], ids=["speech", "silence"])
@pytest.mark.parametrize("noise", [NOISE, 0 * NOISE], ids=["noise", "no noise"])
@pytest.mark.parametrize("gain", [0.0, 1e-4, 1.0])
def test_terms_and_gradients_are_finite(clean: Tensor, noise: Tensor, gain: float) -> None:
    estimate = (gain * (clean + noise)).requires_grad_()
    terms = LOST(estimate, clean, clean + noise)
    sum(terms).backward()  # type: ignore[union-attr]
    assert all(torch.isfinite(term) for term in terms)
    assert estimate.grad is not None
    assert torch.isfinite(estimate.grad).all()


def test_bands_are_means_and_get_wider() -> None:
    bands = half_erb_bands(1024, RATE_HZ)
    torch.testing.assert_close(bands.sum(dim=0), torch.ones(bands.shape[1]))
    sizes = (bands > 0).sum(dim=0)
    assert sizes[0] == 1
    assert sizes[-2] > 20
    torch.testing.assert_close(torch.ones(4, 513) @ bands, torch.ones(4, bands.shape[1]))
