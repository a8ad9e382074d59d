"""What the documents say holds: programs run, options exist, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import soundfile
import typer.main

from tinysignal.cli.main import app
from tinysignal.model import DEFAULT_MODEL, bundled_models

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, *sorted(DOCS.glob("**/*.md"))]
DOCUMENTS = [*PAGES, *ROOT.glob("[!R]*.md"), ROOT / "benchmarks" / "README.md"]
CARDS = sorted((ROOT / "src" / "tinysignal" / "models").glob("*.md"))
ELSEWHERE = {"compress.md", "inspect.md"}  # their programs need torch: tests of those packages


def blocks(path: Path, language: str) -> list[str]:
    """Code blocks of a language; those with another word after it, as in ``no-run``, are not."""
    pattern = rf"^```{language}\n(.*?)^```"
    return re.findall(pattern, path.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def identify(value: object) -> str | None:
    return value.relative_to(ROOT).as_posix() if isinstance(value, Path) else None


# Programs

PROGRAMS = [
    (path, program)
    for path in PAGES
    if path.name not in ELSEWHERE
    for program in blocks(path, "python")
]


@pytest.mark.skipif(DEFAULT_MODEL not in bundled_models(), reason="no default model is bundled yet")
@pytest.mark.parametrize(("path", "program"), PROGRAMS, ids=identify)
def test_programs_run(
    path: Path, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if path.name in ("data.md", "training.md"):
        pytest.importorskip("sklearn", reason="the program needs the 'train' extra")
    if path.name == "object-stores.md":
        pytest.importorskip("fsspec", reason="the program needs the 'remote' extra")
    samples, rate_hz = soundfile.read(ROOT / "demo" / "talk.flac")
    for place in ("", "recordings", "noisy", "clean"):
        (tmp_path / place).mkdir(exist_ok=True)
        soundfile.write(tmp_path / place / "talk.wav", samples, rate_hz)
    monkeypatch.chdir(tmp_path)
    exec(compile(program, str(path), "exec"), {})


def test_the_readme_denoises_and_streams() -> None:
    programs = blocks(README, "python")
    assert len(programs) == 2
    assert "Denoiser.load()(" in programs[0]
    assert "stream.feed(" in programs[1]


# Commands


def options() -> dict[tuple[str, ...], set[str]]:
    """The options of every command, by its words."""
    found = {}

    def walk(command: object, words: tuple[str, ...]) -> None:
        for name, below in getattr(command, "commands", {}).items():
            walk(below, (*words, name))
        found[words] = {
            option for p in command.params for option in (*p.opts, *p.secondary_opts)
        } | {"--help"}

    walk(typer.main.get_command(app), ())
    return found


OPTIONS = options()


def used(line: str) -> tuple[tuple[str, ...], list[str]] | None:
    """The command that a line of a shell calls, and its options; None if it is not ours."""
    words = shlex.split(line, comments=True)
    if "tinysignal" not in words[:4] and words[:1] != ["torchrun"]:
        return None
    rest = words[words.index("tinysignal") + 1 :]
    command: tuple[str, ...] = ()
    while rest and (*command, rest[0]) in OPTIONS:
        command = (*command, rest.pop(0))
    named = [word.split("=")[0] for word in rest if re.match(r"-[a-z]|--[a-z]", word)]
    return command, named


@pytest.mark.parametrize("path", [*DOCUMENTS, *CARDS], ids=identify)
def test_commands_in_shell_blocks_and_sentences_exist(path: Path) -> None:
    lines = "\n".join(blocks(path, "sh")).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`(tinysignal [^`]+)`", path.read_text("utf-8"))
    for line in lines:
        call = used(line)
        if call:
            command, named = call
            assert command in OPTIONS, line
            assert command or named, f"{line}: no such command"
            assert set(named) <= OPTIONS[command], line


@pytest.mark.parametrize("path", [p for p in PAGES if "benchmarks" not in p.parts], ids=identify)
def test_options_named_in_sentences_belong_to_some_command(path: Path) -> None:
    text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`(--[a-z0-9-]+)", text))
    assert named <= set.union(*OPTIONS.values())


# Links


def anchors(path: Path) -> set[str]:
    """Of the headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> list[Path]:
    """Files that a document links to; an anchor in them has to be a heading."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if not re.match(r"https?://", target):
            place, _, anchor = target.partition("#")
            file = (path.parent / place).resolve() if place else path
            assert file.exists(), target
            assert DOCS not in path.parents or file.is_relative_to(DOCS), f"{target}: off the site"
            assert not anchor or anchor in anchors(file), target
            found.append(file)
    return found


@pytest.mark.parametrize("path", [*DOCUMENTS, *CARDS], ids=identify)
def test_links_lead_to_files_and_headings(path: Path) -> None:
    links(path)


def test_every_page_is_reached_from_the_index() -> None:
    index = DOCS / "index.md"
    reached, new = {index}, [index]
    while new:
        below = {file for file in links(new.pop()) if file.suffix == ".md"} - reached
        reached |= below
        new += below
    assert set(PAGES) - {README} <= reached


def test_the_readme_is_a_front_door_not_a_house() -> None:
    lines = README.read_text("utf-8").splitlines()
    assert len(lines) <= 130
    table = [line for line in lines if line.startswith("|")]
    assert len(table) <= 8 + 2
    assert table[0].count("|") <= 6 + 1


def test_the_project_describes_itself_in_one_sentence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for path in (README, DOCS / "index.md"):
        assert path.read_text("utf-8").splitlines()[2] == project["description"]
