"""The plain recurrent network: wide LSTMs over all bins at once, and a complex mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from tinysignal.train.nets.base import MaskingNet, State
from tinysignal.train.nets.compression import PARTS, compressed, uncompressed


class LstmNet(MaskingNet):
    """All bins into a few hundred units, LSTMs along time, and a complex mask per bin; causal.

    Large matrix products and little else: quick to train, and most of it can be cut away after.
    The mask is of compressed spectra as that of `BandsNet`.

    Parameters
    ----------
    bins : int
        Frequency bins of a frame.
    width : int
        Units of each layer.
    layers : int
        LSTMs, one after the other.
    lookahead_frames, level, frames_per_s
        See `MaskingNet`.
    """

    def __init__(
        self,
        *,
        bins: int,
        width: int = 288,
        layers: int = 2,
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
        with torch.no_grad():
            self.decode.bias[:bins] += 1.0  # the mask begins real and open

    def widen(self, weights: dict[str, Tensor]) -> None:
        """Become the same function as a narrower network; nothing listens to the new units yet.

        Parameters
        ----------
        weights : dict of str to Tensor
            The narrower network's state; its new units keep the weights that they have.

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
        memories = 2 * len(self.layers)
        return levels + tuple(torch.zeros(batch, self.width) for _ in range(memories))

    def complex_mask(self, spectrum: Tensor, state: State) -> tuple[Tensor, State]:
        """See `MaskingNet.complex_mask`; the mask's magnitude is below 1."""
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
        mask = self.decode(relu(self.exit(y + x))).float()
        mask = mask.reshape(frames, batch, 2, bins).transpose(0, 1)
        return uncompressed(mask).transpose(2, 3).contiguous(), tuple(next_state)
