"""Options as dataclass fields, each with its help text, bounds and group.

The command line generates its options from these fields: name, type, default and help are written
once.
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
    """Metadata of a configuration's field: help text, group and bounds.

    Parameters
    ----------
    help : str
        Meaning and unit in one sentence.
    group : str
        Heading of the option in ``--help``.
    shown : str
        Default in words, for defaults whose value is not self-explanatory.
    metavar : str
        Names of the values, such as ``LOW HIGH`` for a pair.
    fraction : bool
        Whether the command line accepts ``4.3%`` for 0.043.
    at_least, at_most, above, below : float
        Bounds of a number; the first two are inclusive, the last two exclusive. No number may be
        more than 1e12.
    """

    help: str
    group: str
    shown: str = ""
    metavar: str = ""
    fraction: bool = False
    at_least: float = float("-inf")
    at_most: float = 1e12
    above: float = float("-inf")
    below: float = float("inf")

    def allows(self, value: float) -> bool:
        """Whether a number is within the bounds."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below


_MOST_CHARACTERS = 10_000  # of a text


def option(default: Any, help: str, **details: Any) -> Any:
    """Dataclass field with an `Option` as its metadata.

    Parameters
    ----------
    default : value
        Default of the field.
    help, **details
        Fields of `Option`.
    """
    return field(default=default, metadata={"option": Option(help=help, **details)})


def option_of(name: str, config: type[Options]) -> Option:
    """Metadata of a field that `option` made.

    Parameters
    ----------
    name : str
        Name of the field.
    config : type of Options

    Returns
    -------
    Option
    """
    found: Option = config.__dataclass_fields__[name].metadata["option"]
    return found


def in_words(default: Any) -> str:
    """Text of a default for help pages; empty for an unset one."""
    if default is None or default == "":
        return ""
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, tuple):
        return " ".join(map(in_words, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def value_type(hint: Any) -> Any:
    """Type of a field without None: ``int`` for ``int | None``."""
    if get_origin(hint) in (Union, UnionType):
        [hint] = [part for part in get_args(hint) if part is not NoneType]
    return hint


@dataclass(frozen=True, kw_only=True)
class Options:
    """Base class of dataclasses whose fields are made by `option`.

    Raises
    ------
    ConfigError
        A value is not one of its choices, or out of its bounds.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from tinysignal.options import Options, option
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Fade(Options):
    ...     length_s: float = option(0.5, "Length in seconds.", group="Sound", at_least=0)
    >>> print(Fade.describe())
    length_s (0.5): Length in seconds.
    >>> Fade.from_values({"length_s": 2}, "fade.toml")
    Fade(length_s=2.0)
    """

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            limits, value = option_of(item.name, type(self)), getattr(self, item.name)
            kind = value_type(hints[item.name])
            if get_origin(kind) is Literal and value is not None and value not in get_args(kind):
                expected = " or ".join(get_args(kind))
                raise ConfigError(f"{item.name} is '{value!s:.80}', expected {expected}.")
            if isinstance(value, str) and len(value) > _MOST_CHARACTERS:
                raise ConfigError(
                    f"{item.name} has {len(value)} characters, expected at most {_MOST_CHARACTERS}."
                )
            if isinstance(value, int | float) and not limits.allows(value):
                raise ConfigError(f"{item.name} is {_short(value)}, expected {_bounds(limits)}.")

    @classmethod
    def describe(cls) -> str:
        """Name, default and help text of every option, one line each."""
        rows = []
        for item in fields(cls):
            details = option_of(item.name, cls)
            default = details.shown or in_words(item.default)
            rows.append(f"{item.name}{default and f' ({default})'}: {details.help}")
        return "\n".join(rows)

    @classmethod
    def from_values(cls, values: Mapping[str, Any], source: str) -> Self:
        """Configuration from plain values, such as those of a TOML file.

        Parameters
        ----------
        values : mapping of str to value
            Values of the type of their field; lists for tuples, whole numbers for floats.
        source : str
            Origin of the values, for error messages.

        Raises
        ------
        ConfigError
            A name is unknown, or a value has the wrong type or is out of its bounds.
        """
        hints = get_type_hints(cls)
        typed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in cls.__dataclass_fields__:
                raise ConfigError(
                    f"{source}: unknown option '{name:.80}'. --help and {cls.__name__}.describe() "
                    "list the options."
                )
            typed[name] = _cast(name, value, value_type(hints[name]), source)
        return cls(**typed)


def _bounds(limits: Option) -> str:
    given = {
        "at least": limits.at_least,
        "more than": limits.above,
        "at most": limits.at_most,
        "below": limits.below,
    }
    asked = [(word, bound) for word, bound in given.items() if isfinite(bound)]
    if len(asked) > 1:  # what no user comes near is not said
        asked = [(word, bound) for word, bound in asked if bound != Option.at_most]
    return " and ".join(f"{word} {bound:g}" for word, bound in asked)


def _short(value: float) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:20]}..."


def _cast(name: str, value: Any, kind: Any, source: str) -> Any:
    if value is None:
        return None
    if get_origin(kind) is tuple:
        items = get_args(kind)
        if not isinstance(value, list | tuple) or len(value) != len(items):
            raise ConfigError(f"{source}: {name} is {value!r:.80}, expected two values.")
        return tuple(_cast(name, v, item, source) for v, item in zip(value, items, strict=True))
    if get_origin(kind) is Literal:
        kind = str
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{source}: {name} is {value!r:.80}, expected {kind.__name__}.")
    return value
