"""No name, tag or spec can make the terminal do anything but show it."""

from __future__ import annotations

import io
import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from rich.table import Table

from tinysignal.cli.main import run
from tinysignal.cli.terminal import Console, printable
from tinysignal.model import METADATA_KEY

EVIL = "\x1b]0;owned\x07\x1b[31mred\x9b2J\u202etxt.exe"


def harmless(text: str) -> bool:
    return not any(
        unicodedata.category(c) in ("Cc", "Cs") or c == "\u202e" for c in text if c != "\n"
    )


@given(st.text())
def test_what_is_printable_is_harmless_and_stays_as_it_is(text: str) -> None:
    shown = printable(text)
    assert harmless(shown)
    assert printable(shown) == shown


@pytest.mark.parametrize(
    "text", ["Größe 10 µs", "日本語.wav", "👩\u200d💻", "5.00\u202fPM", "a\nb"]
)
def test_text_of_all_languages_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_a_terminal_gets_the_table_s_codes_and_none_of_its_content_s() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200, color_system="truecolor")
    table = Table("name")
    table.add_row(EVIL, style="bold green")
    console.print(table)
    console.print(EVIL, markup=False)
    shown = file.getvalue()
    assert "\x1b[1;32m" in shown
    for part in ("\x1b]0", "\x07", "\x1b[31m", "\x9b", "\u202e"):
        assert part not in shown
    assert r"\x1b" in shown
    assert "owned" in shown


def test_a_spec_is_shown_escaped(
    onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(onset_model)
    [entry] = model.metadata_props
    spec = {**json.loads(entry.value), "name": EVIL, "licence": f"{EVIL} [bold]x[/bold]"}
    helper.set_model_props(model, {METADATA_KEY: json.dumps(spec)})
    onnx.save(model, tmp_path / "m.onnx")
    assert run(["info", str(tmp_path / "m.onnx")]) == 0
    shown = capsys.readouterr().out
    assert harmless(shown)
    assert "[bold]" in shown


@pytest.mark.skipif(os.name == "nt", reason="such names are not possible there")
def test_a_name_of_two_lines_is_shown_on_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    sound = tmp_path / "two\nlines.wav"
    soundfile.write(sound, np.zeros(4_000), 16_000)
    assert run(["info", str(sound)]) == 0
    assert r"two\nlines.wav" in capsys.readouterr().out
    assert run(["info", str(sound), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["file"] == str(sound)


@pytest.mark.skipif(os.name == "nt", reason="such names are not possible there")
def test_file_names_are_shown_escaped(
    onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / f"good {EVIL}.wav", tmp_path / f"bad {EVIL}.wav"
    soundfile.write(good, np.zeros(4_000), 16_000)
    bad.write_bytes(b"no sound")
    assert run(["denoise", str(good), str(bad), "-m", str(onset_model)]) == 1
    said = capsys.readouterr()
    assert harmless(said.out + said.err)
    assert "good" in said.err
    assert "bad" in said.err
    assert run(["info", str(bad)]) == 1
    assert harmless(capsys.readouterr().err)
