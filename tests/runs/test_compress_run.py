"""From a run to a compressed run: it is a run like any other, and its report tells the truth."""

from __future__ import annotations

import json
import math
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from tinysignal import ConfigError, DataError, Denoiser, ModelError
from tinysignal.budget import Budget
from tinysignal.classifier import Classifier
from tinysignal.compress import Plan
from tinysignal.datasets import load_dataset
from tinysignal.nets import DenoisingNet
from tinysignal.runs import compress
from tinysignal.runs import report as reports
from tinysignal.runs.compress import CompressOptions, compress_run, open_run
from tinysignal.runs.inspect import inspect_run
from tinysignal.runs.load import load_run, read_plan, read_plans
from tinysignal.stft import StftSize
from tinysignal.train.classification.build import normalising_by_weights
from tinysignal.train.denoising import task as denoising


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what is tested."""
    monkeypatch.setattr(reports, "SECONDS", 0.0)


def compressed(run: Path, output: Path, **options: Any) -> dict[str, Any]:
    return compress_run(run, output, CompressOptions(**options))


def answers(net: nn.Module, examples: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        probabilities: np.ndarray = net(torch.from_numpy(examples)).softmax(dim=1).numpy()
    return probabilities


def test_the_result_is_a_run_whose_files_agree(digits_run: Path, small_run: Path) -> None:
    names = {path.name for path in small_run.iterdir()}
    assert names == {
        "config.toml",
        "metrics.json",
        "model.onnx",
        "model.safetensors",
        "plan.json",
        "report.json",
    }
    net, spec = load_run(small_run)
    assert spec.name == "small-run"
    assert spec.parameters == sum(p.numel() for p in net.parameters())
    assert spec.macs == 8 * (64 + 48) + 2 * 8 * (48 + 48) + 8 * (48 + 10)
    examples = load_dataset("digits").test.as_float()
    found = Classifier.load(small_run)(examples)
    np.testing.assert_allclose(found, answers(net, examples), atol=1e-4)
    assert (small_run / "config.toml").read_text() == (digits_run / "config.toml").read_text()


def test_the_file_normalises_by_its_weights(digits_run: Path, small_run: Path) -> None:
    before, after = (
        [node.op_type for node in onnx.load(run / "model.onnx").graph.node]
        for run in (digits_run, small_run)
    )
    assert {"Sub", "Div"} <= set(before)
    assert set(after) == {"Reshape", "Gemm", "Relu"}
    net, _ = load_run(small_run)  # whose weights are as they were trained
    assert float(net.std) != 1
    trained = open_run(digits_run)
    for plain in (trained.net, net):  # a first layer of one matrix, and of two
        examples = torch.rand(5, 8, 8, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(normalising_by_weights(plain)(examples), plain(examples))


def test_the_report_is_what_the_files_say(digits_run: Path, small_run: Path) -> None:
    report = json.loads((small_run / "report.json").read_text())
    valid = load_dataset("digits").valid
    for name, run in (("before", digits_run), ("after", small_run)):
        content = (run / "model.onnx").read_bytes()
        assert report[name]["bytes"] == len(content)
        assert report[name]["bytes_zipped"] == len(zlib.compress(content))
        predicted = Classifier.load(run)(valid.as_float()).argmax(axis=1)
        share = float(np.mean(predicted == valid.labels))
        assert report[name]["valid"]["accuracy"] == pytest.approx(share)
        assert (
            report[name]["valid"]["accuracy_low"] < share < report[name]["valid"]["accuracy_high"]
        )
    for row in report["layers"]:
        assert row["parameters"][1] < row["parameters"][0]
        assert 0 <= row["error"] < 1
    assert report["parity"] < 1e-4
    for runtime in ("torch", "onnxruntime"):
        for batch in ("1", "1024"):
            for times in report["latency"][runtime][batch].values():
                assert 0 < times["least_ms"] <= times["median_ms"] <= times["p99_ms"]


def test_the_plan_replayed_gives_the_same_network(
    digits_run: Path, small_run: Path, tmp_path: Path
) -> None:
    plan = read_plan(small_run / "plan.json")
    compressed(digits_run, tmp_path / "again", plan=plan)
    first, second = (
        load_file(run / "model.safetensors") for run in (small_run, tmp_path / "again")
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_compressed_run_is_compressed_again(small_run: Path, tmp_path: Path) -> None:
    report = compressed(small_run, tmp_path / "tiny", budget=Budget(rank=3), method="activation")
    assert report["after"]["parameters"] < report["before"]["parameters"]
    assert [plan.budget for plan in read_plans(tmp_path / "tiny")] == [{"rank": 8}, {"rank": 3}]
    net, _ = load_run(tmp_path / "tiny")
    examples = load_dataset("digits").test.as_float()
    found = Classifier.load(tmp_path / "tiny")(examples)
    np.testing.assert_allclose(found, answers(net, examples), atol=1e-4)


def test_a_layer_left_alone_the_second_time_stays_as_the_first_left_it(
    small_run: Path, tmp_path: Path
) -> None:
    plan = read_plan(small_run / "plan.json")
    kept = tuple(replace(step, rank=None if i else 4) for i, step in enumerate(plan.layers))
    compressed(small_run, tmp_path / "mixed", plan=replace(plan, method="activation", layers=kept))
    before, after = (
        dict(load_run(run)[0].named_parameters()) for run in (small_run, tmp_path / "mixed")
    )
    assert before.keys() == after.keys()
    changed = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {kept[0].name.split(".")[1]}


def test_the_inside_of_a_compressed_run_can_be_looked_at(small_run: Path) -> None:
    found = inspect_run(small_run, points=40, methods=["pca"], jobs=1)
    test = load_dataset("digits").test
    share = float(
        np.mean(Classifier.load(small_run)(test.as_float()).argmax(axis=1) == test.labels)
    )
    assert found.accuracy == pytest.approx(share)
    assert sum(row.parameters for row in found.table) == load_run(small_run)[1].parameters


def test_a_denoiser_is_compressed_and_runs_as_a_stream(denoiser_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "small"
    method = "sequential" if "linear" in denoiser_run.name else "activation"
    share = 0.75 if denoiser_run.name == "lstm-run" else 0.5  # recurrent weights stay
    report = compressed(denoiser_run, output, budget=Budget(params=share), method=method)
    assert report["after"]["parameters"] <= share * report["before"]["parameters"]
    assert report["parity"] < 1e-4
    taken = report["latency"]["onnxruntime"]["1"]["after"]["median_ms"]
    hop_ms = 1000 * load_run(output)[1].hop_samples / 16_000  # type: ignore[union-attr]
    assert report["after"]["real_time_factor"] == pytest.approx(taken / hop_ms)
    for row in report["layers"]:
        assert (row["parameters"][1] < row["parameters"][0]) == (row["rank"] is not None)
        assert 0 <= row["error"] < 1
    score = report["after"]["train"]
    assert math.isfinite(score["si_sdr_denoised_db"])
    net, spec = load_run(output)
    assert isinstance(net, DenoisingNet)
    noisy = np.random.default_rng(0).normal(0, 0.1, (1, 8000)).astype(np.float32)
    denoiser = Denoiser.load(output / "model.onnx")
    whole = denoiser(noisy, sample_rate_hz=spec.sample_rate_hz)
    assert whole.shape == noisy.shape
    stream = denoiser.stream(sample_rate_hz=spec.sample_rate_hz)
    blocks = [stream.feed(block) for block in np.split(noisy, [1, 700, 3000], axis=1)]
    streamed = np.concatenate([*blocks, stream.flush()], axis=1)
    np.testing.assert_allclose(streamed, whole, atol=1e-5)
    # What the runtime makes of the file is what torch makes of the weights.
    trained = open_run(output)
    assert trained.score(net) == pytest.approx(trained.score(output / "model.onnx"), abs=1e-2)


def test_a_denoiser_needs_a_budget_and_has_no_other_data(linear_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no budget given; pass one"):
        compressed(linear_run, tmp_path / "a")
    with pytest.raises(ConfigError, match=r"uses the data of its config\.toml"):
        compress_run(linear_run, tmp_path / "a", CompressOptions(), data="digits")
    with pytest.raises(ConfigError, match="split 'test', expected"):
        open_run(linear_run).score(linear_run / "model.onnx", split="test")
    assert not (tmp_path / "a").exists()


def test_the_test_side_is_not_read(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = open_run(digits_run)
    seen = torch.cat([inputs for inputs, _ in trained.batches]).numpy()
    data = load_dataset("digits")
    known = {row.tobytes() for row in data.train.as_float()}
    assert {row.tobytes() for row in seen} <= known
    assert trained.split == "valid"
    empty = data.test.select(np.zeros(0, np.int64))

    def without_test(*args: Any, **options: Any) -> Any:
        return replace(load_dataset(*args, **options), test=empty)

    monkeypatch.setattr("tinysignal.datasets.load_dataset", without_test)
    compressed(digits_run, tmp_path / "out", budget=Budget(rank=6), method="svd")
    assert (tmp_path / "out" / "report.json").is_file()


def test_an_interrupt_leaves_nothing(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(compress, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        compressed(digits_run, tmp_path / "out", budget=Budget(rank=8), method="svd")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_a_run_is_left_as_it_is(digits_run: Path, small_run: Path) -> None:
    before = {path.name: path.read_bytes() for path in small_run.iterdir()}
    with pytest.raises(ConfigError, match="holds a run already"):
        compressed(digits_run, small_run, budget=Budget(rank=4))
    assert before == {path.name: path.read_bytes() for path in small_run.iterdir()}


def test_what_is_no_run_is_refused_by_name(small_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="a file, expected a run folder"):
        load_run(small_run / "model.onnx")
    with pytest.raises(ModelError, match=r"no config\.toml in this folder"):
        load_run(tmp_path)
    for path in small_run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(small_run / "model.safetensors")
    save_file(
        {name: w for name, w in weights.items() if "bias" not in name},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(ModelError, match=r"do not fit the network in config\.toml and plan\.json"):
        load_run(tmp_path)
    plan = json.loads((small_run / "plan.json").read_text())
    plan["layers"][0]["name"] = "layers.99"
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ModelError, match="the plan does not fit the network"):
        load_run(tmp_path)
    (tmp_path / "plan.json").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="not text in UTF-8"):
        load_run(tmp_path)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        load_run(tmp_path)


def test_ranks_that_cannot_be_and_other_data_are_refused(digits_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for rank, said in ((0, "at least 1"), (900, "rank is 900, expected at most")):
        with pytest.raises(ConfigError, match=said):
            compressed(digits_run, output, budget=Budget(rank=rank))
    with pytest.raises(ConfigError, match="expected one of them"):
        CompressOptions(budget=Budget(rank=3), plan=Plan("svd", {}, ()))
    with pytest.raises(DataError, match="no such folder"):
        compress_run(digits_run, output, CompressOptions(), data="nowhere")
    assert not output.exists()


def test_by_default_half_a_point_may_be_lost(digits_run: Path) -> None:
    trained = open_run(digits_run)
    made = compress.compress_network(trained, CompressOptions(method="activation"))
    assert made.plan.budget == {"max_accuracy_drop": 0.5}
    assert sum(p.numel() for p in made.net.parameters()) < sum(
        p.numel() for p in trained.net.parameters()
    )


def test_the_calibration_data_are_as_many_as_are_asked_for(digits_run: Path) -> None:
    few, more = (open_run(digits_run, calibration=count) for count in (40, 300))
    assert [sum(len(images) for images, _ in run.batches) for run in (few, more)] == [40, 300]
    assert few.data_facts["calibration"] == 40
    with pytest.raises(ConfigError, match="calibration is 0, expected 1 or more"):
        CompressOptions(calibration=0)


def test_a_denoiser_is_calibrated_on_about_as_many_frames_as_are_asked_for() -> None:
    class Noise:
        steps_per_epoch = 50

        def batch(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            signals = np.random.default_rng(number).normal(size=(2, 8192)).astype(np.float32)
            return signals, signals

    for wanted in (100, 1000):
        source: Any = Noise()
        blocks = denoising._calibration(source, StftSize(512, 256), frames=wanted, is_complex=True)
        assert wanted <= sum(x.shape[0] * x.shape[1] for x in blocks) < 2 * wanted
