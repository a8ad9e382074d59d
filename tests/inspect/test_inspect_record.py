"""One pass over data: what is kept is what the network computed, and nothing in it changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect import record_outputs
from tinysignal.inspect.sampling import Extremes, RandomSample, grey_images

Batches = list[tuple[Tensor, Tensor]]


def data(shape: tuple[int, ...], examples: int = 60, classes: int = 3, batch: int = 16) -> Batches:
    made = torch.Generator().manual_seed(5)
    inputs = torch.randn(examples, *shape, generator=made)
    labels = torch.arange(examples) % classes
    return list(zip(inputs.split(batch), labels.split(batch), strict=True))


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    hidden = (nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))
    return nn.Sequential(*hidden, nn.Linear(8, 3))


class SharedRelu(nn.Module):
    """One ReLU module for all layers, and a sum that skips one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.first(x))
        x = self.second(x) + x
        return self.last(self.relu(x))


class Cnn(nn.Module):
    """Functional activations between modules."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(6 * 2 * 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu(self.conv1(x))
        x = self.pool(torch.relu_(self.conv2(x)))  # in place, after the hook
        return self.head(x.flatten(1))


class Recurrent(nn.Module):
    """A GRU with the steps first, an LSTM with the examples first, a cell that is called often."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(4, 5, num_layers=2, bidirectional=True)
        self.lstm = nn.LSTM(10, 6, batch_first=True)
        self.cell = nn.GRUCell(6, 7)
        self.head = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.gru(x.transpose(0, 1))[0].transpose(0, 1)
        x, _ = self.lstm(x)
        state = torch.zeros(len(x), 7)
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return self.head(state)


def test_outputs_are_taken_after_norm_activation_and_dropout() -> None:
    net, batches = mlp(), data((6,))
    found = record_outputs(net, batches, points=60)
    inputs = torch.cat([x for x, _ in batches])
    net.eval()
    with torch.no_grad():
        hidden, logits = net[:4](inputs), net(inputs)
    assert list(found.outputs) == ["0", "4"]
    np.testing.assert_allclose(found.outputs["0"], hidden.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.outputs["4"], logits.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.probabilities, logits.softmax(1).numpy(), atol=1e-6)
    assert found.correct == int((logits.argmax(1) == torch.cat([y for _, y in batches])).sum())


def test_a_shared_activation_belongs_to_the_layer_that_it_follows() -> None:
    torch.manual_seed(1)
    net, batches = SharedRelu(), data((6,))
    found = record_outputs(net, batches, points=60)
    inputs = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        first = net.first(inputs).relu()
        second = net.second(first)  # a sum comes between it and the ReLU
    np.testing.assert_allclose(found.outputs["first"], first.numpy(), atol=1e-6)
    np.testing.assert_allclose(found.outputs["second"], second.numpy(), atol=1e-6)


def test_convolutions_are_seen_before_functional_activations() -> None:
    net, batches = Cnn(), data((1, 12, 12))
    found = record_outputs(net, batches, points=60)
    inputs = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        first = net.conv1(inputs)
        second = net.conv2(first.relu())
    np.testing.assert_allclose(found.outputs["conv1"], first.flatten(1).numpy(), atol=1e-6)
    assert found.seen["conv2"].output_shape == tuple(second.shape[1:])
    assert (found.outputs["conv2"] >= 0).all()  # the pooling took what was rectified in place
    assert found.values["conv2"] == 6 * 2 * 2


class InPlace(nn.Module):
    """A function that overwrites what a layer gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu_(self.first(x)))


def test_what_is_overwritten_later_is_kept_as_it_was() -> None:
    torch.manual_seed(3)
    net, batches = InPlace(), data((6,))
    found = record_outputs(net, batches, points=60)
    with torch.no_grad():
        first = net.first(torch.cat([x for x, _ in batches]))
    assert (first < 0).any()
    np.testing.assert_allclose(found.outputs["first"], first.numpy(), atol=1e-6)


def test_recurrent_layers_give_their_sequence_and_cells_all_their_calls() -> None:
    torch.manual_seed(2)
    net, batches = Recurrent(), data((9, 4))
    found = record_outputs(net, batches, points=60)
    inputs = torch.cat([x for x, _ in batches])
    with torch.no_grad():
        gru = net.gru(inputs.transpose(0, 1))[0].transpose(0, 1)
        lstm = net.lstm(gru)[0]
    np.testing.assert_allclose(found.outputs["gru"], gru.flatten(1).numpy(), atol=1e-6)
    np.testing.assert_allclose(found.outputs["lstm"], lstm.flatten(1).numpy(), atol=1e-6)
    assert found.outputs["cell"].shape == (60, 9 * 7)
    assert found.seen["gru"].output_shape == (9, 10)


@pytest.mark.parametrize("build", [mlp, SharedRelu])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(build: Any, training: bool) -> None:
    net = build().train(training)
    next(net.children()).train(not training)  # modules may differ
    modes = [module.training for module in net.modules()]
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    record_outputs(net, data((6,)))
    assert torch.rand(1) == expected
    with pytest.raises(DataError):
        record_outputs(net, data((7,)))
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert not any(module._forward_hooks for module in net.modules())


@given(cuts=st.lists(st.integers(1, 59), max_size=5, unique=True), points=st.integers(1, 70))
@settings(max_examples=20)
def test_any_batches_give_the_same_recording(cuts: list[int], points: int) -> None:
    ((x, y),) = data((6,), batch=60)
    x = x.double()
    net = mlp().double()
    whole = record_outputs(net, [(x, y)], points=points, best=3)
    pairs = zip(x.tensor_split(sorted(cuts)), y.tensor_split(sorted(cuts)), strict=True)
    parts = record_outputs(net, pairs, points=points, best=3)
    for name in ("positions", "labels", "sample", "inputs"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    np.testing.assert_allclose(whole.outputs["0"], parts.outputs["0"], atol=1e-6)
    for one, other in zip(whole.rankings, parts.rankings, strict=True):
        np.testing.assert_array_equal(one.best, other.best)
        np.testing.assert_array_equal(one.worst, other.worst)


def test_the_sample_is_uniform() -> None:
    counts = np.zeros(100)
    for seed in range(400):
        sample = RandomSample(20, seed)
        for size in (30, 50, 20):
            sample.add(size)
        assert len(set(sample.positions.tolist())) == 20
        counts[sample.positions] += 1
    assert abs(counts.mean() - 80) < 1e-9
    assert np.abs(counts - 80).max() < 5 * np.sqrt(80 * 0.8)  # five standard deviations


def test_best_and_worst_are_the_ends_of_the_true_classes_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(50, 4)), rng.integers(0, 4, 50)
    logits[7], labels[7] = [800, 0, 0, 0], 0
    logits[9], labels[9] = [900, 0, 0, 0], 0  # both reach probability 1; this by a larger margin
    extremes = Extremes(5)
    for part in np.array_split(np.arange(50), 3):
        extremes.add(int(part[0]), labels[part], logits[part])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    sure = (shares / shares.sum(1, keepdims=True))[np.arange(50), labels]
    for ranking in extremes.rankings(np.arange(50)):
        own = np.flatnonzero(labels == ranking.label)
        ordered = own[np.argsort(sure[own], kind="stable")]
        np.testing.assert_array_equal(ranking.worst, ordered[:5])
        if ranking.label:
            np.testing.assert_array_equal(ranking.best, ordered[::-1][:5])
        else:
            assert ranking.best[:2].tolist() == [9, 7]


@pytest.mark.parametrize("last", [nn.LogSoftmax(1), nn.Softmax(1)])
def test_log_probabilities_and_probabilities_serve_as_logits(last: nn.Module) -> None:
    net = mlp()
    plain = record_outputs(net, data((6,)))
    ended = record_outputs(nn.Sequential(*net, last), data((6,)))
    np.testing.assert_allclose(plain.probabilities, ended.probabilities, atol=1e-6)
    np.testing.assert_allclose(plain.outputs["4"], ended.outputs["4"], atol=1e-6)  # the logits


def test_named_layers_generators_arrays_and_a_forward_of_ones_own() -> None:
    net = mlp()

    def batches() -> Iterator[tuple[np.ndarray, list[int]]]:
        for x, y in data((2, 3)):
            yield x.numpy().astype(np.float64), y.tolist()

    found = record_outputs(
        net, batches(), layers=["1", "4"], forward=lambda model, x: model(x.flatten(1))
    )
    assert list(found.outputs) == ["1", "4"]
    hidden = found.outputs["1"]
    assert (hidden < 0).any()  # a norm's own output; the ReLU is not asked for
    assert found.inputs.shape[1:] == (2, 3)


def test_weights_that_are_computed_count_as_one_layer() -> None:
    net = nn.Sequential(weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3))
    assert list(record_outputs(net, data((6,))).outputs) == ["0", "2"]


class TimeMajor(nn.Module):
    """A layer whose first axis is steps times examples."""

    def __init__(self) -> None:
        super().__init__()
        self.each, self.head = nn.Linear(4, 5), nn.Linear(45, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.each(x.reshape(-1, 4)).reshape(len(x), -1))


def test_what_cannot_be_told_apart_by_examples_is_left_out_or_refused() -> None:
    found = record_outputs(TimeMajor(), data((9, 4)))
    assert list(found.outputs) == ["head"]
    assert "144 x 5" in found.left_out["each"] or "108 x 5" in found.left_out["each"]
    with pytest.raises(ConfigError, match="layer 'each'"):
        record_outputs(TimeMajor(), data((9, 4)), layers=["each"])


class Poisoned(nn.Module):
    """NaN from the second layer on."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        nn.init.constant_(self.b.weight, float("nan"))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(self.a(x)))


X = torch.zeros(4, 6)
Y = torch.tensor([0, 1, 2, 0])


@pytest.mark.parametrize(
    ("loader", "says"),
    [
        (3, "an iterable of"),
        ([], "0 examples"),
        ([(X[:0], Y[:0])], "0 examples"),
        ([X], "a pair"),
        ([(X, Y.float())], "expected integers"),
        ([(X, Y[:2])], "one label per example"),
        ([(X, nn.functional.one_hot(Y))], "one label per example"),
        ([(X, Y + 1)], "label 3"),
        ([(X, Y - 1)], "label -1"),
        ([(X * float("nan"), Y)], "batch 0: the inputs hold NaN"),
        ([("abcd", Y)], "inputs are a str"),
        ([(X[:, :5], Y)], "does not take inputs of shape 4 x 5"),
    ],
)
def test_bad_data_is_refused_in_one_line(loader: Any, says: str) -> None:
    with pytest.raises(DataError, match=says) as error:
        record_outputs(mlp(), loader)
    assert "\n" not in str(error.value)


def test_nan_is_told_by_the_layer_that_it_comes_from() -> None:
    with pytest.raises(DataError, match="layer 'b' returns NaN or infinity for example 0"):
        record_outputs(Poisoned(), [(X, Y)])


class Odd(nn.Module):
    """Answers with what it is told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.layer, self.answer = nn.Linear(6, 3), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.layer(x))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda y: (y, y), "returns a tuple"),
        (lambda y: y[:, 0], "returns 4 for 4 examples"),
        (lambda y: y[:, :1], "returns 4 x 1"),
        (lambda y: y[:2], "returns 2 x 3"),
    ],
)
def test_networks_that_are_no_classifiers_are_refused(answer: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        record_outputs(Odd(answer), [(X, Y)])


def test_layers_that_are_not_there_are_refused_by_name() -> None:
    with pytest.raises(
        ConfigError, match="layer 'nine': no such module, expected one of 0, 1, 2, 3, 4"
    ):
        record_outputs(mlp(), [(X, Y)], layers=["nine"])
    with pytest.raises(ConfigError, match="no module with parameters"):
        record_outputs(nn.Sequential(nn.ReLU()), [(X, Y)])
    with pytest.raises(ConfigError, match="lazy modules without sizes"):
        record_outputs(nn.LazyLinear(3), [(X, Y)])


def test_pictures_are_grey_on_one_scale() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 2, 3) - 4
    assert grey_images(rows, None).ravel().tolist() == np.rint(np.arange(12) * 255 / 11).tolist()
    assert grey_images(rows.reshape(2, 6), None).shape == (2, 1, 6)
    assert grey_images(rows.reshape(2, 6), (2, 3)).shape == (2, 2, 3)
    assert grey_images(np.stack([rows] * 3, axis=1), None).shape == (2, 2, 3)
    assert not grey_images(np.ones((2, 4, 4), np.float32), None).any()


class Both(nn.Module):
    """Two inputs by name, two outputs of which one is logits."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.layer = nn.Embedding(9, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, tokens: Tensor) -> dict[str, Any]:
        hidden = self.words(tokens).mean(1) + x
        return {"loss": hidden.mean(), "logits": self.layer(hidden), "states": [hidden[:, None]]}


def test_batches_are_read_as_loaders_yield_them() -> None:
    torch.manual_seed(0)
    x, tokens, y = torch.randn(40, 6), torch.randint(0, 9, (40, 5)), torch.arange(40) % 3
    net, ids = Both(), torch.arange(40)
    batches_by_kind: list[Any] = [
        (x, tokens, y),
        (x, tokens, y, ids),
        {"x": x, "tokens": tokens, "labels": y, "index": ids},
        {"x": x.numpy(), "tokens": tokens.numpy(), "y": y.numpy()},
        ({"x": x, "tokens": tokens}, y),
        ([x, tokens], y),
    ]
    for kind in batches_by_kind:
        found = record_outputs(net, [kind], points=30)
        assert (found.labels == np.arange(40)[found.positions] % 3).all()
        with torch.no_grad():
            wanted = net(x, tokens)["logits"].softmax(1).numpy()[found.positions]
        np.testing.assert_allclose(found.probabilities, wanted, atol=1e-5)
        np.testing.assert_array_equal(found.inputs, x.numpy()[found.positions])

    def forward(model: nn.Module, batch: Any) -> Any:
        one = batch if isinstance(batch, dict) else {"x": batch[0], "tokens": batch[1]}
        return model(one["x"], one["tokens"])["logits"]

    for kind in batches_by_kind[:3]:
        record_outputs(net, [kind], points=30, forward=forward)


def test_an_output_that_could_be_one_of_two_is_asked_for() -> None:
    net = Odd(lambda y: {"digit": y, "size": y[:, :2]})
    with pytest.raises(DataError, match=r"returns a dict \(digit 4 x 3, size 4 x 2\)"):
        record_outputs(net, [(X, Y)])
    picked = record_outputs(net, [(X, Y)], forward=lambda model, x: model(x)["digit"])
    assert picked.probabilities.shape == (4, 3)


def test_the_users_tensors_are_left_as_they_are() -> None:
    class InPlace(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(0))  # type: ignore[no-any-return]

    x = torch.ones(30, 6)
    record_outputs(InPlace(nn.Linear(6, 3)), [(x, torch.arange(30) % 3)])
    assert bool((x == 1).all())
