"""Options as dataclass fields, each with its help text, bounds and group.

The command line makes its options from them, so that a name, a type, a default and a meaning
stand in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from tinysignal.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is known of a configuration's field beside its name, type and default.

    Parameters
    ----------
    help : str
        One sentence: meaning and unit.
    group : str
        Heading under which ``--help`` lists it.
    shown : str
        The default in words, where the value alone does not tell it.
    metavar : str
        Names of the values of a pair, such as ``LOW HIGH``.
    fraction : bool
        Whether ``4.3%`` may be written for 0.043.
    at_least, at_most, above, below : float
        Bounds of a number; the last two are not reached.
    """

    help: str
    group: str
    shown: str = ""
    metavar: str = ""
    fraction: bool = False
    at_least: float = float("-inf")
    at_most: float = float("inf")
    above: float = float("-inf")
    below: float = float("inf")

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below


def option(default: Any, help: str, **facts: Any) -> Any:
    """A dataclass field with an `Option`."""
    return field(default=default, metadata={"option": Option(help=help, **facts)})


def option_of(name: str, config: type[Options]) -> Option:
    """The `Option` of a field."""
    found: Option = config.__dataclass_fields__[name].metadata["option"]
    return found


def in_words(default: Any) -> str:
    """A default as people write it; empty for one that is unset."""
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(map(in_words, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def value_type(hint: Any) -> Any:
    """A field's type without None."""
    if get_origin(hint) in (Union, UnionType):
        [hint] = [part for part in get_args(hint) if part is not NoneType]
    return hint


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base of dataclasses whose fields are made by `option`.

    Raises
    ------
    ConfigError
        A value is none of its choices or out of its bounds.
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            facts, value = option_of(item.name, type(self)), getattr(self, item.name)
            kind = value_type(hints[item.name])
            if get_origin(kind) is Literal and value is not None and value not in get_args(kind):
                expected = " or ".join(get_args(kind))
                raise ConfigError(f"{item.name} is '{value}', expected {expected}.")
            if isinstance(value, int | float) and not facts.allows(value):
                raise ConfigError(f"{item.name} is {value}, expected {_bounds(facts)}.")

    @classmethod
    def describe(cls) -> str:
        """Every option with its type, default and meaning, a line each."""
        rows = []
        for item in fields(cls):
            facts = option_of(item.name, cls)
            default = facts.shown or in_words(item.default)
            rows.append(f"{item.name}{default and f' ({default})'}: {facts.help}")
        return "\n".join(rows)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str) -> Self:
        """A configuration from plain values, each of the type of its field.

        Parameters
        ----------
        values : mapping of str to value
        source : str
            Origin of the values, for messages.

        Raises
        ------
        ConfigError
            An unknown name, a value of the wrong type, or one out of its bounds.
        """
        hints = get_type_hints(cls)
        typed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in cls.__dataclass_fields__:
                raise ConfigError(f"{source}: unknown option '{name}'.")
            typed[name] = _cast(name, value, value_type(hints[name]), source)
        return cls(**typed)


def _bounds(facts: Option) -> str:
    given = {
        "at least": facts.at_least,
        "more than": facts.above,
        "at most": facts.at_most,
        "below": facts.below,
    }
    return " and ".join(f"{word} {bound:g}" for word, bound in given.items() if isfinite(bound))


def _cast(name: str, value: Any, kind: Any, source: str) -> Any:
    if value is None:
        return None
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if not isinstance(value, list | tuple) or len(value) != len(items):
            raise ConfigError(f"{source}: {name} is {value!r}, expected two values.")
        return tuple(_cast(name, v, item, source) for v, item in zip(value, items, strict=True))
    if get_origin(kind) is Literal:
        kind = str
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{source}: {name} is {value!r}, expected {kind.__name__}.")
    return value
