"""``tinysignal classify``: pictures, sounds and folders; what fails is named, the others go on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from templates import STRIPES, save_template_model, stripes
from tinysignal import Classifier
from tinysignal.cli import classify
from tinysignal.cli.main import run
from tinysignal.mel import log_mel
from tinysignal.spec import ImageInput, SoundInput

SOUND = SoundInput(sample_rate_hz=8_000, window_samples=256, hop_samples=128, mels=16, frames=20)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return str(save_template_model(path, stripes(), STRIPES, sharpness=0.1))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a picture of each class, one of them deeper, and what is no picture."""
    image = pytest.importorskip("PIL.Image", reason="the 'image' extra")
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    paths = (folder / "left.png", folder / "right.JPG", folder / "deep" / "upper.bmp")
    for path, picture in zip(paths, stripes(16), strict=True):
        image.fromarray((255 * picture).astype(np.uint8)).save(path)
    (folder / "notes.txt").write_text("no picture")
    return folder


def tone(frequency_hz: float) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * frequency_hz * np.arange(4000) / 8000).astype(np.float32)


def test_json_is_a_list_of_files_with_their_probabilities(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["classify", str(pictures), "-m", model, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [Path(entry["file"]).stem for entry in entries] == ["upper", "left", "right"]
    classifier = Classifier.load(model)
    for entry in entries:
        assert entry["class"] == Path(entry["file"]).stem
        assert list(entry["probabilities"]) == list(STRIPES)
        assert entry["probability"] == max(entry["probabilities"].values())
        expected = classifier.classify_file(entry["file"])
        assert list(entry["probabilities"].values()) == pytest.approx(expected.tolist())


def test_the_table_shows_the_class_and_its_runners_up(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = str(pictures / "left.png")
    for top, runners in ((1, 0), (2, 1), (3, 2), (99, 2)):
        assert run(["classify", path, "-m", model, "--top", str(top)]) == 0
        shown = capsys.readouterr().out
        assert path in shown
        assert "left" in shown.replace(path, "")
        assert shown.count("%)") == runners
        assert ("runners-up" in shown) == (runners > 0)


def test_files_and_folders_may_be_mixed_and_each_file_is_answered_once(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(pictures / "right.JPG"), str(pictures), str(pictures / "left.png")]
    assert run(["classify", *given, "-m", model, "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert [entry["class"] for entry in entries] == ["right", "upper", "left"]


def test_what_fails_is_named_on_stderr_and_the_others_go_on(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, empty = pictures / "wrong.png", tmp_path / "empty"
    wrong.write_bytes(b"no picture")
    empty.mkdir()
    given = [str(tmp_path / "none.png"), str(empty), str(pictures)]
    assert run(["classify", *given, "-m", model, "--json"]) == 1
    said = capsys.readouterr()
    assert {entry["class"] for entry in json.loads(said.out)} == set(STRIPES)
    lines = said.err.splitlines()
    assert len(lines) == 3
    for line, name in zip(lines, (empty, tmp_path / "none.png", wrong), strict=True):
        assert line.startswith(f"error: {name}: ")


def test_all_failed_is_status_1_and_an_empty_list(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL", reason="the 'image' extra")
    assert run(["classify", str(tmp_path / "none.png"), "-m", model, "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_a_file_is_named_though_its_error_does_not_know_it(
    model: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unlike = np.full((8, 8), 2.0, np.float32)
    monkeypatch.setattr(Classifier, "prepare", lambda self, path: unlike)
    path = pictures / "left.png"
    assert run(["classify", str(path), "-m", model]) == 1
    assert capsys.readouterr().err.startswith(f"error: {path}: pictures with values from 2")


def test_an_empty_page_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="the 'image' extra")
    expects = ImageInput(height=8, width=8, framing="mass", box=6)
    model = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES, expects=expects)
    page = tmp_path / "page.png"
    image.fromarray(np.full((50, 40), 250, np.uint8)).save(page)
    assert run(["classify", str(page), "-m", str(model)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"error: {page}: ")
    assert said.count("\n") == 1


def test_sounds_go_to_a_model_of_sounds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    patches = [log_mel(tone(f), sample_rate_hz=8_000, spec=SOUND) for f in (300, 2500)]
    model = save_template_model(tmp_path / "m.onnx", patches, ("low", "high"), expects=SOUND)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    for name, frequency_hz in (("a", 2500), ("b", 300)):
        soundfile.write(sounds / f"{name}.wav", 0.1 * tone(frequency_hz), 8_000)
    (sounds / "c.png").write_bytes(b"passed over")
    assert run(["classify", str(sounds), "-m", str(model), "--json"]) == 0
    assert [entry["class"] for entry in json.loads(capsys.readouterr().out)] == ["high", "low"]


def test_class_and_file_names_are_no_markup(
    pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    names = ("[red]", "[/]", "a b")
    model = save_template_model(pictures / "m.onnx", stripes(), names)
    path = (pictures / "left.png").rename(pictures / "[bold]x.png")
    assert run(["classify", str(path), "-m", str(model)]) == 0
    shown = capsys.readouterr().out
    for text in (*names, str(path)):
        assert text in shown


# What the network sees


def test_the_shown_input_is_what_the_network_sees(
    model: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image", reason="the 'image' extra")
    shown = tmp_path / "shown.png"
    path = pictures / "deep" / "upper.bmp"
    assert run(["classify", str(path), "-m", model, "--show-input", str(shown)]) == 0
    with image.open(shown) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (280, 280)
    np.testing.assert_allclose(pixels[17::35, 17::35] / 255, stripes()[2], atol=0.01)


def test_a_shown_input_is_refused_before_the_work_where_it_cannot_be(
    model: str, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = str(pictures / "left.png")
    for given, target, message in (
        ([str(pictures)], "x.png", "--show-input takes one input, not 3"),
        ([one], "x.jpg", "ends in .png"),
        ([one], str(pictures / "none" / "x.png"), "there is no folder"),
        ([one], one, "the output is the input"),
    ):
        before = (pictures / "left.png").read_bytes()
        assert run(["classify", *given, "-m", model, "--show-input", target]) == 2
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""
        assert (pictures / "left.png").read_bytes() == before


# Usage


def test_wrong_usage_is_status_2_and_one_line(
    model: str, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments, status, message in (
        (["x.png"], 1, "x.png: no such file"),
        (["-m", model], 2, "IMAGE"),
        (["x.png", "-m", model, "--top", "0"], 2, "top"),
        ([str(empty), "-m", model], 2, f"{empty}: there is no picture in this folder"),
        (["x.png", "-m", str(onset_model)], 1, "a denoiser, but a classifier was expected. Use"),
        (["x.png", "-m", str(tmp_path / "no.onnx")], 1, "no such model file"),
    ):
        assert run(["classify", *arguments]) == status, arguments
        said = capsys.readouterr()
        assert message in said.err
        assert said.out == ""
        assert said.err.count("\n") == 1


def test_a_bundled_classifier_would_be_the_default(
    model: str, onset_model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "bundled_models", lambda: [str(onset_model), model])
    assert run(["classify", str(pictures)]) == 0


def test_denoise_names_what_takes_a_classifier(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "x.wav", tone(440), 8_000)
    assert run(["denoise", str(tmp_path / "x.wav"), "-m", model]) == 1
    said = capsys.readouterr().err
    assert "a classifier, but a denoiser was expected. Use 'tinysignal classify'" in said
    assert said.count("\n") == 1
