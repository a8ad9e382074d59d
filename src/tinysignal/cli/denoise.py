"""``tinysignal denoise``: files, folders and pipes."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from tinysignal import audio
from tinysignal.audio.formats import CONTAINERS
from tinysignal.batch import Outcome, Work, outcomes_of, passed_over_text, plan_work
from tinysignal.batch.plan import checked, with_extras
from tinysignal.cli.options import DENOISE_NAMES, Model, Report, chosen, with_options_of
from tinysignal.cli.patterns import expanded
from tinysignal.cli.progress import progress, report
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.denoise_file import FILES, FileOptions
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import json_text
from tinysignal.gain import DenoiseOptions
from tinysignal.model import DEFAULT_MODEL

_PIPE = "-"
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
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo what is done.")] = False,
    as_json: Report = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
    **options: Any,
) -> int:
    """Remove noise from recordings; rate, channels, length, format and tags stay.

    One file goes to -o, several to -d; with neither, NAME.clean.EXT is written beside NAME.EXT.
    Without -o, what an earlier run made of the same input with the same options is skipped. Exit
    status: 0 all done, 1 some or all failed, 2 wrong usage.

    Example: tinysignal denoise talk.wav -o clean.wav
    """
    sound = chosen(DenoiseOptions, options, rename=DENOISE_NAMES)
    stored = chosen(FileOptions, options)
    console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
    suffix = _suffix(container)
    if plot and find_spec("matplotlib") is None:  # said before the work, not after it
        raise MissingExtraError("--plot", "plot")
    if folder is None and output is not None and output.endswith(_SEPARATORS):
        folder, output = Path(output), None
    passed_over: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="tinysignal-") as spool:
        if _PIPE in [*inputs, output]:
            if as_json and output in (_PIPE, None):
                raise ConfigError("--json and a sound on stdout cannot share it. Pass -o FILE.")
            if residual or plot or folder is not None:
                raise ConfigError("a pipe takes neither --residual, --plot nor -d.")
            work = [_piped(inputs, output, Path(spool), suffix)]
        elif output is None:
            work = plan_work(
                expanded(inputs),
                out_folder=folder,
                suffix=suffix,
                residual=residual,
                plot=plot,
                passed_over=passed_over,
            )
        else:
            item = _single(list(map(Path, expanded(inputs))), output, folder, suffix)
            work = [with_extras(item, residual=residual, plot=plot)]
        work = _with_residual_file(work, residual_file)
        kept, failed = [], 0
        with progress(work, console) as advance:
            outcomes = outcomes_of(
                work,
                Denoiser.load(model, **vars(sound)),
                stored,
                jobs=jobs,
                # Who names the output wants it written, whatever stands there.
                overwrite=overwrite or output is not None,
                make_folders=folder is not None,
                on_seconds=advance.seconds,
                new_records=output is None,
            )
            with closing(outcomes):
                for outcome in outcomes:
                    report(outcome, console)
                    advance.outcome(outcome)
                    failed += outcome.status == "failed"
                    if as_json:
                        kept.append(outcome)
        if work[0].names[1] == _PIPE and not failed:
            _copy_to_stdout(work[0].target)
    if passed_over:
        console.print(on_one_line(passed_over_text(passed_over)), markup=False)
    if as_json:
        print_json(kept, model, passed_over)
    return 1 if failed else 0


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
    return checked(work)


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
    if inputs[0] == _PIPE:
        if _is_no_pipe(sys.stdin):
            raise ConfigError("INPUT is -, but stdin is not a pipe. Pipe a sound file into it.")
        source = spool / "stdin"
        with source.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    name = output or _PIPE
    if name == _PIPE:
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


def print_json(outcomes: list[Outcome], model: str, passed_over: Counter[str]) -> None:
    """One JSON document on stdout."""
    statuses = [outcome.status for outcome in outcomes]
    counts = {status: statuses.count(status) for status in ("done", "skipped", "failed")}
    files = [outcome.to_dict() for outcome in outcomes]
    document = {"model": model, **counts, "passed_over": dict(passed_over), "files": files}
    print(json_text(document))
