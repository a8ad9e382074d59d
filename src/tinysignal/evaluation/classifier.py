"""Labelled examples that a trained classifier is scored on: those of its run, or others."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets import Dataset, Examples
from tinysignal.errors import ConfigError, DataError
from tinysignal.spec import ClassifierSpec


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
