"""The ``tinysignal`` command; every error ends in one line and an exit status."""

from __future__ import annotations

import codecs
import json
import os
import signal
import sys
from io import TextIOWrapper
from types import FrameType
from typing import Annotated, NoReturn, cast

import typer

from tinysignal import __version__
from tinysignal.cli.app import serve_page
from tinysignal.cli.classify import classify
from tinysignal.cli.compress import compress
from tinysignal.cli.denoise import denoise
from tinysignal.cli.evaluate import evaluate
from tinysignal.cli.info import info
from tinysignal.cli.inspect import inspect
from tinysignal.cli.live import live, play
from tinysignal.cli.serve import serve
from tinysignal.cli.terminal import on_one_line, printable
from tinysignal.cli.train import app as train_app
from tinysignal.errors import ConfigError, MissingExtraError, TinysignalError
from tinysignal.remote import is_url
from tinysignal.remote.url import without_secrets

app = typer.Typer(
    name="tinysignal",
    help="Denoise recordings, classify pictures and sounds; train, evaluate, inspect and compress "
    "small networks on signals.\n\n"
    "Example: tinysignal denoise talk.wav -o clean.wav",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(no_args_is_help=True)(denoise)
app.command(no_args_is_help=True)(classify)
app.command(no_args_is_help=True)(info)
app.command(no_args_is_help=True)(play)
app.command()(live)
app.command()(serve)
app.command(no_args_is_help=True)(evaluate)
app.command(no_args_is_help=True)(inspect)
app.command(no_args_is_help=True)(compress)
app.command("app")(serve_page)
app.add_typer(train_app, name="train")

# typer carries click inside it in some releases and imports it in others.
_ClickError = cast(type[typer.BadParameter], typer.BadParameter.__mro__[2])


_INTERRUPTED = 128 + signal.SIGINT
# Of a job that is stopped, and of a terminal that is closed. Windows has no SIGHUP.
_ENDS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Their errors are told by Python alone. Training and its workers keep what libraries have to say.
_READERS = ("denoise", "classify", "info", "play", "evaluate")

_LOCAL_COMMANDS = ("inspect", "compress", "play", "live")
_LOCAL_OPTIONS = {"-o", "--output", "--data-dir", "--config"}  # of the commands that train


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


class _TerminatedError(BaseException):
    """A signal as an exception, which runs all clean-up code."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise _TerminatedError(number)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters that an output cannot encode, as JSON writes them: valid in JSON, too."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def _silence_libraries() -> None:
    """Leave standard error to Python: libmpg123 tells of every damaged frame there."""
    if not isinstance(sys.stderr, TextIOWrapper):
        return
    old = sys.stderr
    old.flush()
    try:
        own = os.dup(old.fileno())
        nowhere = os.open(os.devnull, os.O_WRONLY)
    except OSError:
        return
    os.dup2(nowhere, old.fileno())
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding=old.encoding, errors=old.errors)


def main() -> None:
    """Run the command line and exit.

    Exit status 0: all inputs are done; 1: an input failed; 2: wrong usage; 129, 130 or 143:
    interrupted.
    """
    for number in _ENDS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _terminate)
    if isinstance(sys.stdout, TextIOWrapper):
        # File names may be invalid text, and a code page may lack their characters.
        codecs.register_error("json", _escaped)
        sys.stdout.reconfigure(errors="json")
    if sys.argv[1:2] and sys.argv[1] in _READERS:
        _silence_libraries()
    try:
        status = run(sys.argv[1:])
    except _TerminatedError as ended:  # while the last line was written
        status = ended.status
    for number in _ENDS:
        # Nothing is left to clean up, and an exception while Python ends is a traceback.
        if signal.getsignal(number) is _terminate:
            signal.signal(number, signal.SIG_DFL)
    if status and _is_one_of_many():
        # Its connections to a process that is gone may never close, and the others wait for it.
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _is_one_of_many() -> bool:
    """Whether this process trains together with others."""
    distributed = sys.modules.get("torch.distributed")
    return bool(distributed and distributed.is_available() and distributed.is_initialized())


def run(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    if arguments == ["--version"]:  # typer demands a command
        print(__version__)
        return 0
    try:
        _refuse_urls(arguments)
        status = typer.main.get_command(app).main(
            arguments, prog_name="tinysignal", standalone_mode=False
        )
        if sys.stdout is not None:  # None if it was closed before the start
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of stdout has closed it; flushing the buffer at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except _TerminatedError as ended:
        status = ended.status
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):  # torch's word
            raise
        print("error: not enough memory for this.", file=sys.stderr)
        return 1
    except (_ClickError, TinysignalError, OSError) as error:
        message, status = _explained(error)
        if message:
            print(message, file=sys.stderr)
    # Newer typers return the status of an interrupt.
    if status in (_INTERRUPTED, *(128 + number for number in _ENDS)):
        print("error: interrupted.", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _refuse_urls(arguments: list[str]) -> None:
    """Refuse URLs where a local path is meant, which would become a folder called ``s3:``."""
    command, *rest = arguments or [""]
    for before, argument in zip(arguments, rest, strict=False):
        option, _, value = argument.partition("=")
        given = value if option in _LOCAL_OPTIONS else argument
        is_local = command in _LOCAL_COMMANDS or {option, before} & _LOCAL_OPTIONS
        if is_local and command not in ("denoise", "classify", "info") and is_url(given):
            raise ConfigError(
                f"{without_secrets(given)}: expected a local path; 'tinysignal {command}' takes no "
                "URL there."
            )


def _explained(error: Exception) -> tuple[str, int]:
    """Message of an error on one line, and its exit status."""
    if isinstance(error, _ClickError):
        message = error.format_message().replace("Value error, ", "")
        if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help, if not yet shown
            return message, 2
        return printable(f"error: {' '.join(message.split())}"), 2
    if isinstance(error, TinysignalError):
        status = 2 if isinstance(error, ConfigError | MissingExtraError) else 1
        return on_one_line(f"error: {error}"), status
    return printable(f"error: {' '.join(str(error).split())}"), 1
