"""``tinysignal evaluate``: JSON, tables, CSV, kept files, and what the exit status says."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import soundfile as sf
import typer
from typer.testing import CliRunner, Result

from speech import save_pair
from tinysignal.cli.evaluate import evaluate
from tinysignal.cli.main import run as command_line


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder with three pairs in ``noisy`` and ``clean``."""
    for name, snr_db in (("a", 3), ("b", 8), ("deep/c", 18)):
        save_pair(tmp_path, name, snr_db=snr_db)
    return tmp_path


def run(model: Path | str, *arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(model), *map(str, arguments)])


def sides(folder: Path) -> list[str | Path]:
    return ["--noisy", folder / "noisy", "--clean", folder / "clean", "--metrics", "snr,si_sdr"]


def test_json_is_all_of_stdout_and_holds_every_file_in_order(
    folders: Path, onset_model: Path
) -> None:
    result = run(onset_model, *sides(folders), "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["spec"]["name"] == "onset"
    assert [file["name"] for file in report["per_file"]] == ["a", "b", "deep/c"]
    assert set(report["mean"]) == {"snr", "si_sdr"}
    mean = report["mean"]["snr"]
    difference = mean["denoised"]["mean"] - mean["noisy"]["mean"]
    assert mean["improvement"]["mean"] == pytest.approx(difference)
    assert [group["files"] for group in report["by_input_snr"]] == [1, 1, 1]
    assert report["failures"] == []


def test_a_run_folder_stands_for_the_model_in_it(folders: Path, onset_model: Path) -> None:
    run_folder = folders / "run"
    run_folder.mkdir()
    shutil.copy(onset_model, run_folder / "model.onnx")
    by_file, by_folder = (
        json.loads(run(model, *sides(folders), "--json").stdout)
        for model in (onset_model, run_folder)
    )
    assert by_folder["per_file"] == by_file["per_file"]


def test_one_failed_file_makes_the_exit_status_1_and_is_named_on_stderr(
    folders: Path, onset_model: Path
) -> None:
    (folders / "clean/b.wav").unlink()
    result = run(onset_model, *sides(folders), "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["files"] == 2
    assert [failure["file"] for failure in report["failures"]] == ["b"]
    assert "b: no file of this name in the clean folder" in result.stderr


def test_table_shows_noisy_beside_denoised_and_the_groups(
    folders: Path, onset_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run(onset_model, *sides(folders))
    assert result.exit_code == 0
    for text in ("onset: 3 files", "SI-SDR, dB", "improvement", "±", "0 to 5 dB", "Student's t"):
        assert text in result.stdout


def test_csv_has_a_row_a_file_failed_ones_included(folders: Path, onset_model: Path) -> None:
    (folders / "noisy/b.wav").write_text("not audio", encoding="utf-8")
    path = folders / "scores.csv"
    assert run(onset_model, *sides(folders), "--csv", path).exit_code == 1
    with path.open(newline="", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert set(rows) == {"a", "b", "deep/c"}
    assert float(rows["a"]["noisy_snr"]) == pytest.approx(3, abs=0.01)
    assert rows["b"]["denoised_snr"] == ""
    assert "b.wav" in rows["b"]["failure"]


def test_denoised_files_are_kept_on_request(folders: Path, onset_model: Path) -> None:
    kept = folders / "kept"
    assert run(onset_model, *sides(folders), "--save-dir", kept).exit_code == 0
    assert sf.info(kept / "deep/c.wav").frames == 16_000


def test_a_manifest_gives_the_scores_of_the_folders(folders: Path, onset_model: Path) -> None:
    manifest = folders / "pairs.csv"
    lines = [f"noisy/{name}.wav,clean/{name}.wav" for name in ("a", "b", "deep/c")]
    manifest.write_text("\n".join(["noisy,clean", *lines]), encoding="utf-8")
    chosen = ["--metrics", "snr,si_sdr", "--json"]
    by_manifest = json.loads(run(onset_model, "--pairs", manifest, *chosen).stdout)
    by_folders = json.loads(run(onset_model, *sides(folders), "--json").stdout)
    assert by_manifest["mean"] == by_folders["mean"]


def test_what_is_not_installed_is_named_on_stderr(
    folders: Path, onset_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run(onset_model, *sides(folders)[:4], "--json")
    assert result.exit_code == 0
    expected = "Without pesq_wb, stoi, estoi, dnsmos: pip install 'tinysignal[eval]'."
    assert expected in result.stderr
    assert set(json.loads(result.stdout)["mean"]) == {"snr", "si_sdr", "segmental_snr"}


def test_exit_status_is_2_for_wrong_usage_and_1_for_input_that_fails(
    folders: Path, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, empty = str(onset_model), folders / "empty"
    empty.mkdir()
    given = [str(argument) for argument in sides(folders)[:4]]
    for arguments, status, message in (
        ([model, "--noisy", str(folders)], 2, "expected --noisy DIR and --clean DIR"),
        ([model, *given, "--metrics", "loudness"], 2, "metric 'loudness'"),
        ([model, *given, "--jobs", "0"], 2, "jobs"),
        ([model, "--noisy", str(folders / "x"), "--clean", str(folders)], 2, "does not exist"),
        ([model, "--noisy", str(empty), "--clean", str(empty)], 1, "no audio files"),
        ([str(empty), *given], 1, "no such model file"),
        ([model, *given, "--metrics", "snr", "--json"], 0, ""),
    ):
        assert command_line(["evaluate", *arguments]) == status
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--csv", "--save-dir"])
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    folders: Path,
    onset_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
) -> None:
    monkeypatch.setattr("tinysignal.evaluation.denoiser._outcomes", None)  # the work would fail
    place = folders / "noisy/a.wav" / "x"
    given = [str(argument) for argument in sides(folders)]
    assert command_line(["evaluate", str(onset_model), *given, option, str(place)]) != 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {place}: ")
    assert said.err.count("\n") == 1


def test_help_shows_an_example() -> None:
    assert "Example: tinysignal evaluate" in run("--help").stdout
