"""Options of a training run from a recipe, a TOML file and flags. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from tinysignal.errors import ConfigError
from tinysignal.files import read_toml
from tinysignal.options import Options, option

LENGTHS = ("epochs", "steps", "minutes")
DATA, NET, FIT, MACHINE, OUTPUT = "Data", "Network", "Optimisation", "Machine", "Output"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """Length, optimiser and machine of a run, with exactly one of epochs, steps and minutes.

    `describe` lists every option with its default and meaning, as ``--help`` does.

    Attributes
    ----------
    recipes : mapping of str to mapping
        Named sets of values, see `read`.
    exclusive : tuple of tuples of str
        Groups of options in which a given value replaces the others.

    Raises
    ------
    ConfigError
        A value is out of its bounds, or not exactly one length is given.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]]
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (LENGTHS,)

    skip_bad: bool = option(
        False,
        "Leave out files that cannot be used, and go on with the others. Without it, all of them "
        "are named and nothing is trained.",
        group=DATA,
    )
    learning_rate: float = option(
        1e-3, "Peak learning rate of Adam.", group=FIT, at_least=1e-9, below=10
    )
    schedule: Literal["constant", "cosine", "onecycle"] = option(
        "constant",
        "Schedule of the learning rate. cosine: a short warm-up, then decay to 1 % of the peak. "
        "onecycle: rise over the first tenth, then decay to zero (Smith and Topin 2019).",
        group=FIT,
    )
    epochs: int = option(0, "Length of the run in epochs.", group=FIT, at_least=0, shown="not set")
    steps: int = option(0, "Length of the run in steps.", group=FIT, at_least=0, shown="not set")
    minutes: float = option(
        0.0, "Length of the run in minutes.", group=FIT, at_least=0, shown="not set"
    )
    seed: int = option(0, "Random seed of the weights, batches and splits.", group=FIT, at_least=0)
    keep: Literal["best", "last"] = option(
        "best",
        "Weights to export: best (highest validation score) or last. Without validation data, the "
        "last weights are exported.",
        group=FIT,
    )
    validate_every: int = option(5, "Epochs between validations.", group=FIT, at_least=1)
    accumulate: int = option(
        1,
        "Number of batches whose gradients are added up for one step, as of one batch so many "
        "times as large.",
        group=FIT,
        at_least=1,
    )
    precision: Literal["32", "bf16", "16"] = option(
        "32", "Numeric precision; bf16 and 16 keep 32-bit weights.", group=MACHINE
    )
    compile: bool = option(
        False,
        "Compile the network with torch.compile, for convolutions: a minute more before the first "
        "step, a fifth less for each. Needs a C++ compiler.",
        group=MACHINE,
    )
    device: str = option("auto", "Device: auto, cpu, cuda or mps.", group=MACHINE)
    devices: int = option(1, "Number of training devices.", group=MACHINE, at_least=1)
    workers: int = option(
        0,
        "Number of data-loading processes; 0 loads in the training process.",
        group=MACHINE,
        at_least=0,
    )
    threads: int = option(
        0,
        "Number of torch threads; 0 for torch's default.",
        group=MACHINE,
        at_least=0,
        shown="torch's default",
    )
    log: Literal["csv", "tensorboard"] = option(
        "csv", "Format of the log: csv, or csv and tensorboard.", group=OUTPUT
    )
    name: str = option("", "Model name in the spec.", group=OUTPUT, shown="the folder's name")
    trained_on: str = option("", "Description of the training data in the spec.", group=OUTPUT)
    licence: str = option("", "Licence of the model in the spec.", group=OUTPUT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epochs > 0) + (self.steps > 0) + (self.minutes > 0) != 1:
            given = ", ".join(name for name in LENGTHS if getattr(self, name)) or "none"
            raise ConfigError(
                f"length of the run: {given} given, expected one of epochs, steps and minutes."
            )

    @classmethod
    def read(cls, path: Path | None, options: Mapping[str, Any]) -> Self:
        """Configuration from a recipe, overridden by a TOML file and then by options.

        Parameters
        ----------
        path : Path or None
            TOML file.
        options : mapping of str to value
            Values of options; None for an option that is not given.

        Raises
        ------
        ConfigError
            The file cannot be read, a name or the recipe is unknown, or a value is out of bounds.
        """
        values = {} if path is None else read_toml(path)
        given = {name: value for name, value in options.items() if value is not None}
        recipe = (values | given).get("recipe", cls.__dataclass_fields__["recipe"].default)
        if recipe not in list(cls.recipes):  # a list, because values from TOML may be unhashable
            raise ConfigError(f"recipe is '{recipe!s:.80}', expected {' or '.join(cls.recipes)}.")
        merged = _merged(cls.recipes[recipe], values, given, exclusive=cls.exclusive)
        return cls.from_values(cls._completed(merged, values | given), str(path or "options"))

    @classmethod
    def _completed(cls, merged: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Merged values with the defaults that depend on other values."""
        return merged

    def to_toml(self) -> str:
        """TOML text of all options that are not None."""
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in asdict(self).items()
            if value is not None
        ]
        return "\n".join(lines) + "\n"


def _merged(*layers: Mapping[str, Any], exclusive: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Values of all layers; later layers win, also over other options of an exclusive group."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for group in exclusive:
            if any(layer.get(name) for name in group):
                merged = {name: value for name, value in merged.items() if name not in group}
        merged |= layer
    return merged
