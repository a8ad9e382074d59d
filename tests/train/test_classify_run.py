"""A classifier's run from a configuration to a folder: learns, resumes, exports, refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tinysignal import ConfigError, DataError, ModelError
from tinysignal.datasets import load_dataset
from tinysignal.model import load_classification_model
from tinysignal.nets.mlp import Mlp
from tinysignal.runs.load import load_run
from tinysignal.spec import ImageInput
from tinysignal.train import callbacks, export
from tinysignal.train.classification.config import RECIPES, ClassifierConfig
from tinysignal.train.classification.config import ClassifierConfig as Config
from tinysignal.train.classification.task import train_classifier

SMALL: dict[str, Any] = {"width": 32, "depth": 2, "epochs": 4, "device": "cpu"}
FILES = {
    "best.safetensors",
    "config.toml",
    "curve.csv",
    "curve.png",
    "last.safetensors",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
}


def config(**changes: Any) -> Config:
    return ClassifierConfig.read(None, {**SMALL, **changes})


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_embedded_digits_are_learnt(tmp_path: Path) -> None:
    result = train_classifier(config(epochs=15), tmp_path / "run", quiet=True)
    assert {p.name for p in (tmp_path / "run").iterdir()} == FILES
    assert result.metrics["valid"]["accuracy"] > 0.93
    assert result.metrics["data"]["name"] == "digits"
    # The chosen weights are those in the file: onnxruntime is as accurate on the same examples.
    valid = load_dataset("digits").valid
    logits = load_classification_model(tmp_path / "run" / "model.onnx").run(valid.as_float())
    share = float(np.mean(logits.argmax(axis=1) == valid.labels))
    assert share == pytest.approx(result.metrics["valid"]["accuracy"])


@pytest.mark.parametrize("recipe", ["course", "best"])
def test_a_killed_run_resumes_to_the_same_result(
    recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, deformation, batch normalisation and averaged weights included."""
    monkeypatch.setattr(callbacks, "_SAVE_EVERY_S", 0.0)
    options = config(recipe=recipe, batch=256)
    train_classifier(options, tmp_path / "whole", quiet=True)

    def die(self: callbacks.RunRecorder, *args: Any) -> dict[str, float]:
        if args[0].current_epoch == 2:
            raise RuntimeError("killed")
        return score(self, *args)

    score = callbacks.RunRecorder._score
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunRecorder, "_score", die)
        with pytest.raises(RuntimeError, match="killed"):
            train_classifier(options, tmp_path / "killed", quiet=True)
    train_classifier(options, tmp_path / "killed", resume=True, quiet=True)
    for name in ("last.safetensors", "model.safetensors"):
        whole, again = (load_file(tmp_path / run / name) for run in ("whole", "killed"))
        assert whole.keys() == again.keys()
        assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_two_seeds_differ_and_one_repeats(tmp_path: Path) -> None:
    losses = []
    for number, seed in enumerate((0, 0, 1)):
        folder = tmp_path / str(number)
        train_classifier(config(seed=seed, epochs=1), folder, quiet=True)
        losses.append(curve(folder)[0]["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    options = config(epochs=8, learning_rate=0.05)
    result = train_classifier(options, tmp_path / "run", quiet=True)
    scored = [float(row["valid_accuracy"]) for row in curve(tmp_path / "run")]
    assert result.metrics["best"]["epoch"] == scored.index(max(scored)) + 1
    assert result.metrics["valid"]["accuracy"] == pytest.approx(max(scored))


def test_without_validation_examples_all_are_trained_on(tmp_path: Path) -> None:
    metrics = train_classifier(config(valid_fraction=0.0), tmp_path / "run", quiet=True).metrics
    assert metrics["data"]["valid"] == 0
    assert metrics["weights"] == "last"
    assert metrics["train"]["accuracy"] > 0.5


def test_a_run_loads_as_the_network_that_was_exported(tmp_path: Path) -> None:
    train_classifier(config(norm="batch"), tmp_path / "run", quiet=True)
    net, spec = load_run(tmp_path / "run")
    examples = load_dataset("digits").test.as_float()
    with torch.no_grad():
        expected = net(torch.from_numpy(examples)).numpy()
    logits = load_classification_model(tmp_path / "run" / "model.onnx").run(examples)
    np.testing.assert_allclose(logits, expected, atol=1e-4 * np.abs(expected).max())
    assert not net.training
    assert spec.classes == tuple("0123456789")
    # Batch normalisation is folded in the file: weights and biases are all there is.
    assert spec.parameters == 64 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10
    assert spec.macs == 64 * 32 + 32 * 32 + 32 * 10


def test_a_file_that_differs_from_the_network_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PARITY", -1.0)
    net = Mlp(shape=(4, 4), classes=2, width=4, depth=1)
    with pytest.raises(ModelError, match="differs from the network"):
        export.export_classifier(
            net,
            tmp_path / "m.onnx",
            arch="mlp",
            classes=("a", "b"),
            input=ImageInput(height=4, width=4),
            name="m",
            trained_on="",
            licence="",
        )
    assert list(tmp_path.iterdir()) == []


def test_flags_win_over_the_file_and_the_file_over_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('recipe = "best"\nbatch = 64\nema_decay = 0.5\n')
    read = ClassifierConfig.read(tmp_path / "c.toml", {"ema_decay": 0.9, "steps": 7})
    assert (read.recipe, read.batch, read.ema_decay) == ("best", 64, 0.9)
    assert (read.steps, read.epochs) == (7, 0)
    assert read.elastic == RECIPES["best"]["elastic"]
    (tmp_path / "again.toml").write_text(read.to_toml())
    assert ClassifierConfig.read(tmp_path / "again.toml", {}) == read


def test_the_default_is_the_course() -> None:
    course = ClassifierConfig.read(None, {})
    assert (course.width, course.depth, course.dropout, course.norm) == (1024, 5, 0.2, "none")
    assert (course.batch, course.epochs, course.learning_rate) == (128, 20, 1e-3)
    assert (course.schedule, course.label_smoothing, course.ema_decay) == ("constant", 0.0, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"recipe": "secret"}, "recipe is 'secret', expected course or fast or best"),
        ({"norm": "group"}, "norm is 'group', expected none or batch"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"depth": -1}, "depth is -1"),
        ({"epochs": 2, "minutes": 1.0}, "expected one of epochs, steps and minutes"),
        ({"elastic": -0.1}, "elastic is -0.1"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        ClassifierConfig.read(None, changes)


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tinysignal", *map(str, arguments)]


def test_the_command_needs_nothing_and_names_its_folders(tmp_path: Path) -> None:
    train = command("train", "classifier", "--width", 16, "--epochs", 1, "--device", "cpu")
    for _ in range(2):
        done = subprocess.run(train, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["digits-run", "digits-run-2"]
    assert "accuracy on" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "absent"], "absent"),
        (["--recipe", "secret"], "--recipe': 'secret' is not one of"),
        (["--resume"], "--resume is given without a run folder"),
        (["--device", "abacus"], "device is 'abacus'"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", "classifier", *arguments),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_data_leaves_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train_classifier(config(data=str(tmp_path / "absent")), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(
    not (Path(os.environ.get("TINYSIGNAL_DATA", "absent")) / "mnist").is_dir(),
    reason="TINYSIGNAL_DATA names no folder with mnist/",
)
def test_mnist_is_learnt_in_an_epoch(tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", "classifier", "--data", "mnist", "--recipe", "fast", "--epochs", 1,
                "--width", 256, "--depth", 2, "-o", tmp_path / "run", "--json"),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    metrics = json.loads(done.stdout)
    assert metrics["data"] == {
        "name": "mnist", "classes": 10, "train": 55_000, "valid": 5_000, "test": 10_000,
    }  # fmt: skip
    assert metrics["valid"]["accuracy"] > 0.95
