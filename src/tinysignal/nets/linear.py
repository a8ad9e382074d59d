"""Fully connected denoising network on single frames, as in the course."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinysignal.errors import ConfigError
from tinysignal.nets.base import DenoisingNet, RunningLevel, State

_FIRST_OUTPUT = 0.1


class LinearNet(DenoisingNet):
    """Three fully connected layers on one frame: freq, width, width, freq, ReLU after each.

    The defaults at 513 bins are exactly the network of the course's exercise.

    Parameters
    ----------
    bins : int
        Number of frequency bins of a frame.
    width : int
        Units of both hidden layers.
    normalization : {"none", "running"}
        ``running`` divides by the running level before the first layer and multiplies by it after
        the last, which removes the level of the recording, and bounds the estimate by the noisy
        magnitude. The course uses ``none``.
    lookahead_frames : int
        Must be 0: the network takes one frame.
    frames_per_s : float
        Frame rate in Hz; sets the time constant of the running level, 2 s.

    Raises
    ------
    ConfigError
        ``lookahead_frames`` is not 0.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets import LinearNet
    >>> LinearNet(bins=513, width=16, frames_per_s=31.25)(torch.rand(1, 20, 513)).shape
    torch.Size([1, 20, 513])
    """

    def __init__(
        self,
        *,
        bins: int,
        width: int = 1024,
        normalization: str = "none",
        lookahead_frames: int = 0,
        frames_per_s: float,
    ) -> None:
        super().__init__()
        if lookahead_frames:
            raise ConfigError(
                f"lookahead_frames is {lookahead_frames}, expected 0: the linear network takes one "
                "frame."
            )
        self.lookahead_frames = 0
        self.receptive_field_frames = 1
        self.normalization = normalization
        self.running = RunningLevel(2.0 * frames_per_s) if normalization == "running" else None
        self.layers = nn.Sequential(
            nn.Linear(bins, width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, bins),
            nn.ReLU(),
        )
        # A positive initial bias: with torch's default, a third of the units of the last ReLU stay
        # dead in the course's experiment.
        last = self.layers[-2]
        assert isinstance(last, nn.Linear)
        nn.init.constant_(last.bias, _FIRST_OUTPUT)

    def initial_state(self, batch: int) -> State:
        return (torch.zeros(batch, 2),) if self.running is not None else ()

    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        if self.running is None:
            return self.layers(magnitude).float(), state
        level, next_level = self.running(magnitude, state[0])
        estimate = self.layers(magnitude / level).float() * level
        return torch.minimum(estimate, magnitude), (next_level,)
