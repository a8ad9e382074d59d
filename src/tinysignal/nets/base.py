"""Base classes of denoising networks: magnitudes and state in, gain and state out."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]

_SMALLEST = 1e-8  # magnitudes below this are digital silence


class DenoisingNet(nn.Module):
    """Network over magnitude spectra; training, export and streaming share its code.

    Layers over time get the frames before a block from their state, which is zero at the start of
    a signal.

    Attributes
    ----------
    lookahead_frames : int
        Delay: frame ``t`` of the output belongs to frame ``t - lookahead_frames`` of the input.
    receptive_field_frames : int
        Number of input frames that one output frame depends on; 0 for all earlier ones.
    normalization : {"none", "running"}
        Normalisation of the input by its running level.
    """

    lookahead_frames: int
    receptive_field_frames: int
    normalization: str

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """State at the start of a signal, zeros (batch, ...)."""

    @abstractmethod
    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Estimated magnitude of the clean signal.

        Parameters
        ----------
        magnitude : float (batch, frames, freq)
        state : tuple of float (batch, ...)

        Returns
        -------
        float (batch, frames, freq)
            Delayed by ``lookahead_frames``.
        tuple of float (batch, ...)
            The next state.
        """

    def gain(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Factor of the noisy spectrum; arguments and shapes as of `estimate`."""
        estimate, state = self.estimate(magnitude, state)
        return estimate / magnitude.clamp_min(_SMALLEST), state

    def forward(self, magnitude: Tensor) -> Tensor:
        """Estimated magnitudes of whole clean signals, aligned with the input.

        Parameters
        ----------
        magnitude : float (batch, frames, freq)

        Returns
        -------
        float (batch, frames, freq)
        """
        ahead = self.lookahead_frames
        padded = nn.functional.pad(magnitude, (0, 0, 0, ahead)) if ahead else magnitude
        estimate, _ = self.estimate(padded, self._start(magnitude))
        return estimate[:, ahead:]

    def _start(self, given: Tensor) -> State:
        return tuple(s.to(given.device) for s in self.initial_state(given.shape[0]))


class MaskingNet(DenoisingNet):
    """Recurrent denoising network with a complex mask, which changes phases too.

    Parameters
    ----------
    lookahead_frames : int
        Number of future frames; 0 is causal.
    normalization : {"none", "running"}
        ``running`` divides by the running level, which removes the level of the recording.
    frames_per_s : float
        Frame rate in Hz; sets the time constant of the running level, 2 s.
    """

    def __init__(self, lookahead_frames: int, normalization: str, frames_per_s: float) -> None:
        super().__init__()
        self.lookahead_frames = lookahead_frames
        self.receptive_field_frames = 0
        self.normalization = normalization
        self.running = RunningLevel(2.0 * frames_per_s) if normalization == "running" else None

    @abstractmethod
    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """Complex factor of the noisy spectrum.

        Parameters
        ----------
        spectrum : float (batch, frames, freq, 2)
            Real and imaginary parts.
        state : tuple of float (batch, ...)

        Returns
        -------
        float (batch, frames, freq, 2)
            Real and imaginary parts, contiguous; delayed by ``lookahead_frames``.
        tuple of float (batch, ...)
            The next state.
        """

    def forward(self, spectrum: Tensor) -> Tensor:
        """Estimated spectra of whole clean signals, aligned with the input.

        Parameters
        ----------
        spectrum : float (batch, frames, freq, 2)
            Real and imaginary parts.

        Returns
        -------
        float (batch, frames, freq, 2)
        """
        ahead = self.lookahead_frames
        padded = nn.functional.pad(spectrum, (0, 0, 0, 0, 0, ahead)) if ahead else spectrum
        mask, _ = self.complex_mask(padded, self._start(spectrum))
        mask = mask[:, ahead:].contiguous()
        given = torch.view_as_complex(spectrum.contiguous())
        return torch.view_as_real(given * torch.view_as_complex(mask))

    def gain(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Gain for a spectrum of phase zero; see `complex_mask` for any phase."""
        spectrum = torch.stack([magnitude, torch.zeros_like(magnitude)], dim=3)
        mask, state = self.complex_mask(spectrum, state)
        return mask.square().sum(dim=3).sqrt(), state

    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Estimated magnitude for a spectrum of phase zero."""
        gain, state = self.gain(magnitude, state)
        return gain * delayed(magnitude, self.lookahead_frames), state


def delayed(magnitude: Tensor, frames: int) -> Tensor:
    """Magnitudes (batch, frames, freq) that many frames later, after silence."""
    return nn.functional.pad(magnitude, (0, 0, frames, 0))[:, : magnitude.shape[1]]


class RunningLevel(nn.Module):
    """Root mean square of all frames so far with exponential forgetting.

    A sum of powers and a sum of weights decay together: the level is defined from the first frame
    on, and dividing by it removes the scale of the recording.

    Parameters
    ----------
    time_constant_frames : float
        Time constant of the decay in frames.
    """

    def __init__(self, time_constant_frames: float) -> None:
        super().__init__()
        self.rate = 1.0 / time_constant_frames

    def forward(self, magnitude: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Level of every frame.

        Parameters
        ----------
        magnitude : float (batch, frames, freq)
        state : float (batch, 2)
            Decayed sums of powers and of weights.

        Returns
        -------
        float (batch, frames, 1)
            Levels, at least 1e-6.
        float (batch, 2)
            The next state.
        """
        power = magnitude.float().square().mean(dim=2)
        both = torch.stack([power, torch.ones_like(power)], dim=2)  # (batch, frames, 2)
        index = torch.arange(power.shape[1], device=power.device, dtype=torch.float32)
        age = index[:, None] - index[None, :]
        weight = torch.exp(-self.rate * age.clamp_min(0.0)) * (age >= 0)  # (frames, frames)
        carried = torch.exp(-self.rate * (index + 1))[None, :, None] * state[:, None, :]
        # Not einsum, which runs in bfloat16 under autocast; the level needs float32.
        with torch.autocast(power.device.type, enabled=False):
            sums = torch.matmul(weight, both) + carried
        return level_of(sums), sums[:, -1, :]


def level_of(sums: Tensor) -> Tensor:
    """Levels (..., 1), at least 1e-6, of decayed sums of powers and of weights (..., 2)."""
    return torch.sqrt(sums[..., :1] / sums[..., 1:]).clamp_min(1e-6)


PARTS = 3  # features of a bin: compressed magnitude, real part, imaginary part
_EXPONENT = 0.3
# Lower bounds that keep the gradients of the roots finite. They are bounds and not added, because
# the exporter drops additions of numbers this small.
_SMALLEST_POWER, _SMALLEST_MASK = 1e-12, 1e-8


def compressed(
    spectrum: Tensor, running: RunningLevel | None, pasts: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Compressed spectrum: magnitude to the power 0.3, and the spectrum at that magnitude.

    Parameters
    ----------
    spectrum : float (batch, frames, freq, 2)
        Real and imaginary parts.
    running : RunningLevel or None
        Level by which magnitudes are divided first.
    pasts : list of Tensor
        States of the network; the state of the level is popped from the front.

    Returns
    -------
    float (batch, frames, freq, `PARTS`)
    list of float (batch, 2)
        The next state of the level; empty without one.
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
    """Mask of spectra, of magnitude below 1, from an unbounded mask of compressed spectra.

    Parameters
    ----------
    mask : float (batch, frames, 2, ...)
        Real and imaginary parts on axis 2.
    """
    size = mask.square().sum(dim=2, keepdim=True).clamp_min(_SMALLEST_MASK).sqrt()
    # One product with both parts, and none of their quotients to differentiate.
    return mask * (torch.tanh(size).pow(1 / _EXPONENT) * size.reciprocal())
