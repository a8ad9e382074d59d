"""Options and recipes of the training of classifiers. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tinysignal.options import option
from tinysignal.train.config import DATA, FIT, LENGTHS, NET, TrainConfig

DEFORMATION = "Random deformation of the examples"
_EPOCHS = 20

RECIPES: dict[str, dict[str, Any]] = {
    # The settings of the course.
    "course": {},
    # The network of the course, trained in a few epochs.
    "fast": {
        "norm": "batch",
        "dropout": 0.0,
        "batch": 512,
        "learning_rate": 4e-3,
        "schedule": "onecycle",
        "epochs": 5,
    },
    # The settings of the highest accuracy found with this network.
    "best": {
        "norm": "batch",
        "dropout": 0.0,
        "batch": 512,
        "learning_rate": 4e-3,
        "schedule": "onecycle",
        "epochs": 200,
        "label_smoothing": 0.05,
        "ema_decay": 0.999,
        "rotate_deg": 15.0,
        "scale": 0.15,
        "shear": 0.2,
        "shift": 0.05,
        "elastic": 0.036,
    },
}


@dataclass(frozen=True, kw_only=True)
class ClassifierConfig(TrainConfig):
    """Configuration of the training of a classifier; `describe` lists its options.

    The defaults are those of the first exercise of the course.

    Raises
    ------
    ConfigError
        See `TrainConfig`.

    Examples
    --------
    >>> from tinysignal.train import ClassifierConfig
    >>> config = ClassifierConfig(data="digits", epochs=5)
    >>> config.width, config.depth
    (1024, 5)
    """

    recipes = RECIPES

    data: str = option(
        "digits",
        "Data set: digits (8 x 8, from scikit-learn), mnist, fashion-mnist, or a folder of "
        "pictures or sounds with one subfolder for each class.",
        group=DATA,
    )
    recipe: Literal["course", "fast", "best"] = option(
        "course",
        "Named set of default values. fast: a few epochs. best: the highest accuracy, in hours.",
        group=FIT,
    )
    valid_fraction: float = option(
        1 / 12,
        "Fraction of the training examples to use for validation, which selects the weights; 0 for "
        "no validation.",
        group=DATA,
        shown="1/12",
        at_least=0,
        below=1,
    )
    batch: int = option(128, "Number of examples in a batch.", group=FIT, at_least=1)
    width: int = option(1024, "Units of a hidden layer.", group=NET, at_least=1, at_most=65_536)
    depth: int = option(5, "Number of hidden layers.", group=NET, at_least=0, at_most=100)
    dropout: float = option(
        0.2, "Dropout: fraction of units set to zero.", group=NET, at_least=0, below=1
    )
    norm: Literal["none", "batch"] = option(
        "none", "Normalisation after each hidden layer.", group=NET
    )
    weight_decay: float = option(0.0, "Decoupled weight decay, as in AdamW.", group=FIT, at_least=0)
    label_smoothing: float = option(
        0.0,
        "Label smoothing: probability distributed over all classes.",
        group=FIT,
        at_least=0,
        below=1,
    )
    ema_decay: float = option(
        0.0,
        "Decay per step of the exponential moving average of the weights, such as 0.999; the "
        "average is scored and exported. 0 for no average.",
        group=FIT,
        at_least=0,
        below=1,
    )
    rotate_deg: float = option(0.0, "Largest rotation in degrees.", group=DEFORMATION, at_least=0)
    scale: float = option(
        0.0,
        "Largest logarithm of the stretch of width and of height.",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    shear: float = option(
        0.0,
        "Largest shear in columns per row.",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    shift: float = option(
        0.0,
        "Largest shift as a fraction of the size.",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    elastic: float = option(
        0.0,
        "Elastic deformation: standard deviation as a fraction of the size.",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    mirror: bool = option(False, "Random exchange of left and right.", group=DEFORMATION)
    validate_every: int = option(1, "Epochs between validations.", group=FIT, at_least=1)

    @classmethod
    def _completed(cls, merged: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Default length of 20 epochs, see `TrainConfig.read`."""
        if not any(merged.get(name) for name in LENGTHS):
            merged["epochs"] = _EPOCHS
        return merged
