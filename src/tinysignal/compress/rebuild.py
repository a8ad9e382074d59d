"""A network in the shape of a plan, to load compressed weights into."""

from __future__ import annotations

from torch import nn

from tinysignal.compress.layers import family_of
from tinysignal.compress.plan import Plan
from tinysignal.compress.structure import is_within, prepare, put, why_not
from tinysignal.errors import ConfigError


def rebuild(model: nn.Module, plan: Plan) -> nn.Module:
    """A copy of a network with its layers factored as a plan says, whose weights are not set.

    It takes the state dict of the network that `tinysignal.compress.apply` made by this plan.

    Parameters
    ----------
    model : nn.Module
        The uncompressed network, with any weights.
    plan : Plan

    Raises
    ------
    ConfigError
        The network has no such layer, or the layer no such decomposition.

    Example
    -------
    >>> import torch
    >>> from tinysignal.compress import compress, rebuild
    >>> net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.Linear(40, 9))
    >>> small, plan = compress(net, [torch.randn(300, 30)], rank=5)
    >>> again = rebuild(net, plan)
    >>> again.load_state_dict(small.state_dict())
    <All keys matched successfully>
    """
    network, replaced = prepare(model)
    known = dict(network.named_modules())
    cut = [step for step in plan.layers if step.rank is not None]
    for step in cut:
        module = known.get(step.name)
        if module is None:
            raise ConfigError(f"plan: the network has no layer '{step.name}'.")
        family = family_of(module)
        if (
            family is None
            or why_not(module, {}) is not None
            or step.decomposition not in family.decompositions(module)
        ):
            raise ConfigError(
                f"plan: layer '{step.name}' has no decomposition '{step.decomposition}'."
            )
        assert step.rank is not None
        empty = family.empty(module, step.decomposition, step.rank)
        network = put(network, step.name, family.replacement(module, empty))
    for name, module in replaced.items():
        if not any(is_within(step.name, name) for step in cut):
            network = put(network, name, module)
    return network
