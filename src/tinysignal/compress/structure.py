"""Decomposition of a network into factorable layers, and replacement of layers."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from tinysignal.compress.layers import (
    Lookup,
    Recurrent,
    TiedLinear,
    family_of,
    is_pair,
    largest_rank,
    merged,
    splitter_of,
)

_HOOKS = (WeightNorm, SpectralNorm, prune.BasePruningMethod)


def prepare(model: nn.Module, *, merge: bool = True) -> tuple[nn.Module, dict[str, nn.Module]]:
    """Copy of a network in which every factorable matrix is a module.

    Weights that hooks or parametrizations compute are computed once, stacked recurrent layers and
    the projections of attention are separated, an Embedding looks its rows up in a head with the
    same weight, and pairs of Linears from an earlier compression are merged. The copy computes the
    same function.

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
    network = copied(model)
    replaced = _folded(network)
    replaced |= _joined(network)
    counts = parameter_uses(network)
    for name, module in list(named_modules(network)):
        if any(name.startswith(f"{done}.") for done in replaced):
            continue
        splitter = splitter_of(module)
        if splitter is not None and not in_recurrent(network, name):
            if why_not(module, counts) is None:
                replaced.setdefault(name, module)
                network = replace_module(network, name, splitter.split(module))
        elif merge and is_pair(module) and all(why_not(part, counts) is None for part in module):
            replaced[name] = module
            network = replace_module(network, name, merged(module))
    return network, replaced


def copied(model: nn.Module) -> nn.Module:
    """Copy of a network, also after a pass with gradients through weights that a hook computes."""
    computed = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)


def restored(network: nn.Module, replaced: dict[str, nn.Module], cut: Collection[str]) -> nn.Module:
    """Put back the modules that `prepare` replaced, unless a factored layer is inside.

    Parameters
    ----------
    network : nn.Module
        Network of `prepare`, with factored layers.
    replaced : dict of str to nn.Module
        Modules as they were, which are copied.
    cut : collection of str
        Names of the factored layers.
    """
    for name, module in replaced.items():
        if any(is_within(layer, name) for layer in cut):
            continue
        now = network.get_submodule(name)
        if not isinstance(now, Lookup):
            network = replace_module(network, name, copy.deepcopy(module))
        elif isinstance(now.head, nn.Linear):
            embedding = copy.deepcopy(module)
            embedding.weight = now.head.weight
            network = replace_module(network, name, embedding)
    return network


def _joined(network: nn.Module) -> dict[str, nn.Module]:
    """Embeddings and heads with one weight as they were, by name; the heads first.

    In the network, such an Embedding looks its rows up in the head.
    """
    holders: dict[int, list[tuple[str, nn.Module]]] = {}
    for name, module in network.named_modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                holders.setdefault(id(parameter), []).append((name, module))
    tables: dict[str, nn.Module] = {}
    heads: dict[str, nn.Module] = {}
    for one in holders.values():
        linear = [(name, m) for name, m in one if type(m) is nn.Linear and not is_computed(m)]
        rows = [(name, m) for name, m in one if type(m) is nn.Embedding and m.max_norm is None]
        if len(linear) != 1 or not rows or len(rows) + 1 != len(one) or not linear[0][0]:
            continue
        name, head = linear[0]
        tied = TiedLinear(head.in_features, head.out_features, bias=False, device="meta")
        tied.weight, tied.bias = head.weight, head.bias
        tied.train(head.training)
        heads[name] = head
        replace_module(network, name, tied)
        for name, embedding in rows:
            tables[name] = embedding
            replace_module(network, name, Lookup(embedding, tied))
    return heads | tables


def named_modules(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Every module once, by its name; a head by its own, not by that in an Embedding."""
    names: dict[nn.Module, str] = {}
    inside: set[nn.Module] = set()
    for name, module in network.named_modules(remove_duplicate=False):
        outer = [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 1)]
        looked_up = any(isinstance(network.get_submodule(one), Lookup) for one in outer)
        if module not in names or (module in inside and not looked_up):
            names[module] = name
            inside.discard(module)
            if looked_up:
                inside.add(module)
    return ((name, module) for module, name in names.items())


def _folded(network: nn.Module) -> dict[str, nn.Module]:
    """Modules with computed weights as they were, by name; in the network they are plain."""
    found = {}
    for name, module in network.named_modules():
        if is_computed(module) and family_of(module) is not None:
            found[name] = copy.deepcopy(module, _detached(module))
            _fold(module)
    return found


def is_computed(module: nn.Module) -> bool:
    """Whether a known hook or a parametrization computes the weight of a module."""
    hooks = module._forward_pre_hooks.values()
    return parametrize.is_parametrized(module) or any(isinstance(h, _HOOKS) for h in hooks)


def _detached(module: nn.Module) -> dict[int, Tensor]:
    tensors = (value for value in vars(module).values() if isinstance(value, Tensor))
    return {id(value): value.detach().clone() for value in tensors if not value.is_leaf}


def _fold(module: nn.Module) -> None:
    """Replace computed weights by their values in evaluation mode."""
    training, module.training = module.training, False
    if parametrize.is_parametrized(module):
        # Torch's own removal takes the weight from a class that copies of the module share.
        computed = {name: getattr(module, name).detach() for name in _parametrizations(module)}
        trained = any(p.requires_grad for p in module.parameters())
        del module._modules["parametrizations"]
        module.__class__ = type(module).__bases__[0]
        for name, value in computed.items():
            module.register_parameter(name, nn.Parameter(value.clone(), requires_grad=trained))
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
        elif isinstance(hook, _HOOKS):
            hook.remove(module)
            del module._forward_pre_hooks[key]
    module.training = training


def _parametrizations(module: nn.Module) -> list[str]:
    held = module._modules["parametrizations"]
    return list(held._modules) if held is not None else []


def is_within(name: str, outer: str) -> bool:
    """Whether a module is another one or inside it, by their names; "" is the whole network."""
    return not outer or name == outer or name.startswith(f"{outer}.")


def in_recurrent(network: nn.Module, name: str) -> bool:
    """Whether a module is inside a separated stack of recurrent layers."""
    parts = name.split(".")
    above = [".".join(parts[:n]) for n in range(len(parts))]
    return any(isinstance(network.get_submodule(outer), Recurrent) for outer in above)


def replace_module(network: nn.Module, name: str, module: nn.Module) -> nn.Module:
    """Network with a module replaced under all of its names, in place; "" replaces all of it."""
    if not name:
        return module
    old = network.get_submodule(name)
    for owner in network.modules():
        for last, child in list(owner._modules.items()):
            if child is not old:
                continue
            owner._modules[last] = module
            if isinstance(owner, nn.TransformerEncoderLayer):
                _choose_path(owner)
    return network


def _choose_path(layer: nn.TransformerEncoderLayer) -> None:
    """Fused path of a transformer's layer only where all of its parts are torch's own.

    That path reads weights, such as linear1.weight, instead of calling the modules. Without a known
    activation, neither the layer nor its encoder takes it.
    """
    plain = isinstance(layer.self_attn, nn.MultiheadAttention)
    plain = plain and type(layer.linear1) is type(layer.linear2) is nn.Linear
    known = {functional.relu: 1, functional.gelu: 2}
    layer.activation_relu_or_gelu = known.get(layer.activation, 0) if plain else 0


def parameter_uses(network: nn.Module) -> dict[int, int]:
    """Number of modules that hold each parameter, by the ``id`` of the parameter."""
    counts: dict[int, int] = {}
    for module in network.modules():
        for parameter in module._parameters.values():
            if parameter is not None:
                counts[id(parameter)] = counts.get(id(parameter), 0) + 1
    return counts


def candidates(network: nn.Module) -> Iterator[tuple[str, nn.Module, str | None]]:
    """Names and modules with a weight matrix, and the reason why not to factor each, or None."""
    counts = parameter_uses(network)
    whole: list[str] = []
    for name, module in named_modules(network):
        if any(name.startswith(f"{outer}.") for outer in whole):
            continue
        if is_computed(module):
            whole.append(name)
            yield name, module, f"{type(module).__name__} with a computed weight is not factored"
        elif isinstance(module, nn.MultiheadAttention):
            whole.append(name)
            yield name, module, why_not(module, counts)
        elif any(p.ndim >= 2 for p in module.parameters(recurse=False)):
            yield name, module, why_not(module, counts)


def why_not(module: nn.Module, counts: dict[int, int]) -> str | None:
    """Reason why a module can neither be factored nor split; None if it can."""
    family, splitter = family_of(module), splitter_of(module)
    if family is None and splitter is None:
        return f"{type(module).__name__} is not factored"
    reason = _weights_obstacle(module, list(module.parameters(recurse=family is None)), counts)
    if reason is not None:
        return reason
    if family is None:
        assert splitter is not None
        inside = any(is_computed(part) for part in module.modules())
        return "a part of it has a computed weight" if inside else splitter.why_not(module)
    largest = (largest_rank(family, module, one) for one in family.decompositions(module))
    return family.why_not(module) or (
        None if any(largest) else "too small: no rank makes it smaller"
    )


def _weights_obstacle(
    module: nn.Module, own: list[nn.Parameter], counts: dict[int, int]
) -> str | None:
    if any(counts.get(id(parameter), 0) > 1 for parameter in own):
        return "its weight is shared with another layer"
    if isinstance(getattr(module, "weight", None), Tensor) and "weight" not in module._parameters:
        return "its weight is computed by a hook that is not known here"
    if not all(p.is_floating_point() for p in own):
        return "its weight is not floating-point"
    return None
