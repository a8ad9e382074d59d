"""Everything that decides the outcome of a classifier's training, and its named recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tinysignal.errors import ConfigError
from tinysignal.nets.mlp import ACTIVATIONS, NORMS
from tinysignal.train.config import LENGTHS, RunOptions, build, read_toml

_EPOCHS = 20

RECIPES: dict[str, dict[str, Any]] = {
    # The course's, to the letter.
    "course": {},
    # The same network in a few epochs.
    "fast": {
        "norm": "batch",
        "dropout": 0.0,
        "batch": 512,
        "learning_rate": 4e-3,
        "schedule": "onecycle",
        "epochs": 5,
    },
    # As far as these layers go.
    "best": {
        "norm": "batch",
        "dropout": 0.0,
        "batch": 512,
        "learning_rate": 4e-3,
        "schedule": "onecycle",
        "epochs": 200,
        "label_smoothing": 0.05,
        "average": 0.999,
        "rotate_deg": 15.0,
        "scale": 0.15,
        "shear": 0.2,
        "shift": 0.05,
        "elastic": 0.036,
    },
}


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(RunOptions):
    """A classifier's training; `RunOptions` and what follows. The defaults are the course's.

    Parameters
    ----------
    data : str
        ``digits`` (scikit-learn's 8 x 8 digits), ``mnist``, ``fashion-mnist``, or a folder of
        pictures or sounds with one subfolder a class.
    recipe : str
        Where values that were not given came from, a name in `RECIPES`.
    valid_share : float
        Share of the training examples that is kept out of training and validated on; the weights
        are chosen by it.
    batch : int
    width, depth, dropout, activation, norm
        See `tinysignal.nets.mlp.Mlp`.
    weight_decay, label_smoothing, average
        See `tinysignal.train.classification.modules.ClassifyingTask`.
    rotate_deg, scale, shear, shift, elastic, mirror
        See `tinysignal.train.classification.augment.Deformation`.
    """

    data: str = "digits"
    recipe: str = "course"
    valid_share: float = 1 / 12
    batch: int = 128
    width: int = 1024
    depth: int = 5
    dropout: float = 0.2
    activation: str = "relu"
    norm: str = "none"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    average: float = 0.0
    rotate_deg: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    mirror: bool = False
    validate_every: int = 1

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **RunOptions.choices,
        "recipe": tuple(RECIPES),
        "activation": tuple(ACTIVATIONS),
        "norm": tuple(NORMS),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("batch", "width"):
            self.check(name, at_least=1)
        for name in ("depth", "weight_decay", "rotate_deg"):
            self.check(name, at_least=0)
        for name in ("dropout", "valid_share", "label_smoothing", "average"):
            self.check(name, at_least=0, below=1)
        for name in ("scale", "shear", "shift", "elastic"):
            self.check(name, at_least=0, below=1)


def read_classifier_config(path: Path | None, flags: Mapping[str, Any]) -> ClassifierConfig:
    """A recipe's values, a TOML file's on top of them, and flags that are not None on top of both.

    Without a length it is 20 epochs.

    Raises
    ------
    ConfigError
        The file cannot be read, holds an unknown name or a value of the wrong type; no such recipe.
    """
    values = {} if path is None else read_toml(path)
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = given.get("recipe", values.get("recipe", "course"))
    if recipe not in RECIPES:
        raise ConfigError(f"recipe is '{recipe}', expected {' or '.join(RECIPES)}.")
    layers: list[Mapping[str, Any]] = [{"epochs": _EPOCHS}, RECIPES[recipe], values, given]
    merged: dict[str, Any] = {}
    for layer in layers:
        if any(layer.get(name) for name in LENGTHS):  # a length replaces every other one
            merged = {name: value for name, value in merged.items() if name not in LENGTHS}
        merged |= layer
    return build(ClassifierConfig, merged, str(path or "options"))
