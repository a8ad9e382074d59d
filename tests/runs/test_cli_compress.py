"""``tinysignal compress``: its forms, its tables, JSON, sweeps, and what is refused in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from tinysignal.cli.main import run as command_line
from tinysignal.datasets import load_dataset
from tinysignal.runs import compress
from tinysignal.runs import report as verifying
from tinysignal.runs.compress import open_run
from tinysignal.runs.load import load_run


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are not what is tested."""
    monkeypatch.setattr(verifying, "SECONDS", 0.0)


def parameters(run: Path) -> int:
    return load_run(run)[1].parameters


def test_a_rank_gives_a_run_that_evaluates(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert command_line(["compress", str(digits_run), "--rank", "6", "-o", str(output)]) == 0
    said = capsys.readouterr()
    for word in ("accuracy, valid", "parameters", "MACs", "bytes, zipped", "ONNX Runtime", "torch"):
        assert word in said.out
    assert "6 of 48" in said.out
    assert f"run: {output}" in said.out
    for stage in ("profile:", "plan:", "apply:", "verify:"):
        assert stage in said.err
    assert command_line(["evaluate", str(output), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["spec"]["parameters"] == parameters(output)


def ranks(run: Path) -> dict[str, int]:
    layers = json.loads((run / "plan.json").read_text())["layers"]
    return {layer["name"]: layer["rank"] for layer in layers if layer["rank"] is not None}


def test_ranks_are_rounded_and_have_their_floors(digits_run: Path, tmp_path: Path) -> None:
    def compressed(name: str, *options: str) -> dict[str, int]:
        output = str(tmp_path / name)
        command = ["compress", str(digits_run), "--refine", "0", "--quiet", *options, "-o", output]
        assert command_line(command) == 0
        return ranks(tmp_path / name)

    plain = compressed("plain", "--rank", "3")
    assert set(plain.values()) == {3}
    assert set(compressed("rounded", "--rank", "3", "--round-to", "4").values()) == {4}
    assert set(compressed("floor", "--rank", "3", "--min-rank", "7").values()) == {7}
    first = next(iter(plain))
    both = compressed("both", "--rank", "3", "--min-rank", "5", "--min-rank", f"{first}=9")
    assert both == {**dict.fromkeys(plain, 5), first: 9}
    other = compressed("other", "--rank", "3", "--min-rank", f"{first}=9")
    assert other == {**plain, first: 9}


def test_floors_are_refused_with_a_plan(
    digits_run: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["--plan", str(small_run / "plan.json"), "--round-to", "8"]
    output = str(tmp_path / "out")
    assert command_line(["compress", str(digits_run), *plan, "-o", output]) == 2
    assert "round_to is given with a plan" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_factors_fitted_together_are_nearer_to_the_original_on_the_validation_side(
    digits_run: Path, tmp_path: Path
) -> None:
    net, images = open_run(digits_run).net, load_dataset("digits").valid.as_float()
    divergence = {}
    for how in ("300", "joint"):
        output = str(tmp_path / how)
        options = ["--rank", "4", "--refine", how, "--quiet", "-o", output]
        assert command_line(["compress", str(digits_run), *options]) == 0
        small = load_run(tmp_path / how)[0]
        with torch.no_grad():
            ours, theirs = (n.eval()(torch.from_numpy(images)).log_softmax(1) for n in (small, net))
        found = nn.functional.kl_div(ours, theirs, log_target=True, reduction="batchmean")
        divergence[how] = float(found)
    assert divergence["joint"] < 0.8 * divergence["300"]


def test_a_share_is_kept_to_and_json_is_all_of_stdout(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    options = [
        "--params",
        "40%",
        "--method",
        "activation",
        "--finetune",
        "1",
        "--device",
        "cpu",
        "--json",
        "--quiet",
    ]
    assert command_line(["compress", str(digits_run), *options, "-o", str(output)]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert report["budget"] == {"params": 0.4}
    assert report["after"]["parameters"] <= 0.4 * report["before"]["parameters"]
    assert all(line.startswith("note: ") for line in said.err.splitlines())


def test_a_sweep_is_a_curve_and_a_run_for_each_rank_and_the_best(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    options = ["--sweep", "8,2", "--method", "activation", "--json"]
    assert command_line(["compress", str(digits_run), *options, "-o", str(output)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (output / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert found == json.loads((output / "sweep.json").read_text())
    expected = [
        ("original", None),
        ("svd", 2),
        ("activation", 2),
        ("svd", 8),
        ("activation", 8),
    ]
    assert [(point["method"], point["rank"]) for point in found["points"]] == expected
    assert all("test" not in point for point in found["points"])
    with (output / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["", "2", "2", "8", "8"]
    for row, point in zip(rows, found["points"], strict=True):
        assert float(row["valid_accuracy"]) == point["valid"]["accuracy"]
        assert int(row["parameters"]) == point["parameters"]
    assert parameters(output / "rank-2") < parameters(output / "rank-8") < parameters(digits_run)
    assert parameters(output) == parameters(output / f"rank-{found['best_rank']}")
    accuracies = {
        p["rank"]: p["valid"]["accuracy"] for p in found["points"] if p["method"] != "svd"
    }
    good = [rank for rank in (2, 8) if accuracies[rank] >= accuracies[None] - 0.005]
    assert found["best_rank"] == min(good, default=8)
    assert command_line(["evaluate", str(output), "--json"]) == 0


def test_a_sweep_reads_the_test_side_when_told_to(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    options = ["--sweep", "6", "--method", "svd", "--test"]
    assert command_line(["compress", str(digits_run), *options, "-o", str(output)]) == 0
    assert "best rank: 6" in capsys.readouterr().out
    points = json.loads((output / "sweep.json").read_text())["points"]
    assert [point["test"]["examples"] for point in points] == [359, 359]


def test_a_plan_can_be_edited_and_replayed(
    digits_run: Path, small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = json.loads((small_run / "plan.json").read_text())
    plan["layers"][0]["rank"] = None
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(plan))
    output = tmp_path / "out"
    arguments = ["compress", str(digits_run), "--plan", str(edited), "-o", str(output)]
    assert command_line(arguments) == 0
    shown = [line for line in capsys.readouterr().out.splitlines() if "Linear" in line]
    assert "whole" in shown[0]
    assert parameters(output) > parameters(small_run)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rank", "0"], "rank is 0"),
        (["--rank", "-3"], "rank is -3"),
        (["--rank", "999"], "expected at most"),
        (["--rank", "4", "--params", "5%"], "--rank and --params are given, expected one of them"),
        (["--rank", "4", "--plan", "plan.json"], "--rank and --plan"),
        (["--params", "much"], "expected a fraction"),
        (["--params", "120%"], "expected 100% or less"),
        (["--params", "0.1%"], "Raise params, or lower min_rank"),
        (["--energy", "2"], "at most 1"),
        (["--max-accuracy-drop", "-1"], "at least 0"),
        (["--macs", "nan"], "macs is nan"),
        (["--rank", "4", "--refine", "all"], "refine is 'all', expected 'joint' or a number"),
        (["--method", "best", "--rank", "4"], "--method': 'best' is not one of"),
        (["--plan", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--sweep", "4,x"], "expected ranks such as"),
        (["--sweep", "0"], "rank 0"),
        (["--sweep", "4,999"], "expected at most"),
        (["--sweep", "4", "--rank", "3"], "--rank and --sweep"),
        (["--sweep", "4", "--finetune", "1", "--resume"], "which cannot be resumed"),
        (["--rank", "4", "--test"], "--test is given without --sweep"),
        (["--rank", "4", "--augment", "best"], "--finetune EPOCHS"),
        (["--rank", "4", "--finetune", "0"], "epochs is 0"),
        (
            ["--rank", "4", "--finetune", "1", "--augment", "more"],
            "--augment': 'more' is not one of",
        ),
        (["--rank", "4", "--resume"], "--finetune EPOCHS"),
        (["--rank", "4", "--threads", "0"], "--threads 0"),
        (["--rank", "4", "--seed", "-1"], "seed"),
        (["--rank", "4", "--min-rank", "few"], "--min-rank few: expected a rank"),
        (["--rank", "4", "--min-rank", "head=0"], "--min-rank head=0: expected a rank"),
        (["--rank", "4", "--min-rank", "=8"], "--min-rank =8: expected a rank"),
        (["--rank", "4", "--min-rank", "tail=8"], "no layer matches 'tail'"),
        (["--rank", "4", "--round-to", "0"], "--round-to"),
        (["--int8", "--min-rank", "8"], "min_rank is given with int8 and no budget"),
        (["--rank", "4", "--data", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status = command_line(["compress", str(digits_run), *arguments, "-o", "out", "--quiet"])
    assert status in (1, 2)
    captured = capsys.readouterr()
    errors = captured.err.strip().splitlines()
    assert len(errors) == 1, errors
    assert errors[0].startswith("error: ")
    assert said in errors[0]
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--rank", "0"], ["--params", "0%"], ["--method", "best"]])
def test_what_can_never_be_is_refused_before_data_are_read(
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.setattr(compress, "open_run", lambda *_, **__: pytest.fail("data were read"))
    output = str(tmp_path / "out")
    assert command_line(["compress", str(digits_run), *arguments, "-o", output]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_model_file_and_a_folder_that_is_no_run_are_named(
    small_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    assert command_line(["compress", str(small_run / "model.onnx"), "-o", output]) == 1
    assert "a file, expected a run folder" in capsys.readouterr().err
    assert command_line(["compress", str(tmp_path / "nowhere"), "-o", output]) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert command_line(["compress", str(tmp_path), "-o", output]) == 1
    assert "no config.toml in this folder" in capsys.readouterr().err
    assert command_line(["compress", str(small_run), "--rank", "2", "-o", str(small_run)]) == 2
    assert "holds a run already" in capsys.readouterr().err


def test_int8_alone_leaves_a_classifier_whole(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert command_line(["compress", str(digits_run), "--int8", "-o", str(output)]) == 0
    said = capsys.readouterr().out
    assert "all layers whole" in said
    assert "rank" not in said
    report = json.loads((output / "report.json").read_text())
    assert report["after"]["parameters"] == report["before"]["parameters"]
    assert report["int8"]["bytes"] < 0.75 * report["before"]["bytes"]
    assert command_line(["evaluate", str(output), "--json"]) == 0


def test_a_denoiser_is_compressed_by_the_command(
    linear_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    arguments = ["--params", "60%", "--method", "activation", "--refine", "joint", "--int8"]
    assert command_line(["compress", str(linear_run), *arguments, "-o", str(output)]) == 0
    said = capsys.readouterr().out
    assert "SI-SDR, train" in said
    assert "MACs, a second" in said
    assert "real-time factor" in said
    assert "1024 frames" in said
