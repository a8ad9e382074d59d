"""Application of a plan to a network."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.compress.factorize import WIDE, WIDE_ROWS, Factors
from tinysignal.compress.joint import parted, refined_jointly
from tinysignal.compress.layer_profile import LayerProfile
from tinysignal.compress.layers import TIED
from tinysignal.compress.output_loss import Weights
from tinysignal.compress.plan import LayerPlan, Plan
from tinysignal.compress.profile import Profile, on_batches, profile
from tinysignal.compress.solve import from_moments, from_rows
from tinysignal.compress.structure import is_within, prepare, replace_module, restored
from tinysignal.errors import ConfigError
from tinysignal.nets.batches import run
from tinysignal.nets.checks import check_network
from tinysignal.nets.introspection import Forward, evaluating, first_input

REFINE_STEPS, JOINT = 300, "joint"
_MOST_ROWS = 20_000
_FEWEST_ROWS, _MOST_TARGETS = 1_000, 40_000_000  # bound of the outputs of one layer, 160 MB
_MOST_VALUES = 200_000_000  # bound of the stored inputs of all layers, 800 MB as float32


def apply(
    model: nn.Module,
    plan: Plan,
    calibration: Profile | Iterable[Any],
    *,
    forward: Forward | None = None,
    refine: int | str = REFINE_STEPS,
    loss: str = "auto",
    weights: Weights | None = None,
    seed: int = 0,
) -> nn.Module:
    """Compressed copy of a network.

    Parameters
    ----------
    model : nn.Module
        Trained network; it is not changed.
    plan : Plan
    calibration : Profile or iterable
        Profile of the network, or calibration batches, see `profile`.
    forward : callable or None
        See `profile`; ignored if ``calibration`` is a Profile, which has its own.
    refine : int or "joint"
        Gradient steps per layer of method ``sequential``, which fit the factors to the original
        outputs after the activation; 0 for the closed form. With ``"joint"``, all factors are
        then fitted together to the outputs of the original network, without labels; it needs
        gradients through the network.
    loss, weights
        Loss of ``refine="joint"``, see `tinysignal.compress.plan`.
    seed : int
        Random seed of the order of rows and examples in these steps.

    Returns
    -------
    nn.Module
        Network in which a factored layer is an nn.Sequential of plain torch modules. It answers for
        the attributes of the layer that it replaces.

    Raises
    ------
    ConfigError
        The plan has layers that the network has not, or has with another size; or no gradient
        reaches the factors in ``refine="joint"``.
    DataError, ModelError
        See `profile`.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.compress import apply, plan, profile
    >>> net = torch.nn.Sequential(torch.nn.Linear(30, 40), torch.nn.ReLU(), torch.nn.Linear(40, 9))
    >>> found = profile(net, [torch.randn(300, 30)])
    >>> apply(net, plan(found, rank=5), found)[0]
    FactoredLinear(
      (0): Linear(in_features=30, out_features=5, bias=False)
      (1): Linear(in_features=5, out_features=40, bias=True)
    )
    """
    check_network(model)
    if isinstance(calibration, Profile):
        profiled = calibration
        _check_same(model, profiled)
    else:
        profiled = profile(model, calibration, forward=forward)
    check_refine(refine)
    check_plan(plan, profiled)
    if isinstance(refine, int):
        return compressed(profiled, plan, refine=refine, seed=seed)
    fit, held = parted(profiled.batches)
    part = on_batches(profiled, fit)
    if len(part.layers) < len(profiled.layers):  # some run on the held-out data only
        part = profiled
    network = compressed(part, plan, refine=REFINE_STEPS, seed=seed)
    return refined_jointly(network, part, plan, held, loss=loss, weights=weights, seed=seed)


def check_refine(refine: int | str) -> None:
    """Raise ConfigError unless a refinement is a number of steps or ``"joint"``."""
    if refine != JOINT and (type(refine) is not int or refine < 0):
        raise ConfigError(f"refine is {refine!r}, expected {JOINT!r} or a number of steps.")


def compressed(profiled: Profile, plan: Plan, *, refine: int, seed: int = 0) -> nn.Module:
    """Compressed copy of the network of a profile, without the checks of `apply`."""
    network = copy.deepcopy(profiled.network)
    planned = {layer.name: layer for layer in plan.layers}
    if plan.method == "sequential":
        network = _sequential(network, profiled, planned, refine=refine, seed=seed)
    else:
        for layer in profiled.layers:
            step = planned.get(layer.name)
            if step is not None and step.rank is not None:
                made = from_moments(layer, step.decomposition, step.rank, method=plan.method)
                network = replace_module(
                    network, layer.name, layer.family.replacement(layer.module, made)
                )
    cut = [name for name, step in planned.items() if step.rank is not None]
    return restored(network, profiled.replaced, cut)


def check_plan(plan: Plan, profiled: Profile) -> None:
    """Check that a plan fits a network.

    Raises
    ------
    ConfigError
        A layer, named in the message, is missing or differs.
    """
    known = {layer.name: layer for layer in profiled.layers}
    reasons = {skipped.name: skipped.reason for skipped in profiled.skipped}
    for step in plan.layers:
        if step.name not in known:
            reason = reasons.get(step.name, f"the network's are {', '.join(known)}")
            raise ConfigError(
                f"plan: layer '{step.name}' cannot be factored ({reason}). Remove it from the plan."
            )
        layer = known[step.name]
        if step.kind != layer.kind:
            raise ConfigError(
                f"plan: layer '{step.name}' is a {step.kind}, expected {layer.kind} as in the "
                "network."
            )
        if step.decomposition not in layer.decompositions:
            raise ConfigError(
                f"plan: layer '{step.name}' has no decomposition '{step.decomposition}', "
                f"expected {', '.join(layer.decompositions)}."
            )
        full = layer.exact_rank(step.decomposition)
        if step.full_rank != full:
            raise ConfigError(
                f"plan: layer '{step.name}' has full rank {step.full_rank}, expected {full} as in "
                "the network."
            )


def _check_same(model: nn.Module, profiled: Profile) -> None:
    """Raise ConfigError for a profile of another network or of other weights."""
    prepared, _ = prepare(model)
    ours, theirs = prepared.state_dict(), profiled.network.state_dict()
    if ours.keys() != theirs.keys() or not all(
        ours[key].shape == theirs[key].shape and torch.equal(ours[key], theirs[key]) for key in ours
    ):
        raise ConfigError(
            "the profile belongs to another network or to other weights. Profile this network."
        )


class _Reached(Exception):  # noqa: N818 - not an error: it ends a forward pass early
    pass


def _sequential(
    network: nn.Module,
    profiled: Profile,
    planned: dict[str, LayerPlan],
    *,
    refine: int,
    seed: int,
) -> nn.Module:
    """Factor layers in order, each on the outputs of the compressed layers before it."""
    names = [layer.name for layer in profiled.layers]
    strides = _strides(profiled)
    originals = _gather(profiled.network, profiled, names, strides)
    kept = set(profiled.replaced)
    begun = False
    for layer in profiled.layers:  # a tied head changes the Embedding, which comes first
        step = planned.get(layer.name)
        if layer.family is TIED and step is not None and step.rank is not None:
            made = from_moments(layer, step.decomposition, step.rank, method="activation")
            network = replace_module(
                network, layer.name, layer.family.replacement(layer.module, made)
            )
            begun = True
    for layer in profiled.layers:
        step = planned.get(layer.name)
        rank = None if step is None else step.rank
        if layer.family is TIED and rank is not None:
            continue
        whole = any(is_within(layer.name, name) for name in kept)
        before = originals.pop(layer.name)
        if rank is None and (not begun or whole):
            continue
        given = _gather(network, profiled, [layer.name], strides)[layer.name] if begun else before
        module = network.get_submodule(layer.name)
        target = before @ layer.weight.T + layer.bias.to(before.dtype)
        decomposition = layer.decompositions[0] if step is None else step.decomposition
        fitted = from_rows(
            layer, decomposition, rank, given=given, target=target, refine=refine, seed=seed
        )
        begun = True
        if isinstance(fitted, Factors):
            network = replace_module(network, layer.name, layer.family.replacement(module, fitted))
        else:
            _correct(layer, module, *fitted)
    return network


def _correct(layer: LayerProfile, module: nn.Module, dense: Tensor, bias: Tensor) -> None:
    """Write a layer that stays whole; it gets no parameter that it had not, for its state dict."""
    without = module._parameters.get("bias", bias) is None
    layer.family.write(module, dense, bias)
    if without:
        module.register_parameter("bias", None)


def _strides(profiled: Profile) -> dict[str, int]:
    """Subsampling step of the rows of every layer, bounded by memory and time."""
    widths = sum(layer.weight.shape[1] for layer in profiled.layers)
    most = min(_MOST_ROWS, max(1, _MOST_VALUES // widths))
    examples = sum(batch.examples for batch in profiled.batches)
    strides = {}
    for layer in profiled.layers:
        few = min(most, WIDE_ROWS) if layer.weight.shape[1] > WIDE else most
        few = min(few, max(_FEWEST_ROWS, _MOST_TARGETS // layer.weight.shape[0]))
        strides[layer.name] = max(1, math.ceil(layer.rows_per_example * examples / few))
    return strides


def _gather(
    network: nn.Module, profiled: Profile, names: list[str], strides: dict[str, int]
) -> dict[str, Tensor]:
    """Every k-th input row of some layers, the same rows in every network."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    counts = dict.fromkeys(names, 0)
    with evaluating(network) as handles:
        for name in names:
            module = network.get_submodule(name)

            def before(module: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
                family, given = profiled.layer(name).family, first_input(args, kwargs)
                start = -counts[name] % strides[name]
                counts[name] += family.count(module, given)
                found[name].append(family.some_rows(module, given, start, strides[name]).clone())
                if len(names) == 1 and profiled.layer(name).calls == 1:
                    raise _Reached

            handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
        for batch in profiled.batches:
            try:
                run(network, batch, profiled.forward)
            except _Reached:
                continue
    return {name: torch.cat(parts) for name, parts in found.items()}
