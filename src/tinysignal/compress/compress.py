"""Compression of a network in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from tinysignal.compress.apply import REFINE_STEPS, apply
from tinysignal.compress.output_loss import Weights
from tinysignal.compress.plan import Plan
from tinysignal.compress.profile import Profile, Score, profile
from tinysignal.compress.ranks import Floor
from tinysignal.compress.search import accuracy, plan
from tinysignal.errors import ConfigError
from tinysignal.nets.batches import run
from tinysignal.nets.introspection import Forward, count_macs


@dataclass(frozen=True)
class Compressed:
    """Compressed network with its plan; ``print`` shows a table before and after.

    It unpacks as ``network, plan = compress(...)``.

    Parameters
    ----------
    network : nn.Module
    plan : Plan
    before, after : dict of str to float
        Parameters, multiply-accumulates per example and, for labelled calibration data, accuracy
        on them in percent; or the given score.
    """

    network: nn.Module = field(repr=False)
    plan: Plan
    before: dict[str, float]
    after: dict[str, float]

    def __iter__(self) -> Iterator[Any]:
        return iter((self.network, self.plan))

    def __str__(self) -> str:
        rows = [("", "before", "after", "kept")]
        for key, value in self.before.items():
            found = self.after[key]
            kept = f"{found / value:.1%}" if value and key not in _SCORES else ""
            form = _SCORES.get(key, "{:.0f}")
            rows.append((key, form.format(value), form.format(found), kept))
        rows += [("", "", "", ""), ("layer", "full rank", "rank", "decomposition")]
        for layer in self.plan.layers:
            rank = "whole" if layer.rank is None else str(layer.rank)
            rows.append((layer.name, str(layer.full_rank), rank, layer.decomposition))
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip()
            for a, b, c, d in rows
        ]
        lines += [f"{name}: left whole, {why}" for name, why in self.plan.skipped.items()]
        return "\n".join(lines)


_ACCURACY = "accuracy"
_SCORES = {_ACCURACY: "{:.2f} %", "score": "{:.4g}"}


def compress(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    rank: int | None = None,
    energy: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    max_accuracy_drop: float | None = None,
    method: str = "sequential",
    ignore: Sequence[str] = (),
    only: Sequence[str] = (),
    min_rank: Floor | None = None,
    round_to: int = 1,
    loss: str = "auto",
    weights: Weights | None = None,
    forward: Forward | None = None,
    score: Score | None = None,
    refine: int | str = REFINE_STEPS,
    seed: int = 0,
) -> Compressed:
    """Factor the layers of a trained network within a budget: `profile`, `plan` and `apply`.

    Parameters
    ----------
    model : nn.Module
        Trained network; it is not changed.
    batches : iterable
        Calibration data, see `profile`.
    rank, energy, params, macs, max_accuracy_drop : number or None
        Exactly one budget, see `Budget`: ``params=0.04`` keeps 4 % of the parameters.
    method : {"sequential", "activation", "svd"}
        ``sequential`` fits each layer to the outputs of the already compressed layers before it,
        ``activation`` to the calibration data in the original network, ``svd`` to the weights.
    ignore, only : sequence of str
        Names or patterns of layers to leave whole, and of the only layers to factor.
    min_rank, round_to, loss, weights
        See `plan`.
    forward, score : callable or None
        See `profile`.
    refine, seed
        See `apply`.

    Returns
    -------
    Compressed

    Raises
    ------
    ConfigError
        Not exactly one budget is given, it cannot be met, or a pattern matches no layer.
    DataError, ModelError
        See `profile`.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress import compress
    >>> net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.ReLU(), torch.nn.Linear(40, 9))
    >>> result = compress(net, [torch.randn(300, 30)], params=0.5, ignore=["2"])
    >>> sum(p.numel() for p in result.network.parameters()) <= 0.5 * 1609
    True
    """
    found = profile(model, batches, forward=forward, score=score, ignore=ignore, only=only)
    chosen = plan(
        found,
        rank=rank,
        energy=energy,
        params=params,
        macs=macs,
        max_accuracy_drop=max_accuracy_drop,
        method=method,
        min_rank=min_rank,
        round_to=round_to,
        loss=loss,
        weights=weights,
    )
    network = apply(model, chosen, found, refine=refine, loss=loss, weights=weights, seed=seed)
    before, after = (_measured(found, net) for net in (model, network))
    return Compressed(network, chosen, before, after)


def _measured(found: Profile, net: nn.Module) -> dict[str, float]:
    batch = found.batches[0]
    macs = count_macs(net, lambda: run(net, batch, found.forward))
    measured = {
        "parameters": float(sum(p.numel() for p in net.parameters())),
        "multiply-accumulates": macs / max(1, batch.examples),
    }
    if found.score is not None:
        measured["score"] = accuracy(found, net, found.batches)
    else:
        with suppress(ConfigError):  # without labels
            measured[_ACCURACY] = accuracy(found, net, found.batches)
    return measured
