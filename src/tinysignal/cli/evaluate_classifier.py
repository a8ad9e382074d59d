"""``tinysignal evaluate`` for classifiers: labelled examples."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tinysignal.classification import ClassificationReport
from tinysignal.classifier import Classifier
from tinysignal.cli.csv_file import write_csv
from tinysignal.datasets import Dataset, Examples, load_dataset
from tinysignal.errors import ConfigError, DataError, MissingExtraError
from tinysignal.evaluation.mistakes import save_mistakes
from tinysignal.files import check_writable
from tinysignal.model_file import bundled_models
from tinysignal.spec import ClassifierSpec

_WIDEST = 20  # classes of a confusion matrix that is printed
_MARKED = 5  # of the largest confusions, and of the worst mistakes that are printed


def evaluate_classifier(
    model: str,
    *,
    data: str | None,
    data_dir: Path | None,
    picture: Path | None,
    csv_file: Path | None,
    as_json: bool,
) -> None:
    """Measure a classifier on labelled examples; parameters as in `tinysignal.cli.evaluate`."""
    _check_outputs(picture, csv_file)
    classifier = Classifier.load(model)
    spec = classifier.spec
    trained = {} if model in bundled_models() else _training(Path(model).parent / "config.toml")
    source = data or trained.get("data")
    if not isinstance(source, str):
        raise ConfigError(
            f"{model}: nothing says what it was trained on. Pass --data: mnist, fashion-mnist, "
            "digits, or a folder with one subfolder a class."
        )
    # The validation side of its own data must be the one that training kept out.
    split = _split(trained, model) if source == trained.get("data") else {}
    dataset = load_dataset(source, data_dir=data_dir, as_input=spec.input, **split)
    side, examples = dataset.held_out()
    labels = _labels(dataset, examples, spec)
    probabilities = classifier(examples.values)
    report = ClassificationReport.of(probabilities, labels, spec.classes, names=examples.names)
    if csv_file is not None:
        write_csv(csv_file, _rows(probabilities, labels, examples, spec))
    title = f"{spec.name} on {dataset.name}, {side}"
    if picture is not None:
        values = examples.values
        if spec.input.kind == "sound":  # time to the right, frequency upwards
            values = values.transpose(0, 2, 1)[:, ::-1]
        save_mistakes(report, values, picture, title=title)
    if as_json:
        facts = {"model": model, "spec": asdict(spec), "data": dataset.name, "side": side}
        print(json.dumps({**facts, **report.to_dict()}, ensure_ascii=False, indent=2))
    else:
        _print_classifier_tables(title, report)


def _check_outputs(picture: Path | None, csv_file: Path | None) -> None:
    if picture is not None and picture.suffix.lower() != ".png":
        raise ConfigError(f"--picture {picture}: expected a name that ends in .png.")
    if picture is not None and find_spec("matplotlib") is None:
        raise MissingExtraError("--picture", "plot")
    check_writable(picture, csv_file)


def _training(config: Path) -> dict[str, Any]:
    """What the run's configuration says, if the model lies in a run's folder."""
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config}: not a readable TOML file ({error}).") from None


def _split(trained: dict[str, Any], model: str) -> dict[str, Any]:
    kinds = {"valid_share": (int, float), "seed": (int,)}
    split = {name: trained[name] for name in kinds if name in trained}
    for name, value in split.items():
        if type(value) not in kinds[name] or value < 0:
            raise ConfigError(f"{model}: {name} = {value!r} in its config.toml, expected a number.")
    return split


def _labels(dataset: Dataset, examples: Examples, spec: ClassifierSpec) -> NDArray[np.int64]:
    """The labels in the model's order of classes."""
    if set(dataset.classes) != set(spec.classes):
        raise DataError(
            f"{dataset.name}: classes {_few(dataset.classes)}, but model '{spec.name}' knows "
            f"{_few(spec.classes)}. Pass --data with the model's classes."
        )
    found, expected = dataset.input, spec.input
    if found.kind != expected.kind or found.shape != expected.shape:
        raise DataError(
            f"{dataset.name}: {found.kind}s of {found.shape[0]} x {found.shape[1]} values, but "
            f"model '{spec.name}' expects {expected.kind}s of {expected.shape[0]} x "
            f"{expected.shape[1]}. Pass --data with such examples."
        )
    places = np.array([spec.classes.index(name) for name in dataset.classes], np.int64)
    labels: NDArray[np.int64] = places[examples.labels]
    return labels


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ... ({len(names)})"


def _rows(
    probabilities: NDArray[np.float32],
    labels: NDArray[np.int64],
    examples: Examples,
    spec: ClassifierSpec,
) -> list[dict[str, str | int | float]]:
    predicted = probabilities.argmax(axis=1)
    return [
        {
            "index": i,
            "name": examples.names[i] if examples.names else "",
            "true": spec.classes[labels[i]],
            "predicted": spec.classes[predicted[i]],
            "probability": float(probabilities[i, predicted[i]]),
        }
        for i in range(len(labels))
    ]


def _print_classifier_tables(title: str, report: ClassificationReport) -> None:
    console = Console()
    low, high = report.accuracy_low, report.accuracy_high
    table = Table(show_header=False, title=escape(title))
    table.add_row("accuracy", f"{report.accuracy:.2%} ({low:.2%} to {high:.2%}: 95 %, Wilson)")
    table.add_row("errors", f"{report.errors} of {report.examples}")
    table.add_row("negative log-likelihood", f"{report.nll:.4f} nats")
    table.add_row("calibration error", f"{report.calibration_error:.2%}")
    console.print(table)
    _print_classes(console, report)
    marked = report.confusions(_MARKED)
    if len(report.classes) <= _WIDEST:
        _print_confusion(console, report, marked)
    if marked:
        names = report.classes
        pairs = [f"{names[true]} -> {names[guess]} ({count})" for true, guess, count in marked]
        console.print(
            escape(f"Largest confusions, true -> predicted: {', '.join(pairs)}."), soft_wrap=True
        )
    for mistake in report.worst[:_MARKED]:
        name = mistake.name or f"example {mistake.index}"
        verdict = f"{mistake.true} -> {mistake.predicted}, {mistake.probability:.1%} sure"
        console.print(escape(f"Confident mistake: {name}, {verdict}."), soft_wrap=True)


def _print_classes(console: Console, report: ClassificationReport) -> None:
    table = Table("class", title="classes")
    for name in ("precision", "recall", "F1", "examples"):
        table.add_column(name, justify="right")
    for scores in report.per_class:
        values = (scores.precision, scores.recall, scores.f1)
        shares = ["-" if value is None else f"{value:.2%}" for value in values]
        table.add_row(escape(scores.name), *shares, str(scores.support))
    console.print(table)


def _print_confusion(
    console: Console, report: ClassificationReport, marked: list[tuple[int, int, int]]
) -> None:
    """Rows true, columns predicted; the largest confusions stand out."""
    table = Table("", title="confusion matrix: a row a true class, a column a predicted one")
    for name in report.classes:
        table.add_column(escape(name), justify="right")
    largest = {(true, guess) for true, guess, _ in marked}
    for true, counts in enumerate(report.confusion.tolist()):
        cells = []
        for guess, count in enumerate(counts):
            shown = str(count) if count else "."
            cells.append(f"[bold red]{shown}[/]" if (true, guess) in largest else shown)
        table.add_row(escape(report.classes[true]), *cells)
    console.print(table)
