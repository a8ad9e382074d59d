"""Plans: readable, replayable, held to their budgets, refused by the layer's name."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tinysignal.compress import LayerPlan, Plan, Profile, apply, plan, profile
from tinysignal.compress.allocate import Candidate, lower_hull
from tinysignal.errors import ConfigError


@pytest.fixture
def profiled(deep: nn.Sequential, inputs: Tensor) -> Profile:
    with torch.no_grad():
        labels = deep(inputs).argmax(1)
    return profile(deep, list(zip(inputs.split(50), labels.split(50), strict=True)))


def edited(chosen: Plan, **changes: object) -> str:
    """The plan's JSON with changes in its second layer."""
    values = json.loads(chosen.to_json())
    values["layers"][1] |= changes
    return json.dumps(values)


def test_a_plan_comes_back_from_json_and_makes_the_same_network(
    deep: nn.Sequential, profiled: Profile
) -> None:
    chosen = plan(profiled, params=0.5)
    again = Plan.from_json(chosen.to_json())
    assert again == chosen
    for a, b in zip(
        apply(deep, chosen, profiled).parameters(),
        apply(deep, again, profiled).parameters(),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_an_edited_rank_is_what_is_made(deep: nn.Sequential, profiled: Profile) -> None:
    chosen = plan(profiled, rank=5, method="activation")
    small = apply(deep, Plan.from_json(edited(chosen, rank=3)), profiled)
    assert small[2][0].out_features == 3
    left = apply(deep, Plan.from_json(edited(chosen, rank=None)), profiled)
    assert isinstance(left[2], nn.Linear)


@pytest.mark.parametrize("rank", [0, -1, 33, 2.5, "4", True])
def test_a_bad_rank_is_refused_by_the_layers_name(profiled: Profile, rank: object) -> None:
    with pytest.raises(ConfigError, match="layer '2'"):
        Plan.from_json(edited(plan(profiled, rank=5), rank=rank))


@pytest.mark.parametrize(
    "changes",
    [{"name": "9"}, {"kind": "GRU"}, {"decomposition": "tucker"}, {"full_rank": 31}],
)
def test_a_plan_of_another_network_is_refused_by_the_layers_name(
    deep: nn.Sequential, profiled: Profile, changes: dict[str, object]
) -> None:
    other = Plan.from_json(edited(plan(profiled, rank=5), **changes))
    with pytest.raises(ConfigError, match=f"layer '{changes.get('name', '2')}'"):
        apply(deep, other, profiled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"layers": 3}',
        '{"layers": [], "method": "magic", "budget": {}}',
        '{"layers": [], "method": "svd", "budget": 3}',
        '{"layers": [], "method": "svd", "budget": {}, "version": 9}',
        '{"layers": [], "method": "svd", "budget": {}, "colour": 1}',
        '{"layers": [3], "method": "svd", "budget": {}}',
        '{"layers": [{"name": "a"}], "method": "svd", "budget": {}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Plan.from_json(text)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=40))
def test_no_text_ends_in_another_error(text: str) -> None:
    with pytest.raises(ConfigError):
        Plan.from_json(text)


def test_a_layer_twice_is_refused() -> None:
    step = LayerPlan("a", "Linear", "low_rank", 4, 2)
    with pytest.raises(ConfigError, match="2 times"):
        Plan("svd", {}, (step, step))


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75, 2000.0])
@pytest.mark.parametrize("method", ["svd", "sequential"])
def test_a_budget_of_parameters_is_kept(
    deep: nn.Sequential, profiled: Profile, share: float, method: str
) -> None:
    chosen = plan(profiled, params=share, method=method, min_rank=1)
    small = apply(deep, chosen, profiled)
    count = sum(p.numel() for p in small.parameters())
    limit = share if share > 1 else share * profiled.parameters
    assert 0.85 * limit <= count <= limit
    losses = chosen.measured["held_out_loss"]
    assert losses[chosen.measured["chosen"]] == min(losses.values())
    assert "equal ranks" in losses


def test_a_budget_of_operations_is_kept(deep: nn.Sequential, profiled: Profile) -> None:
    small = apply(deep, plan(profiled, macs=0.5, min_rank=1), profiled)
    weights = sum(p.numel() for p in small.parameters() if p.ndim == 2)
    assert weights <= 0.5 * profiled.macs
    assert profiled.macs == sum(p.numel() for p in deep.parameters() if p.ndim == 2)


def test_the_largest_drop_is_kept_on_the_calibration_data(
    deep: nn.Sequential, profiled: Profile
) -> None:
    def right(net: nn.Module) -> float:
        with torch.no_grad():
            hits = [
                (net.eval()(b.inputs).argmax(1) == b.labels).float().mean()
                for b in profiled.batches
            ]
        return 100 * float(sum(hits)) / len(hits)

    small, smaller = (
        apply(deep, plan(profiled, max_accuracy_drop=drop, min_rank=1), profiled)
        for drop in (8.0, 30.0)
    )
    assert right(small) >= 100 - 8.0 - 4.0  # half of it was not fitted
    count = [sum(p.numel() for p in net.parameters()) for net in (smaller, small, deep)]
    assert count[0] < count[1] < count[2]


def test_energy_keeps_the_smallest_rank_with_that_share(profiled: Profile) -> None:
    chosen = plan(profiled, energy=0.9, method="svd")
    for step, layer in zip(chosen.layers, profiled.layers, strict=True):
        values = torch.linalg.svdvals(layer.weight.double()).square()
        if step.rank is not None:
            kept = values.cumsum(0) / values.sum()
            assert kept[step.rank - 1] >= 0.9
            assert step.rank == 1 or kept[step.rank - 2] < 0.9


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({}, "none"),
        ({"rank": 2, "params": 0.5}, "rank, params"),
        ({"rank": 0}, "rank is 0"),
        ({"rank": -3}, "rank is -3"),
        ({"rank": 33}, "rank is 33, expected at most"),
        ({"rank": 2.5}, "whole number"),
        ({"energy": 1.5}, "at most 1"),
        ({"params": 0}, "more than 0"),
        ({"params": 0.01}, "Raise params, or lower min_rank"),
        ({"params": float("nan")}, "params is nan"),
        ({"macs": -1}, "more than 0"),
        ({"max_accuracy_drop": 100}, "below 100"),
        ({"rank": 2, "method": "magic"}, "sequential"),
        ({"params": 0.5, "min_rank": 0}, "min_rank"),
        ({"params": 0.5, "loss": "l1"}, "kl or mse"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(
    profiled: Profile, budget: dict[str, float], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        plan(profiled, **budget)


def test_labels_are_needed_for_a_drop_of_accuracy(deep: nn.Sequential, inputs: Tensor) -> None:
    with pytest.raises(ConfigError, match="labels"):
        plan(profile(deep, [inputs]), max_accuracy_drop=1.0)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10)), min_size=1, max_size=12),
    st.floats(0, 1),
)
def test_no_candidate_lies_below_the_hull(points: list[tuple[int, float]], share: float) -> None:
    candidates = [Candidate("low_rank", 1, cost, loss) for cost, loss in points]
    hull = lower_hull(candidates)
    for cheap, dear in pairwise(hull):
        assert cheap.cost < dear.cost
        assert cheap.loss > dear.loss
        for candidate in candidates:
            if cheap.cost <= candidate.cost <= dear.cost:
                place = (candidate.cost - cheap.cost) / (dear.cost - cheap.cost)
                line = cheap.loss + place * (dear.loss - cheap.loss)
                assert candidate.loss >= line - 1e-9
    assert min(o.loss for o in candidates) == hull[-1].loss


def test_probabilities_are_compared_where_outputs_are_classes_else_values() -> None:
    frames = torch.randn(40, 7, 24, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(40, 7, dtype=torch.int64)
    net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 6))
    for batch, expected in (
        (frames[:, 0], "kl"),  # (examples, classes)
        (frames, "mse"),  # (examples, frames, values), as a denoiser's
        ((frames, labels), "kl"),
    ):
        chosen = plan(profile(net, [batch]), params=0.5, method="activation")
        assert chosen.measured["loss"] == expected
