"""Ranks for a budget: each layer's is bought where it gains most for its price."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tinysignal.compress.layers import families as layers
from tinysignal.compress.plan import Steps
from tinysignal.compress.profile import Held, LayerProfile, Profile
from tinysignal.compress.solve import from_moments, prefix
from tinysignal.errors import ConfigError
from tinysignal.nets.introspection import Forward, first_tensor, guarded, watching

_LADDER = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64, 80, 104, 128, 160, 208, 256)
_MOST_EXAMPLES = 256  # that losses of single cuts are measured on


@dataclass(frozen=True)
class Option:
    """One way to store a layer: what it costs, and what it loses.

    Parameters
    ----------
    form : str
    rank : int or None
        None for the layer as it is.
    price : float
        Weights, or multiply-accumulates for one example.
    loss : float
    """

    form: str
    rank: int | None
    price: float
    loss: float


Offers = dict[str, list[Option]]  # of each layer, its lower convex hull


class Measure:
    """How far outputs are from those of the uncompressed network, on calibration data."""

    def __init__(
        self, profile: Profile, batches: Held, loss: str, *, most: int = _MOST_EXAMPLES
    ) -> None:
        if loss not in ("auto", "kl", "mse"):
            raise ConfigError(f"loss '{loss}', expected auto, kl or mse.")
        self._run: Forward = profile.forward
        self._inputs = _some(batches, most)
        parts = self._parts(profile.network)
        self.original = _flat(parts)
        labelled = any(labels is not None for _, labels in batches)
        classes = parts[0].ndim == 2 and parts[0].shape[1] > 1
        self.kind = loss if loss != "auto" else ("kl" if labelled or classes else "mse")

    def _parts(self, network: nn.Module) -> list[Tensor]:
        with watching(network):
            return [first_tensor(guarded(self._run, network, one)) for one in self._inputs]

    def __call__(self, network: nn.Module) -> float:
        """The loss of a network: nats an example, or a share of the outputs' variance."""
        outputs = _flat(self._parts(network))
        if self.kind == "kl":
            target = self.original.log_softmax(1)
            divergence = functional.kl_div(
                outputs.log_softmax(1), target, reduction="batchmean", log_target=True
            )
            return float(divergence)
        spread = self.original.var(dim=0, correction=0).sum().clamp_min(1e-30)
        return float((outputs - self.original).square().sum(dim=1).mean() / spread)


def _flat(parts: list[Tensor]) -> Tensor:
    """Outputs of all batches, float64 (rows, values)."""
    return torch.cat([one.reshape(-1, one.shape[-1]) for one in parts]).double()


def _some(batches: Held, most: int) -> list[Any]:
    """Inputs of some examples, an equal number of each batch where that is a Tensor."""
    share = math.ceil(most / len(batches))
    few = batches[:: math.ceil(len(batches) / most)]
    return [one[:share] if isinstance(one, Tensor) else one for one, _ in few]


def priced(profile: Profile, measure: Measure, method: str, *, floor: int, by_macs: bool) -> Offers:
    """For every layer its options on the lower convex hull, from the cheapest to the layer whole.

    A layer is cut alone, in the closed form on what it sees in the uncompressed network.
    """
    network = copy.deepcopy(profile.network)
    offers = {}
    for layer in profile.layers:
        module = network.get_submodule(layer.name)
        single = "plain" if method == "plain" else "activation"
        options = [Option(layers.forms(module)[0], None, _whole(layer, by_macs), 0.0)]
        held = copy.deepcopy(module.state_dict())
        with_bias = getattr(module, "bias", None)
        for form in layers.forms(module):
            ranks = _ranks(module, layer, form, floor)
            nested = form in ("pair", "channel") and ranks
            most = from_moments(module, layer, form, ranks[-1], method=single) if nested else None
            for rank in ranks:
                if most is None:
                    made = from_moments(module, layer, form, rank, method=single)
                else:
                    made = prefix(most, layer, rank, corrected=method != "plain")
                layers.write(module, made.dense, made.bias)
                price = price_of(module, layer, form, rank, by_macs)
                options.append(Option(form, rank, price, max(0.0, measure(network))))
        if with_bias is None and not isinstance(module, nn.RNNBase):
            module.register_parameter("bias", None)
        module.load_state_dict(held)
        offers[layer.name] = lower_hull(options)
    return offers


def _ranks(module: nn.Module, layer: LayerProfile, form: str, floor: int) -> list[int]:
    largest = min(layers.largest_rank(module, form), layers.full_rank(module, form))
    while largest and layers.cost(module, form, largest)[0] >= layer.parameters:
        largest -= 1  # of a pair that was multiplied out
    if largest == 0:
        return []
    least = min(floor, largest)
    return sorted({least, largest, *(rank for rank in _LADDER if least < rank < largest)})


def _whole(layer: LayerProfile, by_macs: bool) -> float:
    return layer.macs if by_macs else layer.parameters


def price_of(module: nn.Module, layer: LayerProfile, form: str, rank: int, by_macs: bool) -> float:
    weights, macs = layers.cost(module, form, rank)
    return macs * layer.rows_per_example if by_macs else weights


def lower_hull(options: list[Option]) -> list[Option]:
    """Options in order of price of which none is beaten by a mixture of two others."""
    hull: list[Option] = []
    for option in sorted(options, key=lambda o: (o.price, o.loss)):
        if hull and option.loss >= hull[-1].loss:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _slope(cheap: Option, dear: Option) -> float:
    return (dear.loss - cheap.loss) / (dear.price - cheap.price)


def tilted(offers: Offers, tilt: float) -> Offers:
    """The offers with every layer's losses divided by ``tilt`` once more than the last's.

    Cut alone and in closed form, late layers seem dearer than they are: refinement takes most of
    their error away, and least of the first layer's. The last layer, which is not refined, keeps
    its own losses.
    """
    *refined, last = offers
    weights = {name: tilt**-place for place, name in enumerate(refined)} | {last: 1.0}
    return {
        name: [replace(option, loss=option.loss * weights[name]) for option in options]
        for name, options in offers.items()
    }


def buy(
    profile: Profile, offers: Offers, limit: float | None, *, by_macs: bool
) -> tuple[Steps, float]:
    """The steepest gains first, as long as they can be paid; None for the cheapest of all.

    Returns
    -------
    dict, float
        Per layer the form, the rank and why; and the price of the whole network.
    """
    whole = profile.macs if by_macs else profile.parameters
    fixed = whole - sum(_whole(layer, by_macs) for layer in profile.layers)
    fixed += _new_biases(profile, by_macs)
    chosen = {name: options[0] for name, options in offers.items()}
    spent = fixed + sum(option.price for option in chosen.values())
    left = 0.0 if limit is None else limit - spent
    gains = [
        (_slope(cheap, dear), name, place, dear)
        for name, options in offers.items()
        for place, (cheap, dear) in enumerate(pairwise(options))
    ]
    stopped: set[str] = set()
    for _, name, _, dear in sorted(gains, key=lambda gain: gain[:3]):
        if name in stopped:
            continue
        extra = dear.price - chosen[name].price
        if extra <= left:
            chosen[name], left = dear, left - extra
        else:
            stopped.add(name)
            chosen[name], left = _partly(profile, name, chosen[name], left, by_macs)
    steps = {name: (o.form, o.rank, f"loses {o.loss:.2g} alone") for name, o in chosen.items()}
    return steps, fixed + sum(option.price for option in chosen.values())


def price_of_steps(profile: Profile, steps: Steps, *, by_macs: bool) -> float:
    """Parameters or multiply-accumulates of the whole network, cut so."""
    total = float(profile.macs if by_macs else profile.parameters)
    total += _new_biases(profile, by_macs)
    for name, (form, rank, _) in steps.items():
        layer, module = profile.layer(name), profile.network.get_submodule(name)
        if rank is not None:
            total += price_of(module, layer, form, rank, by_macs) - _whole(layer, by_macs)
    return total


def _new_biases(profile: Profile, by_macs: bool) -> int:
    """Parameters that layers without a bias get when they are factored."""
    if by_macs:
        return 0
    count = 0
    for layer in profile.layers:
        module = profile.network.get_submodule(layer.name)
        if isinstance(module, nn.RNNBase):
            count += 0 if module.bias else 2 * len(layer.bias)
        else:
            count += len(layer.bias) if module.bias is None else 0
    return count


def _partly(
    profile: Profile, name: str, option: Option, left: float, by_macs: bool
) -> tuple[Option, float]:
    """The largest rank of an option's form that can still be paid."""
    if option.rank is None:
        return option, left
    layer, module = profile.layer(name), profile.network.get_submodule(name)
    largest = min(layers.largest_rank(module, option.form), layers.full_rank(module, option.form))
    low, high = option.rank, max(option.rank, largest)
    while low < high:
        middle = (low + high + 1) // 2
        extra = price_of(module, layer, option.form, middle, by_macs) - option.price
        fits = extra <= left and layers.cost(module, option.form, middle)[0] < layer.parameters
        low, high = (middle, high) if fits else (low, middle - 1)
    price = price_of(module, layer, option.form, low, by_macs)
    return replace(option, rank=low, price=price), left - (price - option.price)
