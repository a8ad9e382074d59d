"""What `benchmarks/upper_band.py` trains is what `tinysignal.upper_band` computes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the 'train' extra")

import torch

from benchmarks import upper_band as training
from tinysignal import upper_band
from tinysignal.stft import StftSize
from tinysignal.upper_band import BAND_FEATURES, EDGES_HZ, FEATURES, UpperBand

BANDS = EDGES_HZ.size - 1
WIDTH = BANDS * len(BAND_FEATURES) + len(FEATURES)


def test_the_numpy_form_of_the_network_gives_its_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head = training.Head(WIDTH, BANDS)
    asked = np.random.default_rng(0).normal(0, 1, (2, 50, WIDTH)).astype(np.float32)
    monkeypatch.setattr(upper_band, "_weights", head.arrays)
    band = UpperBand(StftSize(1536, 384), 48_000, 249, 2, 0)
    found = np.concatenate([band._answers(part, early=0) for part in np.split(asked, 2, 1)], axis=1)
    expected = head(torch.from_numpy(asked)).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_loss_is_the_snr_of_bands_and_the_level_of_noise_in_pauses() -> None:
    rng = np.random.default_rng(1)
    clean, noise = rng.normal(0, 1, (2, 1, 400, BANDS)).astype(np.float32)
    clean[:, 200:] = 0
    noise *= 0.3
    asked = np.zeros((1, 400, WIDTH), np.float32)  # noise as loud as the voice: heard
    data = {
        "asked": asked,
        "clean": clean**2,
        "noisy": (clean + noise) ** 2,
        "both": clean * (clean + noise),
        "paused": np.arange(400)[np.newaxis] >= 200,
    }
    gain = torch.ones(1, 400, BANDS)
    gain[:, 200:] = 0.1
    tensors = {name: torch.from_numpy(value) for name, value in data.items()}
    before, after, left = training.losses(gain, tensors)
    for found, errors in ((before, noise), (after, noise * gain.numpy())):  # within its bound
        snr_db = 10 * np.log10(np.sum(clean**2, 1) / np.sum(errors**2, 1))
        np.testing.assert_allclose(found, snr_db, atol=0.3)
    np.testing.assert_allclose(left, -20, atol=0.5)
