"""Ranks that suit hardware, floors of layers, and networks that cannot be taken apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from tinysignal.compress import apply, compress, plan, profile, rebuild  # noqa: E402
from tinysignal.errors import ConfigError  # noqa: E402
from tinysignal.inspect import inspect  # noqa: E402

BUDGETS: list[dict[str, float]] = [
    {"rank": 5},
    {"energy": 0.9},
    {"params": 0.7},
    {"macs": 0.7},
    {"max_accuracy_drop": 30},
]


@pytest.mark.parametrize("budget", BUDGETS)
def test_ranks_are_multiples_in_layers_that_are_large_enough(
    deep: nn.Sequential, inputs: Tensor, budget: dict[str, Any]
) -> None:
    found = profile(deep, [(inputs, deep(inputs).argmax(1))])
    assert [layer.largest_rank("low_rank") for layer in found.layers] == [13, 15, 15, 5]
    chosen = plan(found, round_to=8, **budget)
    ranks = {name: rank for name, rank in chosen.ranks.items() if rank is not None}
    assert ranks
    assert all(rank == 8 for name, rank in ranks.items() if name != "6")
    small = apply(deep, chosen, found)
    if "params" in budget:
        share = sum(p.numel() for p in small.parameters())
        assert share <= 0.7 * sum(p.numel() for p in deep.parameters())


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_floor_holds_for_the_layers_that_it_names(
    deep: nn.Sequential, inputs: Tensor, budget: dict[str, Any]
) -> None:
    found = profile(deep, [(inputs, deep(inputs).argmax(1))])
    low = {"rank": 2, "energy": 0.2, "params": 0.45, "macs": 0.45, "max_accuracy_drop": 90}
    asked: dict[str, Any] = {key: low[key] for key in budget}
    chosen = plan(found, min_rank={"2": 11, "[46]": 3}, **asked)
    assert (chosen.ranks["2"] or 99) >= 11
    assert (chosen.ranks["4"] or 99) >= 3
    free = plan(found, min_rank=1, **asked)
    assert (free.ranks["2"] or 99) < 11


def test_floors_and_multiples_that_cannot_be_are_refused(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    found = profile(deep, [inputs])
    refused: list[tuple[dict[str, Any], str]] = [
        ({"min_rank": {"nine": 4}}, "no layer matches 'nine', expected some of 0, 2, 4, 6"),
        ({"min_rank": {"2": 0}}, "min_rank of '2' is 0"),
        ({"min_rank": 1.5}, "min_rank is 1.5"),
        ({"round_to": 0}, "round_to is 0"),
        ({"round_to": True}, "round_to is True"),
    ]
    for options, text in refused:
        with pytest.raises(ConfigError, match=text):
            plan(found, params=0.5, **options)


def quantised() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dense = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        made: nn.Module = torch.ao.quantization.quantize_dynamic(dense, {nn.Linear})
    return made


def traced() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(nn.Linear(8, 8), torch.randn(2, 8))


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Sequential(torch.jit.script(nn.Linear(8, 8)))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "scripted": (scripted, "is scripted"),
    "traced": (traced, "is traced"),
    "compiled": (lambda: torch.compile(nn.Linear(8, 8), backend="eager"), "network._orig_mod"),
    "quantised": (quantised, "is quantised"),
    "lazy": (lambda: nn.Sequential(nn.LazyLinear(8)), "lazy"),
    "meta": (lambda: nn.Linear(8, 8, device="meta"), "meta device"),
    "exported": (
        lambda: torch.export.export(nn.Linear(8, 8), (torch.randn(2, 8),)),
        "exported program",
    ),
    "class": (lambda: nn.Linear, "the class Linear, expected an instance"),
    "state dict": (lambda: nn.Linear(8, 8).state_dict(), "such as a state dict"),
    "function": (lambda: len, "a builtin_function_or_method, expected a torch.nn.Module"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_network_that_cannot_be_taken_apart_is_told_in_a_sentence(kind: str) -> None:
    make, text = REFUSED[kind]
    network, x = make(), torch.randn(40, 8)
    chosen = plan(profile(nn.Linear(8, 8), [x]), rank=2)
    calls: list[Callable[[], Any]] = [
        lambda: profile(network, [x]),
        lambda: apply(network, chosen, [x]),
        lambda: compress(network, [x], rank=2),
        lambda: rebuild(network, chosen),
        lambda: inspect(network, [(x, torch.arange(40) % 2)]),
    ]
    for call in calls:
        with pytest.raises(ConfigError, match=text) as caught:
            call()
        assert "\n" not in str(caught.value)
