"""Refinement of all factors of a compressed network together, without labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tinysignal.compress.output_loss import OutputLoss, Weights
from tinysignal.compress.plan import Plan
from tinysignal.compress.profile import Batches, Profile
from tinysignal.compress.structure import is_within
from tinysignal.errors import ConfigError
from tinysignal.nets.batches import Batch, heads, run
from tinysignal.nets.introspection import evaluating

_MINIBATCH = 128
_PASSES = 40  # over the calibration data, within these bounds
_FEWEST_STEPS, _MOST_STEPS = 300, 3000
_RATE = 0.005  # of the root mean square of each tensor: factors differ in scale
_WARM_UP = 0.1  # of the steps
_CHECKS = 20  # on the held-out data
_PATIENCE = 10  # checks without a gain
_HELD_OUT = 2048  # examples of a check


def refined_jointly(
    network: nn.Module,
    profiled: Profile,
    plan: Plan,
    held: Batches,
    *,
    loss: str = "auto",
    weights: Weights | None = None,
    seed: int = 0,
) -> nn.Module:
    """Fit all factors together to the outputs of the original network, by Adam, in place.

    The network that is best on held-out data is kept: that of the start, if no other is better. It
    runs in evaluation mode, so statistics of normalisations do not change. Layers that the plan
    leaves whole are fitted as well; those that cannot be factored, are ignored, or are frozen
    (``requires_grad=False``) are not.

    Parameters
    ----------
    network : nn.Module
        Network compressed by ``plan``.
    profiled : Profile
        Profile on the data to fit.
    plan : Plan
    held : tuple of Batch
        Data to judge by, which neither the factors nor the profile have seen.
    loss, weights
        See `tinysignal.compress.plan`.
    seed : int
        Random seed of the order of examples.

    Raises
    ------
    ConfigError
        All layers are frozen, or no gradient reaches them.

    References
    ----------
    Hinton et al. (2015), "Distilling the knowledge in a neural network"; Beyer et al. (2022),
    "Knowledge distillation: A good teacher is patient and consistent", for averaged inputs.
    """
    if all(step.rank is None for step in plan.layers):
        return network
    values = _values(network, profiled, plan)
    judge = OutputLoss(profiled, held, loss, weights=weights, most=_HELD_OUT)
    minibatches = _minibatches(profiled.batches, seed)
    many = sum(math.ceil(batch.examples / _MINIBATCH) for batch in profiled.batches)
    steps = min(max(_PASSES * many, _FEWEST_STEPS), _MOST_STEPS)
    kept, least = [value.detach().clone() for value in values], judge(network)
    stale = 0
    optimiser, schedule = _optimiser(values, steps)
    with evaluating(network, seed=seed), _recurrent_gradients(network):
        for step in range(1, steps + 1):
            batch = next(minibatches)
            with evaluating(profiled.network):
                original = heads(run(profiled.network, batch, profiled.forward))
            with torch.enable_grad():
                found = heads(run(network, batch, profiled.forward))
                _set_gradients(values, judge.between(found, original))
            optimiser.step()
            schedule.step()
            if step % math.ceil(steps / _CHECKS) and step < steps:
                continue
            now = judge(network)
            stale += 1
            if now < least:
                kept, least, stale = [value.detach().clone() for value in values], now, 0
            if stale == _PATIENCE:
                break
        for value, best in zip(values, kept, strict=True):
            value.copy_(best)
            value.grad = None
    return network


def _values(network: nn.Module, profiled: Profile, plan: Plan) -> list[nn.Parameter]:
    """Parameters of the layers to fit, each once."""
    ranks = plan.ranks
    found: dict[int, nn.Parameter] = {}
    for layer in profiled.layers:
        if ranks.get(layer.name) is None and any(
            is_within(layer.name, name) for name in profiled.replaced
        ):
            continue  # the original module is back in its place
        for value in network.get_submodule(layer.name).parameters():
            if value.requires_grad:
                found[id(value)] = value
    if not found:
        raise ConfigError(
            "refine is joint, but all layers are frozen. Set requires_grad, or pass a number of "
            "steps per layer."
        )
    return list(found.values())


def parted(batches: Batches) -> tuple[Batches, Batches]:
    """Data to fit, and a fifth to judge by: of every batch, or whole batches of any structure."""
    fit, held = [], []
    for batch in batches:
        start = batch.examples - batch.examples // 5
        parts = batch.take(slice(start)), batch.take(slice(start, None))
        if parts[0] is None or parts[1] is None or not parts[1].examples:
            break
        fit.append(parts[0])
        held.append(parts[1])
    else:
        return tuple(fit), tuple(held)
    if len(batches) == 1:
        return batches, batches
    return tuple(b for i, b in enumerate(batches) if i % 5), batches[::5]


def _minibatches(batches: Batches, seed: int) -> Iterator[Batch]:
    """Random examples, each averaged with another where that can be done; in passes over batches.

    A few thousand examples are soon learnt by heart. Averages are new in every step, and the
    original network says what is right for them.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        for place in torch.randperm(len(batches), generator=generator).tolist():
            batch = batches[place]
            order = torch.randperm(batch.examples, generator=generator)
            for start in range(0, len(order), _MINIBATCH):
                some = batch.take(order[start : start + _MINIBATCH])
                yield batch if some is None else some.mixed(generator)
                if some is None:
                    break


def _optimiser(
    values: list[nn.Parameter], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam whose rate is relative to each tensor, and rises and falls once."""
    scales = [float(value.detach().float().square().mean().sqrt()) for value in values]
    middle = sorted(scales)[len(scales) // 2]  # for tensors that are zero
    groups = [
        {"params": [value], "lr": _RATE * (scale or middle)}
        for value, scale in zip(values, scales, strict=True)
    ]
    optimiser = torch.optim.Adam(groups)
    rise = max(1, round(_WARM_UP * steps))

    def rate(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 + 0.5 * math.cos(math.pi * (step - rise) / max(1, steps - rise))

    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, rate)


def _set_gradients(values: list[nn.Parameter], loss: Tensor) -> None:
    """Gradients of these values; those of others stay as they are."""
    try:
        found = torch.autograd.grad(loss, values, allow_unused=True)
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason"])[0][:200]
        raise ConfigError(
            f"refine is joint, but gradients do not reach the factors ({reason}). Take no_grad and "
            "detach out of the network and of forward=, or pass a number of steps per layer."
        ) from None
    for value, gradient in zip(values, found, strict=True):
        value.grad = gradient


@contextmanager
def _recurrent_gradients(network: nn.Module) -> Iterator[None]:
    """Context in which recurrent layers on a GPU have gradients in evaluation mode."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in network.modules())
    with torch.backends.cudnn.flags(enabled=not recurrent and torch.backends.cudnn.enabled):
        yield
