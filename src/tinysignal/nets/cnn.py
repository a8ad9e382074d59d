"""Convolutional denoising network over time and frequency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinysignal.nets.base import DenoisingNet, RunningLevel, State, delayed

_COMPRESSION = 0.3  # exponent of the magnitudes at the input


class CausalConv(nn.Module):
    """Convolution over (time, freq), batch normalisation, ReLU; past frames come from the state.

    Parameters
    ----------
    channels_in, channels_out : int
        Number of input and output channels.
    kernel : (int, int)
        Kernel size in frames and in bins.
    stride : int
        Stride along frequency in bins.
    dilation : int
        Dilation along time in frames.
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
        """Output (batch, channels_out, frames, bins), and the input frames for the next call.

        Parameters
        ----------
        x : float (batch, channels_in, frames, bins)
        past : float (batch, channels_in, past_frames, bins) or None
            Input frames before ``x``; None for a kernel of one frame.
        """
        if past is not None:
            x = torch.cat([past.to(x.dtype), x], dim=2)
            past = x[:, :, -self.past_frames :].float()
        y: Tensor = torch.relu(self.norm(self.conv(x)))
        return y, past


class CnnNet(DenoisingNet):
    """U-net over frequency with dilated convolutions over time; its output is a mask from 0 to 1.

    The encoder reduces the bins by 4, 2 and 2. The middle is a stack of residual blocks with
    growing dilation, which looks back about one second. The decoder mirrors the encoder with
    sub-pixel convolutions and adds the encoder's outputs. The input is magnitudes to the power 0.3.

    Parameters
    ----------
    bins : int
        Number of frequency bins of a frame.
    width : int
        Channels of the first layer; the other two have 1.5 and 2 times as many.
    blocks : int
        Number of residual blocks, dilated by 1, 2, 4, ... frames.
    lookahead_frames : int
        Number of future frames; 0 for a causal network.
    normalization : {"none", "running"}
        ``running`` divides by the running level, which removes the level of the recording.
    frames_per_s : float
        Frame rate in Hz; sets the time constant of the running level, 2 s.

    References
    ----------
    Shi et al. (2016), "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", section 3.2: the sub-pixel convolution.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets import CnnNet
    >>> net = CnnNet(bins=257, width=8, frames_per_s=62.5).eval()
    >>> net(torch.rand(1, 20, 257)).shape
    torch.Size([1, 20, 257])
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
        # The added constant keeps the gradient of the power finite at silence.
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
        return gain * delayed(magnitude, self.lookahead_frames), state


def _interleave(x: Tensor, parts: int) -> Tensor:
    """(batch, parts * channels, frames, bins) to (batch, channels, frames, parts * bins)."""
    batch, channels, frames, bins = x.shape
    # Nothing is copied if the channels are last in memory, as in training.
    last = x.permute(0, 2, 3, 1).reshape(batch, frames, parts * bins, channels // parts)
    return last.permute(0, 3, 1, 2)
