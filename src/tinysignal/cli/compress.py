"""``tinysignal compress``: a trained network made smaller and faster."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tinysignal.budget import BUDGET, Budget
from tinysignal.cli.compress_report import show_report, show_sweep
from tinysignal.cli.options import DataDir, with_options_of
from tinysignal.cli.terminal import printable
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.train.config import DATA, OUTPUT
from tinysignal.train.tuning import TUNING, TuneOptions

if TYPE_CHECKING:
    from tinysignal.runs.compress import CompressOptions

METHOD = "Method"


@with_options_of(Budget)
@with_options_of(TuneOptions, rename={"epochs": "finetune"})
def compress(
    run: Annotated[Path, typer.Argument(help="A run folder, as 'tinysignal train' makes it.")],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Run folder of the result.", rich_help_panel=OUTPUT),
    ],
    plan: Annotated[
        Path | None,
        typer.Option(help="The ranks of this plan.json, edited or not.", rich_help_panel=BUDGET),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Several ranks, such as 10,20,50: the curve, and a run folder for each.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    method: Annotated[
        Literal["sequential", "activation", "svd"],
        typer.Option(
            help="sequential (uses the outputs of the already compressed layers), activation "
            "(least error of each layer's outputs on calibration data), or svd (truncated SVD of "
            "the weights).",
            rich_help_panel=METHOD,
        ),
    ] = "sequential",
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Store 8-bit numbers in model.onnx, as the last step. Without a budget, nothing "
            "else is done.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Random seed.", rich_help_panel=METHOD)] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads of torch; times are measured with one.",
            show_default="torch's",
            rich_help_panel=METHOD,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run folder of another network to imitate in the further training.",
            show_default="the original",
            rich_help_panel=TUNING,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the further training in -o; give the other options as before.",
            rich_help_panel=TUNING,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="A classifier's data set, see 'tinysignal train classifier'. Its training split "
            "is used, and its validation split to choose.",
            show_default="the run's own",
            rich_help_panel=DATA,
        ),
    ] = None,
    data_dir: DataDir = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="With --sweep: score on the test split too.", rich_help_panel=DATA
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print the report as JSON, no tables.", rich_help_panel=OUTPUT),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="No progress.", rich_help_panel=OUTPUT)
    ] = False,
    **chosen: Any,
) -> None:
    """Make a trained network smaller and faster: factor its layers by SVD, within a budget.

    Example: tinysignal compress run --params 4.3% --finetune 3 -o small

    OUT is a run folder like any other, with the plan of the ranks and a report of accuracy,
    parameters, bytes and milliseconds before and after. An edited plan.json can be replayed. With
    --sweep, OUT holds the curve, and the network with the best trade.
    """
    budget = {item.name: chosen.pop(item.name) for item in fields(Budget)}
    _check_one({**budget, "plan": plan, "sweep": sweep})
    try:
        from tinysignal.runs.compress import compress_run
        from tinysignal.runs.sweep import sweep_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"compression ({error.name})", "train") from None
    if test and sweep is None:
        raise ConfigError("--test is for --sweep. Measure a run with 'tinysignal evaluate'.")
    options = _options(
        budget,
        plan,
        method=method,
        tune=_tune(chosen, resume=resume),
        teacher=teacher,
        int8=int8,
        seed=seed,
    )
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


def _check_one(choices: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)}: give one of them.")


def _tune(tuning: dict[str, Any], *, resume: bool) -> TuneOptions | None:
    """The options of further training; None where there is none."""
    given = {name: value for name, value in tuning.items() if value is not None}
    if "finetune" not in given:
        if given or resume:
            first = next(iter(given), "resume").replace("_", "-")
            raise ConfigError(f"--{first} is for further training: pass --finetune EPOCHS too.")
        return None
    epochs = given.pop("finetune")
    return TuneOptions.from_values({"epochs": epochs, **given}, "options")


def _options(budget: dict[str, Any], plan: Path | None, **options: Any) -> CompressOptions:
    from tinysignal.runs.compress import CompressOptions
    from tinysignal.runs.load import read_plan

    given = {name: value for name, value in budget.items() if value is not None}
    return CompressOptions(
        budget=Budget(**given) if given else None,
        plan=None if plan is None else read_plan(plan),
        **options,
    )


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
    print(printable(line), file=sys.stderr)


def _silent(line: str) -> None:
    pass
