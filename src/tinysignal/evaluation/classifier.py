"""A classifier scored on labelled examples: those that its run held out, or others."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.classifier import Classifier
from tinysignal.datasets import Dataset, Examples, load_dataset
from tinysignal.errors import ConfigError
from tinysignal.files import read_toml
from tinysignal.metrics.classification_report import ClassificationReport
from tinysignal.model import bundled_models, model_path, read_spec
from tinysignal.remote import place, state_of
from tinysignal.spec import ClassifierSpec

_SPLIT_OPTIONS = {"valid_fraction": (int, float), "seed": (int,), "skip_bad": (bool,)}


@dataclass(frozen=True)
class ClassifierEvaluation:
    """What `evaluate_classifier` found.

    Parameters
    ----------
    spec : ClassifierSpec
    data : str
        Name of the data set.
    split : str
        Which of its splits was scored: ``test``, or ``valid`` where there is no test split.
    examples : Examples
        Their labels are in the model's order of classes.
    probabilities : float32 (examples, classes)
    report : ClassificationReport
    """

    spec: ClassifierSpec
    data: str
    split: str
    examples: Examples
    probabilities: NDArray[np.float32]
    report: ClassificationReport

    def rows(self) -> list[dict[str, str | int | float]]:
        """One row for each example: name, true and predicted class, and its probability."""
        predicted = self.probabilities.argmax(axis=1)
        classes, names = self.spec.classes, self.examples.names
        return [
            {
                "index": i,
                "name": names[i] if names else "",
                "true": classes[self.examples.labels[i]],
                "predicted": classes[predicted[i]],
                "probability": float(self.probabilities[i, predicted[i]]),
            }
            for i in range(len(self.examples))
        ]

    def to_dict(self) -> dict[str, Any]:
        """The report with what it is about, as plain values."""
        about = {"spec": asdict(self.spec), "data": self.data, "split": self.split}
        return {**about, **self.report.to_dict()}


def evaluate_classifier(
    model: str | Path, *, data: str | None = None, data_dir: str | Path | None = None
) -> ClassifierEvaluation:
    """Score a classifier on examples that its training never saw.

    Parameters
    ----------
    model : str or Path
        A bundled name, a model file, or a run folder.
    data : str or None
        See `tinysignal.datasets.load_dataset`; None for the data set of the run.
    data_dir : str, Path or None
        Folder in which data that is not found as it is named is looked for.

    Returns
    -------
    ClassifierEvaluation

    Raises
    ------
    ConfigError
        Nothing says what the model was trained on, and no data is given.
    ModelError
        The model cannot be used.
    DataError
        The data cannot be read, or do not fit the model.
    MissingExtraError
        An optional package is needed to read the data.

    Examples
    --------
    >>> from tinysignal.evaluation import evaluate_classifier
    >>> found = evaluate_classifier("run", data="mnist", data_dir="data")
    >>> found.report.accuracy, found.split
    (0.9, 'test')
    """
    classifier = Classifier.load(model)
    place = None if data_dir is None else Path(data_dir)
    dataset = dataset_of(model, classifier.spec, data=data, data_dir=place)
    split, examples = dataset.held_out()
    probabilities = classifier(examples.values)
    report = ClassificationReport.from_probabilities(
        probabilities, examples.labels, classifier.spec.classes, names=examples.names
    )
    return ClassifierEvaluation(
        classifier.spec, dataset.name, split, examples, probabilities, report
    )


def dataset_of(
    model: str | Path, spec: ClassifierSpec, *, data: str | None, data_dir: Path | None
) -> Dataset:
    """The data set of a model's training, or another one, in the model's order of classes.

    Parameters and errors as of `evaluate_classifier`.
    """
    path = str(model_path(model))
    own_source = trained_on(path)
    source = data or own_source
    if source is None:
        raise ConfigError(
            f"{path}: nothing says what it was trained on. Pass --data: mnist, fashion-mnist, "
            "digits, or a folder with one subfolder for each class."
        )
    # The validation split of its own data must be the one that training kept out.
    own = _split_options(_training(path), path) if source == own_source else {}
    dataset = load_dataset(source, data_dir=data_dir, as_input=spec.input, **own)
    return dataset.for_model(spec)


def trained_on(model: str | Path) -> str | None:
    """The data set of a model's training, see `load_dataset`; None if nothing tells."""
    path = str(model_path(model))
    found = read_spec(path).trained_on if path in bundled_models() else _training(path).get("data")
    return found if isinstance(found, str) and found else None


def _training(path: str) -> dict[str, Any]:
    """The options of the run in whose folder the model lies, if it lies in one."""
    if path in bundled_models():
        return {}
    config = place(path).parent / "config.toml"
    return {} if state_of(config) is None else read_toml(config)


def _split_options(trained: dict[str, Any], model: str) -> dict[str, Any]:
    options = {name: trained[name] for name in _SPLIT_OPTIONS if name in trained}
    for name, value in options.items():
        if type(value) not in _SPLIT_OPTIONS[name] or value < 0:
            raise ConfigError(
                f"{model}: {name} = {value!r:.80} in its config.toml, expected "
                f"{'true or false' if name == 'skip_bad' else 'a number'}."
            )
    return options
