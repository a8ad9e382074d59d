"""``tinysignal compress``: a trained network made smaller and faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tinysignal.cli.compress_report import show_report, show_sweep
from tinysignal.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from tinysignal.runs.compress import CompressOptions

FAR, HOW, TUNE, DATA, OUT = "How far", "How", "Further training", "Data", "Output"
_BUDGETS = ("rank", "energy", "params", "macs", "latency_ms", "max_drop")
_TUNING = ("augment", "learning_rate", "distill", "precision", "device")


def compress(
    run: Annotated[Path, typer.Argument(help="A run folder, as 'tinysignal train' makes it.")],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Run folder of the result.", rich_help_panel=OUT),
    ],
    rank: Annotated[
        int | None, typer.Option(help="The same for all layers.", rich_help_panel=FAR)
    ] = None,
    energy: Annotated[
        str | None,
        typer.Option(
            help="Share of each layer's squared singular values to keep: 0.95 or 95%.",
            rich_help_panel=FAR,
        ),
    ] = None,
    params: Annotated[
        str | None,
        typer.Option(help="Parameters to keep: 4.3%, or their number.", rich_help_panel=FAR),
    ] = None,
    macs: Annotated[
        str | None,
        typer.Option(
            help="Multiply-accumulates to keep: 5%, or the number for one example.",
            rich_help_panel=FAR,
        ),
    ] = None,
    latency_ms: Annotated[
        float | None,
        typer.Option(
            help="Time for one example, measured in torch on this machine with one thread.",
            rich_help_panel=FAR,
        ),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            help="Largest loss of accuracy in percentage points, on held-out calibration data. "
            "A classifier's budget where neither one nor --int8 is given: 0.5.",
            rich_help_panel=FAR,
        ),
    ] = None,
    plan: Annotated[
        Path | None,
        typer.Option(help="The ranks of this plan.json, edited or not.", rich_help_panel=FAR),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Several ranks, such as 10,20,50: the curve, and a run folder for each.",
            rich_help_panel=FAR,
        ),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            help="sequential (as earlier layers now answer), activation (of the outputs on "
            "calibration data), or plain (truncated SVD of the weights).",
            rich_help_panel=HOW,
        ),
    ] = "sequential",
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="8-bit numbers in model.onnx, at the end. Without a budget, that is all.",
            rich_help_panel=HOW,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of all that is random.", rich_help_panel=HOW)] = 0,
    threads: Annotated[
        int | None, typer.Option(help="Threads of torch; times are of one.", rich_help_panel=HOW)
    ] = None,
    finetune: Annotated[
        int | None,
        typer.Option(
            help="Epochs of training on the task and on the original's answers.",
            rich_help_panel=TUNE,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Run folder of another network to learn from than the original.",
            rich_help_panel=TUNE,
        ),
    ] = None,
    augment: Annotated[
        str | None,
        typer.Option(
            help="Deformation of the examples: run (the run's own; default), none, or best (the "
            "best recipe's).",
            rich_help_panel=TUNE,
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="The highest of its cycle.", rich_help_panel=TUNE)
    ] = None,
    distill: Annotated[
        float | None,
        typer.Option(
            help="Share of the original's answers in the loss, 0 to 1.", rich_help_panel=TUNE
        ),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="32 (default), bf16 or 16.", rich_help_panel=TUNE)
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto (default), cpu, cuda, mps.", rich_help_panel=TUNE)
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the further training in -o; all else as before.",
            rich_help_panel=TUNE,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="A classifier's data set, see 'tinysignal train classifier'; the run's own by "
            "default. Its training side is used, and its validation side to choose.",
            rich_help_panel=DATA,
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="TINYSIGNAL_DATA",
            help="Where data that is not found here is looked for.",
            rich_help_panel=DATA,
        ),
    ] = None,
    test: Annotated[
        bool,
        typer.Option("--test", help="With --sweep: test examples too.", rich_help_panel=DATA),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report as JSON, no tables.", rich_help_panel=OUT)
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress.", rich_help_panel=OUT)
    ] = False,
) -> None:
    """Make a trained network smaller and faster: factor its layers by SVD, as far as you say.

    Example: tinysignal compress run --params 4.3% --finetune 3 -o small

    OUT is a run folder like any other, with the plan of the ranks and a report of what was lost
    and won: accuracy, parameters, bytes, and milliseconds, before and after. An edited plan.json
    can be replayed. With --sweep, OUT holds the curve, and the best trade.
    """
    values = dict(locals())
    try:
        from tinysignal.runs.compress import compress_run
        from tinysignal.runs.sweep import sweep_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"compression ({error.name})", "train") from None
    if test and sweep is None:
        raise ConfigError("--test is for --sweep. Measure a run with 'tinysignal evaluate'.")
    options = _options(values)
    _set_threads(threads)
    common: dict[str, Any] = {
        "data": data,
        "data_dir": data_dir,
        "quiet": quiet,
        "tell": _silent if quiet else _tell,
    }
    if sweep is not None:
        if resume:
            raise ConfigError("--resume is for one network, not for a --sweep.")
        found = sweep_run(run, output, _ranks(sweep), options, test=test, **common)
        show: Callable[[dict[str, Any]], None] = show_sweep
    else:
        found = compress_run(run, output, options, resume=resume, **common)
        show = show_report
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        show(found)
        print(f"run: {output}")
        print(f"next: tinysignal evaluate {output}")
    for note in found["notes"]:
        _tell(f"note: {note}")


def _options(values: dict[str, Any]) -> CompressOptions:
    from tinysignal.runs.compress import CompressOptions
    from tinysignal.runs.load import read_plan
    from tinysignal.train.distillation import TuneOptions

    chosen = {name: values[name] for name in _TUNING if values[name] is not None}
    if values["finetune"] is None and (chosen or values["resume"]):
        first = next(iter(chosen), "resume")
        raise ConfigError(
            f"--{first.replace('_', '-')} is for further training: --finetune EPOCHS."
        )
    tune = None
    if values["finetune"] is not None:
        tune = TuneOptions(epochs=values["finetune"], **chosen)
    plan = values["plan"]
    return CompressOptions(
        budget=_budget(values),
        plan=None if plan is None else read_plan(plan),
        method=values["method"],
        tune=tune,
        teacher=values["teacher"],
        int8=values["int8"],
        seed=values["seed"],
    )


def _budget(values: dict[str, Any]) -> dict[str, Any]:
    """The one budget that was given, as a number; empty if there is none."""
    given = [name for name in (*_BUDGETS, "plan", "sweep") if values[name] is not None]
    if len(given) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ConfigError(f"{names}: give one of them.")
    return {
        name: _number(name, values[name]) if isinstance(values[name], str) else values[name]
        for name in given
        if name in _BUDGETS
    }


def _number(name: str, text: str) -> float:
    """``4.3%`` and ``0.043`` are the same."""
    try:
        value = float(text.rstrip("%"))
    except ValueError:
        raise ConfigError(
            f"--{name} '{text}': expected a share such as 4.3%, or a number."
        ) from None
    if not text.endswith("%"):
        return value
    if value > 100:
        raise ConfigError(f"--{name} {text}: more than all of it.")
    return value / 100


def _ranks(text: str) -> list[int]:
    try:
        ranks = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--sweep '{text}': expected ranks such as 10,20,50.") from None
    if min(ranks) < 1:
        raise ConfigError(f"--sweep {text}: rank {min(ranks)}, expected 1 or more.")
    return ranks


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        if threads < 1:
            raise ConfigError(f"--threads {threads}: expected 1 or more.")
        import torch

        torch.set_num_threads(threads)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _silent(line: str) -> None:
    pass
