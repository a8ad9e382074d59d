"""``tinysignal classify``: what is in pictures or sounds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from tinysignal.batch import classify_files, find_sounds
from tinysignal.classifier import Classifier, Probabilities
from tinysignal.cli.options import Report, chosen, place_option, with_options_of
from tinysignal.cli.patterns import expanded
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.cluster import Engine, Fault
from tinysignal.errors import (
    ConfigError,
    FileError,
    MissingExtraError,
)
from tinysignal.files import atomic, check_outputs, check_writable, find_anywhere, json_text
from tinysignal.images.files import SUFFIXES
from tinysignal.model import bundled_models, read_spec
from tinysignal.remote import Place, is_folder, place
from tinysignal.spec import ClassifierSpec

_SHOWN_PIXELS = 280  # the least side of a shown input


@with_options_of(Engine)
def classify(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Pictures, folders or their URLs; sounds for a sound model."
        ),
    ],
    *,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model file or the folder of a run.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Classes to show for each file.")] = 3,
    show_input: Annotated[
        Any,
        typer.Option(
            parser=place_option,
            metavar="FILE.png",
            help="For one input: write what the network sees of it, enlarged.",
        ),
    ] = None,
    as_json: Report = False,
    **options: Any,
) -> int:
    """Say what is in pictures or sounds, and how sure the network is.

    Example: tinysignal classify seven.png -m run

    Photos and scans of drawings are framed as the model was trained: --show-input shows how. Exit
    status: 0 all classified, 1 some or all failed, 2 wrong usage.
    """
    engine = chosen(Engine, options)
    classifier = Classifier.load(_bundled() if model is None else model)
    kind = classifier.spec.input.kind
    found, problems = _find([*map(place, expanded(inputs))], kind)
    _check_show_input(show_input, found)
    for problem in problems:
        _tell(problem)
    answered: dict[Place, Probabilities] = {}
    with closing(classify_files(classifier, found, engine)) as made:
        for path, answer in made:
            if isinstance(answer, Fault):
                _tell(answer.about(str(path)))
                continue
            if show_input is not None:
                example = classifier.prepare(path)
                _save_picture(example.T[::-1] if kind == "sound" else example, show_input)
            answered[path] = answer
    answers = {path: answered[path] for path in found if path in answered}
    if as_json:
        entries = [_entry(path, answer, classifier) for path, answer in answers.items()]
        print(json_text(entries))
    elif answers:
        _print_table(answers, classifier.spec.classes, top)
    return 1 if problems or len(answers) < len(found) else 0


def _bundled() -> str:
    names = [name for name in bundled_models() if isinstance(read_spec(name), ClassifierSpec)]
    if not names:
        raise ConfigError("no classifier is bundled. Pass -m: a model file or the folder of a run.")
    return names[0]


def _find(inputs: list[Place], kind: str) -> tuple[list[Place], list[str]]:
    """The files to classify, those in folders by their extension; what is wrong with folders."""
    found: list[Place] = []
    problems = []
    for item in inputs:
        try:
            if not is_folder(item):
                found.append(item)
                continue
            inside: Sequence[Place] = (
                find_sounds(item) if kind == "sound" else find_anywhere(item, SUFFIXES)
            )
        except FileError as error:
            problems.append(str(error))
            continue
        if not inside:
            problems.append(f"{item}: there is no picture in this folder.")
        found += inside
    if not found:
        raise ConfigError(problems[0])
    return list(dict.fromkeys(found)), problems


def _tell(problem: str) -> None:
    print(on_one_line(f"error: {problem}"), file=sys.stderr)


def _check_show_input(target: Place | None, found: list[Place]) -> None:
    if target is None:
        return
    if len(found) != 1:
        raise ConfigError(f"--show-input takes one input, not {len(found)}.")
    if target.suffix.lower() != ".png":
        raise ConfigError(f"--show-input {target}: expected a name that ends in .png.")
    if find_spec("PIL") is None:
        raise MissingExtraError("--show-input", "image")
    check_outputs([(found[0], target)])
    check_writable(target)


def _save_picture(example: NDArray[np.float32], target: Place) -> None:
    """Every value as a square of pixels, so that they can be seen one by one."""
    from PIL import Image

    side = max(1, _SHOWN_PIXELS // min(example.shape))
    pixels = np.kron(np.round(255 * example).astype(np.uint8), np.ones((side, side), np.uint8))
    with atomic(target) as part:
        Image.fromarray(pixels).save(part, format="PNG")


def _entry(path: Place, answer: Probabilities, classifier: Classifier) -> dict[str, object]:
    shares = dict(zip(classifier.spec.classes, answer.tolist(), strict=True))
    best = max(shares, key=lambda name: shares[name])
    return {"file": str(path), "class": best, "probability": shares[best], "probabilities": shares}


def _print_table(answers: dict[Place, Probabilities], classes: tuple[str, ...], top: int) -> None:
    table = Table("class")
    table.add_column("probability", justify="right")
    if top > 1:
        table.add_column("runners-up")
    table.add_column("file", overflow="fold")
    for path, answer in answers.items():
        order = np.argsort(-answer, kind="stable")[:top]
        best, *others = [(classes[i], f"{answer[i]:.1%}") for i in order]
        runners = ", ".join(f"{name} ({share})" for name, share in others)
        name = on_one_line(str(path))
        cells = [*best, runners, name] if top > 1 else [*best, name]
        table.add_row(*map(escape, cells))
    Console().print(table)
