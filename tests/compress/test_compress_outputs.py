"""What people bring: outputs and batches of any structure, and scores of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from tinysignal.compress import apply, compress, plan, profile  # noqa: E402
from tinysignal.errors import ConfigError, DataError  # noqa: E402
from tinysignal.nets.batches import heads, right_answers  # noqa: E402


@dataclass
class Answer:
    """As of Hugging Face: fields, some of them empty."""

    logits: Tensor
    loss: Tensor | None = None
    hidden: tuple[Tensor, ...] = ()


class Pair(NamedTuple):
    a: Tensor
    b: Tensor


class TwoHeads(nn.Module):
    """A large head that decides little and a small one that decides much, or the other way."""

    def __init__(self, form: str = "dict") -> None:
        super().__init__()
        self.form = form
        self.body = nn.Sequential(nn.Linear(24, 48), nn.ReLU())
        self.first, self.second = nn.Linear(48, 48), nn.Linear(48, 48)

    def forward(self, x: Tensor) -> Any:
        h = self.body(x)
        first, second = self.first(h), self.second(h)
        return {
            "dict": {"first": first, "second": second},
            "tuple": (first, second),
            "nested": [first, {"deep": (second,)}],
            "named": Pair(first, second),
            "dataclass": Answer(first, torch.zeros(()), (second,)),
        }[self.form]


NAMES = {
    "dict": ["first", "second"],
    "tuple": ["0", "1"],
    "nested": ["0", "1.deep.0"],
    "named": ["a", "b"],
    "dataclass": ["logits", "hidden.0"],
}


@pytest.fixture
def batches() -> list[Tensor]:
    torch.manual_seed(1)
    return [torch.randn(100, 24) for _ in range(4)]


@pytest.mark.parametrize("form", NAMES)
def test_every_output_is_held_to_the_original(form: str, batches: list[Tensor]) -> None:
    torch.manual_seed(0)
    net = TwoHeads(form)
    found = profile(net, batches)
    assert list(found.outputs) == NAMES[form]
    assert f"{NAMES[form][1]} 100 x 48" in repr(found)
    chosen = plan(found, params=0.7, loss="mse")
    ranks = {name: rank or 48 for name, rank in chosen.ranks.items()}
    assert ranks["second"] > 12  # one head was cut to the floor of 4
    assert ranks["first"] > 12


def test_weights_say_which_output_matters(batches: list[Tensor]) -> None:
    torch.manual_seed(0)
    found = profile(TwoHeads(), batches)
    chosen = plan(found, params=0.5, weights={"first": 0.001}, loss="mse").ranks
    assert (chosen["first"] or 48) < (chosen["second"] or 48)
    with pytest.raises(ConfigError, match="no output 'third', expected some of 'first', 'second'"):
        plan(found, params=0.5, weights={"third": 2.0})


def fitted(net: nn.Module, x: Tensor, y: Tensor, *, binary: bool = False) -> nn.Module:
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        if binary:
            loss = functional.binary_cross_entropy_with_logits(net(x).flatten(), y.float())
        else:
            loss = functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    return net.eval()


@pytest.mark.parametrize("column", [True, False])
def test_one_logit_is_a_binary_classifier(column: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(800, 24)
    y = (x[:, 0] * x[:, 1] > 0).long()
    layers: list[nn.Module] = [nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU()]
    layers += [nn.Linear(64, 1)] + ([] if column else [nn.Flatten(0)])
    net = fitted(nn.Sequential(*layers), x, y, binary=True)

    def accuracy(one: nn.Module) -> float:
        return 100 * float(((one(x).flatten() > 0).long() == y).float().mean())

    result = compress(net, [(x[:400], y[:400]), (x[400:], y[400:])], params=0.6)
    assert result.before["accuracy"] == pytest.approx(accuracy(net), abs=0.01)
    assert result.plan.measured["loss"] == "kl"
    assert all(loss > 0 for loss in result.plan.measured["held_out_loss"].values())
    assert accuracy(result.network) >= accuracy(net) - 5


@pytest.mark.parametrize(
    ("output", "labels", "expected"),
    [
        (torch.eye(4)[:, :, None, None].expand(4, 4, 2, 3), torch.arange(4)[:, None, None], 24),
        (torch.eye(4)[None].expand(2, 4, 4), torch.arange(4)[None], 8),
        (torch.eye(4), torch.tensor([0, 1, -100, 0]), 2),
        (torch.tensor([0.2, 0.9, 0.6]), torch.tensor([0, 1, 0]), 2),  # probabilities
        (torch.tensor([[-0.2], [0.9]]), torch.tensor([[0], [1]]), 2),
    ],
)
def test_answers_are_counted_on_the_axis_of_the_classes(
    output: Tensor, labels: Tensor, expected: int
) -> None:
    shape = output.shape[:1] + output.shape[2:] if output.ndim == 4 else None
    labels = labels.expand(shape) if shape is not None else labels
    labels = labels.expand(2, 4) if output.ndim == 3 else labels
    right, counted = right_answers(output, labels) or (-1, -1)
    assert (right, counted) == (expected, int((labels >= 0).sum()))
    assert right_answers(torch.zeros(5, 3), torch.zeros(4)) is None


def test_single_numbers_are_no_output() -> None:
    found = heads({"loss": torch.zeros(()), "logits": torch.zeros(2, 3), "ids": torch.arange(2)})
    assert list(found) == ["logits"]
    with pytest.raises(DataError, match="no tensor of floating-point numbers"):
        profile(nn.Sequential(nn.Linear(8, 8)), [torch.randn(9, 8)], forward=lambda m, x: None)


X, Y = torch.randn(64, 24), torch.randint(0, 5, (64,))


@pytest.mark.parametrize(
    ("batch", "labelled"),
    [
        (X, False),
        ((X,), False),
        ([X], False),
        ((X, Y), True),
        ([X, Y], True),
        ((X, torch.randn(64)), False),
        ((X, torch.randn(64, 3)), False),
        ((X, Y, torch.arange(64)), True),
        ({"input": X}, False),
        ({"input": X, "labels": Y, "index": torch.arange(64)}, True),
    ],
)
def test_batches_are_taken_as_loaders_yield_them(batch: Any, labelled: bool) -> None:
    net = nn.Sequential(nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 5))
    found = profile(_Named(net), [batch, batch])
    assert [one.labels is not None for one in found.batches] == [labelled] * 2
    assert found.batches[0].examples == 64
    assert len(found.layers) == 2
    small = apply(_Named(net), plan(found, rank=4), found)
    assert small(input=X).shape == (64, 5)


class _Named(nn.Module):
    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, input: Tensor, scale: float = 1.0) -> Tensor:
        out: Tensor = self.net(input) * scale
        return out


def test_a_network_that_needs_two_inputs_gets_two() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(50, 24), nn.Linear(24, 24)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            out: Tensor = self.out(self.embed(ids) * mask[..., None]).mean(1)
            return out

    ids, mask = torch.randint(0, 50, (16, 7)), torch.ones(16, 7, dtype=torch.long)
    for batch, labelled in (((ids, mask), False), ((ids, mask, torch.zeros(16).long()), True)):
        found = profile(Masked(), [batch])
        assert (found.batches[0].labels is not None) == labelled
    by_name = profile(Masked(), [{"ids": ids, "mask": mask, "labels": torch.zeros(16).long()}])
    assert by_name.batches[0].labels is not None


def test_a_forward_function_gets_the_batch_as_it_came() -> None:
    seen: list[Any] = []
    ids, mask = torch.randint(0, 50, (16, 24)), torch.ones(16, 24, dtype=torch.long)

    def forward(net: nn.Module, batch: Any) -> Tensor:
        seen.append(batch)
        out: Tensor = net(batch[0].float() * batch[1])
        return out

    found = profile(nn.Sequential(nn.Linear(24, 24)), [(ids, mask)], forward=forward)
    assert isinstance(seen[-1], tuple)
    assert torch.equal(seen[-1][0], ids)
    assert torch.equal(seen[-1][1], mask)
    assert found.batches[0].labels is None  # a mask is no label


def test_a_network_that_works_in_place_leaves_the_batches_alone() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(24, 32), nn.Linear(32, 24)

        def forward(self, x: Tensor) -> Tensor:
            x.sub_(1.0)
            out: Tensor = self.b(self.a(x).relu_())
            return out

    given = [X.clone(), X.clone()]
    net = InPlace()
    found = profile(net, given)
    apply(net, plan(found, params=0.9), found)
    assert all(torch.equal(one, X) for one in given)


def test_ragged_batches_are_compared_value_by_value() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv1d(1, 16, 9, padding=4), nn.ReLU(), nn.Conv1d(16, 1, 9, padding=4))
    found = profile(net, [torch.randn(4, 1, length) for length in (200, 150, 333, 90)])
    small = apply(net, plan(found, params=0.8, min_rank=1), found)
    assert small(torch.randn(2, 1, 77)).shape == (2, 1, 77)


def test_a_score_of_ones_own_decides_the_drop() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(24, 64), nn.ReLU(), nn.Linear(64, 8))
    x = torch.randn(400, 24)
    data = [{"x": part, "y": net(part).detach()} for part in x.split(100)]

    def forward(one: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"out": one(batch["x"])}

    def score(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> Tensor:
        return -(outputs["out"] - batch["y"]).square().mean()

    sizes, scores = [], []
    for drop in (0.001, 0.05):
        small, _ = result = compress(
            net, data, forward=forward, score=score, max_accuracy_drop=drop
        )
        sizes.append(sum(p.numel() for p in small.parameters()))
        scores.append(result.after["score"])
        assert result.before["score"] == 0
    assert sizes[1] < sizes[0]
    assert scores[1] < scores[0] <= 0
    with pytest.raises(ConfigError, match="Give them, or score="):
        compress(net, [x], max_accuracy_drop=1.0)
