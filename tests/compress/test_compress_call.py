"""One call compresses; its plan rebuilds; layers can be left out; a family can be added."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tinysignal.compress import LayerPlan, Plan, apply, compress, plan, profile, rebuild
from tinysignal.compress.layers import Family, family, register
from tinysignal.errors import ConfigError


@pytest.fixture
def labelled(deep: nn.Sequential, inputs: Tensor) -> list[tuple[Tensor, Tensor]]:
    with torch.no_grad():
        labels = deep.eval()(inputs).argmax(1)
    return list(zip(inputs.split(50), labels.split(50), strict=True))


def test_one_call_is_the_three_steps(
    deep: nn.Sequential, labelled: list[tuple[Tensor, Tensor]]
) -> None:
    small, chosen = compress(deep, labelled, params=0.6)
    profiled = profile(deep, labelled)
    assert chosen == plan(profiled, params=0.6)
    expected = apply(deep, chosen, profiled)
    for a, b in zip(small.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_result_prints_what_was_lost_and_won(
    deep: nn.Sequential, labelled: list[tuple[Tensor, Tensor]]
) -> None:
    result = compress(deep, labelled, rank=6)
    count = sum(p.numel() for p in result.network.parameters())
    assert result.after["parameters"] == count < result.before["parameters"]
    weights = sum(p.numel() for p in result.network.parameters() if p.ndim == 2)
    assert result.after["multiply-accumulates"] == weights
    assert result.before["accuracy"] == 100
    shown = str(result)
    assert str(count) in shown
    assert f"{count / result.before['parameters']:.1%}" in shown
    for layer in result.plan.layers:
        assert any(line.startswith(f"{layer.name} ") for line in shown.splitlines())


def test_what_is_ignored_stays_whole_and_is_named(deep: nn.Sequential, inputs: Tensor) -> None:
    small, chosen = compress(deep, [inputs], rank=4, ignore=["0", "6"], method="activation")
    assert isinstance(small[0], nn.Linear)
    assert torch.equal(small[0].weight, deep[0].weight)
    assert set(chosen.ranks) == {"2", "4"}
    assert chosen.skipped == {"0": "ignored", "6": "ignored"}


def test_only_what_is_asked_for_is_cut(inputs: Tensor) -> None:
    net = nn.ModuleDict({"encoder": nn.Linear(24, 24), "head": nn.Linear(24, 24)})

    def forward(model: Any, batch: Tensor) -> Tensor:
        out: Tensor = model["head"](model["encoder"](batch).relu())
        return out

    for only in (["encoder"], ["enc*"]):
        small, chosen = compress(net, [inputs], rank=3, only=only, forward=forward, method="svd")
        assert isinstance(small["encoder"], nn.Sequential)  # type: ignore[index]
        assert isinstance(small["head"], nn.Linear)  # type: ignore[index]
        assert list(chosen.skipped) == ["head"]


def test_a_pattern_that_fits_no_layer_is_refused_with_the_layers_names(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    with pytest.raises(ConfigError, match=r"'haed'.* 0, 2, 4, 6"):
        compress(deep, [inputs], rank=4, ignore=["haed"])


def test_a_plan_rebuilds_what_takes_the_compressed_weights(
    deep: nn.Sequential, inputs: Tensor
) -> None:
    small, chosen = compress(deep, [inputs], params=0.5)
    fresh = copy.deepcopy(deep)
    for parameter in fresh.parameters():
        nn.init.zeros_(parameter)
    again = rebuild(fresh, Plan.from_json(chosen.to_json()))
    again.load_state_dict(small.state_dict())
    torch.testing.assert_close(again.eval()(inputs), small.eval()(inputs))


def test_stacked_recurrent_layers_are_rebuilt_too() -> None:
    torch.manual_seed(0)
    net = nn.GRU(12, 16, num_layers=2, batch_first=True)
    given = torch.randn(6, 20, 12)
    small, chosen = compress(net, [given], rank=3, method="activation")
    again = rebuild(nn.GRU(12, 16, num_layers=2, batch_first=True), chosen)
    again.load_state_dict(small.state_dict())
    torch.testing.assert_close(again(given)[0], small(given)[0])


def test_a_plan_of_another_network_rebuilds_nothing(deep: nn.Sequential, inputs: Tensor) -> None:
    _, chosen = compress(deep, [inputs], rank=4)
    with pytest.raises(ConfigError, match="no layer '0'"):
        rebuild(nn.Linear(24, 24), chosen)


class _Scaled(nn.Linear):
    """A Linear of somebody's own: its output is doubled."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


class _ScaledFamily(Family):
    kinds = (_Scaled,)

    def rows(self, module: Any, given: Tensor) -> Tensor:
        return given.detach().reshape(-1, given.shape[-1])

    def build(self, module: Any, factors: Any) -> nn.Sequential:
        first, second = factors.parts
        down = nn.Linear(module.in_features, len(first), bias=False)
        up = _Scaled(len(first), module.out_features)
        down.weight.data.copy_(first)
        up.weight.data.copy_(second)
        up.bias.data.copy_(factors.bias)
        return nn.Sequential(down, up)


@pytest.fixture
def scaled_family() -> Iterator[None]:
    before = dict(family._FAMILIES)
    register(_ScaledFamily())
    yield
    family._FAMILIES.clear()
    family._FAMILIES.update(before)


@pytest.mark.usefixtures("scaled_family")
def test_a_family_of_ones_own_is_factored(inputs: Tensor) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(_Scaled(24, 20), nn.ReLU(), nn.Linear(20, 20))
    exact = Plan("svd", {}, (LayerPlan("0", "_Scaled", "low_rank", 20, 20),))
    whole = apply(net, exact, [inputs])
    assert isinstance(whole[0][1], _Scaled)  # type: ignore[index]
    small, chosen = compress(net, [inputs], rank=4, only=["0"], method="svd")
    assert chosen.ranks == {"0": 4}
    assert isinstance(small[0][1], _Scaled)  # type: ignore[index]
    with torch.no_grad():
        torch.testing.assert_close(whole(inputs), net(inputs), atol=1e-4, rtol=1e-4)


def test_a_subclass_without_a_family_is_left_whole_with_the_reason(inputs: Tensor) -> None:
    net = nn.Sequential(_Scaled(24, 20), nn.Linear(20, 20))
    assert [(s.name, s.reason) for s in profile(net, [inputs]).skipped] == [
        ("0", "_Scaled is not factored")
    ]


def test_profiles_and_plans_say_what_they_are(deep: nn.Sequential, inputs: Tensor) -> None:
    profiled = profile(deep, [inputs])
    count = sum(p.numel() for p in deep.parameters())
    assert repr(profiled).startswith(f"Profile(4 layers to factor; {count} parameters")
    assert repr(plan(profiled, rank=5)) == (
        "Plan(sequential, rank=5: 4 of 4 layers factored at rank 5 to 5)"
    )
