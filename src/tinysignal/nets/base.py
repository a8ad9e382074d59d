"""What every denoising network is: magnitudes and state in, gain and state out."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from tinysignal.errors import ConfigError

State = tuple[Tensor, ...]

_SMALLEST = 1e-8  # magnitudes below this are digital silence


class DenoisingNet(nn.Module):
    """A network over magnitude spectra, the same code for training, export and streaming.

    Convolutions over time see the frames before a block through their state, which is zero at
    the start of a signal, so a block on its own is a signal from its start.

    Attributes
    ----------
    lookahead_frames : int
        Frame ``t`` of the output belongs to frame ``t - lookahead_frames`` of the input.
    receptive_field_frames : int
        Frames of input that one frame of output depends on; 0 for all before it.
    """

    lookahead_frames: int
    receptive_field_frames: int
    normalization: str

    @abstractmethod
    def initial_state(self, batch: int) -> State:
        """State at the start of a signal, zeros (batch, ...)."""

    @abstractmethod
    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Magnitude of the clean signal.

        Parameters
        ----------
        magnitude : float (batch, frames, freq)
        state : tuple of float (batch, ...)

        Returns
        -------
        float (batch, frames, freq), ``lookahead_frames`` late, and the next state
        """

    def gain(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """What to multiply the noisy spectrum by; arguments and shapes as `estimate`."""
        estimate, state = self.estimate(magnitude, state)
        return estimate / magnitude.clamp_min(_SMALLEST), state

    def forward(self, magnitude: Tensor) -> Tensor:
        """Magnitudes of the clean signal for whole signals, aligned with the input.

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
    """A causal denoising network with a memory, that sees phases and changes them.

    Parameters
    ----------
    lookahead_frames : int
        0: the network is causal.
    normalization : {"none", "running"}
        ``running`` divides by the running level, so that the recording's level does not matter.
    frames_per_s : float
        For the time constant of the running level.

    Raises
    ------
    ConfigError
        Look-ahead is asked for.
    """

    def __init__(self, lookahead_frames: int, normalization: str, frames_per_s: float) -> None:
        super().__init__()
        if lookahead_frames:
            raise ConfigError("networks with a complex mask are causal; look-ahead must be 0.")
        self.lookahead_frames = 0
        self.receptive_field_frames = 0
        self.normalization = normalization
        self.running = RunningLevel(2.0 * frames_per_s) if normalization == "running" else None

    @abstractmethod
    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """What to multiply the noisy spectrum by.

        Parameters
        ----------
        spectrum : float (batch, frames, freq, 2)
            Real and imaginary parts.
        state : tuple of float (batch, ...)

        Returns
        -------
        float (batch, frames, freq, 2), contiguous, and the next state
        """

    def forward(self, spectrum: Tensor) -> Tensor:
        """Spectra of the clean signal for whole signals, aligned with the input.

        Parameters
        ----------
        spectrum : float (batch, frames, freq, 2)
            Real and imaginary parts.

        Returns
        -------
        float (batch, frames, freq, 2)
        """
        mask, _ = self.complex_mask(spectrum, self._start(spectrum))
        given = torch.view_as_complex(spectrum.contiguous())
        return torch.view_as_real(given * torch.view_as_complex(mask))

    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        """Magnitude of the answer to a spectrum of phase zero; see `complex_mask` for any."""
        spectrum = torch.stack([magnitude, torch.zeros_like(magnitude)], dim=3)
        mask, state = self.complex_mask(spectrum, state)
        return magnitude * mask.square().sum(dim=3).sqrt(), state


class RunningLevel(nn.Module):
    """Root mean square of all frames so far, older ones forgotten with a time constant.

    A sum of powers and a sum of weights decay together, so the first frame already has a level,
    and what follows does not depend on the scale of the recording.
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
            Decayed sums of power and of weight.

        Returns
        -------
        float (batch, frames, 1), and the next state
        """
        power = magnitude.float().square().mean(dim=2)
        both = torch.stack([power, torch.ones_like(power)], dim=2)  # (batch, frames, 2)
        index = torch.arange(power.shape[1], device=power.device, dtype=torch.float32)
        age = index[:, None] - index[None, :]
        weight = torch.exp(-self.rate * age.clamp_min(0.0)) * (age >= 0)  # (frames, frames)
        carried = torch.exp(-self.rate * (index + 1))[None, :, None] * state[:, None, :]
        # einsum would run in bfloat16 under autocast; the level wants float32.
        with torch.autocast(power.device.type, enabled=False):
            sums = torch.matmul(weight, both) + carried
        level = torch.sqrt(sums[:, :, :1] / sums[:, :, 1:])
        return level.clamp_min(1e-6), sums[:, -1, :]


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
    # One product with both parts, and none of their quotients to differentiate.
    return mask * (torch.tanh(size).pow(1 / _EXPONENT) * size.reciprocal())
