"""What training minimises: functions of the estimated, the clean and the noisy magnitude.

All are float (batch, frames, freq); a loss is one number. `spectral` is of signals.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tinysignal.nets.stft import stft
from tinysignal.stft import StftSize

SI_SDR_WEIGHT = 0.2  # of a decibel, in `spectral`
_LEAST_LOST = 1e-3  # of the power: SI-SDR is 30 dB at most, or clean clips outweigh all others
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


def spectral(estimate: Tensor, clean: Tensor, noisy: Tensor, size: StftSize) -> Tensor:
    """Loss of signals, all at a noisy power of one: what is heard, its phase, and the waveform.

    Squared errors of compressed magnitudes and of compressed complex spectra, taken from the
    estimated *signal*, so that spectra which no signal has are not rewarded; the absolute error
    of samples; and the negative SI-SDR in dB of those clips that hold speech.

    Parameters
    ----------
    estimate, clean, noisy : float (batch, time)
    size : StftSize

    References
    ----------
    Braun and Tashev (2021), "A consolidated view of loss functions for supervised deep
    learning-based speech enhancement", eq. 5; Le Roux et al. (2019), "SDR, half-baked or well
    done?", eq. 6.
    """
    scale = 0.1 * torch.rsqrt(noisy.square().mean(dim=1, keepdim=True) + 1e-10)
    estimate, clean = estimate * scale, clean * scale
    found, true = (_compressed(stft(signal, size)) for signal in (estimate, clean))
    magnitude, real, imaginary = (
        torch.nn.functional.mse_loss(*pair) for pair in zip(found, true, strict=True)
    )
    parts = (real + imaginary) / 2
    waveform = (estimate - clean).abs().mean()
    ratio_db = _si_sdr_db(estimate, clean)
    return 3 * magnitude + 2.5 * parts + 2 * waveform - SI_SDR_WEIGHT * ratio_db


def _compressed(spectrum: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Magnitudes to the power 0.3, and real and imaginary parts of that length."""
    # Apart: sums over a last axis of two, here and in the gradient, cost most of the loss's time.
    real, imaginary = torch.view_as_real(spectrum).unbind(dim=3)
    power = real * real + imaginary * imaginary + 1e-8
    magnitude = power.pow(0.15)
    factor = magnitude * power.rsqrt()
    return magnitude, real * factor, imaginary * factor


def _si_sdr_db(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean over the clips that hold speech, each at most 30 dB; 0 where none does.

    The gradient of a clip grows as its error falls: at 50 dB it is fifty times that at 10 dB.
    """
    power = clean.square().sum(dim=1, keepdim=True)
    target = (estimate * clean).sum(dim=1, keepdim=True) / (power + 1e-8) * clean
    kept, lost = target.square().sum(dim=1), (estimate - target).square().sum(dim=1)
    # The floor goes with the target: an absolute one would reward loudness.
    ratio = (kept + 1e-6) / (lost + _LEAST_LOST * kept + 1e-6)
    holds = (power[:, 0] > 1e-4).to(ratio)
    return (10 * torch.log10(ratio) * holds).sum() / holds.sum().clamp_min(1)
