"""Looking into whole networks: the same every time, true to what they learnt, refused in a line."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tinysignal.errors import ConfigError, DataError
from tinysignal.inspect import Inspection, inspect, inspection

Batches = list[tuple[Tensor, Tensor]]


def rings(examples: int = 240, seed: int = 0) -> Batches:
    """Three rings in 10 dimensions around one centre: no line parts them, a network can."""
    made = np.random.default_rng(seed)
    labels = np.arange(examples) % 3
    directions = made.normal(size=(examples, 10))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x = directions * (1 + 1.5 * labels + made.normal(0, 0.1, examples))[:, None]
    inputs, targets = torch.tensor(x, dtype=torch.float32), torch.tensor(labels)
    return list(zip(inputs.split(50), targets.split(50), strict=True))


def untrained() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)
    )


@pytest.fixture(scope="module")
def trained() -> nn.Sequential:
    net = untrained()
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for step in range(300):
        x, y = (torch.cat(part) for part in zip(*rings(300, step), strict=True))
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    return net


def look(net: nn.Module, loader: Any = None, **options: Any) -> Inspection:
    given = {"points": 150, "perplexity": 15.0, "best": 4, **options}
    return inspect(net, rings() if loader is None else loader, **given)


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Equal to the bit, times aside."""
    assert type(one) is type(other), path
    if hasattr(one, "__dataclass_fields__"):
        for field in fields(one):
            if field.name != "seconds":
                name = f"{path}.{field.name}"
                assert_same(getattr(one, field.name), getattr(other, field.name), name)
    elif isinstance(one, tuple):
        assert len(one) == len(other), path
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{i}]")
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, err_msg=path)
    else:
        assert one == other, path


def test_two_looks_and_any_number_of_jobs_give_the_same(trained: nn.Sequential) -> None:
    first = look(trained, jobs=1)
    assert_same(first, look(trained, jobs=1))
    assert_same(first, look(trained, jobs=3))
    assert not np.array_equal(first.sample, look(trained, seed=1).sample)


def test_a_trained_network_parts_the_classes_layer_by_layer(trained: nn.Sequential) -> None:
    before, after = look(untrained()), look(trained)
    assert after.accuracy > 0.95 > before.accuracy
    assert after.layers[-1].knn_accuracy > before.layers[-1].knn_accuracy + 0.2
    assert after.layers[-1].knn_accuracy > after.layers[0].knn_accuracy + 0.2
    for last, first in zip(after.layers[-1].maps, after.layers[0].maps, strict=True):
        assert last.knn_accuracy > first.knn_accuracy
        assert last.silhouette > first.silhouette


def test_what_is_shown_fits_together(trained: nn.Sequential) -> None:
    steps: list[tuple[int, int, str]] = []
    found = look(trained, on_progress=lambda *step: steps.append(step), classes=["a", "b", "c"])
    x, y = (torch.cat(part) for part in zip(*rings(), strict=True))
    with torch.no_grad():
        logits = trained(x)
    assert found.examples == 240
    assert found.accuracy == pytest.approx(float((logits.argmax(1) == y).float().mean()))
    np.testing.assert_array_equal(found.labels, y[found.positions])
    np.testing.assert_array_equal(found.predicted, logits.argmax(1)[found.positions])
    np.testing.assert_allclose(found.probabilities, logits.softmax(1)[found.positions], atol=1e-6)
    assert len(found.images) == len(found.positions)
    assert [view.title for view in found.layers] == ["input", "hidden 1", "hidden 2", "output"]
    assert [view.name for view in found.layers] == ["input", "0", "2", "4"]
    assert [view.values for view in found.layers] == [10, 64, 64, 3]
    for view in found.layers:
        assert [one.points.shape for one in view.maps] == [(150, 2)] * 2
    # The PCA map of the input is that of these very examples.
    inputs = x[found.positions[found.sample]].double().numpy()
    s = np.linalg.svd(inputs - inputs.mean(0), compute_uv=False)
    explained = found.layers[0].maps[0].explained_variance
    np.testing.assert_allclose(explained, (s**2 / np.sum(s**2))[:2])
    assert found.layers[0].effective_dimensions == pytest.approx(np.sum(s**2) ** 2 / np.sum(s**4))
    assert [r.label for r in found.rankings] == [0, 1, 2]
    for ranking in found.rankings:
        assert set(found.labels[[*ranking.best, *ranking.worst]]) == {ranking.label}
    assert steps[0] == (0, 1, "outputs")
    assert [done for done, _, _ in steps[1:]] == [1, 2, 3, 4, 5]
    assert {what for _, _, what in steps[1:]} == {
        "spectra",
        "input",
        "hidden 1",
        "hidden 2",
        "output",
    }


def test_the_report_is_json_without_nan(trained: nn.Sequential) -> None:
    found = look(trained)
    report = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert report["accuracy"] == found.accuracy
    assert report["points"] == 150
    assert report["layers"][0]["maps"][0]["method"] == "PCA"
    assert "points" not in report["layers"][0]["maps"][0]
    assert len(report["table"][1]["singular_values"]) == 64
    assert len(report["rankings"][2]["worst"]) == 4


class Cnn(nn.Module):
    """Feature maps of more than 4096 values, then a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(16 * 20 * 20, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x).flatten(1))


def test_feature_maps_are_projected_and_titled_by_kind() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(40, 1, 20, 20), torch.arange(40) % 2
    found = look(Cnn(), [(x, y)], methods=["PCA"])
    titles = ["input", "Conv2d conv.0", "Linear head"]
    assert [view.title for view in found.layers] == titles
    assert found.layers[1].values == 6400
    assert found.layers[1].note == "random projection of 6400 values to 4096"
    assert found.layers[2].note == ""
    assert found.images.shape == (40, 20, 20)


def test_a_layer_that_gives_the_same_for_all_is_told() -> None:
    net = untrained()
    nn.init.constant_(net[2].bias, -1e3)
    found = look(net)
    dead = found.layers[2]
    assert dead.note == "identical for all examples"
    assert dead.effective_dimensions == 0
    assert not dead.maps[1].points.any()
    assert found.table[1].dead_share == 1
    json.dumps(found.to_json(), allow_nan=False)


def test_few_examples_take_the_perplexity_down_and_say_so() -> None:
    found = look(untrained(), rings(31), perplexity=30.0)
    assert found.layers[0].maps[1].perplexity == 10
    assert found.notes == (
        "The maps show all 31 examples, fewer than the 150 requested.",
        "Perplexity is 10 instead of 30, because there are only 31 points.",
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"points": 24}, "points is 24"),
        ({"points": 10_001}, "expected 25 to 10000"),
        ({"perplexity": 1.0}, "perplexity is 1.0"),
        ({"perplexity": float("nan")}, "perplexity is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"best": 0}, "best is 0"),
        ({"jobs": 0}, "jobs is 0"),
        ({"methods": ["lda"]}, "method 'lda'"),
        ({"classes": ["a", "b"]}, "2 class names, expected 3"),
        ({"image_shape": (3, 4)}, "3 x 4, expected a shape of 10 values"),
        ({"layers": []}, "layers is empty"),
    ],
)
def test_bad_options_are_refused_in_one_line(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as error:
        look(untrained(), **options)
    assert "\n" not in str(error.value)


def test_too_few_examples_or_classes_are_refused() -> None:
    with pytest.raises(DataError, match="24 examples, expected 25 or more"):
        look(untrained(), rings(24))
    x = torch.cat([part for part, _ in rings()])
    with pytest.raises(DataError, match="1 class in 150 examples on the maps, expected 2 or more"):
        look(untrained(), [(x, torch.ones(len(x)).long())])


def test_an_interrupt_ends_the_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def interrupt(_done: int, _steps: int, what: str) -> None:
        if what != "outputs":
            raise KeyboardInterrupt

    def view(space: Any, *rest: Any) -> Any:
        started.append(space.name)
        return plain(space, *rest)

    plain = inspection._view
    monkeypatch.setattr(inspection, "_view", view)
    with pytest.raises(KeyboardInterrupt):
        look(untrained(), jobs=1, on_progress=interrupt)
    assert len(started) < 4
