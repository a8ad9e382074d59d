"""Runs that end early, and runs that are continued: nothing is lost, nothing is mixed up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from tinysignal import ConfigError, ModelError
from tinysignal.classifier import Classifier
from tinysignal.train import callbacks
from tinysignal.train.checkpoint import (
    load_state,
    load_weights,
    save_state,
    save_tensors,
    save_weights,
)
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.classification.task import train_classifier

pytest.importorskip("sklearn")

SMALL: dict[str, Any] = {"width": 16, "depth": 1, "device": "cpu", "threads": 1}


def config(**changes: Any) -> ClassifierConfig:
    return ClassifierConfig.read(None, {**SMALL, "epochs": 1, **changes})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train_classifier(config(), folder, quiet=True)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize("other", [{"width": 8}, {"depth": 2}, {"norm": "batch"}])
def test_a_run_of_another_network_is_not_resumed_and_stays_as_it_is(
    other: dict[str, Any], run: Path
) -> None:
    before = contents(run)
    [name] = other
    with pytest.raises(ConfigError, match=f"{name} is .*Resume with the same network"):
        train_classifier(config(epochs=2, **other), run, resume=True, quiet=True)
    assert contents(run) == before


@pytest.mark.parametrize("other", [{"ema_decay": 0.9}, {"data": "pictures"}])
def test_nor_is_a_run_whose_weights_do_not_fit(
    other: dict[str, Any], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(["a", "b"] * 20):
        (tmp_path / "pictures" / name).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 5 * index).save(tmp_path / "pictures" / name / f"{index}.png")
    before = contents(run)
    with pytest.raises(ConfigError, match="the weights of another network, or of other data"):
        train_classifier(config(epochs=2, **other), run, resume=True, quiet=True)
    assert contents(run) == before


def test_the_length_of_a_run_may_change_when_it_is_resumed(run: Path) -> None:
    result = train_classifier(config(epochs=2), run, resume=True, quiet=True)
    assert result.metrics["epochs"] == 2
    assert ClassifierConfig.read(run / "config.toml", {}).epochs == 2


def test_best_weights_of_after_the_checkpoint_are_those_of_no_run(run: Path) -> None:
    best = load_weights(run / "best.safetensors")
    other = {name: 2 * value for name, value in best.items()}
    save_tensors(run / "best.safetensors", other)  # as of a later epoch, before a kill
    train_classifier(config(epochs=2, learning_rate=1e-9), run, resume=True, quiet=True)
    kept = load_weights(run / "best.safetensors")
    assert all(value.equal(kept[name]) for name, value in best.items())


@pytest.mark.parametrize(
    "damage",
    [
        {"global_step": "one"},
        {"callbacks": {}},
        {"loops": {"fit_loop": 3}},
        {"optimizer_states": [{"state": {}, "param_groups": []}]},
        {"epoch": None, "loops": {}},
    ],
)
def test_a_checkpoint_made_by_an_enemy_is_one_line(damage: dict[str, Any], run: Path) -> None:
    path = run / "last.safetensors"
    save_state(path, load_state(path) | damage)
    before = contents(run)
    with pytest.raises(ModelError, match="checkpoint") as raised:
        train_classifier(config(epochs=2), run, resume=True, quiet=True)
    assert len(str(raised.value).splitlines()) == 1
    assert contents(run) == before


def test_a_run_that_was_killed_before_its_first_checkpoint_is_simply_started_again(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text(config().to_toml())
    (folder / "best.safetensors").write_bytes(b"left behind")
    result = train_classifier(config(), folder, quiet=True)
    assert not result.interrupted
    with pytest.raises(ConfigError, match="holds a run already"):
        train_classifier(config(), folder, quiet=True)


def is_usable(folder: Path) -> bool:
    metrics = json.loads((folder / "metrics.json").read_text())
    return metrics["interrupted"] and Classifier.load(folder / "model.onnx").spec.arch == "mlp"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_early_with_a_usable_model(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_get_a_signal(path: Path, net: nn.Module) -> None:
        save_weights(path, net)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(callbacks, "save_weights", save_and_get_a_signal)
    handler = signal.getsignal(number)
    result = train_classifier(config(epochs=1000), tmp_path / "run", quiet=True)
    assert result.interrupted
    assert result.metrics["epochs"] < 10
    assert is_usable(tmp_path / "run")
    assert signal.getsignal(number) == handler


def test_so_does_a_signal_to_torchrun(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    options = [f"--{name}={value}" for name, value in {**SMALL, "minutes": 10}.items()]
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    process = subprocess.Popen(
        [sys.executable, *launcher, "--rdzv-endpoint", "localhost:0",
         "-m", "tinysignal", "train", "classifier", *options, "-o", str(folder)],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (folder / "best.safetensors").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=120)
    finally:
        process.kill()
    assert "Stopped early" in messages
    assert is_usable(folder)
