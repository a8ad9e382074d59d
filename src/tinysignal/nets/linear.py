"""The course's frame-wise network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinysignal.errors import ConfigError
from tinysignal.nets.base import DenoisingNet, RunningLevel, State

_FIRST_OUTPUT = 0.1


class LinearNet(DenoisingNet):
    """Three fully connected layers on one frame: freq, width, width, freq, ReLU after each.

    With the defaults at 513 bins it is exactly the network of the course's exercise.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Units of both hidden layers.
    normalization : {"none", "running"}
        ``running`` divides by the running level before the first layer and multiplies after the
        last, so that the recording's level does not matter, and bounds the estimate by the noisy
        magnitude, so that nothing is amplified; the course has ``none`` of it.
    frames_per_s : float
        For the time constant of the running level.
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
            raise ConfigError("the linear network sees one frame; look-ahead must be 0.")
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
        # With the default bias around zero, a third of the bins never leave the last ReLU's flat
        # side in the course's experiment; a positive start keeps all but a few alive.
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
