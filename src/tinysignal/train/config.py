"""Options of a training run, read from a recipe, TOML and flags; imports no torch."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from tinysignal.errors import ConfigError
from tinysignal.options import Options, option

LENGTHS = ("epochs", "steps", "minutes")
DATA, NET, FIT, MACHINE, OUTPUT = "Data", "Network", "Optimisation", "Machine", "Output"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Options):
    """Length, optimiser and machine of a run; give exactly one of epochs, steps and minutes.

    `describe` lists every option with its default and meaning, as ``--help`` of the command does.

    Attributes
    ----------
    recipes : mapping of str to mapping
        Named sets of values, see `read`.
    exclusive : tuple of tuples of str
        Groups of options of which one given value replaces the others.

    Raises
    ------
    ConfigError
        A value is out of its bounds, or no length or more than one is given.
    """

    recipes: ClassVar[Mapping[str, Mapping[str, Any]]]
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (LENGTHS,)

    learning_rate: float = option(
        1e-3, "Peak learning rate of Adam.", group=FIT, at_least=1e-9, below=10
    )
    schedule: Literal["constant", "cosine", "onecycle"] = option(
        "constant",
        "Learning rate over the run. cosine: a short warm-up, then down to a hundredth. onecycle: "
        "up over the first tenth, then down to zero (Smith and Topin 2019).",
        group=FIT,
    )
    epochs: int = option(0, "Length of the run in epochs.", group=FIT, at_least=0, shown="not set")
    steps: int = option(0, "Length of the run in steps.", group=FIT, at_least=0, shown="not set")
    minutes: float = option(
        0.0, "Length of the run in minutes.", group=FIT, at_least=0, shown="not set"
    )
    seed: int = option(0, "Random seed of weights, batches and splits.", group=FIT, at_least=0)
    keep: Literal["best", "last"] = option(
        "best",
        "Weights to export: those with the best validation score, or the last ones. Without "
        "validation data, the last ones.",
        group=FIT,
    )
    validate_every: int = option(5, "Epochs between validations.", group=FIT, at_least=1)
    precision: Literal["32", "bf16", "16"] = option(
        "32", "Bits of a number in training; bf16 and 16 keep 32-bit weights.", group=MACHINE
    )
    device: str = option("auto", "Device: auto, cpu, cuda or mps.", group=MACHINE)
    devices: int = option(1, "Number of devices to train on.", group=MACHINE, at_least=1)
    workers: int = option(
        0,
        "Processes that make batches; 0 makes them in the training process.",
        group=MACHINE,
        at_least=0,
    )
    threads: int = option(
        0, "Threads of torch; 0 for its own choice.", group=MACHINE, at_least=0, shown="torch's"
    )
    log: Literal["csv", "tensorboard"] = option(
        "csv", "Log: csv, or tensorboard in addition.", group=OUTPUT
    )
    name: str = option("", "Name of the model, in its spec.", group=OUTPUT, shown="the folder's")
    trained_on: str = option("", "Training data, as the spec names it.", group=OUTPUT)
    licence: str = option("", "Licence of the model, as the spec names it.", group=OUTPUT)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.epochs > 0) + (self.steps > 0) + (self.minutes > 0) != 1:
            raise ConfigError("length: give one of epochs, steps or minutes.")

    @classmethod
    def read(cls, path: Path | None, options: Mapping[str, Any]) -> Self:
        """A recipe's values, a TOML file's on top of them, and options on top of both.

        Parameters
        ----------
        path : Path or None
            TOML file.
        options : mapping of str to value
            None for one that is not given.

        Raises
        ------
        ConfigError
            The file cannot be read; an unknown name or recipe; a value that cannot be used.
        """
        values = {} if path is None else read_toml(path)
        given = {name: value for name, value in options.items() if value is not None}
        recipe = (values | given).get("recipe", cls.__dataclass_fields__["recipe"].default)
        if recipe not in list(cls.recipes):  # a list from TOML has no hash
            raise ConfigError(f"recipe is '{recipe}', expected {' or '.join(cls.recipes)}.")
        merged = _merged(cls.recipes[recipe], values, given, exclusive=cls.exclusive)
        return cls.from_values(cls._completed(merged, values | given), str(path or "options"))

    @classmethod
    def _completed(cls, merged: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Merged values, with those that follow from others where they were not chosen."""
        return merged

    def to_toml(self) -> str:
        """The options as TOML, without those that are None."""
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in asdict(self).items()
            if value is not None
        ]
        return "\n".join(lines) + "\n"


def read_toml(path: Path) -> dict[str, Any]:
    """The values of a TOML file.

    Raises
    ------
    ConfigError
        It cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}).") from None


def _merged(*layers: Mapping[str, Any], exclusive: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Layers of values, later ones on top; a value of an exclusive group replaces its others."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for group in exclusive:
            if any(layer.get(name) for name in group):
                merged = {name: value for name, value in merged.items() if name not in group}
        merged |= layer
    return merged
