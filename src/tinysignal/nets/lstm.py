"""The plain recurrent network: wide LSTMs over all bins at once, a mask and short filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from tinysignal.nets.base import PARTS, MaskingNet, State, compressed, uncompressed

_SMALLEST_POWER = 1e-14  # of a bin; below it there is digital silence
_LARGEST_MASK = 1.5  # what the filters add can make a bin louder, by 3.5 dB at most
_FILTERS = ("filter", "low_filter")
_BESIDE = 3  # bins of a frame that the low filter adds: this one and the next on both sides


class LstmNet(MaskingNet):
    """All bins into a few hundred units, LSTMs along time, and a complex mask per bin; causal.

    Large matrix products and little else: quick to train, and most of it can be cut away after.
    The mask is of the spectrum compressed to ``|X|^0.3``. To it come two filters, which can turn
    phases that a mask alone hardly can: sums of neighbouring bins, each through a complex factor of
    its own. In the lower half of the bins these are the last frames, which overlap this one; in
    the lowest sixteenth, where most of a voice's power lies and its harmonics share bins, more
    frames and the bins on both sides.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Units of each layer.
    layers : int
        LSTMs, one after the other.
    filter_frames, low_filter_frames : int
        Frames before this one that the filters add.
    lookahead_frames, normalization, frames_per_s
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
        width: int = 320,
        layers: int = 2,
        filter_frames: int = 2,
        low_filter_frames: int = 4,
        lookahead_frames: int = 0,
        normalization: str = "running",
        frames_per_s: float,
    ) -> None:
        super().__init__(lookahead_frames, normalization, frames_per_s)
        self.width = width
        self.encode = nn.Linear(PARTS * bins, width)
        self.encode_norm = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList(nn.LSTM(width, width) for _ in range(layers))
        self.exit = nn.Linear(width, width)
        self.decode = nn.Linear(width, 2 * bins)
        low, lowest = max(1, bins // 2), max(1, bins // 16)
        self.filter_shape = (2, filter_frames, low)  # parts, neighbours, bins
        self.filter = nn.Linear(width, math.prod(self.filter_shape))
        self.low_filter_shape = (2, (low_filter_frames + 1) * _BESIDE, lowest)
        self.low_filter = nn.Linear(width, math.prod(self.low_filter_shape))
        self.past_frames = max(filter_frames, low_filter_frames)
        with torch.no_grad():
            self.decode.bias[:bins] += 1.0  # the mask begins real and open
            for layer in (self.filter, self.low_filter):  # and the filters are nothing
                layer.weight.zero_()
                layer.bias.zero_()

    def widen(self, weights: dict[str, Tensor]) -> None:
        """Become the same function as a narrower network; nothing listens to the new units yet.

        Parameters
        ----------
        weights : dict of str to Tensor
            The narrower network's state, with or without each filter; what is new here keeps the
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
        for layer in _FILTERS:
            parts = {f"{layer}.weight", f"{layer}.bias"}
            if not weights.keys() & parts:
                own = {name: weight for name, weight in own.items() if name not in parts}
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
        return (*levels, *memories, torch.zeros(batch, self.past_frames, 2, self.filter_shape[2]))

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
        factors, low_factors = (
            torch.tanh(layer(y).float()).reshape(frames, batch, *shape).transpose(0, 1)
            for layer, shape in (
                (self.filter, self.filter_shape),
                (self.low_filter, self.low_filter_shape),
            )
        )
        added, past = self._filtered(spectrum, factors, low_factors, pasts.pop(0))
        mask = uncompressed(mask) + added
        size = mask.square().sum(dim=2, keepdim=True).clamp_min(_SMALLEST_POWER).sqrt()
        mask = mask * (_LARGEST_MASK / size).clamp_max(1)
        return mask.transpose(2, 3).contiguous(), (*next_state, past)

    def _filtered(
        self, spectrum: Tensor, factors: Tensor, low_factors: Tensor, past: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The filters' part of the mask, float (batch, frames, 2, bins), and the last frames.

        Parameters
        ----------
        spectrum : float (batch, frames, bins, 2)
        factors, low_factors : float (batch, frames, 2, neighbours, low or lowest bins)
            Neighbours from the oldest frame on; of the low filter all frames of the bin below, then
            of this bin, then of the one above.
        past : float (batch, past frames, 2, low bins)
            Oldest first.
        """
        frames, bins = spectrum.shape[1:3]
        low, lowest = factors.shape[4], low_factors.shape[4]
        here = spectrum[:, :, :low].transpose(2, 3)
        known = torch.cat([past, here], dim=1)
        reach = factors.shape[3]
        before = _windows(known[:, self.past_frames - reach : -1], reach)
        low_reach = low_factors.shape[3] // _BESIDE
        beside = nn.functional.pad(known, (1, 1))[:, self.past_frames + 1 - low_reach :]
        beside = _windows(beside[..., : lowest + _BESIDE - 1], low_reach)
        beside = torch.cat([beside[..., i : i + lowest] for i in range(_BESIDE)], dim=3)
        sums = _summed(factors, before)
        sums = sums + nn.functional.pad(_summed(low_factors, beside), (0, low - lowest))
        # What is added, as a mask of what is there; nothing is added to digital silence.
        a, b, c, d = sums[:, :, 0], sums[:, :, 1], here[:, :, 0], here[:, :, 1]
        power = (c.square() + d.square()).clamp_min(_SMALLEST_POWER)
        added = torch.stack([(a * c + b * d) / power, (b * c - a * d) / power], dim=2)
        return nn.functional.pad(added, (0, bins - low)), known[:, frames:]


def _windows(known: Tensor, reach: int) -> Tensor:
    """From (batch, frames + reach - 1, 2, bins) to (batch, frames, 2, reach, bins)."""
    frames = known.shape[1] + 1 - reach
    return torch.stack([known[:, i : i + frames] for i in range(reach)], dim=3)


def _summed(factors: Tensor, neighbours: Tensor) -> Tensor:
    """Sum of complex products: two of (batch, frames, 2, n, bins) to (batch, frames, 2, bins)."""
    a, b, c, d = factors[:, :, 0], factors[:, :, 1], neighbours[:, :, 0], neighbours[:, :, 1]
    return torch.stack([(a * c - b * d).sum(dim=2), (a * d + b * c).sum(dim=2)], dim=2)
