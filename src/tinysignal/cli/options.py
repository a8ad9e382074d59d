"""Shared command-line options, and options generated from the fields of a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from tinysignal.audio.validate import check_rate
from tinysignal.errors import ConfigError, SignalError
from tinysignal.options import Options, in_words, option_of, value_type
from tinysignal.remote import Place, place
from tinysignal.train.config import DATA, OUTPUT

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of options. Flags override it.", rich_help_panel=DATA),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TINYSIGNAL_DATA",
        help="Folder to search for data that is not in the current folder.",
        rich_help_panel=DATA,
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue the run in -o.", rich_help_panel=OUTPUT)
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the metrics as JSON.", rich_help_panel=OUTPUT)
]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.", rich_help_panel=OUTPUT)]

Report = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="Name of a bundled model, a model file or its URL.")
]

# Short option names for fields of `DenoiseOptions`.
DENOISE_NAMES = {"channel_mode": "channels", "attenuation_limit_db": "attenuation_limit"}

_Config = TypeVar("_Config", bound=Options)


def with_options_of(
    config: type[Options],
    *,
    rename: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator that replaces a command's ``**options`` by the fields of a dataclass.

    An option has the name, type, help and group of its field and shows the field's default. An
    option that is not given is None, which lets a recipe or a file set it. The decorator can be
    applied several times.

    Parameters
    ----------
    config : type of Options
    rename : mapping of str to str or None
        Names of options that differ from the names of their fields.
    leave_out : collection of str
        Fields without an option.
    """
    names = rename or {}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        made = [
            _parameter(config, item.name, names.get(item.name, item.name))
            for item in fields(config)
            if item.name not in leave_out
        ]
        command.__signature__ = signature.replace(parameters=[*own, *made])  # type: ignore[attr-defined]
        return command

    return decorate


def chosen(
    config: type[_Config], options: Mapping[str, Any], *, rename: Mapping[str, str] | None = None
) -> _Config:
    """Configuration from a command's ``**options``; options that are not given have their default.

    Raises
    ------
    ConfigError
        A value is out of its bounds; the message names the option.
    """
    names = rename or {}
    values = {item.name: options.get(names.get(item.name, item.name)) for item in fields(config)}
    try:
        return config(**{name: value for name, value in values.items() if value is not None})
    except ConfigError as error:
        name, _, rest = str(error).partition(" ")
        flag = names.get(name, name).replace("_", "-")
        raise ConfigError(f"--{flag} {rest}") from None


def place_option(text: str) -> Place:
    """A path or a URL, as an option's parser."""
    try:
        return place(text)
    except ConfigError as error:  # typer would repeat the value, with what is secret in it
        raise typer.BadParameter(str(error)) from None


def folder_option(text: str) -> Place:
    """A folder that exists, or a URL."""
    found = place_option(text)
    if isinstance(found, Path) and not found.is_dir():
        what = "is a file" if found.exists() else "does not exist"
        raise typer.BadParameter(f"Directory '{text}' {what}.")
    return found


def file_option(text: str) -> Place:
    """A file that exists, or a URL."""
    found = place_option(text)
    if isinstance(found, Path) and (found.is_dir() or not found.exists()):
        what = "is a directory" if found.is_dir() else "does not exist"
        raise typer.BadParameter(f"File '{text}' {what}.")
    return found


def check_rate_option(flag: str, rate_hz: int) -> None:
    """Refuse a rate that no denoiser takes.

    Raises
    ------
    ConfigError
    """
    try:
        check_rate(rate_hz)
    except SignalError as error:
        raise ConfigError(f"{flag}: {error}") from None


def _parameter(config: type[Options], field: str, name: str) -> inspect.Parameter:
    details = option_of(field, config)
    default = in_words(config.__dataclass_fields__[field].default)
    # A text for show_default would stand in parentheses, as words do, not values.
    shown = f"\n\n[dim]\\[default: {default}][/dim]" if default and not details.shown else ""
    option = typer.Option(
        help=details.help + shown,
        metavar=details.metavar or None,
        show_default=details.shown or False,
        rich_help_panel=details.group,
        parser=_fraction if details.fraction else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[value_type(get_type_hints(config)[field]) | None, option],
    )


def _fraction(text: str) -> float:
    """Number of a text such as ``4.3%`` or ``0.043``."""
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}': expected a fraction such as 4.3%, or a number."
        ) from None
    if not text.endswith("%"):
        return value
    if value > 100:
        raise typer.BadParameter(f"{text}: expected 100% or less.")
    return value / 100
