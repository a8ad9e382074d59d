"""Options of a classifier's training, and its named recipes; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tinysignal.options import option
from tinysignal.train.config import DATA, FIT, LENGTHS, NET, TrainConfig

DEFORMATION = "Random deformation of the examples"
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
    # The highest accuracy found with these layers.
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
    """A classifier's training: `TrainConfig` and its own options; `describe` lists them all.

    The defaults are those of the course's first exercise.

    Raises
    ------
    ConfigError
        See `TrainConfig`.
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
        "Named set of values for what is not given. fast: a few epochs. best: the highest "
        "accuracy, in hours.",
        group=FIT,
    )
    valid_fraction: float = option(
        1 / 12,
        "Fraction of the training examples to validate on and choose the weights by; 0 for none.",
        group=DATA,
        shown="1/12",
        at_least=0,
        below=1,
    )
    batch: int = option(128, "Examples in a batch.", group=FIT, at_least=1)
    width: int = option(1024, "Units of a hidden layer.", group=NET, at_least=1)
    depth: int = option(5, "Number of hidden layers.", group=NET, at_least=0)
    dropout: float = option(
        0.2, "Fraction of units that dropout silences.", group=NET, at_least=0, below=1
    )
    norm: Literal["none", "batch"] = option(
        "none", "Normalisation after each hidden layer.", group=NET
    )
    weight_decay: float = option(0.0, "Decoupled weight decay, as in AdamW.", group=FIT, at_least=0)
    label_smoothing: float = option(
        0.0,
        "Label smoothing: probability shared by all classes.",
        group=FIT,
        at_least=0,
        below=1,
    )
    ema_decay: float = option(
        0.0,
        "Decay of the exponential moving average of the weights, such as 0.999, which is then "
        "scored and exported; 0 for none.",
        group=FIT,
        at_least=0,
        below=1,
    )
    rotate_deg: float = option(
        0.0, "Rotation, up to plus or minus this, in degrees.", group=DEFORMATION, at_least=0
    )
    scale: float = option(
        0.0,
        "Stretch of width and of height, up to exp(plus or minus this).",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    shear: float = option(
        0.0,
        "Shear in columns for each row, up to plus or minus this.",
        group=DEFORMATION,
        at_least=0,
        below=1,
    )
    shift: float = option(
        0.0,
        "Shift as a fraction of the size, up to plus or minus this.",
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
    mirror: bool = option(False, "Swap left and right at random.", group=DEFORMATION)
    validate_every: int = option(1, "Epochs between validations.", group=FIT, at_least=1)

    @classmethod
    def _completed(cls, merged: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """See `TrainConfig.read`; without a length it is 20 epochs."""
        if not any(merged.get(name) for name in LENGTHS):
            merged["epochs"] = _EPOCHS
        return merged
