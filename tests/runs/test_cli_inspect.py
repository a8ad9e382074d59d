"""``tinysignal inspect``: the page, the table, JSON, progress, and what is refused in one line."""

from __future__ import annotations

import json
import webbrowser
from pathlib import Path

import pytest

from tinysignal.cli.main import run as command_line
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.classification.task import train_classifier

_FEW = ("--points", "60", "--jobs", "1")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network trained on scikit-learn's digits for a moment."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("runs") / "digits-run"
    train_classifier(
        ClassifierConfig(data="digits", width=16, depth=2, epochs=2), folder, quiet=True
    )
    return folder


def test_a_run_becomes_a_page_with_pictures_and_a_table(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["inspect", str(run_folder), *_FEW, "--pictures"]) == 0
    said = capsys.readouterr()
    page = run_folder / "inspect.html"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert text.rstrip().endswith("</html>")
    names = {path.name for path in (run_folder / "inspect-pictures").iterdir()}
    assert {"best.png", "worst.png", "spectra.png", "00-input-pca.png"} <= names
    assert len(names) == 3 + 2 * 4
    for word in ("input", "hidden 1", "hidden 2", "output", "kNN full", "kNN PCA", "kNN t-SNE"):
        assert word in said.out
    assert f"page: {page}" in said.out
    for layer in ("input", "hidden 1", "hidden 2", "output"):
        assert layer in said.err


def test_quiet_says_nothing_but_the_table(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-o", str(tmp_path / "a.html"), "--methods", "pca", "--points", "1000"]
    assert command_line(["inspect", str(run_folder), "--jobs", "1", *arguments]) == 0
    assert "fewer than the 1000 requested" in capsys.readouterr().err
    assert command_line(["inspect", str(run_folder), "--jobs", "1", *arguments, "--quiet"]) == 0
    said = capsys.readouterr()
    assert not said.err
    assert "kNN full" in said.out


def test_json_is_all_of_stdout_and_the_same_again(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = []
    for name in ("a.html", "b.html"):
        arguments = ["-o", str(tmp_path / name), "--methods", "pca", "--json"]
        assert command_line(["inspect", str(run_folder), *_FEW, *arguments]) == 0
        reports.append(json.loads(capsys.readouterr().out))
    for report in reports:
        assert [layer["title"] for layer in report["layers"]][::3] == ["input", "output"]
        assert {one["method"] for layer in report["layers"] for one in layer["maps"]} == {"PCA"}
        del report["seconds"]
        for layer in report["layers"]:
            for one in layer["maps"]:
                del one["seconds"]
    assert reports[0] == reports[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_open_shows_the_page_that_was_written(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.chdir(tmp_path)
    arguments = ["-o", "page.html", "--methods", "pca", "--open"]
    assert command_line(["inspect", str(run_folder), *_FEW, *arguments]) == 0
    assert opened == [(tmp_path / "page.html").resolve().as_uri()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--methods", "pca,isomap"], "isomap"),
        (["--methods", ""], "expected"),
        (["--points", "3"], "points"),
        (["--perplexity", "nan"], "perplexity"),
        (["--seed", "-1"], "seed"),
        (["--jobs", "0"], "jobs"),
        (["--data", "no-such-folder"], "no-such-folder"),
        (["-o", "page.png"], ".html"),
        (["-o", "no/such/page.html"], "there is no folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    place = [] if "-o" in arguments else ["-o", "page.html"]
    status = command_line(["inspect", str(run_folder), *arguments, *place])
    assert status in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    assert said in error
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_taken_is_refused_before_the_work(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page-pictures").write_text("a file of somebody's")
    place = ["-o", str(tmp_path / "page.html"), "--pictures"]
    assert command_line(["inspect", str(run_folder), *place]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "page-pictures: a file, expected a folder" in error
    assert [path.name for path in tmp_path.iterdir()] == ["page-pictures"]


def test_a_folder_that_is_no_run_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command_line(["inspect", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert command_line(["inspect", str(tmp_path / "empty")]) in (1, 2)
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert "empty" in error[0]
