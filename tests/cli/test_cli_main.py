"""What all commands have in common."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
import typer

from tinysignal import audio
from tinysignal.cli.main import app, run
from tinysignal.cli.options import DENOISE_NAMES
from tinysignal.denoise_file import FileOptions
from tinysignal.gain import DenoiseOptions
from tinysignal.options import Options, in_words, option_of
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.tuning import TuneOptions


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command by its words."""
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))
    if not hasattr(group, "commands"):
        yield path, group


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", [(), *COMMANDS])
def test_help_is_asked_for_by_a_letter_as_well(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    for flag in ("-h", "--help"):
        assert run([*words, flag]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert "Usage: tinysignal" in shown[0]


def test_a_letter_means_the_same_in_every_command() -> None:
    meanings: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            letters = [flag for flag in option.opts if len(flag) == 2]
            for letter in letters:
                meanings.setdefault(letter, set()).update(set(option.opts) - {letter})
    assert meanings.pop("-o") <= {"--output"}
    assert {letter: names for letter, names in meanings.items() if len(names) > 1} == {}


def test_an_output_is_always_written_by_that_letter() -> None:
    devices = [option for option in COMMANDS["live",].params if "--output" in option.opts]
    assert [option.opts for option in devices] == [["--output"]]


@pytest.mark.parametrize(
    ("words", "config"),
    [
        (("denoise",), DenoiseOptions),
        (("denoise",), FileOptions),
        (("compress",), TuneOptions),
        (("train", "denoiser"), DenoiserConfig),
        (("train", "classifier"), ClassifierConfig),
    ],
)
def test_the_help_shows_the_default_of_every_field(
    words: tuple[str, ...],
    config: type[Options],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    assert run([*words, "--help"]) == 0
    # An option's row and those that continue it, up to the next option.
    rows = re.split(r"\n\W*(?=--)", capsys.readouterr().out)
    for field in fields(config):
        details = option_of(field.name, config)
        shown = f"({details.shown})" if details.shown else in_words(field.default)
        name = {**DENOISE_NAMES, "epochs": "finetune" if config is TuneOptions else "epochs"}.get(
            field.name, field.name
        )
        (row,) = [row for row in rows if row.startswith(f"--{name.replace('_', '-')} ")]
        assert not shown or f"[default: {shown}]" in row, row


def test_every_command_tells_its_results_as_json() -> None:
    for words, command in COMMANDS.items():
        flags = {flag for option in command.params for flag in option.opts}
        assert "--json" in flags, words


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: 9 bytes")])
def test_too_little_memory_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(path: object) -> None:
        raise error

    monkeypatch.setattr(audio, "info", fail)
    assert run(["info", "x.wav"]) == 1
    assert capsys.readouterr().err == "error: not enough memory for this.\n"


def test_other_errors_of_a_program_are_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(audio, "info", fail)
    with pytest.raises(RuntimeError, match="a mistake"):
        run(["info", "x.wav"])


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot end itself so there")
def test_a_signal_while_python_ends_is_no_traceback() -> None:
    ends = (
        "import atexit, os, signal; atexit.register(lambda: os.kill(os.getpid(), signal.SIGTERM))"
    )
    command = f"{ends}; from tinysignal.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
