"""The loss made of DNSMOS's network says what DNSMOS says, and can be trained with."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from speech import speech_like
from tinysignal.errors import ConfigError
from tinysignal.metrics.audio import dnsmos
from tinysignal.metrics.dnsmos_networks import WINDOW_SAMPLES
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.opinion import OpinionLoss

pytest.importorskip("speechmos", reason="speechmos, which carries the weights, is not installed")
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def lost() -> OpinionLoss:
    return OpinionLoss(most_clips=3)


def clips(seconds: float) -> tuple[Tensor, Tensor]:
    """Speech in white noise of rising level, and clean, (3, time)."""
    clean = torch.from_numpy(speech_like(seconds, seed=2).astype(np.float32)).repeat(3, 1)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    return clean + torch.tensor([[0.0], [0.01], [0.1]]) * noise, clean


def test_it_has_the_opinion_of_dnsmos(lost: OpinionLoss) -> None:
    noisy, _ = clips(WINDOW_SAMPLES / RATE_HZ)
    noisy = noisy[:, :WINDOW_SAMPLES]
    expected = [dnsmos(x[None].numpy(), sample_rate_hz=RATE_HZ)[0][0] for x in noisy]
    assert lost.opinion(noisy).tolist() == pytest.approx(expected, abs=1e-3)
    assert expected[0] > expected[-1] + 0.5  # or equal ones would say nothing


def test_a_step_along_its_gradient_raises_the_opinion(lost: OpinionLoss) -> None:
    noisy, clean = clips(3)
    estimate = noisy.clone().requires_grad_()
    before = lost(estimate, clean)
    before.backward()
    assert estimate.grad is not None
    step = estimate.grad / estimate.grad.norm(dim=1, keepdim=True)
    assert lost(noisy - 0.05 * noisy.norm(dim=1, keepdim=True) * step, clean) < before - 0.01


def test_silent_estimates_have_finite_bounded_gradients(lost: OpinionLoss) -> None:
    _, clean = clips(3)
    for estimate in (torch.zeros_like(clean), 1e-6 * clean):
        estimate.requires_grad_()
        lost(estimate, clean).backward()
        assert estimate.grad is not None
        assert estimate.grad.isfinite().all()
        assert estimate.grad.norm(dim=1).max() < 100


def test_clips_without_speech_have_no_opinion_and_only_the_first_are_judged() -> None:
    noisy, clean = clips(3)
    lost = OpinionLoss(most_clips=1)
    clean[0] = 0
    assert lost(noisy, clean).item() == pytest.approx(5 - lost.opinion(noisy[1:2]).item(), abs=1e-4)
    assert lost(noisy, torch.zeros_like(clean)).item() == 0


def test_it_wants_signals_at_16_khz() -> None:
    with pytest.raises(ConfigError, match="DNSMOS is for 16000 Hz"):
        DenoiserConfig(
            clean="a", noise="b", steps=1, arch="lstm", opinion_weight=0.1, sample_rate_hz=48_000
        )
    with pytest.raises(ConfigError, match=r"opinion_weight is 0\.1 with arch linear"):
        DenoiserConfig(clean="a", noise="b", steps=1, arch="linear", opinion_weight=0.1)
