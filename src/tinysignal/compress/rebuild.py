"""Network in the shape of a plan, for loading compressed weights."""

from __future__ import annotations

from torch import nn

from tinysignal.compress.layers import family_of
from tinysignal.compress.plan import Plan
from tinysignal.compress.structure import named_modules, prepare, replace_module, restored, why_not
from tinysignal.errors import ConfigError
from tinysignal.nets.checks import check_network


def rebuild(model: nn.Module, plan: Plan) -> nn.Module:
    """Copy of a network with factored layers in the shapes of a plan, for its state dict.

    The factors are zero until the state dict of the compressed network is loaded.

    Parameters
    ----------
    model : nn.Module
        Original network, with any weights.
    plan : Plan

    Returns
    -------
    nn.Module

    Raises
    ------
    ConfigError
        The network has not a layer of the plan, or the layer not its decomposition.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress import compress, rebuild
    >>> net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 9))
    >>> small, plan = compress(net, [torch.randn(300, 30)], rank=5)
    >>> again = rebuild(net, plan)
    >>> again.load_state_dict(small.state_dict())
    <All keys matched successfully>
    """
    check_network(model)
    network, replaced = prepare(model)
    known = dict(named_modules(network))
    cut = [step for step in plan.layers if step.rank is not None]
    for step in cut:
        module, where = known.get(step.name), f"plan: layer {step.name!r:.80}"
        if module is None:
            raise ConfigError(
                f"plan: the network has no layer {step.name!r:.80}. Give the network of the plan."
            )
        family = family_of(module)
        if (
            family is None
            or why_not(module, {}) is not None
            or step.decomposition not in family.decompositions(module)
        ):
            raise ConfigError(
                f"{where} has no decomposition {step.decomposition!r:.80}. Give the network of the "
                "plan."
            )
        assert step.rank is not None
        if step.rank > family.full_rank(module, step.decomposition):
            raise ConfigError(f"{where} has no rank {step.rank}. Give the network of the plan.")
        empty = family.empty(module, step.decomposition, step.rank)
        network = replace_module(network, step.name, family.replacement(module, empty))
    return restored(network, replaced, [step.name for step in cut])
