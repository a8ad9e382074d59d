"""Refinement of all factors together: what it gains, what it leaves alone, and what it needs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tinysignal.compress import Plan, Profile, apply, compress, joint, plan, profile  # noqa: E402
from tinysignal.compress.apply import compressed  # noqa: E402
from tinysignal.compress.output_loss import OutputLoss  # noqa: E402
from tinysignal.compress.profile import on_batches  # noqa: E402
from tinysignal.errors import ConfigError  # noqa: E402
from tinysignal.nets.batches import Batch, read_batch  # noqa: E402


def drawn(count: int, seed: int) -> Tensor:
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed))


def batches_of(inputs: Tensor) -> list[Tensor]:
    return list(inputs.split(100))


def start_of(found: Profile, chosen: Plan) -> nn.Module:
    """The layer-wise result from which the joint refinement goes on."""
    return compressed(on_batches(found, joint.parted(found.batches)[0]), chosen, refine=300)


def unseen_loss(net: nn.Module, small: nn.Module, given: list[Any], **options: Any) -> float:
    """Distance of a network's outputs from the original's on data that were not calibrated on."""
    held = tuple(read_batch(net, batch, options.get("forward")) for batch in given)
    return OutputLoss(profile(net, given, **options), held, "auto", most=10_000)(small)


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    """A classifier of products of its inputs."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)
    )
    inputs = drawn(2000, 0)
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long() + 2 * (inputs[:, 2] > 0).long()
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(200):
        optimiser.zero_grad()
        functional.cross_entropy(net(inputs), labels).backward()
        optimiser.step()
    return net.eval()


@pytest.fixture(scope="module")
def cut(trained: nn.Sequential) -> tuple[Profile, Plan]:
    found = profile(trained, batches_of(drawn(1000, 1)))
    return found, plan(found, rank=6)


def test_joint_refinement_is_nearer_to_the_original_on_unseen_data(
    trained: nn.Sequential, cut: tuple[Profile, Plan]
) -> None:
    found, chosen = cut
    layers, after = (apply(trained, chosen, found, refine=how) for how in (300, "joint"))
    unseen = batches_of(drawn(1000, 2))
    assert unseen_loss(trained, after, unseen) < 0.7 * unseen_loss(trained, layers, unseen)
    assert sum(p.numel() for p in after.parameters()) == sum(p.numel() for p in layers.parameters())
    assert all(p.grad is None for p in after.parameters())


def test_joint_refinement_is_the_same_for_the_same_seed(
    trained: nn.Sequential, cut: tuple[Profile, Plan]
) -> None:
    found, chosen = cut
    torch.manual_seed(5)
    first = apply(trained, chosen, found, refine="joint", seed=1)
    after = torch.rand(3)
    torch.manual_seed(6)
    second = apply(trained, chosen, found, refine="joint", seed=1)
    other = apply(trained, chosen, found, refine="joint", seed=2)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    assert not all(map(torch.equal, first.state_dict().values(), other.state_dict().values()))
    torch.manual_seed(5)
    apply(trained, chosen, found)
    assert torch.equal(after, torch.rand(3))


def test_joint_refinement_that_does_not_gain_keeps_the_start(
    trained: nn.Sequential, cut: tuple[Profile, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, chosen = cut
    monkeypatch.setattr(joint, "_RATE", 1e3)
    start, after = start_of(found, chosen), apply(trained, chosen, found, refine="joint")
    assert all(map(torch.equal, start.state_dict().values(), after.state_dict().values()))


class Named(nn.Module):
    """A class output and a regression, and a batch as a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(24, 48), nn.ReLU())
        self.classes, self.value = nn.Linear(48, 48), nn.Linear(48, 48)

    def forward(self, samples: Tensor, mask: Tensor) -> dict[str, Any]:
        h = self.body(samples) * mask[:, None]
        return {"classes": self.classes(h), "more": (self.value(h)[:, None], None)}


class Gru(nn.Module):
    """A recurrent network for recordings of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(24, 32, num_layers=2, batch_first=True, dropout=0.3)
        self.out = nn.Linear(32, 24)

    def forward(self, frames: Tensor) -> Tensor:
        return self.out(self.gru(frames)[0])


def dicts(seed: int) -> list[Any]:
    return [{"samples": drawn(50, seed + i), "mask": torch.ones(50)} for i in range(8)]


def recordings(seed: int) -> list[Any]:
    return [drawn(20 + i, seed + i)[None] for i in range(12)]


@pytest.mark.parametrize(("make", "data"), [(Named, dicts), (Gru, recordings)])
def test_joint_refinement_takes_outputs_and_batches_of_any_structure(
    make: Callable[[], nn.Module], data: Callable[[int], list[Any]]
) -> None:
    torch.manual_seed(0)
    net = make()
    found = profile(net, data(0))
    chosen = plan(found, rank=6)
    layers, after = (apply(net, chosen, found, refine=how) for how in (300, "joint"))
    assert net.training
    assert after.training
    assert unseen_loss(net, after, data(100)) < unseen_loss(net, layers, data(100))


def test_weights_of_outputs_count_in_joint_refinement() -> None:
    torch.manual_seed(0)
    net = Named()

    def error(weight: float) -> float:
        small = compress(
            net, dicts(0), rank=6, loss="mse", weights={"classes": weight}, refine="joint"
        ).network
        given = dicts(0)[0]
        gap = small(**given)["classes"] - net(**given)["classes"]
        return float(gap.detach().square().mean())

    assert error(100.0) < error(0.01)


def test_layers_that_are_frozen_or_ignored_stay_as_they_are(trained: nn.Sequential) -> None:
    net = copy.deepcopy(trained)
    net[2].requires_grad_(False)
    found = profile(net, batches_of(drawn(1000, 1)), ignore=["4"])
    chosen = plan(found, rank=6)
    start, after = start_of(found, chosen), apply(net, chosen, found, refine="joint")
    assert torch.equal(after[4].weight, trained[4].weight)
    assert torch.equal(after[2].weight, start[2].weight)
    assert not after[2][0].weight.requires_grad
    assert not torch.equal(after[0].weight, start[0].weight)


def test_statistics_of_a_batch_normalisation_stay_and_dropout_is_off() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(24, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(0.5), nn.Linear(48, 48)
    )
    given = batches_of(drawn(1000, 1))
    for batch in given:
        net(batch)
    small = apply(net, plan(found := profile(net, given), rank=4), found, refine="joint")
    assert small[1].num_batches_tracked == 10
    assert torch.equal(small[1].running_mean, net[1].running_mean)
    assert torch.equal(small[1].weight, net[1].weight)


def test_joint_refinement_without_gradients_is_refused_in_one_sentence(
    trained: nn.Sequential, cut: tuple[Profile, Plan]
) -> None:
    _, chosen = cut
    with pytest.raises(ConfigError, match="gradients do not reach the factors"):
        apply(
            trained,
            chosen,
            batches_of(drawn(300, 1)),
            forward=torch.no_grad()(lambda net, batch: net(batch)),
            refine="joint",
        )
    frozen = copy.deepcopy(trained).requires_grad_(False)
    with pytest.raises(ConfigError, match="all layers are frozen"):
        apply(frozen, chosen, batches_of(drawn(300, 1)), refine="joint")


@pytest.mark.parametrize("refine", ["layers", -1, 2.5, True])
def test_another_refinement_is_refused(
    refine: Any, trained: nn.Sequential, cut: tuple[Profile, Plan]
) -> None:
    found, chosen = cut
    with pytest.raises(ConfigError, match="expected 'joint' or a number of steps"):
        apply(trained, chosen, found, refine=refine)


def test_one_output_an_example_is_compared_over_the_examples() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Linear(40, 1), nn.Flatten(0))
    found = profile(net, [drawn(300, 1)])
    loss = OutputLoss(found, found.batches, "mse")
    flat = copy.deepcopy(net)
    nn.init.zeros_(flat[2].weight)
    with torch.no_grad():
        flat[2].bias.copy_(net(drawn(300, 1)[:256]).mean())
    assert loss(flat) == pytest.approx(1.0, abs=1e-4)  # its variance


def test_averages_of_examples_keep_few_of_them_from_being_learnt_by_heart(
    trained: nn.Sequential, cut: tuple[Profile, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    few, unseen = batches_of(drawn(300, 3)), batches_of(drawn(1000, 2))
    averaged = apply(trained, cut[1], few, refine="joint")
    monkeypatch.setattr(Batch, "mixed", lambda batch, generator: batch)
    by_heart = apply(trained, cut[1], few, refine="joint")
    assert unseen_loss(trained, averaged, unseen) < unseen_loss(trained, by_heart, unseen)


def test_an_average_is_between_two_examples_and_keeps_what_cannot_be_averaged() -> None:
    given = (torch.stack([torch.arange(50.0), torch.arange(50.0) + 1], dim=1), torch.arange(50))
    batch = read_batch(nn.Linear(2, 3), given, None)
    made = batch.mixed(torch.Generator().manual_seed(0))
    x, y = made.whole
    assert torch.equal(y, given[1])
    assert made.labels is None
    assert torch.allclose(x[:, 1] - x[:, 0], torch.ones(50))  # one weight an example
    assert x.min() >= 0
    assert x.max() <= 50
    assert not torch.equal(x, given[0])
    assert torch.equal(made.args[0], x)
    assert torch.equal(batch.args[0], given[0])


def test_a_plan_that_cuts_nothing_changes_nothing(trained: nn.Sequential) -> None:
    found = profile(trained, batches_of(drawn(300, 1)))
    same = apply(trained, plan(found, rank=64, method="svd"), found, refine="joint")
    assert all(map(torch.equal, same.state_dict().values(), trained.state_dict().values()))
