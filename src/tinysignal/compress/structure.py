"""Decomposition of a network into factorable layers, and replacement of layers."""

from __future__ import annotations

import copy
from collections.abc import Iterator

from torch import nn
from torch.nn.utils import parametrize

from tinysignal.compress.layers import Recurrent, family_of, is_pair, merged


def prepare(model: nn.Module, *, merge: bool = True) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Copy of a network in which every factorable matrix is a module.

    Stacked recurrent layers are separated, and pairs of Linears from an earlier compression are
    merged. The copy computes the same function.

    Parameters
    ----------
    model : nn.Module
    merge : bool
        Whether to merge pairs.

    Returns
    -------
    nn.Module
        The copy.
    dict of str to nn.Module
        The replaced modules by their names.
    """
    network = copy.deepcopy(model)
    counts = parameter_uses(network)
    replaced: dict[str, nn.Module] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if any(name.startswith(f"{done}.") for done in replaced):
            continue
        family = family_of(module)
        if family is not None and not in_recurrent(network, name):
            split = family.split(module) if why_not(module, counts) is None else None
            if split is not None:
                replaced[name] = module
                network = replace_module(network, name, split)
        elif merge and is_pair(module) and all(why_not(part, counts) is None for part in module):
            replaced[name] = module
            network = replace_module(network, name, merged(module))
    return network, replaced


def is_within(name: str, outer: str) -> bool:
    """Whether a module is another one or inside it, by their names; "" is the whole network."""
    return not outer or name == outer or name.startswith(f"{outer}.")


def in_recurrent(network: nn.Module, name: str) -> bool:
    """Whether a module is inside a separated stack of recurrent layers."""
    parts = name.split(".")
    above = [".".join(parts[:n]) for n in range(len(parts))]
    return any(isinstance(network.get_submodule(outer), Recurrent) for outer in above)


def replace_module(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Network with a module replaced by its name, in place; "" replaces the whole network."""
    if not name:
        return module
    parent, _, last = name.rpartition(".")
    owner = network.get_submodule(parent)
    setattr(owner, last, module)
    if isinstance(owner, nn.TransformerEncoderLayer):
        # The fused path reads linear1.weight instead of calling the module. Without a known
        # activation, neither the layer nor its encoder takes that path.
        owner.activation_relu_or_gelu = 0
    return network


def parameter_uses(network: nn.Module) -> dict[int, int]:
    """Number of modules that hold each parameter, by the ``id`` of the parameter."""
    counts: dict[int, int] = {}
    for _, module in network.named_modules(remove_duplicate=False):
        for parameter in module._parameters.values():
            if parameter is not None:
                counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    return counts


def candidates(network: nn.Module) -> Iterator[tuple[str, nn.Module, str | None]]:
    """Names and modules with a weight matrix, and the reason why not to factor each, or None."""
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
    """Reason why the weight of a module cannot be factored; None if it can."""
    family, own = family_of(module), list(module.parameters(recurse=False))
    if family is None:
        return f"{type(module).__name__} is not factored"
    if any(counts.get(id(parameter), 0) > 1 for parameter in own):
        return "its weight is shared with another layer"
    if not all(p.is_floating_point() for p in own):
        return "its weight is not floating-point"
    reason = family.why_not(module)
    if reason is not None:
        return reason
    rows, columns = family.matrix(module).shape
    return "too small: no rank makes it smaller" if rows + columns >= rows * columns else None
