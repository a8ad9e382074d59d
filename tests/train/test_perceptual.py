"""The loss made after PESQ ranks as PESQ does, and its gradients can be trained with."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from speech import speech_like
from tinysignal.audio.files import resample
from tinysignal.errors import SignalError
from tinysignal.train.pesq import PesqLoss

RATE_HZ = 16_000
SNRS_DB = (-5, 0, 5, 10, 20, 30)


@pytest.fixture(scope="module")
def lost() -> PesqLoss:
    return PesqLoss(sample_rate_hz=RATE_HZ)


def mixtures(seed: int = 0) -> tuple[Tensor, Tensor]:
    """The same 3 s of speech in white noise at each of SNRS_DB, and clean, (6, time)."""
    clean = speech_like(3, seed=seed)
    noise = np.random.default_rng(100 + seed).normal(size=clean.shape)
    noise *= np.sqrt((clean**2).mean() / (noise**2).mean())
    noisy = np.concatenate([clean + noise * 10 ** (-snr / 20) for snr in SNRS_DB])
    return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(clean).repeat(6, 1)


def gradient(lost: PesqLoss, estimate: Tensor, clean: Tensor) -> Tensor:
    estimate = estimate.clone().requires_grad_()
    lost(estimate, clean).sum().backward()
    assert estimate.grad is not None
    return estimate.grad


def test_more_noise_loses_more_points(lost: PesqLoss) -> None:
    points = lost(*mixtures())
    assert points.shape == (6,)
    assert (points.diff() < -0.05).all()
    assert points[0] < 5.9


def test_a_signal_loses_nothing_to_itself(lost: PesqLoss) -> None:
    _, clean = mixtures()
    assert lost(clean, clean).max() < 1e-3
    assert lost.mos(clean, clean).min() > 4.6


@pytest.mark.parametrize("gain", [0.2, 0.9, 5.0])
def test_the_level_of_either_signal_does_not_count(lost: PesqLoss, gain: float) -> None:
    noisy, clean = mixtures()
    torch.testing.assert_close(lost(gain * noisy, clean), lost(noisy, clean), atol=1e-3, rtol=0)
    torch.testing.assert_close(lost(noisy, gain * clean), lost(noisy, clean), atol=1e-3, rtol=0)


def test_a_clip_without_speech_neither_counts_nor_teaches(lost: PesqLoss) -> None:
    noisy, clean = mixtures()
    clean[:3] = 0
    points = lost(noisy, clean)
    assert (points[:3] == 0).all()
    assert (points[3:] > 0).all()
    slope = gradient(lost, noisy, clean)
    assert (slope[:3] == 0).all()
    assert (slope[3:].norm(dim=1) > 0).all()


def test_silence_identity_and_tiny_levels_have_finite_gradients(lost: PesqLoss) -> None:
    _, clean = mixtures()
    estimates = [0 * clean[0], clean[0], 1e-6 * clean[0], -clean[0], 1e3 * clean[0]]
    slope = gradient(lost, torch.stack(estimates), clean[:5])
    assert slope.isfinite().all()
    silent = torch.zeros(2, RATE_HZ)
    assert lost(silent, silent).tolist() == [0, 0]
    assert gradient(lost, silent, silent).isfinite().all()


def test_almost_silent_estimates_have_bounded_gradients(lost: PesqLoss) -> None:
    noisy, clean = mixtures()
    usual = gradient(lost, noisy, clean).norm(dim=1)
    # Were every level aligned, it would grow as 1 / gain.
    assert (gradient(lost, 1e-6 * noisy, clean).norm(dim=1) < 1e4 * usual).all()


@pytest.mark.parametrize("samples", [1, 300, 512, 5000])
def test_short_clips_are_scored(lost: PesqLoss, samples: int) -> None:
    noisy, clean = mixtures()
    start = 1600  # within a syllable
    clip = slice(start, start + samples)
    assert lost(noisy[:, clip], clean[:, clip]).isfinite().all()
    assert gradient(lost, noisy[:, clip], clean[:, clip]).isfinite().all()


def test_a_step_against_the_gradient_helps(lost: PesqLoss) -> None:
    noisy, clean = mixtures()
    slope = gradient(lost, noisy, clean)
    size = 0.001 * noisy.norm(dim=1, keepdim=True) / slope.norm(dim=1, keepdim=True)
    assert (lost(noisy - size * slope, clean) < lost(noisy, clean)).all()


def test_half_precision_around_it_changes_nothing(lost: PesqLoss) -> None:
    noisy, clean = mixtures()
    with torch.autocast("cpu", torch.bfloat16):
        points = lost(noisy, clean)
    assert points.dtype == torch.float32
    torch.testing.assert_close(points, lost(noisy, clean))


def test_other_rates_agree_with_16_khz(lost: PesqLoss) -> None:
    noisy, clean = mixtures()
    for rate_hz in (44_100, 48_000):
        there = PesqLoss(sample_rate_hz=rate_hz)
        raised = (
            torch.from_numpy(resample(s.numpy(), from_hz=RATE_HZ, to_hz=rate_hz))
            for s in (noisy, clean)
        )
        torch.testing.assert_close(there(*raised), lost(noisy, clean), atol=0.1, rtol=0)


def test_low_rates_are_refused() -> None:
    with pytest.raises(SignalError, match="8000 Hz"):
        PesqLoss(sample_rate_hz=8000)


def test_it_adds_nothing_to_a_checkpoint_and_can_be_copied(lost: PesqLoss) -> None:
    assert not lost.state_dict()
    noisy, clean = mixtures()
    copied = pickle.loads(pickle.dumps(lost))
    torch.testing.assert_close(copied(noisy, clean), lost(noisy, clean))


def test_it_agrees_with_pesq(lost: PesqLoss) -> None:
    pesq = pytest.importorskip("pesq", reason="needs the 'eval' extra")
    expected, found = [], []
    for seed in range(3):
        noisy, clean = mixtures(seed)
        muffled = torch.nn.functional.avg_pool1d(noisy, 5, stride=1, padding=2)
        for estimate in (noisy, muffled):
            found += lost.mos(estimate, clean).tolist()
            pairs = zip(clean.numpy(), estimate.numpy(), strict=True)
            expected += [pesq.pesq(RATE_HZ, c, e, "wb") for c, e in pairs]
    ranks = (np.argsort(np.argsort(scores)) for scores in (expected, found))
    assert np.corrcoef(*ranks)[0, 1] > 0.95
    assert np.corrcoef(expected, found)[0, 1] > 0.95
    assert np.abs(np.subtract(expected, found)).mean() < 0.2
