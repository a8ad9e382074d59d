"""From a network and a plan to the compressed network."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import WIDE, WIDE_ROWS, Factors
from tinysignal.compress.plan import LayerPlan, Plan
from tinysignal.compress.profile import Profile, profile
from tinysignal.compress.solve import from_moments, from_rows
from tinysignal.compress.structure import is_within, prepare, put
from tinysignal.errors import ConfigError
from tinysignal.nets.introspection import Forward, evaluating, first_input, guarded

REFINE_STEPS = 300
_MOST_ROWS = 20_000
_MOST_VALUES = 200_000_000  # of all layers' inputs in memory, 800 MB as float32


def apply(
    model: nn.Module,
    plan: Plan,
    calibration: Profile | Iterable[Any],
    *,
    forward: Forward | None = None,
    refine: int = REFINE_STEPS,
    seed: int = 0,
) -> nn.Module:
    """A compressed copy of a network.

    Parameters
    ----------
    model : nn.Module
        Left as it is.
    plan : Plan
    calibration : Profile or iterable
        Of this very network; or batches, as `profile` takes them.
    forward : callable or None
        As of `profile`; of a Profile, its own is taken.
    refine : int
        Steps of gradient descent with which, in the ``sequential`` method, a layer's factors are
        fitted to the original layer's values behind its activation; 0 for the closed form alone.
    seed : int
        Of the order in which these steps see the rows.

    Returns
    -------
    nn.Module
        Of plain torch modules: a layer that is factored is an nn.Sequential.

    Raises
    ------
    ConfigError
        A plan with layers that the network does not have, or of another size.
    DataError, ModelError
        See `profile`.
    """
    if isinstance(calibration, Profile):
        profiled = calibration
        _check_same(model, profiled)
    else:
        profiled = profile(model, calibration, forward=forward)
    if refine < 0:
        raise ConfigError(f"refine = {refine} steps, expected 0 or more.")
    check_plan(plan, profiled)
    return compressed(profiled, plan, refine=refine, seed=seed)


def compressed(profiled: Profile, plan: Plan, *, refine: int, seed: int = 0) -> nn.Module:
    """`apply` on what a profile holds, unchecked."""
    network = copy.deepcopy(profiled.network)
    planned = {layer.name: layer for layer in plan.layers}
    if plan.method == "sequential":
        network = _sequential(network, profiled, planned, refine=refine, seed=seed)
    else:
        for layer in profiled.layers:
            step = planned.get(layer.name)
            if step is not None and step.rank is not None:
                made = from_moments(layer, step.decomposition, step.rank, method=plan.method)
                network = put(network, layer.name, layer.family.replacement(layer.module, made))
    return _restored(network, profiled, planned)


def check_plan(plan: Plan, profiled: Profile) -> None:
    """Hold a plan to a network.

    Raises
    ------
    ConfigError
        By the layer's name.
    """
    known = {layer.name: layer for layer in profiled.layers}
    reasons = {skipped.name: skipped.reason for skipped in profiled.skipped}
    for step in plan.layers:
        if step.name not in known:
            reason = reasons.get(step.name, f"the network's are {', '.join(known)}")
            raise ConfigError(f"plan: layer '{step.name}' cannot be factored ({reason}).")
        layer = known[step.name]
        if step.kind != layer.kind:
            raise ConfigError(
                f"plan: layer '{step.name}' is a {step.kind}, in the network a {layer.kind}."
            )
        if step.decomposition not in layer.decompositions:
            raise ConfigError(
                f"plan: layer '{step.name}' has no decomposition '{step.decomposition}', "
                f"expected {', '.join(layer.decompositions)}."
            )
        full = layer.exact_rank(step.decomposition)
        if step.full_rank != full:
            raise ConfigError(
                f"plan: layer '{step.name}' has full rank {full}, not {step.full_rank}."
            )


def _check_same(model: nn.Module, profiled: Profile) -> None:
    """Refuse a profile of another network, whose factors would not fit."""
    prepared, _ = prepare(model)
    ours, theirs = prepared.state_dict(), profiled.network.state_dict()
    if ours.keys() != theirs.keys() or not all(
        ours[key].shape == theirs[key].shape and torch.equal(ours[key], theirs[key]) for key in ours
    ):
        raise ConfigError("the profile is of another network, or of other weights. Profile again.")


def _restored(network: nn.Module, profiled: Profile, planned: dict[str, LayerPlan]) -> nn.Module:
    """Put back the modules that were taken apart and are not factored."""
    cut = {name for name, step in planned.items() if step.rank is not None}
    for name, module in profiled.replaced.items():
        if not any(is_within(layer, name) for layer in cut):
            network = put(network, name, copy.deepcopy(module))
    return network


class _Reached(Exception):  # noqa: N818 - not an error: the rest of a forward pass is not needed
    pass


def _sequential(
    network: nn.Module,
    profiled: Profile,
    planned: dict[str, LayerPlan],
    *,
    refine: int,
    seed: int,
) -> nn.Module:
    """Factor layer after layer, each with the inputs that those before it now give."""
    names = [layer.name for layer in profiled.layers]
    strides = _strides(profiled)
    originals = _gather(profiled.network, profiled, names, strides)
    kept = set(profiled.replaced)
    begun = False
    for layer in profiled.layers:
        step = planned.get(layer.name)
        rank = None if step is None else step.rank
        whole = any(is_within(layer.name, name) for name in kept)
        before = originals.pop(layer.name)
        if rank is None and (not begun or whole):
            continue
        given = _gather(network, profiled, [layer.name], strides)[layer.name] if begun else before
        module = network.get_submodule(layer.name)
        target = before @ layer.weight.T + layer.bias.to(before.dtype)
        decomposition = layer.decompositions[0] if step is None else step.decomposition
        made = from_rows(
            layer, decomposition, rank, given=given, target=target, refine=refine, seed=seed
        )
        begun = True
        if isinstance(made, Factors):
            network = put(network, layer.name, layer.family.replacement(module, made))
        else:
            layer.family.write(module, *made)
    return network


def _strides(profiled: Profile) -> dict[str, int]:
    """Which rows of every layer are kept: as many as memory and time allow."""
    widths = sum(layer.weight.shape[1] for layer in profiled.layers)
    most = min(_MOST_ROWS, max(1, _MOST_VALUES // widths))
    strides = {}
    for layer in profiled.layers:
        few = min(most, WIDE_ROWS) if layer.weight.shape[1] > WIDE else most
        strides[layer.name] = max(1, math.ceil(layer.inputs.rows / few))
    return strides


def _gather(
    network: nn.Module, profiled: Profile, names: list[str], strides: dict[str, int]
) -> dict[str, Tensor]:
    """Every k-th row of inputs of some layers, the same rows in every network."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    counts = dict.fromkeys(names, 0)
    with evaluating(network) as handles:
        for name in names:
            module = network.get_submodule(name)

            def before(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                rows = profiled.layer(name).family.rows(module, first_input(args, kwargs))
                start = -counts[name] % strides[name]
                counts[name] += len(rows)
                found[name].append(rows[start :: strides[name]].clone())
                if len(names) == 1 and profiled.layer(name).calls == 1:
                    raise _Reached

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        for batch, _ in profiled.batches:
            try:
                guarded(profiled.forward, network, batch)
            except _Reached:
                continue
    return {name: torch.cat(parts) for name, parts in found.items()}
