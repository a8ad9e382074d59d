"""The task of networks with a complex mask."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch

from tinysignal.nets import LstmNet
from tinysignal.stft import StftSize
from tinysignal.train.denoising.modules import WaveformModule
from tinysignal.train.pesq import PesqLoss
from tinysignal.train.residual import ResidualLoss, Terms

SIZE = StftSize(512, 256)


def test_pesq_is_added_with_its_weight(pair_files: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    net = LstmNet(bins=SIZE.bins, width=8, frames_per_s=62.5)
    plain = WaveformModule(net, SIZE, learning_rate=1e-3)
    heard = WaveformModule(net, SIZE, learning_rate=1e-3, pesq_weight=0.5)
    clean, noisy = (
        torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None] for path in pair_files
    )
    lost = PesqLoss(sample_rate_hz=16_000)(plain.denoise(noisy), clean).mean()
    assert lost > 0.1
    added = heard.losses(noisy, clean)["loss"] - plain.losses(noisy, clean)["loss"]
    assert added == pytest.approx(0.5 * float(lost), rel=1e-4)
    heard.training_step((noisy, clean), 0).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


def test_what_is_left_and_what_is_gone_are_added_with_their_weights(
    pair_files: tuple[Path, Path],
) -> None:
    torch.manual_seed(0)
    net = LstmNet(bins=SIZE.bins, width=8, frames_per_s=62.5)
    plain = WaveformModule(net, SIZE, learning_rate=1e-3)
    weights = Terms(0.5, 0.02, 0.03)
    weighed = WaveformModule(net, SIZE, learning_rate=1e-3, weights=weights)
    clean, noisy = (
        torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None] for path in pair_files
    )
    terms = ResidualLoss(sample_rate_hz=16_000)(plain.denoise(noisy), clean, noisy)
    expected = sum(w * float(t) for w, t in zip(weights, terms, strict=True))
    assert expected > 0.1
    added = weighed.losses(noisy, clean)["loss"] - plain.losses(noisy, clean)["loss"]
    assert added == pytest.approx(expected, rel=1e-3)
