"""Spectra of compressed magnitude, as ears have them: what masking networks see and mask."""

from __future__ import annotations

import torch
from torch import Tensor

from tinysignal.train.nets.base import RunningLevel

PARTS = 3  # of a bin: compressed magnitude, real and imaginary part
_EXPONENT = 0.3
# Keep the roots' gradients finite. As a bound: the exporter drops sums with numbers this small.
_SMALLEST_POWER, _SMALLEST_MASK = 1e-12, 1e-8


def compressed(
    spectrum: Tensor, running: RunningLevel | None, pasts: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Magnitude to the power 0.3, and the spectrum scaled to that, over the running level if any.

    Parameters
    ----------
    spectrum : float (batch, frames, freq, 2)
    running : RunningLevel or None
    pasts : list of Tensor
        The level's state is taken from its front.

    Returns
    -------
    float (batch, frames, freq, `PARTS`), and a list of the level's next state
    """
    magnitude = spectrum.square().sum(dim=3).clamp_min(_SMALLEST_POWER).sqrt()
    normalised, next_level = magnitude, []
    if running is not None:
        level, sums = running(magnitude, pasts.pop(0))
        next_level.append(sums)
        normalised = magnitude / level
    size = (normalised + 1e-4).pow(_EXPONENT)
    parts = spectrum * (size / magnitude)[..., None]
    return torch.cat([size[..., None], parts], dim=3), next_level


def uncompressed(mask: Tensor) -> Tensor:
    """A mask of compressed spectra, any size, as a mask of spectra, below 1; axis 2 is complex."""
    size = mask.square().sum(dim=2, keepdim=True).clamp_min(_SMALLEST_MASK).sqrt()
    bounded = torch.tanh(size)
    return mask / size * bounded.pow(1 / _EXPONENT)
