"""``tinysignal denoise``: files, folders and pipes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinysignal import audio
from tinysignal.audio.formats import CONTAINERS
from tinysignal.batch import Outcome, Work, check_work, plan_work, run_batch, with_extras
from tinysignal.cli.options import DENOISE_NAMES, Model, Report, chosen, with_options_of
from tinysignal.cli.terminal import Console
from tinysignal.denoise_file import FILES, FileOptions
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, MissingExtraError, TinysignalError
from tinysignal.files import json_text
from tinysignal.gain import DenoiseOptions
from tinysignal.model import DEFAULT_MODEL

_PIPE = Path("-")
_SEPARATORS = ("/", os.sep)  # at the end of a path: a folder


@with_options_of(FileOptions)
@with_options_of(DenoiseOptions, rename=DENOISE_NAMES)
def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Sound files, films, folders, or - for stdin."),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Where one file goes; - for stdout, FOLDER/ as with -d."
        ),
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--output-dir", "-d", help="Where many files go; made if needed.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    container: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="EXT",
            help="Such as wav, flac, opus.",
            show_default="the input's",
            rich_help_panel=FILES,
        ),
    ] = None,
    residual: Annotated[
        bool, typer.Option("--residual", help="Also write what was removed: NAME.residual.EXT.")
    ] = False,
    residual_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same, for one input, to this file.")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also draw spectrograms before and after: NAME.png.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Files at once.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Redo outputs newer than their input.")
    ] = False,
    as_json: Report = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
    **options: Any,
) -> int:
    """Remove noise from recordings; rate, channels, length, format and tags stay.

    One file goes to -o, several to -d; with neither, NAME.clean.EXT is written beside NAME.EXT.
    Without -o, an output newer than its input is skipped.

    Example: tinysignal denoise talk.wav -o clean.wav
    """
    sound = chosen(DenoiseOptions, options, rename=DENOISE_NAMES)
    stored = chosen(FileOptions, options)
    suffix = _suffix(container)
    if plot and find_spec("matplotlib") is None:  # said before the work, not after it
        raise MissingExtraError("--plot", "plot")
    if folder is None and output is not None and output.endswith(_SEPARATORS):
        folder, output = Path(output), None
    piped = _PIPE in map(Path, [*inputs, output or ""])
    with tempfile.TemporaryDirectory(prefix="tinysignal-") if piped else nullcontext("") as spool:
        if piped:
            if as_json and output in ("-", None):
                raise ConfigError("--json and a sound on stdout cannot share it. Pass -o FILE.")
            if residual or plot or folder is not None:
                raise ConfigError("a pipe takes neither --residual, --plot nor -d.")
            work = [_piped(inputs, output, Path(spool), suffix)]
        elif output is None:
            work = plan_work(inputs, out_folder=folder, suffix=suffix, residual=residual, plot=plot)
        else:
            item = _single(list(map(Path, inputs)), output, folder, suffix)
            work = [with_extras(item, residual=residual, plot=plot)]
        work = _with_residual_file(work, residual_file)
        denoiser = Denoiser.load(model, **vars(sound))
        console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
        with _progress(work, console) as advance:
            outcomes = run_batch(
                work,
                denoiser,
                stored,
                jobs=jobs,
                # Who names the output wants it written, whatever stands there.
                overwrite=overwrite or output is not None,
                replace_read_only=overwrite,
                make_folders=folder is not None,
                on_outcome=lambda outcome: _report(outcome, console),
                on_seconds=advance,
            )
        if work[0].names[1] == "-" and outcomes[0].status == "done":
            _copy_to_stdout(work[0].target)
    if as_json:
        print_json(outcomes, model)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _suffix(container: str | None) -> str | None:
    if container is None:
        return None
    suffix = f".{container.lower().lstrip('.')}"
    if suffix not in audio.SOUND_SUFFIXES:
        names = " ".join(sorted(s.lstrip(".") for s in CONTAINERS))
        raise ConfigError(f"--format {container}, expected one of: {names}.")
    return suffix


def _single(inputs: list[Path], output: str, folder: Path | None, suffix: str | None) -> Work:
    if folder is not None:
        raise ConfigError("-o is for one file, -d for many: pass only one of them.")
    if len(inputs) != 1 or inputs[0].is_dir():
        raise ConfigError("-o takes one input file. Pass -d FOLDER for several, or for a folder.")
    if Path(output).is_dir():
        raise ConfigError(f"-o {output} is a folder. Pass it with -d.")
    if suffix is not None and Path(output).suffix.lower() != suffix:
        raise ConfigError(f"--format {suffix[1:]} and -o {output} disagree. Pass only one.")
    return Work(inputs[0], Path(output))


def _with_residual_file(work: list[Work], residual_file: Path | None) -> list[Work]:
    if residual_file is not None:
        if len(work) != 1:
            raise ConfigError("--residual-file takes one input. Pass --residual for several.")
        work = [replace(work[0], residual=residual_file)]
    check_work(work)
    return work


def _piped(
    inputs: list[str],
    output: str | None,
    spool: Path,
    suffix: str | None,
) -> Work:
    """One input from stdin, or one output to stdout, or both, by way of files."""
    if len(inputs) != 1:
        raise ConfigError("a pipe takes one input.")
    source = Path(inputs[0])
    if source == _PIPE:
        if _is_no_pipe(sys.stdin):
            raise ConfigError("INPUT is -, but stdin is not a pipe. Pipe a sound file into it.")
        source = spool / "stdin"
        with source.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    name = "-" if output is None else output
    if name == "-":
        if _is_no_pipe(sys.stdout):
            raise ConfigError("stdout is not a pipe. Pass -o FILE, or pipe it into a program.")
        target = spool / f"stdout{suffix or '.wav'}"
    else:
        target = Path(name)
    return Work(source, target, shown=(inputs[0], name))


def _is_no_pipe(stream: TextIO | None) -> bool:
    """A terminal, or None: Python's word for a stream that was closed before it started."""
    return stream is None or stream.isatty()


def _copy_to_stdout(path: Path) -> None:
    with path.open("rb") as file:
        shutil.copyfileobj(file, sys.stdout.buffer)
    sys.stdout.buffer.flush()


@contextmanager
def _progress(work: list[Work], console: Console) -> Iterator[Callable[[float], None]]:
    """A bar over the seconds of sound, with the speed as a multiple of real time."""
    if not console.is_terminal or console.quiet:
        yield lambda seconds: None
        return
    columns = (
        TextColumn("denoising"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=sum(map(_seconds, work)) or None, speed="")

        def advance(seconds: float) -> None:
            bar.advance(task, seconds)
            state = bar.tasks[0]
            if state.elapsed:
                bar.update(task, speed=f"{state.completed / state.elapsed:.0f} x real time")

        yield advance


def _seconds(item: Work) -> float:
    try:
        return audio.info(item.source).duration_s
    except TinysignalError:
        return 0.0  # the run itself reports it


def _report(outcome: Outcome, console: Console) -> None:
    source, target = outcome.work.names
    if outcome.error is not None:
        # On one line, and on stderr even when the console is quiet.
        loud = Console(stderr=True, soft_wrap=True, highlight=False) if console.quiet else console
        loud.print(f"error: {' '.join(outcome.error.split())}", markup=False)
    elif outcome.report is None:
        console.print(f"{source}: skipped, {target} is newer (--overwrite redoes it)", markup=False)
    else:
        report = outcome.report
        console.print(
            f"{source} -> {target}: {report.duration_s:.1f} s, {report.speed:.0f} x real time",
            markup=False,
        )
        for note in report.notes:
            console.print(f"{target}: {note}", markup=False)


def print_json(outcomes: list[Outcome], model: str) -> None:
    """One JSON document on stdout."""
    statuses = [outcome.status for outcome in outcomes]
    counts = {status: statuses.count(status) for status in ("done", "skipped", "failed")}
    files = [outcome.to_dict() for outcome in outcomes]
    document = {"model": model, **counts, "files": files}
    print(json_text(document))
