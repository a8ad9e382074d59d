"""What training minimises: functions of the estimated, the clean and the noisy magnitude.

All are float (batch, frames, freq); a loss is one number.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_SMALLEST = 1e-5  # below -100 dB of a full-scale bin; keeps the root's gradient finite


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Mean squared error of magnitudes, the course's loss."""
    return torch.nn.functional.mse_loss(estimate, clean)


def compressed_mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Mean squared error of magnitudes to the power 0.3, closer to what is heard.

    References
    ----------
    Braun and Tashev (2021), "A consolidated view of loss functions for supervised deep
    learning-based speech enhancement", eq. 5.
    """
    return torch.nn.functional.mse_loss(
        (estimate + _SMALLEST).pow(0.3), (clean + _SMALLEST).pow(0.3)
    )


def mixed_mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """`mse`, which SI-SDR rewards, and `compressed_mse`, both at a noisy power of one.

    Loud and quiet clips count alike.
    """
    scale = torch.rsqrt(noisy.square().mean(dim=(1, 2), keepdim=True) + _SMALLEST**2)
    estimate, clean, noisy = estimate * scale, clean * scale, noisy * scale
    return mse(estimate, clean, noisy) + 3 * compressed_mse(estimate, clean, noisy)


LOSSES: dict[str, Loss] = {"mse": mse, "compressed": compressed_mse, "mixed": mixed_mse}
