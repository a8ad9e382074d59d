"""Small networks; calibration data that lie near a plane, as real activations do."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture
def inputs() -> Tensor:
    """Correlated inputs with a mean, float (400, 24)."""
    generator = torch.Generator().manual_seed(1)
    few = torch.randn(400, 8, generator=generator)
    mixed = few @ torch.randn(8, 24, generator=generator)
    return mixed + 0.3 * torch.randn(400, 24, generator=generator) + 1.0


@pytest.fixture
def deep() -> nn.Sequential:
    """Four layers of 32 with ReLU, in training mode."""
    torch.manual_seed(0)
    sizes = [24, 32, 32, 32, 6]
    parts: list[nn.Module] = []
    for a, b in pairwise(sizes):
        parts += [nn.Linear(a, b), nn.ReLU()]
    net = nn.Sequential(*parts[:-1])
    with torch.no_grad():
        for part in net:
            if isinstance(part, nn.Linear):
                part.weight.mul_(2.0)
    return net
