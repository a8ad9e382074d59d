"""Plans for budgets: comparison of allocations and of equal ranks on held-out batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tinysignal.budget import Budget
from tinysignal.compress.allocate import (
    Candidates,
    allocate,
    discounted,
    find_candidates,
    total_cost,
)
from tinysignal.compress.apply import compressed
from tinysignal.compress.output_loss import OutputLoss, Weights
from tinysignal.compress.plan import (
    Choices,
    Plan,
    assemble,
    by_energy,
    check_method,
    uniform,
)
from tinysignal.compress.profile import Batches, Profile, on_batches
from tinysignal.compress.ranks import Floor, Ranks, ranks_of
from tinysignal.errors import ConfigError
from tinysignal.nets.batches import heads, right_answers, run
from tinysignal.nets.introspection import evaluating

_BISECTIONS = 6
_HELD_OUT = 2048  # examples for the comparison of plans
_DISCOUNTS = (1.5, 2.5)
_REFINE = 100  # refinement steps in the comparison, fewer than in the final network

Measured = dict[str, Any]


def _searched(
    profile: Profile,
    budget: Budget,
    *,
    method: str,
    ranks: Ranks,
    loss: str,
    weights: Weights | None,
) -> tuple[Choices, Measured]:
    """Choices for a budget of the whole network, and the measurements that decided them."""
    output_loss = (loss, weights)
    search = _Search(profile, method, ranks, output_loss, by_macs=budget.macs is not None)
    if budget.max_accuracy_drop is not None:
        return search.smallest(accuracy_test(search, budget.max_accuracy_drop))
    value = budget.value
    found = search.best_within(value * search.whole if value <= 1 else value)
    if found is None:
        raise ConfigError(
            f"{budget.kind} is {value:g}, but the smallest ranks allowed leave "
            f"{search.least / search.whole:.2%} of the {budget.kind}. Raise {budget.kind}, or "
            "lower min_rank."
        )
    return found


class _Search:
    """Search over allocations: fitted on one half of the calibration data, scored on the other."""

    def __init__(
        self,
        profile: Profile,
        method: str,
        ranks: Ranks,
        loss: tuple[str, Weights | None],
        *,
        by_macs: bool,
    ) -> None:
        fit, self.held = halves(profile.batches)
        self.profile = on_batches(profile, fit)
        self.method, self.ranks, self.by_macs = method, ranks, by_macs
        output_loss = OutputLoss(self.profile, fit, loss[0], weights=loss[1])
        self.candidates: dict[str, Candidates] = {
            "measured loss": find_candidates(
                self.profile, output_loss, method, ranks, by_macs=by_macs
            ),
        }
        if method == "sequential":
            for factor in _DISCOUNTS:
                name = f"measured loss, discount {factor:g} per layer"
                self.candidates[name] = discounted(self.candidates["measured loss"], factor)
        self.judge = OutputLoss(self.profile, self.held, output_loss.heads, most=_HELD_OUT)
        self.whole = profile.macs if by_macs else float(profile.parameters)
        self.least = allocate(
            self.profile, self.candidates["measured loss"], None, ranks, by_macs=by_macs
        )[1]

    def compressed(self, choices: Choices) -> nn.Module:
        """Network compressed on the first half."""
        plan = assemble(self.profile, choices, self.method, None)
        return compressed(self.profile, plan, refine=_REFINE)

    def best_within(self, limit: float) -> tuple[Choices, Measured] | None:
        """Best of the allocations and of equal ranks within a limit; None if none fits."""
        if limit < self.least:
            return None
        tried = {
            name: allocate(self.profile, candidates, limit, self.ranks, by_macs=self.by_macs)[0]
            for name, candidates in self.candidates.items()
        }
        equal = self._equal(limit)
        if equal is not None:
            tried["equal ranks"] = equal
        known: dict[str, float] = {}  # scores by plan, because allocations may coincide
        losses = {}
        for name, choices in tried.items():
            form = repr([choice[:2] for choice in choices.values()])
            if form not in known:
                known[form] = self.judge(self.compressed(choices))
            losses[name] = known[form]
        best = min(losses, key=lambda name: losses[name])
        measured: dict[str, Any] = {
            "loss": self.judge.kind,
            "held_out_loss": losses,
            "ranks": {
                name: {layer: choice.rank for layer, choice in choices.items()}
                for name, choices in tried.items()
            },
            "chosen": best,
        }
        return tried[best], measured

    def _equal(self, limit: float) -> Choices | None:
        """Choices of the largest equal rank within a limit; None if none fits."""
        low, high = 0, max(layer.full_rank for layer in self.profile.layers)
        while low < high:
            middle = (low + high + 1) // 2
            choices = uniform(self.profile, middle, self.ranks, first_only=True)
            fits = total_cost(self.profile, choices, by_macs=self.by_macs) <= limit
            low, high = (middle, high) if fits else (low, middle - 1)
        return uniform(self.profile, low, self.ranks, first_only=True) if low else None

    def _allocated(self, share: float) -> Choices:
        candidates = self.candidates["measured loss"]
        limit = share * self.whole
        return allocate(self.profile, candidates, limit, self.ranks, by_macs=self.by_macs)[0]

    def smallest(self, meets: Callable[[nn.Module], bool]) -> tuple[Choices, Measured]:
        """Cheapest allocation that meets a condition, by bisection over the kept share."""
        low, high = self.least / self.whole, 1.0
        best = self._allocated(high)
        for _ in range(_BISECTIONS):
            middle = (low * high) ** 0.5
            choices = self._allocated(middle)
            if meets(self.compressed(choices)):
                best, high = choices, middle
            else:
                low = middle
        return best, {"share_kept": high, "chosen": "measured loss"}


def halves(batches: Batches) -> tuple[Batches, Batches]:
    """Two halves of the batches, or of the examples of a single batch."""
    if len(batches) > 1:
        return batches[::2], batches[1::2]
    first, second = (batches[0].take(slice(start, None, 2)) for start in (0, 1))
    return (batches, batches) if first is None or second is None else ((first,), (second,))


def accuracy(profile: Profile, network: nn.Module, batches: Batches) -> float:
    """Score of the profile, averaged over examples; or accuracy on the labels in percent.

    Of several outputs, the first that fits the labels is judged.

    Raises
    ------
    ConfigError
        There is no score, and no batch has labels that fit an output.
    """
    total = count = 0.0
    with evaluating(network):
        for batch in batches:
            outputs = run(network, batch, profile.forward)
            if profile.score is not None:
                total += float(profile.score(outputs, batch.whole)) * batch.examples
                count += batch.examples
            elif batch.labels is not None:
                found = (right_answers(one, batch.labels) for one in heads(outputs).values())
                right, counted = next((one for one in found if one is not None), (0, 0))
                total += 100 * right
                count += counted
    if not count:
        raise ConfigError(
            "the calibration batches have no labels that fit an output, expected (inputs, "
            "labels) for max_accuracy_drop. Give them, or score=."
        )
    return total / count


def accuracy_test(search: _Search, drop: float) -> Callable[[nn.Module], bool]:
    """Test whether a network loses at most ``drop`` percentage points on the held-out half."""
    least = accuracy(search.profile, search.profile.network, search.held) - drop
    return lambda network: accuracy(search.profile, network, search.held) >= least - 1e-9


def plan(
    profile: Profile,
    *,
    rank: int | None = None,
    energy: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    max_accuracy_drop: float | None = None,
    method: str = "sequential",
    min_rank: Floor | None = None,
    round_to: int = 1,
    loss: str = "auto",
    weights: Weights | None = None,
) -> Plan:
    """Choose the rank and the decomposition of each layer for a budget.

    Parameters
    ----------
    profile : Profile
    rank, energy, params, macs, max_accuracy_drop : number or None
        Exactly one budget, see `Budget`.
    method : {"sequential", "activation", "svd"}
        Method of the factors, see `tinysignal.compress.compress`.
    min_rank : int, mapping of str to int, or None
        Smallest rank of every layer, or of layers by name or pattern: ``{"head": 16}``. None for 4
        where ranks are searched (``params``, ``macs``, ``max_accuracy_drop``).
    round_to : int
        Ranks become multiples of this, such as 8, in layers that are large enough for it.
    loss : {"auto", "kl", "mse"}
        Loss of a compressed layer: ``kl``, the divergence of the class probabilities from the
        original's, or ``mse``, the squared error relative to the variance of the outputs. ``auto``
        is ``kl`` for outputs that fit the labels or have the shape (examples, 2 or more). The
        losses of several outputs are added.
    weights : mapping of str to float or None
        Weights of outputs by name, as the profile shows them; 1 for the others.

    Returns
    -------
    Plan

    Raises
    ------
    ConfigError
        Not exactly one budget is given, it is out of bounds or cannot be met, or a pattern of
        ``min_rank`` matches no layer.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress import plan, profile
    >>> net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.ReLU(), torch.nn.Linear(40, 9))
    >>> plan(profile(net, [torch.randn(300, 30)]), rank=5).ranks
    {'0': 5, '2': 5}
    """
    budget = Budget(
        rank=rank,
        energy=energy,
        params=params,
        macs=macs,
        max_accuracy_drop=max_accuracy_drop,
    )
    return plan_for(
        profile,
        budget,
        method=method,
        min_rank=min_rank,
        round_to=round_to,
        loss=loss,
        weights=weights,
    )


def plan_for(
    profile: Profile,
    budget: Budget,
    *,
    method: str = "sequential",
    min_rank: Floor | None = None,
    round_to: int = 1,
    loss: str = "auto",
    weights: Weights | None = None,
) -> Plan:
    """Plan for a `Budget`; other parameters as of `plan`."""
    check_method(method)
    ranks = ranks_of(profile, min_rank, round_to)
    if budget.rank is not None:
        return assemble(profile, uniform(profile, budget.rank, ranks), method, budget)
    if budget.energy is not None:
        return assemble(profile, by_energy(profile, budget.energy, method, ranks), method, budget)
    choices, measured = _searched(
        profile, budget, method=method, ranks=ranks, loss=loss, weights=weights
    )
    return assemble(profile, choices, method, budget, measured)
