"""An LSTM as the single operator that ONNX has for it, of any number of frames.

`torch.export` takes an LSTM's number of frames for a constant, so it is written by name instead.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_OPSET = 14  # since when the operator is as it is used here


class OnnxLstm(nn.Module):
    """Stands in for a one-layer, one-way `torch.nn.LSTM` while a network is exported.

    Parameters
    ----------
    lstm : nn.LSTM
        Time first.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        into, across, *biases = lstm.all_weights[0]
        # torch: input, forget, cell, output gates; ONNX: input, output, forget, cell.
        self.weight = nn.Parameter(_in_order(into)[None])
        self.recurrence = nn.Parameter(_in_order(across)[None])
        self.bias = nn.Parameter(torch.cat([_in_order(bias) for bias in biases])[None])

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """As `torch.nn.LSTM`: (frames, batch, inputs), two of (1, batch, units)."""
        frames, batch = x.shape[:2]
        end = (1, batch, self.hidden_size)
        y, hidden, cell = torch.onnx.ops.symbolic_multi_out(
            "LSTM",
            (x, self.weight, self.recurrence, self.bias, None, *state),
            {"hidden_size": self.hidden_size},
            dtypes=(x.dtype,) * 3,
            shapes=((frames, *end), end, end),
            version=_OPSET,
        )
        return y.squeeze(1), (hidden, cell)


def with_onnx_lstms(net: nn.Module) -> nn.Module:
    """A copy whose LSTMs are `OnnxLstm`: it can be exported, but no longer run."""
    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(parent, name, OnnxLstm(child))
    return net


def _in_order(rows: Tensor) -> Tensor:
    into, forget, cell, output = rows.detach().chunk(4)
    return torch.cat([into, output, forget, cell])
