"""Allocation of ranks within a budget, by the loss reduction per cost of each layer."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from itertools import pairwise

from torch import nn

from tinysignal.compress.layer_profile import LayerProfile
from tinysignal.compress.output_loss import OutputLoss
from tinysignal.compress.plan import Choice, Choices
from tinysignal.compress.profile import Profile
from tinysignal.compress.ranks import Ranks
from tinysignal.compress.solve import from_moments, prefix

_NESTED = ("low_rank", "channel")  # decompositions whose lower ranks are prefixes of higher ones


@dataclass(frozen=True)
class Candidate:
    """Possible decomposition of a layer, with its cost and its loss.

    Parameters
    ----------
    decomposition : str
    rank : int or None
        Rank; None for the whole layer.
    cost : float
        Weights, or multiply-accumulates for one example.
    loss : float
        `OutputLoss` of the network with only this layer compressed.
    """

    decomposition: str
    rank: int | None
    cost: float
    loss: float


Candidates = dict[str, list[Candidate]]  # for each layer, its lower convex hull by cost


def find_candidates(
    profile: Profile, loss: OutputLoss, method: str, ranks: Ranks, *, by_macs: bool
) -> Candidates:
    """Candidates of every layer on the lower convex hull, from the cheapest to the whole layer.

    Each layer is compressed alone, in closed form from its statistics in the original network.
    """
    network = copy.deepcopy(profile.network)
    found = {}
    for layer in profile.layers:
        module = network.get_submodule(layer.name)
        single = "svd" if method == "svd" else "activation"
        kept = copy.deepcopy(module.state_dict())
        candidates = [Candidate(layer.decompositions[0], None, _whole(layer, by_macs), 0.0)]
        for decomposition in layer.decompositions:
            tried = ranks.ladder(layer, decomposition)
            nested = decomposition in _NESTED and tried
            most = from_moments(layer, decomposition, tried[-1], method=single) if nested else None
            for rank in tried:
                if most is None:
                    made = from_moments(layer, decomposition, rank, method=single)
                else:
                    made = prefix(most, layer, rank, corrected=method != "svd")
                layer.family.write(module, made.dense, made.bias)
                cost = cost_of(layer, decomposition, rank, by_macs)
                candidates.append(Candidate(decomposition, rank, cost, max(0.0, loss(network))))
                if "bias" not in kept and "bias" in module._parameters:
                    module.register_parameter("bias", None)
                module.load_state_dict(kept)
        found[layer.name] = lower_hull(candidates)
    return found


def _whole(layer: LayerProfile, by_macs: bool) -> float:
    return layer.macs if by_macs else layer.parameters


def cost_of(layer: LayerProfile, decomposition: str, rank: int, by_macs: bool) -> float:
    """Weights, or multiply-accumulates per example, of a layer at a rank."""
    weights, macs = layer.cost(decomposition, rank)
    return macs * layer.rows_per_example if by_macs else weights


def lower_hull(candidates: list[Candidate]) -> list[Candidate]:
    """Lower convex hull of candidates: none is above the line between two others, by cost."""
    hull: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (c.cost, c.loss)):
        if hull and candidate.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], candidate):
            hull.pop()
        hull.append(candidate)
    return hull


def _slope(cheap: Candidate, dear: Candidate) -> float:
    return (dear.loss - cheap.loss) / (dear.cost - cheap.cost)


def discounted(candidates: Candidates, factor: float) -> Candidates:
    """Candidates whose losses are divided by ``factor`` once more in every next layer.

    Losses in closed form overestimate those of late layers, because refinement reduces their errors
    most. The last layer, which has no refinement, keeps its losses.
    """
    *refined, last = candidates
    weights = {name: factor**-place for place, name in enumerate(refined)} | {last: 1.0}
    return {
        name: [replace(one, loss=one.loss * weights[name]) for one in own]
        for name, own in candidates.items()
    }


def allocate(
    profile: Profile,
    candidates: Candidates,
    limit: float | None,
    ranks: Ranks,
    *,
    by_macs: bool,
) -> tuple[Choices, float]:
    """Choose candidates greedily by loss reduction per cost, within a limit.

    Parameters
    ----------
    profile : Profile
    candidates : dict of str to list of Candidate
    limit : float or None
        Largest cost of the whole network; None for the smallest possible cost.
    ranks : Ranks
    by_macs : bool
        Whether costs are multiply-accumulates instead of parameters.

    Returns
    -------
    dict of str to Choice
        Choice for each layer.
    float
        Cost of the whole network.
    """
    whole = profile.macs if by_macs else profile.parameters
    fixed = whole - sum(_whole(layer, by_macs) for layer in profile.layers)
    fixed += _new_biases(profile, by_macs)
    chosen = {name: own[0] for name, own in candidates.items()}
    left = 0.0 if limit is None else limit - fixed - sum(one.cost for one in chosen.values())
    gains = [
        (_slope(cheap, dear), name, place, dear)
        for name, own in candidates.items()
        for place, (cheap, dear) in enumerate(pairwise(own))
    ]
    stopped: set[str] = set()
    for _, name, _, dear in sorted(gains, key=lambda gain: gain[:3]):
        if name in stopped:
            continue
        extra = dear.cost - chosen[name].cost
        if extra <= left:
            chosen[name], left = dear, left - extra
        else:
            stopped.add(name)
            chosen[name], left = _partly(profile.layer(name), chosen[name], left, ranks, by_macs)
    choices = {
        name: Choice(one.decomposition, one.rank, f"output loss {one.loss:.2g}")
        for name, one in chosen.items()
    }
    return choices, fixed + sum(one.cost for one in chosen.values())


def total_cost(profile: Profile, choices: Choices, *, by_macs: bool) -> float:
    """Parameters or multiply-accumulates of the whole network after compression."""
    total = float(profile.macs if by_macs else profile.parameters)
    total += _new_biases(profile, by_macs)
    for name, choice in choices.items():
        if choice.rank is not None:
            layer = profile.layer(name)
            cost = cost_of(layer, choice.decomposition, choice.rank, by_macs)
            total += cost - _whole(layer, by_macs)
    return total


def _new_biases(profile: Profile, by_macs: bool) -> int:
    """Parameters of the biases that factored layers without a bias get."""
    if by_macs:
        return 0
    return sum(
        len(layer.bias) * (2 if isinstance(layer.module, nn.RNNBase) else 1)
        for layer in profile.layers
        if not layer.family.has_bias(layer.module)
    )


def _partly(
    layer: LayerProfile, candidate: Candidate, left: float, ranks: Ranks, by_macs: bool
) -> tuple[Candidate, float]:
    """Choice of the largest rank of a candidate's decomposition within the limit."""
    if candidate.rank is None:
        return candidate, left
    decomposition = candidate.decomposition
    step = ranks.step(layer, decomposition)
    low, high = candidate.rank // step, layer.largest_rank(decomposition) // step
    while low < high:
        middle = (low + high + 1) // 2
        extra = cost_of(layer, decomposition, middle * step, by_macs) - candidate.cost
        low, high = (middle, high) if extra <= left else (low, middle - 1)
    cost = cost_of(layer, decomposition, low * step, by_macs)
    return replace(candidate, rank=low * step, cost=cost), left - (cost - candidate.cost)
