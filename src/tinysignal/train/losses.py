"""Losses of denoisers, of magnitudes and of signals.

A loss of magnitudes is a Tensor () from the estimated, the clean and the noisy magnitudes, each
float (batch, frames, freq). `spectral` is a loss of signals.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tinysignal.nets.stft import stft
from tinysignal.stft import StftSize

SI_SDR_WEIGHT = 0.2  # weight of a decibel in `spectral`
_LEAST_LOST = 1e-3  # relative error power; caps SI-SDR at 30 dB, or clean clips would dominate
_SMALLEST = 1e-5  # below -100 dB of a full-scale bin; keeps the gradient of the power finite


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Mean squared error of magnitudes, the loss of the course."""
    return torch.nn.functional.mse_loss(estimate, clean)


def compressed_mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Mean squared error of magnitudes to the power 0.3, which is closer to loudness.

    References
    ----------
    Braun and Tashev (2021), "A consolidated view of loss functions for supervised deep
    learning-based speech enhancement", eq. 5.
    """
    return torch.nn.functional.mse_loss(
        (estimate + _SMALLEST).pow(0.3), (clean + _SMALLEST).pow(0.3)
    )


def mixed_mse(estimate: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
    """Sum of `mse` and 3 times `compressed_mse` after scaling each clip to a noisy power of 1.

    The scaling gives loud and quiet clips equal weight; `mse` favours SI-SDR.
    """
    scale = torch.rsqrt(noisy.square().mean(dim=(1, 2), keepdim=True) + _SMALLEST**2)
    estimate, clean, noisy = estimate * scale, clean * scale, noisy * scale
    return mse(estimate, clean, noisy) + 3 * compressed_mse(estimate, clean, noisy)


LOSSES: dict[str, Loss] = {"mse": mse, "compressed": compressed_mse, "mixed": mixed_mse}


def spectral(estimate: Tensor, clean: Tensor, noisy: Tensor, size: StftSize) -> Tensor:
    """Loss of signals: compressed spectra, samples and SI-SDR.

    Each clip is scaled to a noisy root mean square of 0.1. With the compressed spectrum
    ``C = |X|^0.3 X / |X|`` of a signal, the loss is ``3 mean((|C'| - |C|)^2) + 2.5 mean(|C' - C|^2)
    + 2 mean(|x' - x|) - 0.2 SI-SDR``; the second mean is over real and imaginary parts, and SI-SDR
    in dB is the mean over clips with speech. Spectra are computed from the estimated *signal*,
    because not every spectrum belongs to a signal.

    Parameters
    ----------
    estimate, clean, noisy : float (batch, time)
    size : StftSize
        STFT of the spectra.

    Returns
    -------
    Tensor ()

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
    """Magnitudes to the power 0.3, and real and imaginary parts of these magnitudes."""
    # Separate parts: sums over a last axis of two would take most of the time of the loss.
    real, imaginary = torch.view_as_real(spectrum).unbind(dim=3)
    power = real * real + imaginary * imaginary + 1e-8
    magnitude = power.pow(0.15)
    factor = magnitude * power.rsqrt()
    return magnitude, real * factor, imaginary * factor


def _si_sdr_db(estimate: Tensor, clean: Tensor) -> Tensor:
    """Mean SI-SDR in dB of the clips with speech, each at most 30 dB; 0 without such clips.

    Unlike `tinysignal.metrics.si_sdr`, it keeps the means and has floors. The cap is needed
    because the gradient of a clip grows as its error falls.
    """
    power = clean.square().sum(dim=1, keepdim=True)
    target = (estimate * clean).sum(dim=1, keepdim=True) / (power + 1e-8) * clean
    kept, lost = target.square().sum(dim=1), (estimate - target).square().sum(dim=1)
    # The floor is relative to the target; an absolute one would favour loud estimates.
    ratio = (kept + 1e-6) / (lost + _LEAST_LOST * kept + 1e-6)
    holds = (power[:, 0] > 1e-4).to(ratio)
    return (10 * torch.log10(ratio) * holds).sum() / holds.sum().clamp_min(1)
