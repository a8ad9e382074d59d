"""What a run that is continued must have in common with the one that was begun."""

from __future__ import annotations

from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any

from torch import nn

from tinysignal.errors import ConfigError, ModelError
from tinysignal.options import option_of
from tinysignal.train.checkpoint import load_state
from tinysignal.train.config import NET, TrainConfig
from tinysignal.train.folder import CHECKPOINT, CONFIG

_COUNTS = ("epoch", "step", "minutes", "loss")  # in every row of the curve


def check_same_network(config: TrainConfig, folder: Path) -> None:
    """Check that a configuration has the network options of the run in a folder.

    Raises
    ------
    ConfigError
        There is nothing to resume, or an option of the network is another one.
    """
    if not (folder / CHECKPOINT).is_file():
        raise ConfigError(
            f"{folder}: nothing to resume, expected a file {CHECKPOINT}. Leave --resume out."
        )
    begun = type(config).read(folder / CONFIG, {})
    for name in (item.name for item in fields(config)):
        before, now = getattr(begun, name), getattr(config, name)
        if option_of(name, type(config)).group == NET and before != now:
            raise ConfigError(
                f"{folder}: {name} is {now!r}, but the run was begun with {before!r}. Resume with "
                "the same network, or train in another folder."
            )


def read_checkpoint(path: Path, module: nn.Module) -> dict[str, Any]:
    """State of a run from its checkpoint, which must fit the network.

    Parameters
    ----------
    path : Path
    module : nn.Module
        The network and all that is trained with it.

    Raises
    ------
    ConfigError
        It belongs to another network, or to other data.
    ModelError
        The checkpoint is missing or damaged.
    """
    state = load_state(path)
    try:
        kept = {name: tuple(value.shape) for name, value in state["state_dict"].items()}
        done = [state["global_step"], state["callbacks"]["schedule"]["elapsed_s"]]
        recorder = state["callbacks"]["recorder"]
        rows = [[row[name] for name in _COUNTS] for row in recorder["rows"]]
        values = [v for row in (*recorder["rows"], recorder["best"]) for v in row.values()]
        whole = all(map(_is_count, done)) and all(_is_count(row[0]) for row in rows)
        whole &= all(isinstance(value, int | float) for value in values)
    except (AttributeError, KeyError, TypeError):
        kept, whole = {}, False
    if not whole:
        raise ModelError(f"{path}: not a checkpoint of 'tinysignal train'.")
    if kept != {name: tuple(value.shape) for name, value in module.state_dict().items()}:
        raise ConfigError(
            f"{path}: the weights of another network, or of other data. Resume with the options of "
            f"{path.with_name(CONFIG)}."
        )
    return state


def _is_count(value: object) -> bool:
    return isinstance(value, int | float) and isfinite(value) and value >= 0


def unresumable(path: Path, error: Exception) -> ModelError:
    """The error of a checkpoint that Lightning does not take."""
    said = " ".join(str(error).split())[:200]
    return ModelError(f"{path}: not a checkpoint that can be resumed ({said}).")
