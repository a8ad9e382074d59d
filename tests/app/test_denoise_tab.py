"""Claims about the denoise tab in a real browser."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import Visit, need_browser

from tinysignal import Denoiser, audio
from tinysignal.cli.main import run
from tinysignal.denoise_file import denoise_file

need_browser()

TALK = Path(__file__).parent.parent.parent / "demo" / "talk.flac"
Opens = Callable[..., Visit]


@pytest.fixture
def made(tmp_path: Path, make_noisy: Callable[..., np.ndarray]) -> Callable[..., Path]:
    def make(name: str, **signal: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        noisy = make_noisy(rate_hz=16_000, **signal)
        audio.write(path, noisy, sample_rate_hz=16_000)
        return path

    return make


def drop(visit: Visit, *paths: Path, done: int | None = None) -> None:
    visit.page.set_input_files("#drop input[type=file]", list(map(str, paths)))
    wanted = len(paths) if done is None else done
    visit.page.wait_for_function(
        "count => document.querySelectorAll('.takes li.done').length === count", arg=wanted
    )


def until(visit: Visit, expression: str) -> None:
    visit.page.wait_for_function(expression)


def pauses(low_db: float, high_db: float) -> str:
    """Whether the page shows pauses that change by that much."""
    found = "Number(document.querySelectorAll('.listen canvas')[1].dataset.pauses ?? NaN)"
    return f"{low_db} <= {found} && {found} <= {high_db}"


def test_what_is_downloaded_is_the_commands_output_bit_for_bit(
    visit: Opens, tmp_path: Path
) -> None:
    page = visit()
    drop(page, TALK)
    name, full = page.fetched(".get", tmp_path / "full")
    assert name == "talk.clean.flac"
    assert run(["denoise", str(TALK), "-o", str(tmp_path / "command.flac"), "-q"]) == 0
    assert full == (tmp_path / "command.flac").read_bytes()
    page.number("#limit", 12)
    page.number("#mix", 0.7)
    until(page, pauses(-10, -3))
    _, gentle = page.fetched(".get", tmp_path / "gentle")
    denoiser = Denoiser.load(attenuation_limit_db=12, mix=0.7)
    denoise_file(TALK, tmp_path / "gentle.flac", denoiser=denoiser)
    assert gentle == (tmp_path / "gentle.flac").read_bytes() != full


def test_the_sliders_redraw_the_answer_without_running_the_network(visit: Opens) -> None:
    page = visit()
    drop(page, TALK)
    until(page, pauses(-60, -12))
    asked = len(page.requests)
    page.number("#limit", 6)
    until(page, pauses(-6.5, -5))
    page.number("#mix", 0)
    until(page, pauses(-0.1, 0.1))
    assert not [url for url in page.requests[asked:] if "overview" in url or "upload" in url]
    page.number("#mix", 1)
    page.number("#limit", 40)
    until(page, pauses(-60, -12))
    page.picture("app-denoise")


def test_keys_switch_between_before_and_after_at_one_place(visit: Opens) -> None:
    page = visit()
    drop(page, TALK)
    until(page, pauses(-60, -12))
    state = page.page.locator("#listen [data-playing]").first
    box = page.page.locator(".listen canvas").first.bounding_box()
    page.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 20)  # the middle
    assert 4.9 < float(state.get_attribute("data-place")) < 5.2
    page.page.keyboard.press(" ")
    until(page, "Number(document.querySelector('#listen [data-place]').dataset.place) > 5.4")
    for key, mode in (("a", "before"), ("r", "removed"), ("b", "after")):
        place = float(state.get_attribute("data-place"))
        page.page.keyboard.press(key)
        pressed = page.page.locator(".modes [aria-pressed=true]")
        assert pressed.get_attribute("data-mode") == mode
        assert state.get_attribute("data-playing") == "yes"
        assert place <= float(state.get_attribute("data-place")) < place + 2
    page.page.keyboard.press(" ")
    assert state.get_attribute("data-playing") == "no"
    place = float(state.get_attribute("data-place"))
    page.page.keyboard.press("ArrowLeft")
    assert float(state.get_attribute("data-place")) == pytest.approx(max(0, place - 5), abs=0.01)
    assert page.page.locator(".second").inner_text() == "After"


def test_a_file_that_is_no_sound_is_refused_in_the_commands_words(
    visit: Opens, made: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "<b>notes.wav"
    bad.write_text("no sound at all " * 40)
    page = visit()
    drop(page, bad, made("good.wav"), done=1)
    said = page.page.locator(".takes .note").inner_text()
    assert run(["denoise", str(bad), "-o", str(tmp_path / "out.wav")]) == 1
    command = capsys.readouterr().err.strip().removeprefix("error: ").replace(f"{tmp_path}/", "")
    # The browser's upload drops what a file name may not hold.
    assert said.partition(":")[2] == command.partition(":")[2]
    assert page.page.locator(".takes b").count() == 0


def test_all_come_as_one_zip_with_names_apart(
    visit: Opens, made: Callable[..., Path], tmp_path: Path
) -> None:
    one, same = made("one/talk.wav"), made("two/talk.wav", channels=2)
    other = made("other.mp3")
    page = visit()
    drop(page, one, same, other)
    name, content = page.fetched(".all", tmp_path / "all.zip")
    assert name == "tinysignal.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        assert names == ["talk.clean.wav", "talk.clean-2.wav", "other.clean.mp3"]
        denoise_file(same, tmp_path / "same.wav")
        assert archive.read("talk.clean-2.wav") == (tmp_path / "same.wav").read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit: Opens, made: Callable[..., Path], scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 800}, color_scheme=scheme)
    drop(page, made("a-recording-with-a-long-name-that-goes-on-and-on.wav"))
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360
    paper = page.page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(part) for part in paper[paper.index("(") + 1 : -1].split(",")[:3]]
    assert (max(levels) < 60) == (scheme == "dark")
    if scheme == "dark":
        page.picture("app-phone")


def test_a_recording_that_is_too_long_is_refused(
    made: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinysignal.app import denoise
    from tinysignal.app.settings import Settings
    from tinysignal.app.site import Site

    monkeypatch.setattr(denoise, "LONGEST_S", 0.5)
    (tmp_path / "files").mkdir()
    work = denoise.Work(Site(Settings(), tmp_path))
    source = made("long.wav", seconds=1.0)
    [(takes, _)] = work.all([str(source)], None, "default", "shared", denoise.Takes())
    [take] = takes.found
    assert take.state == "failed"
    assert take.note.startswith("long.wav: 0.0 hours, but the page takes")
