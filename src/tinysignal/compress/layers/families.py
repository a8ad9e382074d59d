"""The layers that can be factored, as matrices: what they multiply, and what replaces them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence

from tinysignal.compress.factorize import Covariance, Factors, project, truncate
from tinysignal.compress.layers import convolution as conv
from tinysignal.compress.layers.linear import _merged, _two_linears, is_pair
from tinysignal.compress.layers.recurrent import Recurrent, directions, new_layer, split_layers

PAIR = "pair"
_RECURRENT = (nn.RNN, nn.GRU, nn.LSTM)
_KINDS: dict[type[nn.Module], str] = {
    nn.Linear: "Linear",
    nn.Conv1d: "Conv1d",
    nn.Conv2d: "Conv2d",
    nn.RNN: "RNN",
    nn.GRU: "GRU",
    nn.LSTM: "LSTM",
}


def prepare(
    model: nn.Module, make: Any, *, merge: bool = True
) -> tuple[nn.Module, dict[str, nn.Module]]:
    """A network whose every factorable matrix is a module of its own, and what was replaced.

    Stacked recurrent layers are taken apart, and pairs of Linears that an earlier compression made
    are multiplied out. The result computes what ``model`` does.

    Parameters
    ----------
    model : nn.Module
        Copied.
    make : callable
        `copy.deepcopy`.
    merge : bool
        Whether pairs are multiplied out.

    Returns
    -------
    nn.Module, dict of str to nn.Module
        The copy, and by their names the modules of it that were replaced.
    """
    network: nn.Module = make(model)
    counts = parameter_uses(network)
    replaced: dict[str, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if any(name.startswith(f"{done}.") for done in replaced):
            continue
        stack = isinstance(module, _RECURRENT) and not name_in_recurrent(network, name)
        if stack and why_not(module, counts) is None:
            replaced[name] = module
            network = put(network, name, split_layers(module))
        elif merge and is_pair(module) and all(why_not(part, counts) is None for part in module):
            replaced[name] = module
            network = put(network, name, _merged(module))
    return network, replaced


def is_within(name: str, outer: str) -> bool:
    """Whether a name is a module's own or that of a part of it; "" is the whole network."""
    return not outer or name == outer or name.startswith(f"{outer}.")


def name_in_recurrent(network: nn.Module, name: str) -> bool:
    """Whether a module lies within a stack that was taken apart."""
    parts = name.split(".")
    above = [".".join(parts[:n]) for n in range(len(parts))]
    return any(isinstance(network.get_submodule(outer), Recurrent) for outer in above)


def put(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Replace a module by its name; the network itself if that is ""."""
    if not name:
        return module
    parent, _, last = name.rpartition(".")
    owner = network.get_submodule(parent)
    setattr(owner, last, module)
    if isinstance(owner, nn.TransformerEncoderLayer):
        # Its fused path reads linear1.weight past the module; without a known activation it is
        # not taken, neither here nor by the encoder around it.
        owner.activation_relu_or_gelu = 0
    return network


def parameter_uses(network: nn.Module) -> dict[int, int]:
    """In how many places each parameter is, by its identity."""
    counts: dict[int, int] = {}
    for _, module in network.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            if parameter is not None:
                counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    return counts


def candidates(network: nn.Module) -> Iterator[tuple[str, nn.Module, str | None]]:
    """Modules with a weight matrix, and why one cannot be factored or None."""
    counts = parameter_uses(network)
    whole: list[str] = []
    for name, module in network.named_modules():
        if any(name.startswith(f"{outer}.") for outer in whole):
            continue
        if isinstance(module, nn.MultiheadAttention):
            whole.append(name)
            yield name, module, "MultiheadAttention is left whole"
        elif parametrize.is_parametrized(module):
            whole.append(name)
            yield name, module, "its weight is parametrized"
        elif any(p.ndim >= 2 for p in module.parameters(recurse=False)):
            yield name, module, why_not(module, counts)


def why_not(module: nn.Module, counts: dict[int, int]) -> str | None:
    """Why a module's weight cannot be factored; None if it can."""
    own = list(module.parameters(recurse=False))
    if type(module) not in _KINDS:
        return f"{type(module).__name__} is not factored"
    if any(counts.get(id(parameter), 0) > 1 for parameter in own):
        return "its weight is shared with another layer"
    if not all(p.is_floating_point() for p in own):
        return "its weight is not of floating-point numbers"
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups != 1:
        return f"a convolution in {module.groups} groups is cheap already"
    if isinstance(module, nn.LSTM) and module.proj_size:
        return "an LSTM with projections is not factored"
    rows, columns = matrix(module).shape
    return "too small: no rank makes it smaller" if rows + columns >= rows * columns else None


def kind_of(module: nn.Module) -> str:
    """``Linear``, ``Conv2d``, ``GRU``, ..."""
    return _KINDS[type(module)]


def matrix(module: nn.Module) -> Tensor:
    """The matrix (outputs, inputs) that is to be factored, detached.

    Of a convolution, (filters, inputs * kernel); of a recurrent layer, the input weights of all
    gates and directions, one below the other.
    """
    if isinstance(module, _RECURRENT):
        return _stacked(module, "weight_ih")
    weight: Tensor = module.weight.detach()  # type: ignore[operator]
    return numbers(weight).flatten(1)


def bias(module: nn.Module) -> Tensor:
    """The bias (outputs,) that goes with `matrix`, float64; zero where there is none."""
    if isinstance(module, _RECURRENT) and module.bias:
        return _stacked(module, "bias_ih").double()
    own = None if isinstance(module, _RECURRENT) else module.bias
    if own is None:
        weight = matrix(module)
        return torch.zeros(len(weight), dtype=torch.float64)
    value: Tensor = own.detach()  # type: ignore[operator]
    return numbers(value).double()


def _stacked(module: nn.RNNBase, name: str) -> Tensor:
    values = [getattr(module, f"{name}_l0{end}").detach() for end in directions(module)]
    return numbers(torch.cat(values))


def numbers(values: Tensor) -> Tensor:
    """On the CPU, where float64 is at hand, and in single precision at least."""
    return values.cpu().to(torch.promote_types(values.dtype, torch.float32))


def rows(module: nn.Module, given: Any) -> Tensor:
    """What the matrix multiplies in a call, float (rows, inputs), of the module's first input."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return numbers(conv.patches(module, given))
    values: Tensor = given.data if isinstance(given, PackedSequence) else given
    return numbers(values.detach().reshape(-1, values.shape[-1]))


def write(module: nn.Module, dense: Tensor, shift: Tensor) -> None:
    """Set the matrix and its bias in place."""
    if isinstance(module, _RECURRENT):
        for name, values in (("weight_ih", dense), ("bias_ih", shift)):
            if hasattr(module, f"{name}_l0"):
                parts = values.chunk(len(directions(module)))
                for end, part in zip(directions(module), parts, strict=True):
                    getattr(module, f"{name}_l0{end}").data.copy_(part)
        return
    weight: Tensor = module.weight.data  # type: ignore[assignment]
    weight.copy_(dense.reshape(weight.shape))
    if module.bias is None:
        module.bias = nn.Parameter(shift.to(weight))
    else:
        module.bias.data.copy_(shift)  # type: ignore[operator]


def forms(module: nn.Module) -> tuple[str, ...]:
    """In which forms a layer can be factored."""
    return conv.forms(module) if isinstance(module, nn.Conv1d | nn.Conv2d) else (PAIR,)


def full_rank(module: nn.Module, form: str) -> int:
    """The rank at which a form is exact."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return conv.full_rank(module, form)
    return min(matrix(module).shape)


def cost(module: nn.Module, form: str, rank: int) -> tuple[int, float]:
    """Weights of a form, and multiply-accumulates for a row of inputs; biases are not counted."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return conv.parameters(module, form, rank), conv.macs_per_position(module, form, rank)
    weights = rank * sum(matrix(module).shape)
    return weights, weights


def largest_rank(module: nn.Module, form: str) -> int:
    """The largest rank at which a form has fewer weights than the layer; 0 if there is none."""
    whole = prod(matrix(module).shape)
    low, high = 0, full_rank(module, form)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if cost(module, form, middle)[0] < whole else (low, middle - 1)
    return low


def factor(
    module: nn.Module,
    form: str,
    weight: Tensor,
    rank: int,
    *,
    covariance: Covariance | None,
    bias: Tensor,
) -> Factors:
    """A matrix in one of the forms of a layer; see `convolution.factor`."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        return conv.factor(module, form, weight, rank, covariance=covariance, bias=bias)
    pair = truncate(weight, rank) if covariance is None else project(weight, covariance, rank)
    return Factors(PAIR, pair, pair[1] @ pair[0], bias)


def build(module: nn.Module, factors: Factors) -> nn.Sequential:
    """The plain torch modules of a form, in place of a layer."""
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        made = conv.build(module, factors)
    elif isinstance(module, nn.Linear):
        made = _two_linears(module, factors)
    elif isinstance(module, _RECURRENT):
        made = _linear_and_cell(module, factors)
    else:  # candidates() lets no other through
        raise AssertionError(type(module))
    made.train(module.training)
    return made


def _linear_and_cell(module: nn.RNNBase, factors: Factors) -> nn.Sequential:
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
    write(cell, second, factors.bias)
    return nn.Sequential(down, cell)
