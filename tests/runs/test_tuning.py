"""Fine-tuning of compressed networks."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tinysignal import ConfigError
from tinysignal.budget import Budget
from tinysignal.runs import report as reports
from tinysignal.runs.compress import CompressOptions, compress_run, open_run
from tinysignal.runs.load import load_run
from tinysignal.train import callbacks
from tinysignal.train.classification.modules import ClassificationModule
from tinysignal.train.tuning import TuneOptions


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what is tested."""
    monkeypatch.setattr(reports, "SECONDS", 0.0)


def tuned(run: Path, output: Path, *, resume: bool = False, **options: Any) -> dict[str, Any]:
    chosen = CompressOptions(
        budget=Budget(rank=4),
        method="activation",
        tune=TuneOptions(**{"epochs": 4, "device": "cpu", "learning_rate": 5e-3} | options),
    )
    return compress_run(run, output, chosen, resume=resume, quiet=True)


def test_training_wins_back_what_the_cut_lost(digits_run: Path, tmp_path: Path) -> None:
    options = CompressOptions(budget=Budget(rank=4), method="activation")
    cut = compress_run(digits_run, tmp_path / "cut", options)
    made = tuned(digits_run, tmp_path / "tuned", epochs=8, ema_decay=0.9)
    assert made["after"]["parameters"] == cut["after"]["parameters"]
    assert made["after"]["valid"]["nll"] < cut["after"]["valid"]["nll"]
    names = {path.name for path in (tmp_path / "tuned").iterdir()}
    assert {"curve.csv", "plan.json", "report.json", "model.onnx", "config.toml"} <= names
    metrics = json.loads((tmp_path / "tuned" / "metrics.json").read_text())
    assert metrics["valid"]["accuracy"] == made["after"]["valid"]["accuracy"]
    config = tomllib.loads((tmp_path / "tuned" / "config.toml").read_text())
    own = tomllib.loads((digits_run / "config.toml").read_text())
    for name in ("data", "valid_fraction", "seed", "width", "depth", "norm"):
        assert config[name] == own[name]  # the split and the network stay what they were
    assert config["epochs"] == 8


def test_a_killed_training_resumes_to_the_same_result(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "_SAVE_EVERY_S", 0.0)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    tuned(digits_run, whole, augment="best")

    def die(self: callbacks.RunRecorder, *args: Any) -> dict[str, float]:
        if args[0].current_epoch == 2:
            raise RuntimeError("killed")
        return score(self, *args)

    score = callbacks.RunRecorder._score
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunRecorder, "_score", die)
        with pytest.raises(RuntimeError, match="killed"):
            tuned(digits_run, killed, augment="best")
    with pytest.raises(ConfigError, match="holds a run already"):
        tuned(digits_run, killed, augment="best")
    with pytest.raises(ConfigError, match="epochs is 5, but the run was begun with 4"):
        tuned(digits_run, killed, augment="best", epochs=5, resume=True)
    tuned(digits_run, killed, augment="best", resume=True)
    first, second = (load_file(run / "model.safetensors") for run in (whole, killed))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_without_labels_the_original_is_approached(digits_run: Path) -> None:
    """All of the loss is the divergence from the original: zero where there is none."""
    trained = open_run(digits_run)
    module, _ = trained.module(trained.net, trained.net, TuneOptions(epochs=1, distill_weight=1.0))
    assert isinstance(module, ClassificationModule)
    inputs, labels = trained.batches[0]
    assert float(module.loss(inputs, labels).detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(module.loss(inputs, (labels + 1) % 10).detach()) == pytest.approx(0.0, abs=1e-6)
    assert all(m.p == 0 for m in module.net.modules() if isinstance(m, nn.Dropout))
    learnt = {name.split(".")[0] for name in module.state_dict()}
    assert learnt == {"net", "averaged"}  # the original is neither trained nor saved


def test_the_teacher_may_be_another_run_of_the_same_task(
    digits_run: Path, small_run: Path, tmp_path: Path
) -> None:
    options = CompressOptions(
        budget=Budget(rank=4),
        method="svd",
        tune=TuneOptions(epochs=1, device="cpu"),
        teacher=small_run,
    )
    compress_run(digits_run, tmp_path / "out", options, quiet=True)
    assert load_run(tmp_path / "out")[1].name == "out"


def test_a_denoiser_is_trained_further(linear_run: Path, tmp_path: Path) -> None:
    options = CompressOptions(budget=Budget(params=0.3), method="activation")
    cut = compress_run(linear_run, tmp_path / "cut", options)
    options = CompressOptions(
        budget=Budget(params=0.3), method="activation", tune=TuneOptions(epochs=60, device="cpu")
    )
    made = compress_run(linear_run, tmp_path / "tuned", options, quiet=True)
    key = "si_sdr_denoised_db"
    assert made["after"]["train"][key] > cut["after"]["train"][key]


def test_a_teacher_of_another_task_is_refused(
    digits_run: Path, linear_run: Path, tmp_path: Path
) -> None:
    options = CompressOptions(budget=Budget(rank=4), tune=TuneOptions(epochs=1), teacher=linear_run)
    with pytest.raises(ConfigError, match="differ in task, classes or input"):
        compress_run(digits_run, tmp_path / "out", options)
    with pytest.raises(ConfigError, match="Give its epochs"):
        CompressOptions(teacher=linear_run)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "values",
    [{"epochs": 0}, {"distill_weight": 1.5}, {"temperature": 0.0}, {"augment": "much"}],
)
def test_options_out_of_bounds_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        TuneOptions(**{"epochs": 1} | values)


def test_nothing_to_resume_is_said(digits_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no fine-tuning to resume"):
        tuned(digits_run, tmp_path / "out", resume=True)
