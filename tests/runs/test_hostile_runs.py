"""Run folders made by an enemy, or damaged: one line, before anything large is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tinysignal.errors import ModelError
from tinysignal.runs import load_run
from tinysignal.train.checkpoint import load_weights, save_weights

CONFIGS = {
    "larger than 1 MiB": lambda text: text + "#" * (2 << 20),
    "not a TOML file": lambda text: text + "x = " + "[" * 100_000,
    "not text in UTF-8": lambda text: text.encode("utf-16").decode("latin-1"),
    "expected at least 1 and at most 65536": lambda text: text.replace("= 48", "= 1000000000"),
    "data has 20000 characters": lambda text: text.replace('"digits"', f'"{"x" * 20_000}"'),
    "expected more than|expected at least": lambda text: text.replace(
        "dropout = 0.2", "dropout = nan"
    ),
    "do not fit the network": lambda text: text.replace("width = 48", "width = 65536"),
    "the weights do not fit": lambda text: text.replace("depth = 3", "depth = 100"),
}


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_run, tmp_path / "run"))


def refused(run: Path, found: str) -> None:
    with pytest.raises(ModelError, match=found) as caught:
        load_run(run)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("found", CONFIGS)
def test_a_configuration_beyond_all_bounds_is_refused(found: str, run: Path) -> None:
    path = run / "config.toml"
    text = path.read_text()
    changed = CONFIGS[found](text)
    assert changed != text
    path.write_text(changed, encoding="latin-1")
    refused(run, found)


def change_plan(run: Path, change: Callable[[dict], object]) -> None:
    plan = json.loads((run / "plan.json").read_text())
    change(plan)
    (run / "plan.json").write_text(json.dumps(plan))


def beyond_its_layer(plan: dict) -> None:
    cut = next(layer for layer in plan["layers"] if layer["rank"])
    cut["full_rank"] = cut["rank"] = 10**9


@pytest.mark.parametrize(
    ("found", "change"),
    [
        ("does not fit", beyond_its_layer),
        ("listed 20001 times", lambda plan: plan["layers"].extend(plan["layers"][:1] * 20_000)),
        ("expected text", lambda plan: plan["layers"][0].update(name=["x" * 100_000])),
        ("of version", lambda plan: plan.update(version="9" * 100_000)),
        ("unknown or missing fields", lambda plan: plan.update({"x" * 100_000: 0})),
    ],
)
def test_a_plan_beyond_all_bounds_is_refused(
    found: str, change: Callable[[dict], object], run: Path
) -> None:
    change_plan(run, change)
    refused(run, found)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, run: Path) -> None:
    weights = load_weights(run / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = value
    net = torch.nn.Module()
    net.state_dict = lambda: weights  # type: ignore[method-assign,assignment]
    save_weights(run / "model.safetensors", net)
    refused(run, "NaN, infinite or complex numbers")


def test_a_file_that_never_ends_is_not_read(run: Path) -> None:
    (run / "plan.json").unlink()
    (run / "plan.json").symlink_to("/dev/zero")
    refused(run, "not a regular file")
