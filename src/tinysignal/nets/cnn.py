"""A two-dimensional convolutional network over time and frequency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinysignal.nets.base import DenoisingNet, RunningLevel, State

_COMPRESSION = 0.3  # exponent of the magnitudes at the input


class CausalConv(nn.Module):
    """Convolution over (time, freq), batch normalisation, ReLU; past frames come from the state.

    Parameters
    ----------
    channels_in, channels_out : int
    kernel : (int, int)
        Over frames and bins.
    stride : int
        Over bins.
    dilation : int
        Over frames.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: tuple[int, int],
        *,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.past_frames = (kernel[0] - 1) * dilation
        self.channels_in = channels_in
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=(1, stride),
            padding=(0, kernel[1] // 2),
            dilation=(dilation, 1),
            bias=False,
        )
        self.norm = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """(batch, channels, frames, bins) and the frames before, to the same and the last ones."""
        if past is not None:
            x = torch.cat([past.to(x.dtype), x], dim=2)
            past = x[:, :, -self.past_frames :].float()
        y: Tensor = torch.relu(self.norm(self.conv(x)))
        return y, past


class CnnNet(DenoisingNet):
    """A U-net over frequency with dilated convolutions over time; its output is a mask in 0..1.

    The first layer takes four bins together, two more halve them; the middle looks back over
    about a second with residual blocks of growing dilation; the decoder goes the same way up
    with sub-pixel convolutions (Shi et al. 2016) and adds the encoder's outputs. Input:
    magnitudes to the power 0.3.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Channels of the first layer; the other two have 1.5 and 2 times as many.
    blocks : int
        Residual blocks, dilated by 1, 2, 4, ... frames.
    lookahead_frames : int
        Frames of the future; 0 makes the network causal.
    normalization : {"none", "running"}
        ``running`` divides by the running level, so that the recording's level does not matter.
    frames_per_s : float
        For the time constant of the running level.
    """

    def __init__(
        self,
        *,
        bins: int,
        width: int = 32,
        blocks: int = 5,
        lookahead_frames: int = 0,
        normalization: str = "running",
        frames_per_s: float,
    ) -> None:
        super().__init__()
        self.lookahead_frames = lookahead_frames
        self.normalization = normalization
        self.running = RunningLevel(2.0 * frames_per_s) if normalization == "running" else None
        narrow, middle, wide = width, width * 3 // 2, width * 2
        self.bins = [bins, -(-bins // 4), -(-bins // 8), -(-bins // 16)]
        self.encoder = nn.ModuleList(
            [
                CausalConv(1, narrow, (1, 7), stride=4),
                CausalConv(narrow, middle, (2, 3), stride=2),
                CausalConv(middle, wide, (2, 3), stride=2),
            ]
        )
        self.middle = nn.ModuleList(
            CausalConv(wide, wide, (3, 3), dilation=2**i) for i in range(blocks)
        )
        self.decoder = nn.ModuleList(
            [CausalConv(wide, 2 * middle, (1, 3)), CausalConv(middle, 2 * narrow, (1, 3))]
        )
        self.mask = nn.Conv2d(narrow, 4, (1, 3), padding=(0, 1))
        self._remembering = [
            (layer, bins_in)
            for layers, sizes in (
                (self.encoder, self.bins[:3]),
                (self.middle, [self.bins[3]] * blocks),
            )
            for layer, bins_in in zip(layers, sizes, strict=True)
            if isinstance(layer, CausalConv) and layer.past_frames
        ]
        self.receptive_field_frames = 1 + sum(c.past_frames for c, _ in self._remembering)

    def initial_state(self, batch: int) -> State:
        levels = (torch.zeros(batch, 2),) if self.running is not None else ()
        return levels + tuple(
            torch.zeros(batch, layer.channels_in, layer.past_frames, bins_in)
            for layer, bins_in in self._remembering
        )

    def gain(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        pasts = list(state)
        next_state: list[Tensor] = []
        normalised = magnitude
        if self.running is not None:
            level, next_level = self.running(magnitude, pasts.pop(0))
            next_state.append(next_level)
            normalised = magnitude / level
        # The added constant keeps the power's gradient and slope finite at silence.
        x = (normalised + 1e-4).pow(_COMPRESSION)[:, None]
        x = x.contiguous(memory_format=torch.channels_last)

        def step(layer: nn.Module, x: Tensor) -> Tensor:
            y: Tensor
            y, past = layer(x, pasts.pop(0) if layer.past_frames else None)
            if past is not None:
                next_state.append(past)
            return y

        skips = []
        for layer in self.encoder:
            x = step(layer, x)
            skips.append(x)
        for layer in self.middle:
            x = x + step(layer, x)
        for layer, skip in zip(self.decoder, skips[1::-1], strict=True):
            x = _interleave(step(layer, x), 2)[..., : skip.shape[3]] + skip
        mask = _interleave(self.mask(x), 4)[:, 0, :, : self.bins[0]]
        return torch.sigmoid(mask.float()), tuple(next_state)

    def estimate(self, magnitude: Tensor, state: State) -> tuple[Tensor, State]:
        gain, state = self.gain(magnitude, state)
        ahead = self.lookahead_frames
        # Frame t of the gain belongs to frame t - ahead of the magnitude.
        delayed = nn.functional.pad(magnitude, (0, 0, ahead, 0))[:, : gain.shape[1]]
        return gain * delayed, state


def _interleave(x: Tensor, parts: int) -> Tensor:
    """(batch, parts * channels, frames, bins) to (batch, channels, frames, parts * bins)."""
    batch, channels, frames, bins = x.shape
    # With the channels last in memory, as they are in training, nothing is copied.
    last = x.permute(0, 2, 3, 1).reshape(batch, frames, parts * bins, channels // parts)
    return last.permute(0, 3, 1, 2)
