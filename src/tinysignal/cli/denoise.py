"""``tinysignal denoise``: files, folders and pipes."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tinysignal import audio
from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.audio.formats import CONTAINERS
from tinysignal.batch import RESIDUAL, Outcome, Work, beside, pair, run_batch
from tinysignal.cli.options import AttenuationLimit, Mix, Model
from tinysignal.denoise_file import FileOptions, residual_suffix
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, MissingExtraError, TinysignalError
from tinysignal.files import Pair, check_pairs, make_folder
from tinysignal.model import DEFAULT_MODEL

_PIPE = Path("-")


class Channels(StrEnum):
    """One gain for all channels, or every channel on its own."""

    SHARED = "shared"
    INDEPENDENT = "independent"


class Clip(StrEnum):
    """What to do with a denoised signal beyond full scale."""

    RESCALE = "rescale"
    CLAMP = "clamp"
    NONE = "none"


def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Sound files, films, folders, or - for stdin."),
    ],
    *,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Where one file goes; - for stdout.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--output-dir", "-d", help="Where many files go; made if needed.")
    ] = None,
    model: Model = DEFAULT_MODEL,
    channels: Annotated[
        Channels,
        typer.Option(help="One gain for all, which keeps the stereo image, or each its own."),
    ] = Channels.SHARED,
    attenuation_limit: AttenuationLimit = None,
    mix: Mix = 1.0,
    clip_mode: Annotated[
        Clip,
        typer.Option(help="Beyond full scale: write all more quietly, saturate, or do nothing."),
    ] = Clip.RESCALE,
    container: Annotated[
        str | None,
        typer.Option("--format", metavar="EXT", help="Such as wav, flac, opus: the outputs' kind."),
    ] = None,
    subtype: Annotated[
        str | None, typer.Option(help="Such as PCM_16, PCM_24, FLOAT; the input's by default.")
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
    as_json: Annotated[bool, typer.Option("--json", help="A JSON report on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
) -> int:
    """Remove noise from recordings; rate, channels, length, format and tags stay.

    One file goes to -o, several to -d; with neither, NAME.clean.EXT is written beside NAME.EXT.
    Without -o, an output newer than its input is skipped.

    Example: tinysignal denoise talk.wav -o clean.wav
    """
    options = FileOptions(
        channel_mode=channels.value,
        attenuation_limit_db=attenuation_limit,
        mix=mix,
        clip_mode=clip_mode.value,
        subtype=subtype,
    )
    suffix = _suffix(container)
    if plot and find_spec("matplotlib") is None:  # said before the work, not after it
        raise MissingExtraError("--plot", "plot")
    with tempfile.TemporaryDirectory(prefix="tinysignal-") as spool:
        if _PIPE in map(Path, [*inputs, output or ""]):
            if as_json and output in ("-", None):
                raise ConfigError("--json and a sound on stdout cannot share it. Pass -o FILE.")
            if residual or plot or folder is not None:
                raise ConfigError("a pipe takes neither --residual, --plot nor -d.")
            work = [_piped(inputs, output, Path(spool), suffix, residual_file)]
        else:
            pairs = _pairs(list(map(Path, inputs)), output, folder, suffix)
            work = _works(pairs, residual=residual, residual_file=residual_file, plot=plot)
        denoiser = Denoiser.load(model)
        if folder is not None:
            for item in work:
                make_folder(item.files.target.parent)
        console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
        # Who names the output wants it written, whatever stands there.
        redo = overwrite or output is not None
        with _progress(work, console) as advance:
            outcomes = run_batch(
                work,
                denoiser,
                options,
                jobs=jobs,
                overwrite=redo,
                on_outcome=lambda outcome: _report(outcome, console),
                on_seconds=advance,
            )
        if work[0].names[1] == "-" and outcomes[0].status == "done":
            _copy_to_stdout(work[0].files.target)
    if as_json:
        print_json(outcomes, model)
    return 1 if any(outcome.status == "failed" for outcome in outcomes) else 0


def _suffix(container: str | None) -> str | None:
    if container is None:
        return None
    suffix = f".{container.lower().lstrip('.')}"
    if suffix not in SOUND_SUFFIXES:
        names = " ".join(sorted(s.lstrip(".") for s in CONTAINERS))
        raise ConfigError(f"--format {container}, expected one of: {names}.")
    return suffix


def _pairs(
    inputs: list[Path], output: str | None, folder: Path | None, suffix: str | None
) -> list[Pair]:
    if output is None:
        return pair(inputs, out_folder=folder, suffix=suffix)
    if folder is not None:
        raise ConfigError("-o is for one file, -d for many: pass only one of them.")
    if len(inputs) != 1 or inputs[0].is_dir():
        raise ConfigError("-o takes one input file. Pass -d FOLDER for several, or for a folder.")
    if Path(output).is_dir():
        raise ConfigError(f"-o {output} is a folder. Pass it with -d.")
    if suffix is not None and Path(output).suffix.lower() != suffix:
        raise ConfigError(f"--format {suffix[1:]} and -o {output} disagree. Pass only one.")
    pairs = [Pair(inputs[0], Path(output))]
    check_pairs(pairs)
    return pairs


def _works(
    pairs: list[Pair], *, residual: bool, residual_file: Path | None, plot: bool
) -> list[Work]:
    if residual_file is not None and len(pairs) != 1:
        raise ConfigError("--residual-file takes one input. Pass --residual for several.")
    works = []
    for item in pairs:
        beside_it = beside(item.target, RESIDUAL, residual_suffix(item.target))
        works.append(
            Work(
                item,
                (str(item.source), str(item.target)),
                residual=residual_file or (beside_it if residual else None),
                plot=item.target.with_suffix(".png") if plot else None,
            )
        )
    extra = [path for work in works for path in (work.residual, work.plot) if path is not None]
    check_pairs(pairs, also_written=extra)
    return works


def _piped(
    inputs: list[str],
    output: str | None,
    spool: Path,
    suffix: str | None,
    residual_file: Path | None,
) -> Work:
    """One input from stdin, or one output to stdout, or both, by way of files."""
    if len(inputs) != 1:
        raise ConfigError("a pipe takes one input.")
    source = Path(inputs[0])
    if source == _PIPE:
        if _is_no_pipe(sys.stdin):
            raise ConfigError("INPUT is -, but stdin is no pipe. Pipe a sound file into it.")
        source = spool / "stdin"
        with source.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
    name = "-" if output is None else output
    if name == "-":
        if _is_no_pipe(sys.stdout):
            raise ConfigError("stdout is no pipe. Pass -o FILE, or pipe it into a program.")
        target = spool / f"stdout{suffix or '.wav'}"
    else:
        target = Path(name)
    return Work(Pair(source, target), (inputs[0], name), residual=residual_file)


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
        return audio.info(item.files.source).duration_s
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
    files = [outcome.to_json() for outcome in outcomes]
    document = {"model": model, **counts, "files": files}
    print(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))
