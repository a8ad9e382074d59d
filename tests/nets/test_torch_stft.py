"""The torch STFT is the numpy STFT."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tinysignal.nets import stft as twin
from tinysignal.stft import StftSize, istft, stft

SIZES = [StftSize(1024, 512), StftSize(512, 256), StftSize(512, 128), StftSize(2822, 1411)]


@pytest.mark.parametrize("size", SIZES)
@given(samples=st.integers(1, 6000), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_torch_and_numpy_agree(size: StftSize, samples: int, seed: int) -> None:
    signal = np.random.default_rng(seed).normal(0, 0.3, (2, samples)).astype(np.float32)
    expected = stft(signal, size)
    spectrum = twin.stft(torch.from_numpy(signal), size)
    np.testing.assert_allclose(spectrum.numpy(), expected, atol=1e-4)
    changed = expected * np.linspace(0.1, 1, size.bins, dtype=np.float32)
    np.testing.assert_allclose(
        twin.istft(torch.from_numpy(changed), size, samples).numpy(),
        istft(changed, size, samples),
        atol=1e-5,
    )


def test_gradients_flow_through_both_transforms() -> None:
    size = StftSize(256, 128)
    signal = torch.randn(1, 1000, requires_grad=True)
    twin.istft(twin.stft(signal, size), size, 1000).sum().backward()
    # The round trip is the identity, so the sum's gradient is one everywhere.
    torch.testing.assert_close(signal.grad, torch.ones(1, 1000), atol=1e-4, rtol=0)
