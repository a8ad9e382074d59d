"""What every training run decides: length, optimiser, machine; and how options are read."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from tinysignal.errors import ConfigError

Options = TypeVar("Options", bound="RunOptions")

LENGTHS = ("epochs", "steps", "minutes")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Length, optimiser and machine of a run. Give exactly one of epochs, steps and minutes.

    Parameters
    ----------
    learning_rate : float
        Of Adam; the highest one of a schedule.
    schedule : {"constant", "cosine", "onecycle"}
        ``cosine``: down to a hundredth after a short warm-up. ``onecycle``: up over the first
        tenth, then down to nothing (Smith and Topin 2019).
    epochs, steps : int
    minutes : float
    seed : int
    select : {"best", "last"}
        The exported weights: those with the best validation score, or the last ones. Without
        validation data, the last ones.
    validate_every : int
        Epochs between validations.
    precision : {"32", "bf16", "16"}
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    devices, workers, threads : int
        Devices to train on; processes that make batches; threads of torch, 0 for its default.
    log : {"csv", "tensorboard"}
    name, trained_on, licence : str
        Written into the model's spec.
    """

    learning_rate: float = 1e-3
    schedule: str = "constant"
    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0
    seed: int = 0
    select: str = "best"
    validate_every: int = 5
    precision: str = "32"
    device: str = "auto"
    devices: int = 1
    workers: int = 0
    threads: int = 0
    log: str = "csv"
    name: str = ""
    trained_on: str = ""
    licence: str = ""

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        "schedule": ("constant", "cosine", "onecycle"),
        "select": ("best", "last"),
        "precision": ("32", "bf16", "16"),
        "log": ("csv", "tensorboard"),
    }

    def __post_init__(self) -> None:
        for name, choices in self.choices.items():
            value = getattr(self, name)
            if value not in choices:
                expected = " or ".join(choice for choice in choices if choice)
                raise ConfigError(f"{name} is '{value}', expected {expected}.")
        if (self.epochs > 0) + (self.steps > 0) + (self.minutes > 0) != 1:
            raise ConfigError("length: give one of epochs, steps or minutes.")
        for name in (*LENGTHS, "workers", "threads", "seed"):
            self.check(name, at_least=0)
        for name in ("validate_every", "devices"):
            self.check(name, at_least=1)
        self.check("learning_rate", at_least=1e-9, below=10)

    def check(self, name: str, *, at_least: float, below: float = float("inf")) -> None:
        """Hold an option to its bounds.

        Raises
        ------
        ConfigError
        """
        value = getattr(self, name)
        if not at_least <= value < below:
            bound = f" and below {below:g}" if below < float("inf") else ""
            raise ConfigError(f"{name} is {value}, expected at least {at_least:g}{bound}.")

    def to_toml(self) -> str:
        """The options as TOML, without what is unset."""
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


def build(kind: type[Options], values: Mapping[str, Any], source: str) -> Options:
    """Options from plain values, each of the type of its default.

    Parameters
    ----------
    kind : type
    values : mapping
        A name's default being a pair or None, two values are expected.
    source : str
        Where the values come from, for messages.

    Raises
    ------
    ConfigError
        An unknown name, a value of the wrong type, or one that makes no sense.
    """
    defaults = {field.name: field.default for field in fields(kind)}
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise ConfigError(f"{source}: unknown option '{name}'.")
        default = defaults[name]
        if default is None or isinstance(default, tuple):
            item: type = str if default is None else float
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise ConfigError(f"{source}: {name} is {value!r}, expected two values.")
            typed[name] = tuple(_cast(name, v, item, source) for v in value)
        else:
            typed[name] = _cast(name, value, type(default), source)
    return kind(**typed)


def _cast(name: str, value: Any, kind: type, source: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{source}: {name} is {value!r}, expected {kind.__name__}.")
    return value
