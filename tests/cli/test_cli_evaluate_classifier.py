"""``tinysignal evaluate`` for classifiers: figures, files, and what is refused before the work."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from templates import STRIPES, save_blots, save_blots_model, save_template_model, stripes
from tinysignal.classifier import Classifier
from tinysignal.cli import evaluate
from tinysignal.cli.main import run
from tinysignal.datasets import load_dataset
from tinysignal.mel import log_mel
from tinysignal.metrics.classification_report import ClassificationReport
from tinysignal.spec import ImageInput, SoundInput

DATA_DIR = Path(os.environ.get("TINYSIGNAL_DATA", ""))
needs_mnist = pytest.mark.skipif(
    not (os.environ.get("TINYSIGNAL_DATA") and (DATA_DIR / "mnist").is_dir()),
    reason="TINYSIGNAL_DATA names no folder with mnist/",
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_blots_model(tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture
def given(model: Path, tmp_path: Path) -> list[str]:
    """Arguments that evaluate on 60 examples, 6 of them with wrong labels."""
    save_blots(tmp_path)
    return ["evaluate", str(model), "--data", "mnist", "--data-dir", str(tmp_path)]


def stripes_folder(folder: Path, sides: tuple[str, ...] = ("train", "test")) -> Path:
    """Pictures of stripes, by side and class; one of the test side lies in the wrong class."""
    image = pytest.importorskip("PIL.Image")
    for number, side in enumerate(sides):
        for name, picture in zip(STRIPES, stripes(), strict=True):
            place = folder / side / name
            place.mkdir(parents=True)
            for dark in range(4):
                pixels = ((255 - 20 * dark - 5 * number) * picture).astype(np.uint8)
                image.fromarray(pixels).save(place / f"{dark}.png")
    last = folder / sides[-1]
    shutil.move(last / "left" / "0.png", last / "right" / "moved.png")
    return folder


def test_a_run_that_left_out_bad_files_is_evaluated_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stripes_folder(tmp_path / "data")
    bad = folder / "test" / STRIPES[0] / "2.png"
    bad.write_bytes(b"no picture")
    (tmp_path / "run").mkdir()
    model = save_template_model(tmp_path / "run" / "model.onnx", stripes(), STRIPES)
    config = f'data = "{folder.as_posix()}"\nvalid_fraction = 0.0\nseed = 0\nskip_bad = '
    (model.parent / "config.toml").write_text(config + "true")
    assert run(["evaluate", str(model.parent), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 4 * len(STRIPES) - 1
    (model.parent / "config.toml").write_text(config + "false")
    assert run(["evaluate", str(model.parent), "--json"]) == 1
    assert f"{bad}: damaged" in capsys.readouterr().err
    (model.parent / "config.toml").write_text(config + "1")
    assert run(["evaluate", str(model.parent)]) == 2
    assert "expected true or false" in capsys.readouterr().err


def test_json_is_all_of_stdout_and_agrees_with_the_library(
    given: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*given, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    pictures, labels = save_blots(tmp_path)
    classifier = Classifier.load(model)
    report = ClassificationReport.from_probabilities(
        classifier(pictures), labels, classifier.spec.classes
    )
    assert {name: found[name] for name in report.to_dict()} == report.to_dict()
    assert (found["accuracy"], found["errors"], found["examples"]) == (0.9, 6, 60)
    assert (found["data"], found["split"], found["model"]) == ("mnist", "test", str(model))
    assert found["spec"]["task"] == "classify"
    assert sorted(mistake["index"] for mistake in found["worst"]) == list(range(6))


def test_tables_show_the_figures_and_mark_the_confusions(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(given) == 0
    shown = capsys.readouterr().out
    for text in (
        "templates on mnist, test",
        "90.00% (79.85% to 95.34%: 95 %, Wilson)",
        "balanced accuracy",
        "6 of 60",
        "calibration error",
        "precision",
        "Largest confusions, true -> predicted: ",
        "Confident mistake: example ",
    ):
        assert text in shown
    assert len([line for line in shown.splitlines() if line.startswith("Confident")]) == 5


def test_classes_that_are_never_answered_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("flat", "[steep]", "left", "right")[: len(stripes())]
    path = save_template_model(tmp_path / "m.onnx", stripes(), names)
    classifier = Classifier.load(path)
    report = ClassificationReport.from_probabilities(
        classifier(stripes()[[0, 0, 2]]), [0, 1, 2], names
    )
    evaluate._print_classifier_tables("title", report)
    shown = capsys.readouterr().out
    assert "Never answered: [steep]." in shown
    assert "66.67% (mean recall of the classes)" in shown
    everything = ClassificationReport.from_probabilities(
        classifier(stripes()[[0, 1, 2]]), [0, 1, 2], names
    )
    evaluate._print_classifier_tables("title", everything)
    assert "Never answered" not in capsys.readouterr().out


def test_class_names_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("[red]", "[/]", "a$b$c")
    path = save_template_model(tmp_path / "m.onnx", stripes(), names)
    classifier = Classifier.load(path)
    report = ClassificationReport.from_probabilities(
        classifier(stripes()[[0, 0, 1, 2]]), [0, 1, 2, 2], names
    )
    evaluate._print_classifier_tables("[bold]", report)
    shown = capsys.readouterr().out
    assert "[bold]" in shown
    for name in names:
        assert shown.count(name) >= 3
    assert run(["info", str(path)]) == 0
    assert "[red], [/], a$b$c" in capsys.readouterr().out


def test_csv_has_a_row_an_example(given: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    assert run([*given, "--csv", str(path)]) == 0
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    _, labels = save_blots(tmp_path)
    assert [row["true"] for row in rows] == [str(label) for label in labels]
    assert [int(row["index"]) for row in rows] == list(range(60))
    assert [row["true"] != row["predicted"] for row in rows] == [True] * 6 + [False] * 54
    assert all(0 < float(row["probability"]) <= 1 for row in rows)


@pytest.mark.parametrize("wrong", [0, 1, 6])
def test_the_picture_shows_mistakes_or_none(given: list[str], tmp_path: Path, wrong: int) -> None:
    pytest.importorskip("matplotlib", reason="the 'plot' extra")
    image = pytest.importorskip("PIL.Image")
    save_blots(tmp_path, wrong=wrong)
    assert run([*given, "--picture", str(tmp_path / "x.png"), "--json"]) == 0
    with image.open(tmp_path / "x.png") as picture:
        assert picture.size == (1600, 800)
        # The left half, without its titles, is white if and only if there are no mistakes.
        left = np.asarray(picture.convert("L"))[80:, :780]
    assert (left.min() == 255) == (wrong == 0)


# Which data


def test_a_run_is_evaluated_on_the_data_of_its_training_and_with_its_split(
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_blots(tmp_path)
    monkeypatch.setenv("TINYSIGNAL_DATA", str(tmp_path))
    asked = []

    def load(source: str, **options: object) -> object:
        asked.append((source, options.get("valid_fraction"), options.get("seed")))
        return load_dataset(source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("tinysignal.evaluation.classifier.load_dataset", load)
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(model, folder / "model.onnx")
    config = 'data = "mnist"\nvalid_fraction = 0.25\nseed = 7\nwidth = 1024\n'
    (folder / "config.toml").write_text(config)
    for arguments in ([folder], [folder / "model.onnx"], [folder, "--data", "mnist"]):
        assert run(["evaluate", *map(str, arguments), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["accuracy"] == 0.9
    assert asked == [("mnist", 0.25, 7)] * 3
    assert run(["evaluate", str(folder), "--data", "elsewhere"]) == 1
    assert asked[-1] == ("elsewhere", None, None)


def test_a_folder_is_read_as_the_model_expects_and_its_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Pictures of 8 x 8 for a network of 16 x 16, whose classes come in another order.
    templates = np.kron(stripes()[[2, 0, 1]], np.ones((1, 2, 2)))
    names = tuple(STRIPES[i] for i in (2, 0, 1))
    path = save_template_model(tmp_path / "m.onnx", templates, names)
    data = stripes_folder(tmp_path / "stripes")
    assert run(["evaluate", str(path), "--data", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["data"], found["split"], found["examples"]) == ("stripes", "test", 12)
    [mistake] = found["worst"]
    assert (mistake["true"], mistake["predicted"]) == ("right", "left")
    assert mistake["name"].endswith("moved.png")


def test_without_a_test_side_the_validation_side_is_measured_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES)
    data = stripes_folder(tmp_path / "stripes", ("train", "valid"))
    assert run(["evaluate", str(path), "--data", str(data)]) == 0
    assert "templates on stripes, valid" in capsys.readouterr().out


def test_sounds_are_measured_as_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = SoundInput(sample_rate_hz=8_000, window_samples=256, hop_samples=128, mels=16, frames=20)
    time_s = np.arange(4000) / 8_000
    heights = {"low": 300, "high": 2500}
    for side in ("train", "test"):
        for name, frequency_hz in heights.items():
            folder = tmp_path / "tones" / side / name
            folder.mkdir(parents=True)
            for take in range(3):
                detuned_hz = frequency_hz + 9 * take + 5 * len(side)
                sound = 0.3 * np.sin(2 * np.pi * detuned_hz * time_s)
                soundfile.write(folder / f"{take}.wav", sound, 8_000)
    test = tmp_path / "tones" / "test"
    shutil.move(test / "low" / "0.wav", test / "high" / "moved.wav")
    tones = [np.sin(2 * np.pi * frequency_hz * time_s) for frequency_hz in heights.values()]
    patches = [log_mel(tone, sample_rate_hz=8_000, spec=spec) for tone in tones]
    path = save_template_model(tmp_path / "m.onnx", patches, tuple(heights), expects=spec)
    pictured = []

    def save(report: ClassificationReport, values: np.ndarray, target: Path, *, title: str) -> None:
        pictured.append(values[report.worst[0].index])

    monkeypatch.setattr(evaluate, "save_mistakes", save)
    monkeypatch.setattr(evaluate, "find_spec", lambda name: True)
    arguments = ["--data", str(tmp_path / "tones"), "--json", "--picture", str(tmp_path / "x.png")]
    assert run(["evaluate", str(path), *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["examples"], found["errors"]) == (6, 1)
    assert found["worst"][0]["name"].endswith("moved.wav")
    # In pictures time goes to the right, and the low tone that was moved is at the bottom.
    assert pictured[0].shape == (16, 20)
    assert pictured[0].mean(axis=1).argmax() > 8


# What is refused


@pytest.mark.parametrize(
    ("expects", "classes", "found"),
    [
        (28, tuple("abcdefghij"), "classes 0, 1, 2, ... (10), but model 'templates' knows a, b"),
        (28, tuple("012"), "knows 0, 1, 2. Pass"),
        (14, tuple("0123456789"), "images of 28 x 28 values, but model 'templates' expects"),
    ],
)
def test_data_that_does_not_fit_is_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    expects: int,
    classes: tuple[str, ...],
    found: str,
) -> None:
    save_blots(tmp_path)
    templates = np.zeros((len(classes), expects, expects), np.float32)
    size = ImageInput(height=expects, width=expects)
    path = save_template_model(tmp_path / "m.onnx", templates, classes, expects=size)
    assert run(["evaluate", str(path), "--data", "mnist", "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert found in said.err
    assert said.err.startswith("error: mnist: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("option", ["--csv", "--picture"])
@pytest.mark.parametrize("place", ["none/x.png", "folder.png", "x" * 300 + ".png"])
def test_outputs_that_cannot_be_written_are_refused_before_the_work(
    given: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    place: str,
) -> None:
    if option == "--picture":
        pytest.importorskip("matplotlib", reason="the 'plot' extra")
    (tmp_path / "folder.png").mkdir()
    monkeypatch.setattr(evaluate, "evaluate_classifier", None)  # the work would fail
    assert run([*given, option, str(tmp_path / place)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {tmp_path / place}: ")
    assert said.err.count("\n") == 1


def test_wrong_usage_is_said_in_one_line(
    given: list[str],
    model: Path,
    onset_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lone = tmp_path / "lone.onnx"
    shutil.copy(model, lone)
    broken = tmp_path / "broken"
    broken.mkdir()
    shutil.copy(model, broken / "model.onnx")
    (broken / "config.toml").write_text("data = ")
    odd = tmp_path / "odd"
    shutil.copytree(broken, odd)
    (odd / "config.toml").write_text('data = "mnist"\nseed = "x"')
    for arguments, status, message in (
        (["evaluate", str(lone)], 2, "nothing says what it was trained on. Pass --data"),
        (["evaluate", str(broken)], 2, "config.toml: not a TOML file"),
        (["evaluate", str(odd)], 2, "seed = 'x' in its config.toml, expected a number"),
        (
            [*given, "--noisy", str(tmp_path), "--save-dir", "x"],
            2,
            "--noisy, --save-dir: not for this",
        ),
        ([*given, "--jobs", "1"], 2, "--jobs: not for this model"),
        (["evaluate", str(onset_model), "--data", "mnist"], 2, "--data: not for this model"),
        (["evaluate", str(onset_model), "--picture", "x.png"], 2, "is a denoiser, which takes"),
        ([*given, "--picture", "x.pdf"], 2, "ends in .png"),
        (
            [*given[:3], "no-such-data"],
            1,
            "no-such-data: no such folder. Give a folder, or one of mnist",
        ),
    ):
        assert run(arguments) == status, arguments
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""
        assert said.err.count("\n") == 1


def test_what_the_environment_says_is_no_option_of_a_denoiser(
    onset_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TINYSIGNAL_DATA", str(tmp_path))
    assert run(["evaluate", str(onset_model)]) == 2
    assert "expected --noisy DIR and --clean DIR" in capsys.readouterr().err


def test_two_outputs_need_two_names(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the 'plot' extra")
    same = str(tmp_path / "x.png")
    assert run([*given, "--picture", same, "--csv", same]) == 2
    assert "written twice" in capsys.readouterr().err


def test_a_picture_without_matplotlib_is_refused_before_the_work(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate, "find_spec", lambda name: None)
    monkeypatch.setattr(evaluate, "evaluate_classifier", None)
    assert run([*given, "--picture", "x.png"]) == 2
    assert "pip install 'tinysignal[plot]'" in capsys.readouterr().err


# The real thing


@needs_mnist
def test_the_nearest_mean_of_mnist_is_right_as_often_as_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """82.03 % is the well-known accuracy of nearest class means."""
    data = load_dataset("mnist", data_dir=DATA_DIR, valid_fraction=0)
    values = data.train.as_float()
    means = [values[data.train.labels == digit].mean(axis=0) for digit in range(10)]
    path = save_template_model(tmp_path / "m.onnx", means, data.classes, expects=data.input)
    arguments = ["evaluate", str(path), "--data", "mnist", "--data-dir", str(DATA_DIR), "--json"]
    assert run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == pytest.approx(0.8203, abs=2e-4)
    assert found["examples"] == 10_000
