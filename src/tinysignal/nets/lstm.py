"""Recurrent denoising network: wide LSTMs over all bins, a complex mask and short filters."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from tinysignal.nets.base import PARTS, MaskingNet, State, compressed, uncompressed

_SMALLEST_POWER = 1e-14  # power of a bin that counts as digital silence
_LARGEST_MASK = 1.5  # bound of the mask with its filters, +3.5 dB
_FILTERS = ("filter", "low_filter")
_BESIDE = 3  # bins of a frame in the low filter: the bin itself and its two neighbours
_GATES = 4  # of an LSTM


class LstmNet(MaskingNet):
    """A dense layer from all bins, LSTMs over time, and a complex mask per bin.

    It consists of large matrix products, which train fast and compress well. The mask multiplies
    the spectrum compressed to ``|X|^0.3``. Two deep filters are added to it, complex-weighted sums
    of neighbouring bins, because they correct phases better than a mask alone: in the lower half
    of the bins over the last frames, which overlap the present one; in the lowest sixteenth, which
    holds most of a voice's power, over more frames and the two neighbouring bins.

    With look-ahead, the dense layer also gets the compressed magnitudes of the frames to come, and
    the filters take in as many of these as of past frames.

    Parameters
    ----------
    bins : int
        Number of frequency bins of a frame.
    width : int
        Units of each layer.
    layers : int
        Number of stacked LSTMs.
    filter_frames, low_filter_frames : int
        Number of past frames in each filter.
    lookahead_frames, normalization, frames_per_s
        See `MaskingNet`.

    References
    ----------
    Mack and Habets (2020), "Deep filtering: signal extraction and reconstruction using complex
    time-frequency filters", eq. 6.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets import LstmNet
    >>> net = LstmNet(bins=257, width=16, frames_per_s=125).eval()
    >>> net(torch.randn(1, 20, 257, 2)).shape
    torch.Size([1, 20, 257, 2])
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
        self.bins, self.width = bins, width
        self.encode = nn.Linear((PARTS + lookahead_frames) * bins, width)
        self.encode_norm = nn.BatchNorm1d(width)
        self.layers = nn.ModuleList(nn.LSTM(width, width) for _ in range(layers))
        self.exit = nn.Linear(width, width)
        self.decode = nn.Linear(width, 2 * bins)
        low, lowest = max(1, bins // 2), max(1, bins // 16)
        self._before, self._low_before = filter_frames, low_filter_frames
        self._after, self._low_after = (
            min(lookahead_frames, frames) for frames in (filter_frames, low_filter_frames)
        )
        # Parts, neighbours, bins.
        self.filter_shape = (2, filter_frames + self._after, low)
        self.filter = nn.Linear(width, math.prod(self.filter_shape))
        low_frames = low_filter_frames + 1 + self._low_after
        self.low_filter_shape = (2, low_frames * _BESIDE, lowest)
        self.low_filter = nn.Linear(width, math.prod(self.low_filter_shape))
        self.past_frames = max(filter_frames, low_filter_frames)
        with torch.no_grad():
            self.decode.bias[:bins] += 1.0  # the initial mask is real and near 1
            for layer in (self.filter, self.low_filter):  # the initial filters are zero
                layer.weight.zero_()
                layer.bias.zero_()

    def widen(self, weights: dict[str, Tensor]) -> None:
        """Load the weights of a narrower network and compute the same function.

        New units keep their input weights; their output weights are set to zero. So are the
        weights of frames to come which the other network does not take in.

        Parameters
        ----------
        weights : dict of str to Tensor
            State dict of the narrower network, with or without the filters, of as much or less
            look-ahead.

        Raises
        ------
        RuntimeError
            The weights do not belong to a narrower network of this kind.

        References
        ----------
        Chen, Goodfellow and Shlens (2016), "Net2Net: accelerating learning via knowledge
        transfer", section 2.1, with zeros in place of copied units.
        """
        own = self.state_dict()
        for layer in _FILTERS:
            parts = {f"{layer}.weight", f"{layer}.bias"}
            if not weights.keys() & parts:
                own = {name: weight for name, weight in own.items() if name not in parts}
        if own.keys() != weights.keys():
            raise RuntimeError("other layers")
        for name, wide in own.items():
            groups = self._groups(name)
            narrow = weights[name].reshape(groups, -1, *weights[name].shape[1:])
            into = wide.view(groups, -1, *wide.shape[1:])
            if name.startswith(_FILTERS):
                into.zero_()
            into[:, : narrow.shape[1], *(slice(size, None) for size in narrow.shape[2:])] = 0
            into[tuple(slice(size) for size in narrow.shape)] = narrow

    def _groups(self, name: str) -> int:
        """Groups of the rows of a weight, each of which gets longer in a larger network."""
        if name.startswith("layers."):
            return _GATES
        if name.startswith("filter."):
            return self.filter_shape[0]
        return self.low_filter_shape[0] * _BESIDE if name.startswith("low_filter.") else 1

    def initial_state(self, batch: int) -> State:
        ahead = self.lookahead_frames
        levels = (torch.zeros(batch, 2),) if self.running is not None else ()
        heard = (torch.zeros(batch, ahead, self.bins, PARTS),) if ahead else ()
        memories = tuple(torch.zeros(batch, self.width) for _ in range(2 * len(self.layers)))
        past = torch.zeros(batch, self.past_frames + ahead, 2, self.filter_shape[2])
        return (*levels, *heard, *memories, past)

    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """See `MaskingNet.complex_mask`; the magnitude of the mask is at most 1.5."""
        pasts, next_state = list(state), []
        parts, levels = compressed(spectrum.float(), self.running, pasts)
        next_state += levels
        batch, frames, bins = spectrum.shape[:3]
        to_come: list[Tensor] = []
        if self.lookahead_frames:
            heard = torch.cat([pasts.pop(0), parts], dim=1)
            next_state.append(heard[:, frames:])
            parts, sizes = heard[:, :frames], heard[..., 0].transpose(0, 1)
            shifts = range(1, self.lookahead_frames + 1)
            to_come = [sizes[shift : shift + frames] for shift in shifts]
        parts = parts.permute(1, 0, 3, 2).flatten(2)
        x = self.encode(torch.cat([parts, *to_come], dim=2).flatten(0, 1))
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
        """Contribution of the filters to the mask, and the frames for the next call.

        Parameters
        ----------
        spectrum : float (batch, frames, bins, 2)
        factors, low_factors : float (batch, frames, 2, neighbours, low or lowest bins)
            Neighbours in the order of time, the oldest frame first; in the low filter all frames
            of the bin below, then of the bin itself, then of the bin above.
        past : float (batch, past and look-ahead frames, 2, low bins)
            Frames before the first, the oldest first.

        Returns
        -------
        float (batch, frames, 2, bins)
        float (batch, past and look-ahead frames, 2, low bins)
        """
        frames, bins = spectrum.shape[1:3]
        low, lowest = factors.shape[4], low_factors.shape[4]
        known = torch.cat([past, spectrum[:, :, :low].transpose(2, 3)], dim=1)

        def neighbours(known: Tensor, first: int, last: int) -> list[Tensor]:
            shifts = range(self.past_frames + first, self.past_frames + last + 1)
            return [known[:, shift : shift + frames] for shift in shifts]

        (here,) = neighbours(known, 0, 0)
        others = [*neighbours(known, -self._before, -1), *neighbours(known, 1, self._after)]
        sums = _summed(factors, torch.stack(others, dim=3))
        beside = nn.functional.pad(known, (1, 1))[..., : lowest + _BESIDE - 1]
        beside = torch.stack(neighbours(beside, -self._low_before, self._low_after), dim=3)
        beside = torch.cat([beside[..., i : i + lowest] for i in range(_BESIDE)], dim=3)
        sums = sums + nn.functional.pad(_summed(low_factors, beside), (0, low - lowest))
        # The sum of the filters over the present bin, as a mask; 0 at digital silence.
        a, b, c, d = sums[:, :, 0], sums[:, :, 1], here[:, :, 0], here[:, :, 1]
        power = (c.square() + d.square()).clamp_min(_SMALLEST_POWER)
        added = torch.stack([(a * c + b * d) / power, (b * c - a * d) / power], dim=2)
        return nn.functional.pad(added, (0, bins - low)), known[:, frames:]


def _summed(factors: Tensor, neighbours: Tensor) -> Tensor:
    """Sums of complex products: twice (batch, frames, 2, n, bins) to (batch, frames, 2, bins)."""
    a, b, c, d = factors[:, :, 0], factors[:, :, 1], neighbours[:, :, 0], neighbours[:, :, 1]
    return torch.stack([(a * c - b * d).sum(dim=2), (a * d + b * c).sum(dim=2)], dim=2)
