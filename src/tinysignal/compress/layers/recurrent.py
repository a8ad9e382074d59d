"""Stacks of recurrent layers with one module for each layer, for factorisation."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from tinysignal.compress.factorize import Factors
from tinysignal.compress.layers.family import (
    Family,
    Splitter,
    on_cpu,
    register,
    register_splitter,
)


class Recurrent(nn.Module):
    """Layers of an RNN, GRU or LSTM as separate modules, called like the original module.

    A factored layer is ``Sequential(Linear(n, d), GRU(d, h))``: with W = B A, a GRU with the input
    weights B applied to A x equals a GRU with the input weights W applied to x. It answers for the
    attributes of the module that it replaces, the weights ``weight_ih_l0``, ... among them.

    Parameters
    ----------
    layers : list of nn.RNNBase
        Modules of one layer each, with all directions.
    dropout : float
        Dropout between layers in training.
    """

    def __init__(self, layers: list[nn.RNNBase], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dropout = dropout
        first = layers[0]
        self.mode = first.mode
        self.num_layers = len(layers)
        self.input_size = first.input_size
        self.hidden_size = first.hidden_size
        self.proj_size = first.proj_size
        self.bias = first.bias
        self.batch_first = first.batch_first
        self.bidirectional = first.bidirectional

    def __getattr__(self, name: str) -> Any:
        found = _WEIGHT.fullmatch(name)
        if found is None or int(found[2]) >= self.num_layers:
            return super().__getattr__(name)
        layer: Any = self.layers[int(found[2])]
        first: Any = None
        while isinstance(layer, nn.Sequential):  # nested after a second compression
            first = layer[0].weight if first is None else layer[0].weight @ first
            layer = layer[1]
        own = getattr(layer, f"{found[1]}_l0{found[3] or ''}")
        return own if first is None or found[1] != "weight_ih" else own @ first

    def flatten_parameters(self) -> None:
        """Lay the weights of every layer out anew, as `torch.nn.RNNBase.flatten_parameters`."""
        for module in self.layers.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()

    def forward(self, sequence: Any, state: Any = None) -> tuple[Any, Any]:
        """Sequence of the last layer, and last states of all layers, as of `torch.nn.GRU`."""
        states = []
        for number, layer in enumerate(self.layers):
            if number and self.dropout and self.training:
                sequence = _on_values(self._drop, sequence)
            cell = layer
            while isinstance(cell, nn.Sequential):
                sequence = _on_values(cell[0], sequence)
                cell = cell[1]
            sequence, last = cell(sequence, _state_of(state, number, cell))
            states.append(last)
        if isinstance(states[0], tuple):
            return sequence, tuple(torch.cat(part) for part in zip(*states, strict=True))
        return sequence, torch.cat(states)

    def _drop(self, values: Tensor) -> Tensor:
        return functional.dropout(values, self.dropout, training=True)


_WEIGHT = re.compile(r"(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?")


def _on_values(module: Callable[[Tensor], Tensor], sequence: Any) -> Any:
    if not isinstance(sequence, PackedSequence):
        return module(sequence)
    if not torch.onnx.is_in_onnx_export():
        return sequence._replace(data=module(sequence.data))
    # The exporter knows packed sequences beside recurrent layers only.
    kernels: Any = torch._VF
    steps = sequence.batch_sizes.shape[0]
    padded, lengths = kernels._pad_packed_sequence(
        sequence.data, sequence.batch_sizes, False, 0.0, steps
    )
    data, sizes = kernels._pack_padded_sequence(module(padded), lengths, False)
    return sequence._replace(data=data, batch_sizes=sizes)


def _state_of(state: Any, number: int, cell: nn.Module) -> Any:
    """Initial state of one layer, whose rows are its directions."""
    if state is None:
        return None
    if isinstance(state, tuple):
        return tuple(_state_of(part, number, cell) for part in state)
    rows = 2 if getattr(cell, "bidirectional", False) else 1
    return state[number * rows : (number + 1) * rows]


def split_layers(module: nn.RNNBase) -> Recurrent:
    """Equivalent stack with a module for each layer and copied weights."""
    layers = []
    for number in range(module.num_layers):
        inputs = module.input_size
        if number:
            inputs = module.hidden_size * (2 if module.bidirectional else 1)
        layer = new_layer(module, inputs, bias=module.bias)
        for end in directions(module):
            for name in parameter_names(module):
                source = getattr(module, f"{name}_l{number}{end}")
                getattr(layer, f"{name}_l0{end}").data.copy_(source.data)
        layers.append(layer)
    split = Recurrent(layers, dropout=float(module.dropout))
    split.train(module.training)
    return split


def new_layer(like: nn.RNNBase, inputs: int, *, bias: bool) -> nn.RNNBase:
    """Recurrent layer of the same kind with another number of inputs and random weights."""
    first: Tensor = like.weight_hh_l0  # type: ignore[assignment]
    kind: Any = next(kind for kind in (nn.RNN, nn.GRU, nn.LSTM) if isinstance(like, kind))
    options: dict[str, Any] = {"nonlinearity": like.nonlinearity} if kind is nn.RNN else {}
    layer: nn.RNNBase = kind(
        inputs,
        like.hidden_size,
        bias=bias,
        batch_first=like.batch_first,
        bidirectional=like.bidirectional,
        device=first.device,
        dtype=first.dtype,
        **options,
    )
    layer.train(like.training)
    return layer


def directions(module: nn.RNNBase) -> tuple[str, ...]:
    """Suffixes of the weight names of a layer, one for each direction."""
    return ("", "_reverse") if module.bidirectional else ("",)


def parameter_names(module: nn.RNNBase) -> tuple[str, ...]:
    """Prefixes of the weight names of a layer."""
    biases = ("bias_ih", "bias_hh") if module.bias else ()
    return ("weight_ih", "weight_hh", *biases)


class _Recurrent(Family):
    kinds = (nn.RNN, nn.GRU, nn.LSTM)

    def why_not(self, module: nn.RNNBase) -> str | None:
        """Reason against LSTMs with projections, see `Family.why_not`."""
        return "an LSTM with projections is not factored" if module.proj_size else None

    def matrix(self, module: nn.RNNBase) -> Tensor:
        """Input weights of all gates and directions, stacked."""
        return _stacked(module, "weight_ih")

    def bias(self, module: nn.RNNBase) -> Tensor:
        """See `Family.bias`; the bias of the inputs."""
        if module.bias:
            return _stacked(module, "bias_ih").double()
        return torch.zeros(len(self.matrix(module)), dtype=torch.float64)

    def has_bias(self, module: nn.RNNBase) -> bool:
        """See `Family.has_bias`."""
        return bool(module.bias)

    def rows(self, module: nn.RNNBase, given: Any) -> Tensor:
        """See `Family.rows`; one row for each step of each sequence."""
        values: Tensor = given.data if isinstance(given, PackedSequence) else given
        return on_cpu(values.reshape(-1, values.shape[-1]))

    def write(self, module: nn.RNNBase, dense: Tensor, bias: Tensor) -> None:
        """See `Family.write`; the bias is ignored for a layer without one."""
        for name, values in (("weight_ih", dense), ("bias_ih", bias)):
            if hasattr(module, f"{name}_l0"):
                parts = values.chunk(len(directions(module)))
                for end, part in zip(directions(module), parts, strict=True):
                    getattr(module, f"{name}_l0{end}").data.copy_(part)

    def build(self, module: nn.RNNBase, factors: Factors) -> nn.Sequential:
        """A Linear, and a recurrent layer on its outputs."""
        first, second = factors.parts
        like: Tensor = module.weight_hh_l0  # type: ignore[assignment]
        down = nn.Linear(
            module.input_size, len(first), bias=False, device=like.device, dtype=like.dtype
        )
        down.weight.data.copy_(first)
        cell = new_layer(module, len(first), bias=True)
        for end in directions(module):
            for name in ("weight_hh", "bias_hh"):
                own = getattr(module, f"{name}_l0{end}", None)
                target = getattr(cell, f"{name}_l0{end}").data
                target.zero_() if own is None else target.copy_(own.data)
        self.write(cell, second, factors.bias)
        return nn.Sequential(down, cell)


class _Stack(Splitter):
    kinds = _Recurrent.kinds

    def why_not(self, module: nn.RNNBase) -> str | None:
        """See `Splitter.why_not`."""
        return RECURRENT.why_not(module)

    def split(self, module: nn.RNNBase) -> Recurrent:
        """See `Splitter.split`."""
        return split_layers(module)


def _stacked(module: nn.RNNBase, name: str) -> Tensor:
    values = [getattr(module, f"{name}_l0{end}").detach() for end in directions(module)]
    return on_cpu(torch.cat(values))


RECURRENT = register(_Recurrent())
register_splitter(_Stack())
