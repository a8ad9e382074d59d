"""The plain recurrent network: wide LSTMs over all bins at once, a mask and a short filter."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from tinysignal.train.nets.base import MaskingNet, State
from tinysignal.train.nets.compression import PARTS, compressed, uncompressed

_SMALLEST_POWER = 1e-14  # of a bin; below it there is digital silence
_LARGEST_MASK = 1.5  # what the filter adds can make a bin louder, by 3.5 dB at most


class LstmNet(MaskingNet):
    """All bins into a few hundred units, LSTMs along time, and a complex mask per bin; causal.

    Large matrix products and little else: quick to train, and most of it can be cut away after.
    The mask is of compressed spectra as that of `BandsNet`. In the lower half of the bins the last
    frames, which overlap this one, are added, each through a complex factor of its own: a filter
    along time can turn phases that a mask alone hardly can.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Units of each layer.
    layers : int
        LSTMs, one after the other.
    filter_frames : int
        Frames before this one that the filter adds.
    lookahead_frames, level, frames_per_s
        See `MaskingNet`.

    References
    ----------
    Mack and Habets (2020), "Deep filtering: signal extraction and reconstruction using complex
    time-frequency filters", eq. 6.
    """

    def __init__(
        self,
        *,
        bins: int,
        width: int = 288,
        layers: int = 2,
        filter_frames: int = 2,
        lookahead_frames: int = 0,
        level: str = "running",
        frames_per_s: float,
    ) -> None:
        super().__init__(lookahead_frames, level, frames_per_s)
        self.width = width
        self.encode = nn.Linear(PARTS * bins, width)
        self.encode_norm = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList(nn.LSTM(width, width) for _ in range(layers))
        self.exit = nn.Linear(width, width)
        self.decode = nn.Linear(width, 2 * bins)
        self.filter_shape = (2, filter_frames, max(1, bins // 2))  # parts, frames, low bins
        self.filter = nn.Linear(width, math.prod(self.filter_shape))
        with torch.no_grad():
            self.decode.bias[:bins] += 1.0  # the mask begins real and open
        nn.init.zeros_(self.filter.weight)  # and the filter is nothing
        nn.init.zeros_(self.filter.bias)

    def widen(self, weights: dict[str, Tensor]) -> None:
        """Become the same function as a narrower network; nothing listens to the new units yet.

        Parameters
        ----------
        weights : dict of str to Tensor
            The narrower network's state, with or without a filter; what is new here keeps the
            weights that it has.

        Raises
        ------
        RuntimeError
            It is not that of a narrower network of this kind.

        References
        ----------
        Chen, Goodfellow and Shlens (2016), "Net2Net: accelerating learning via knowledge
        transfer", section 2.1, but for the zeros.
        """
        own = self.state_dict()
        if not weights.keys() & {"filter.weight", "filter.bias"}:
            own = {n: w for n, w in own.items() if not n.startswith("filter.")}
        if own.keys() != weights.keys():
            raise RuntimeError("other layers")
        for name, wide in own.items():
            gates = 4 if name.startswith("layers.") else 1  # the rows of an LSTM, gate by gate
            narrow = weights[name].reshape(gates, -1, *weights[name].shape[1:])
            into = wide.view(gates, -1, *wide.shape[1:])
            into[:, : narrow.shape[1], *(slice(size, None) for size in narrow.shape[2:])] = 0
            into[tuple(slice(size) for size in narrow.shape)] = narrow

    def initial_state(self, batch: int) -> State:
        levels = (torch.zeros(batch, 2),) if self.running is not None else ()
        memories = tuple(torch.zeros(batch, self.width) for _ in range(2 * len(self.layers)))
        return (*levels, *memories, torch.zeros(batch, *self.filter_shape))

    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """See `MaskingNet.complex_mask`; the mask's magnitude is 1.5 at most."""
        pasts, next_state = list(state), []
        parts, levels = compressed(spectrum.float(), self.running, pasts)
        next_state += levels
        batch, frames, bins = spectrum.shape[:3]
        x = self.encode(parts.permute(1, 0, 3, 2).flatten(0, 1).flatten(1))
        x = relu(self.encode_norm(x)).reshape(frames, batch, self.width)
        y = x
        for layer in self.layers:
            start = (pasts.pop(0)[None], pasts.pop(0)[None])
            y, end = layer(y, start)
            next_state += [s[0].float() for s in end]
        y = relu(self.exit(y + x))
        mask = self.decode(y).float().reshape(frames, batch, 2, bins).transpose(0, 1)
        factors = torch.tanh(self.filter(y).float()).reshape(frames, batch, *self.filter_shape)
        added, past = self._filtered(spectrum, factors.transpose(0, 1), pasts.pop(0))
        mask = uncompressed(mask) + added
        size = mask.square().sum(dim=2, keepdim=True).clamp_min(_SMALLEST_POWER).sqrt()
        mask = mask * (_LARGEST_MASK / size).clamp_max(1)
        return mask.transpose(2, 3).contiguous(), (*next_state, past)

    def _filtered(self, spectrum: Tensor, factors: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """The filter's part of the mask, float (batch, frames, 2, bins), and the last frames.

        Parameters
        ----------
        spectrum : float (batch, frames, bins, 2)
        factors : float (batch, frames, 2, filter frames, low bins)
        past : float (batch, 2, filter frames, low bins)
            Oldest first, as the factors.
        """
        frames, bins = spectrum.shape[1:3]
        reach, low = self.filter_shape[1:]
        real, imaginary = spectrum[:, :, :low, 0], spectrum[:, :, :low, 1]
        known = torch.cat([past[:, 0], real], dim=1), torch.cat([past[:, 1], imaginary], dim=1)
        sums = torch.zeros_like(real), torch.zeros_like(real)
        for i in range(reach):
            a, b = factors[:, :, 0, i], factors[:, :, 1, i]
            c, d = (part[:, i : i + frames] for part in known)
            sums = sums[0] + a * c - b * d, sums[1] + a * d + b * c
        # What is added, as a mask of what is there; nothing is added to digital silence.
        power = (real.square() + imaginary.square()).clamp_min(_SMALLEST_POWER)
        added = [
            (sums[0] * real + sums[1] * imaginary) / power,
            (sums[1] * real - sums[0] * imaginary) / power,
        ]
        last = torch.stack([part[:, frames:] for part in known], dim=1)
        return nn.functional.pad(torch.stack(added, dim=2), (0, bins - low)), last
