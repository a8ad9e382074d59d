"""Options that several commands share, and options made from a configuration's fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from tinysignal.errors import ConfigError
from tinysignal.options import Options, in_words, option_of, value_type
from tinysignal.train.config import DATA, OUTPUT

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of options; flags override it.", rich_help_panel=DATA),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="TINYSIGNAL_DATA",
        help="Folder in which data that is not found here is looked for.",
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

Report = Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else there.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A bundled name or a model file.")]

# Fields of `DenoiseOptions` whose options have a shorter name.
DENOISE_NAMES = {"channel_mode": "channels", "attenuation_limit_db": "attenuation_limit"}

_Config = TypeVar("_Config", bound=Options)


def with_options_of(
    config: type[Options],
    *,
    rename: Mapping[str, str] | None = None,
    leave_out: Collection[str] = (),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: a command's ``**options`` become one option for each field of a dataclass.

    Each has the field's name, or what it is renamed to, its type, help and group, and shows its
    default. One that is not given is None, so that a recipe or a file can say it. Applied twice, a
    command has the fields of both.
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
    """The configuration that a command's ``**options`` ask for; what is not given has its default.

    Raises
    ------
    ConfigError
        A value that is out of its bounds; the message names the option.
    """
    names = rename or {}
    values = {item.name: options.get(names.get(item.name, item.name)) for item in fields(config)}
    try:
        return config(**{name: value for name, value in values.items() if value is not None})
    except ConfigError as error:
        name, _, rest = str(error).partition(" ")
        flag = names.get(name, name).replace("_", "-")
        raise ConfigError(f"--{flag} {rest}") from None


def _parameter(config: type[Options], field: str, name: str) -> inspect.Parameter:
    facts = option_of(field, config)
    default = config.__dataclass_fields__[field].default
    option = typer.Option(
        help=facts.help,
        metavar=facts.metavar or None,
        show_default=facts.shown or in_words(default) or False,
        rich_help_panel=facts.group,
        parser=_fraction if facts.fraction else None,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[value_type(get_type_hints(config)[field]) | None, option],
    )


def _fraction(text: str) -> float:
    """``4.3%`` and ``0.043`` are the same."""
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        raise typer.BadParameter(
            f"'{text}': expected a fraction such as 4.3%, or a number."
        ) from None
    if not text.endswith("%"):
        return value
    if value > 100:
        raise typer.BadParameter(f"{text}: more than all of it.")
    return value / 100
