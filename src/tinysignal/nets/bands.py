"""A causal network over bands, whose answer is a complex mask: one small memory for all bands.

Bins are gathered into bands as wide as the ear's (linear below, ERB above); each band becomes a
few features. A block then runs one LSTM along time, the same weights for every band, and mixes
bands by two matrix products. All is matrix products and LSTMs: few operators, so a frame takes
little time on a CPU, and the only state is the LSTMs' and the running level's.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from tinysignal.nets.base import PARTS, MaskingNet, State, compressed, uncompressed

_NARROWEST = 4  # bins of a band
_ERB_SHARE = 0.72  # of an equivalent rectangular bandwidth: 33 bands at 16 kHz and 512 samples


def band_edges(bins: int, sample_rate_hz: float) -> list[int]:
    """First bins of the bands, and ``bins`` at the end.

    Parameters
    ----------
    bins : int
        From 0 Hz to half the rate, at least one band.
    sample_rate_hz : float

    References
    ----------
    Glasberg and Moore (1990), "Derivation of auditory filter shapes from notched-noise data",
    eq. 3: an ear's band at f Hz is 24.7 (0.00437 f + 1) Hz wide.
    """
    bin_hz = sample_rate_hz / 2 / (bins - 1)
    edges = [0]
    while edges[-1] < bins:
        erb_hz = 24.7 * (0.00437 * edges[-1] * bin_hz + 1)
        edges.append(edges[-1] + max(_NARROWEST, round(_ERB_SHARE * erb_hz / bin_hz)))
    edges[-1] = bins
    if len(edges) > 2 and edges[-1] - edges[-2] < _NARROWEST:
        del edges[-2]
    return edges


class BandMemory(nn.Module):
    """An LSTM along time, the same for every band, and a mixing of bands; both are added.

    Parameters
    ----------
    bands, width : int
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.memory = nn.LSTM(width, width)
        self.out = nn.Linear(width, width)
        self.out_norm = nn.BatchNorm1d(width)
        self.mix = nn.Linear(bands, 2 * bands)
        self.mixed = nn.Linear(2 * bands, bands)
        self.mixed_norm = nn.BatchNorm1d(bands)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Features (frames, batch, bands, width); states (batch, bands, width)."""
        frames, batch, bands, width = x.shape
        start = tuple(s.reshape(1, batch * bands, width) for s in state)
        y, end = self.memory(x.reshape(frames, batch * bands, width), start)
        x = x + _normalised(self.out_norm, self.out(y)).reshape(x.shape)
        y = self.mixed(silu(self.mix(x.transpose(2, 3))))
        x = x + _normalised(self.mixed_norm, y).transpose(2, 3)
        return x, [s.float().reshape(batch, bands, width) for s in end]


class BandsNet(MaskingNet):
    """Bands, blocks of memory and mixing, and a complex mask per bin; causal.

    The mask multiplies the spectrum compressed to ``|X|^0.3``, in which its magnitude is bounded
    by 1; `complex_mask` gives what that is on the spectrum itself.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Features of a band.
    blocks : int
        Of `BandMemory`.
    lookahead_frames, level, frames_per_s
        See `MaskingNet`.
    sample_rate_hz : float
        For the bands.
    """

    places: Tensor
    back: Tensor

    def __init__(
        self,
        *,
        bins: int,
        width: int = 32,
        blocks: int = 3,
        lookahead_frames: int = 0,
        level: str = "running",
        frames_per_s: float,
        sample_rate_hz: float = 16_000,
    ) -> None:
        super().__init__(lookahead_frames, level, frames_per_s)
        edges = band_edges(bins, sample_rate_hz)
        sizes = [last - first for first, last in pairwise(edges)]
        self.bands, self.band_bins, self.width = len(sizes), max(sizes), width
        # Every band has as many places as the widest; what a narrower one lacks repeats its last.
        places = [
            min(first + place, last - 1)
            for first, last in pairwise(edges)
            for place in range(self.band_bins)
        ]
        back = [band * self.band_bins + place for band, n in enumerate(sizes) for place in range(n)]
        self.register_buffer("places", torch.tensor(places), persistent=False)
        self.register_buffer("back", torch.tensor(back), persistent=False)
        inputs = PARTS * self.band_bins
        self.encode = nn.Parameter(torch.randn(self.bands, inputs, width) / inputs**0.5)
        self.encode_bias = nn.Parameter(torch.zeros(self.bands, 1, width))
        self.entry = nn.Linear(width, width)
        self.blocks = nn.ModuleList(BandMemory(self.bands, width) for _ in range(blocks))
        self.exit = nn.Linear(width, 2 * width)
        outputs = 2 * self.band_bins
        self.decode = nn.Parameter(0.3 * torch.randn(self.bands, 2 * width, outputs) / width**0.5)
        bias = torch.zeros(self.bands, 1, 2, self.band_bins)
        bias[:, :, 0] = 1.0  # the mask begins near 1
        self.decode_bias = nn.Parameter(bias.reshape(self.bands, 1, outputs))

    def initial_state(self, batch: int) -> State:
        levels = (torch.zeros(batch, 2),) if self.running is not None else ()
        memories = 2 * len(self.blocks)
        return levels + tuple(torch.zeros(batch, self.bands, self.width) for _ in range(memories))

    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """See `MaskingNet.complex_mask`; the mask's magnitude is below 1."""
        pasts, next_state = list(state), []
        features, next_level = self._features(spectrum.float(), pasts)
        next_state += next_level
        batch, frames = spectrum.shape[:2]
        x = torch.baddbmm(self.encode_bias, features, self.encode)
        x = x.transpose(0, 1).reshape(frames, batch, self.bands, self.width)
        x = x + self.entry(silu(x))
        for block in self.blocks:
            x, ends = block(x, (pasts.pop(0), pasts.pop(0)))
            next_state += ends
        y = silu(self.exit(x)).reshape(frames * batch, self.bands, -1).transpose(0, 1)
        parts = torch.baddbmm(self.decode_bias, y, self.decode).float()
        parts = parts.reshape(self.bands, frames, batch, 2, self.band_bins)
        parts = parts.permute(2, 1, 3, 0, 4).flatten(3)[..., self.back]
        return uncompressed(parts).transpose(2, 3).contiguous(), tuple(next_state)

    def _features(self, spectrum: Tensor, pasts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(bands, frames * batch, parts * bins of a band), and the next level."""
        batch, frames = spectrum.shape[:2]
        parts, next_level = compressed(spectrum, self.running, pasts)
        banded = parts.permute(1, 0, 3, 2)[..., self.places]
        banded = banded.reshape(frames, batch, PARTS, self.bands, self.band_bins)
        return banded.permute(3, 0, 1, 2, 4).reshape(self.bands, frames * batch, -1), next_level


def _normalised(norm: nn.Module, x: Tensor) -> Tensor:
    """Batch normalisation over the last axis."""
    y: Tensor = norm(x.reshape(-1, x.shape[-1]))
    return y.reshape(x.shape)
