"""``tinysignal denoise``: files, folders and pipes."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections import Counter
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from tinysignal import audio
from tinysignal.audio.formats import CONTAINERS
from tinysignal.audio.pcm import PcmFormat, WavHead, read_wav_head
from tinysignal.audio.validate import MAX_CHANNELS
from tinysignal.batch import Outcome, Work, outcomes_by, passed_over_text, plan_work
from tinysignal.batch.plan import checked, with_extras
from tinysignal.batch.report import REPORT, default_report, in_order, report_to
from tinysignal.cli.options import (
    DENOISE_NAMES,
    Model,
    Report,
    check_rate_option,
    chosen,
    with_options_of,
)
from tinysignal.cli.patterns import expanded
from tinysignal.cli.progress import progress, report
from tinysignal.cli.streams import denoise_raw, denoise_wav
from tinysignal.cli.terminal import Console, on_one_line
from tinysignal.cluster import MACHINES, Engine
from tinysignal.denoise_file import FILES, FileOptions
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import json_text
from tinysignal.gain import DenoiseOptions
from tinysignal.model import DEFAULT_MODEL
from tinysignal.remote import Place, is_folder, place

_PIPE = "-"
_CHANGING = ("subtype", "clip_mode", "keep_times")
RAW = "Streams"  # heading of their options in --help
_SEPARATORS = ("/", os.sep)  # at the end of a path: a folder


@with_options_of(Engine)
@with_options_of(FileOptions)
@with_options_of(DenoiseOptions, rename=DENOISE_NAMES)
def denoise(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...", help="Sound files, films, folders, their URLs, or - for stdin."
        ),
    ],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", help="Where one file goes; - for stdout, FOLDER/ as with -d."
        ),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            "--output-dir", "-d", metavar="FOLDER", help="Where many files go; made if needed."
        ),
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
        str | None, typer.Option(metavar="FILE", help="The same, for one input, to this file.")
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Also draw spectrograms before and after: NAME.png.")
    ] = False,
    raw: Annotated[
        int | None,
        typer.Option(
            "--raw", metavar="RATE", help="Bare samples from stdin to stdout.", rich_help_panel=RAW
        ),
    ] = None,
    raw_channels: Annotated[
        int, typer.Option(min=1, max=MAX_CHANNELS, help="Channels.", rich_help_panel=RAW)
    ] = 1,
    raw_format: Annotated[
        Literal["s16le", "f32le"],
        typer.Option(help="Samples of --raw: integers or floating point.", rich_help_panel=RAW),
    ] = "s16le",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            help="Files at once.",
            show_default="1; of Ray, one a processor",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Redo what is done.")] = False,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report",
            metavar="FILE",
            help="Write what became of each file to FILE.jsonl as it comes, or to FILE.parquet.",
            show_default=f"of Ray with -d, {REPORT} there",
            rich_help_panel=MACHINES,
        ),
    ] = None,
    as_json: Report = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
    **options: Any,
) -> int:
    """Remove noise from recordings; rate, channels, length, format and tags stay.

    One file goes to -o, several to -d; with neither, NAME.clean.EXT is written beside NAME.EXT.
    Without -o, what an earlier run made of the same input with the same options is skipped. Exit
    status: 0 all done, 1 some or all failed, 2 wrong usage.

    Example: tinysignal denoise talk.wav -o clean.wav

    Example: arecord -t raw -f S16_LE -r 16000 | tinysignal denoise --raw 16000 - | aplay -t raw
    -f S16_LE -r 16000
    """
    sound = chosen(DenoiseOptions, options, rename=DENOISE_NAMES)
    stored = chosen(FileOptions, options)
    engine = chosen(Engine, options)
    console = Console(stderr=True, quiet=quiet, soft_wrap=True, highlight=False)
    if plot and find_spec("matplotlib") is None:  # said before the work, not after it
        raise MissingExtraError("--plot", "plot")
    if folder is None and output is not None and output.endswith(_SEPARATORS):
        folder, output = output, None
    is_for_many = engine.is_ray or report_file is not None
    asked = _Asked(
        inputs,
        output,
        None if folder is None else place(folder),
        _suffix(container),
        residual,
        None if residual_file is None else place(residual_file),
        plot,
        is_for_many,
    )
    if raw is not None:
        if as_json or stored != FileOptions():
            raise ConfigError("--raw takes no option of files, nor --json.")
        asked.check_raw()
        check_rate_option("--raw", raw)
        pcm = PcmFormat(raw, raw_channels, raw_format)
        return denoise_raw(pcm, Denoiser.load(model, **vars(sound)), console)
    passed_over: Counter[str] = Counter()
    pipe = tempfile.TemporaryDirectory(prefix="tinysignal-") if asked.is_piped else nullcontext("")
    with pipe as spool:
        if asked.is_piped:
            if as_json and output in (_PIPE, None):
                raise ConfigError("--json and a sound on stdout cannot share it. Pass -o FILE.")
            asked.check_piped()
            # What needs the whole file, or other samples than came, goes by way of files.
            changed = any(options.get(name) is not None for name in _CHANGING)
            head = WavHead(b"") if changed or not asked.may_flow else read_wav_head(_read)
            if head.pcm is not None:
                return denoise_wav(head, Denoiser.load(model, **vars(sound)), console)
            work = [asked.spooled(Path(spool), head.content)]
        else:
            work = asked.planned(passed_over)
        work = checked(work)
        kept: list[Outcome] | None = [] if as_json else None
        failed = _run(
            work,
            console,
            kept,
            report_file or default_report(engine, asked.folder),
            engine=engine,
            denoiser=Denoiser.load(model, **vars(sound)),
            options=stored,
            jobs=jobs,
            # Who names the output wants it written, whatever stands there.
            overwrite=overwrite or asked.output is not None,
            replace_read_only=overwrite,
            make_folders=asked.folder is not None,
            new_records=asked.output is None,
        )
        if work[0].names[1] == _PIPE and not failed:
            _copy_to_stdout(work[0].target)
    if passed_over:
        console.print(on_one_line(passed_over_text(passed_over)), markup=False)
    if kept is not None:
        print_json(kept, model, passed_over)
    return 1 if failed else 0


def _run(
    work: list[Work],
    console: Console,
    kept: list[Outcome] | None,
    report_file: Path | None,
    **how: Any,
) -> int:
    """How many files failed; outcomes are told as they come, and kept only where asked."""
    failed = 0
    with report_to(report_file) as write, progress(work, console) as advance:
        outcomes = outcomes_by(work=work, on_seconds=advance.seconds, **how)
        with closing(outcomes):
            for outcome in outcomes:
                write(outcome)
                report(outcome, console)
                advance.outcome(outcome)
                failed += outcome.status == "failed"
                if kept is not None:
                    kept.append(outcome)
    if kept is not None:
        kept[:] = in_order(kept, work)
    return failed


@dataclass(frozen=True)
class _Asked:
    """What is to be read and written, as it was typed."""

    inputs: list[str]
    output: str | None
    folder: Place | None
    suffix: str | None
    residual: bool
    residual_file: Place | None
    plot: bool
    is_for_many: bool

    @property
    def is_piped(self) -> bool:
        return _PIPE in [*self.inputs, self.output]

    @property
    def may_flow(self) -> bool:
        """Whether sound may go from one pipe to the other as it comes, if it is a WAV file."""
        return (
            self.inputs == [_PIPE]
            and self.output in (_PIPE, None)
            and self.suffix in (".wav", None)
            and self.residual_file is None
            and not _is_file(sys.stdin)
        )

    def check_raw(self) -> None:
        if self.inputs != [_PIPE] or self.output not in (_PIPE, None):
            raise ConfigError("--raw goes from stdin to stdout: pass - as the input, and no -o.")
        self.check_piped()
        if self.suffix or self.residual_file:
            raise ConfigError("--raw takes neither --format nor --residual-file.")

    def check_piped(self) -> None:
        if self.residual or self.plot or self.folder is not None:
            raise ConfigError("a pipe takes neither --residual, --plot nor -d.")
        if self.is_for_many:
            raise ConfigError("a pipe takes neither --engine ray nor --report.")
        if len(self.inputs) != 1:
            raise ConfigError("a pipe takes one input.")
        if self.inputs[0] == _PIPE and _is_no_pipe(sys.stdin):
            raise ConfigError("INPUT is -, but stdin is not a pipe. Pipe a sound file into it.")
        if self.output in (_PIPE, None) and _is_no_pipe(sys.stdout):
            raise ConfigError("stdout is not a pipe. Pass -o FILE, or pipe it into a program.")

    def spooled(self, spool: Path, read: bytes) -> Work:
        """One input from stdin, of which some is read, or one output to stdout, or both."""
        source = place(self.inputs[0])
        if self.inputs[0] == _PIPE:
            source = stdin = spool / "stdin"
            with stdin.open("wb") as file:
                file.write(read)
                shutil.copyfileobj(sys.stdin.buffer, file)
        name = self.output or _PIPE
        target = spool / f"stdout{self.suffix or '.wav'}" if name == _PIPE else place(name)
        return Work(source, target, self.residual_file, shown=(self.inputs[0], name))

    def planned(self, passed_over: Counter[str]) -> list[Work]:
        """Files and folders."""
        inputs = expanded(self.inputs)
        if self.output is not None:
            item = _single([*map(place, inputs)], self.output, self.folder, self.suffix)
            work = [with_extras(item, residual=self.residual, plot=self.plot)]
        else:
            work = plan_work(
                inputs,
                out_folder=self.folder,
                suffix=self.suffix,
                residual=self.residual,
                plot=self.plot,
                passed_over=passed_over,
            )
        if self.residual_file is not None:
            if len(work) != 1:
                raise ConfigError("--residual-file takes one input. Pass --residual for several.")
            work = [replace(work[0], residual=self.residual_file)]
        return work


def _suffix(container: str | None) -> str | None:
    if container is None:
        return None
    suffix = f".{container.lower().lstrip('.')}"
    if suffix not in audio.SOUND_SUFFIXES:
        names = " ".join(sorted(s.lstrip(".") for s in CONTAINERS))
        raise ConfigError(f"--format {container}, expected one of: {names}.")
    return suffix


def _single(inputs: list[Place], output: str, folder: Place | None, suffix: str | None) -> Work:
    target = place(output)
    if folder is not None:
        raise ConfigError("-o is for one file, -d for many: pass only one of them.")
    if len(inputs) != 1 or is_folder(inputs[0]):
        raise ConfigError("-o takes one input file. Pass -d FOLDER for several, or for a folder.")
    if isinstance(target, Path) and target.is_dir():
        raise ConfigError(f"-o {output} is a folder. Pass it with -d.")
    if suffix is not None and target.suffix.lower() != suffix:
        raise ConfigError(f"--format {suffix[1:]} and -o {target} disagree. Pass only one.")
    return Work(inputs[0], target)


def _read(size: int) -> bytes:
    return sys.stdin.buffer.read(size)


def _is_file(stream: TextIO) -> bool:
    """Whether it comes from a file, or what cannot be told."""
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError):
        return True


def _is_no_pipe(stream: TextIO | None) -> bool:
    """A terminal, or None: Python's word for a stream that was closed before it started."""
    return stream is None or stream.isatty()


def _copy_to_stdout(path: Place) -> None:
    assert isinstance(path, Path)  # in the spool
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
