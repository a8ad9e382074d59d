"""Claims about `tinysignal info` and the command as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from templates import STRIPES, save_template_model, stripes
from tinysignal import __version__, audio
from tinysignal.cli.main import run
from tinysignal.model import read_spec


def test_the_facts_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.flac"
    audio.write(path, np.zeros((2, 12_000)), sample_rate_hz=48_000, tags={"title": "T"})
    assert run(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "file": str(path),
        "sample_rate_hz": 48_000,
        "channels": 2,
        "samples": 12_000,
        "container": "FLAC",
        "subtype": "PCM_24",
        "tags": {"title": "T"},
        "endian": "FILE",
        "bit_rate": None,
        "duration_s": 0.25,
    }
    assert run(["info", str(path)]) == 0
    shown = capsys.readouterr().out
    assert "12 000" in shown
    assert "bit_rate" not in shown  # FLAC has none


def test_the_facts_of_a_model(onset_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(onset_model), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["sample_rate_hz"], facts["latency_ms"]) == ("onset", 16_000, 32.0)
    assert {"receptive_field_ms", "parameters", "macs_per_s", "licence"} <= facts.keys()
    assert run(["info", str(onset_model)]) == 0
    assert "16 000" in capsys.readouterr().out


def test_a_recurrent_model_has_no_limit_to_what_it_hears(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["info", "default", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["receptive_field_frames"], facts["receptive_field_ms"]) == (0, None)
    assert run(["info", "default"]) == 0
    assert "receptive_field_ms unlimited" in " ".join(capsys.readouterr().out.split())


def test_the_facts_of_a_classifier_and_of_a_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_template_model(tmp_path / "model.onnx", stripes(), STRIPES)
    for item in (model, tmp_path):
        assert run(["info", str(item), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts.pop("model") == str(item)
        assert facts == json.loads(read_spec(model).to_json())
    assert run(["info", str(model)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for text in ("left, right, upper", "height: 8, width: 8", "parameters 195", "macs 192"):
        assert text in shown


@pytest.mark.parametrize("name", ["nope.wav", "nope.onnx"])
def test_what_is_missing_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", name]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {name}: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [["denoise"], ["classify"], ["info"], ["play"], ["evaluate"], ["train", "denoiser"]],
)
def test_every_command_shows_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command, "--help"]) == 0
    assert f"Example: tinysignal {' '.join(command)} " in " ".join(capsys.readouterr().out.split())


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["denoise"], ["frobnicate"]])
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    assert run(arguments) == 2


def test_a_folder_without_a_model_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", str(tmp_path)]) == 2
    assert f"{tmp_path}: a folder without a model" in capsys.readouterr().err
