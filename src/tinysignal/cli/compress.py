"""``tinysignal compress``: compression of a trained network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tinysignal.budget import BUDGET, Budget
from tinysignal.cli.compress_report import show_report, show_sweep
from tinysignal.cli.options import DataDir, with_options_of
from tinysignal.cli.terminal import on_one_line, printable
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.files import json_text
from tinysignal.train.config import DATA, OUTPUT
from tinysignal.train.tuning import TUNING, TuneOptions

if TYPE_CHECKING:
    from tinysignal.runs.compress import CompressOptions

METHOD = "Method"


@with_options_of(Budget)
@with_options_of(TuneOptions, rename={"epochs": "finetune"})
def compress(
    run: Annotated[Path, typer.Argument(help="Run folder of 'tinysignal train'.")],
    *,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Run folder of the result.", rich_help_panel=OUTPUT),
    ],
    plan: Annotated[
        Path | None,
        typer.Option(
            help="Plan file (plan.json, possibly edited) with the ranks.", rich_help_panel=BUDGET
        ),
    ] = None,
    sweep: Annotated[
        str | None,
        typer.Option(
            help="Ranks such as 10,20,50; writes a curve, and a run folder for each rank.",
            rich_help_panel=BUDGET,
        ),
    ] = None,
    method: Annotated[
        Literal["sequential", "activation", "svd"],
        typer.Option(
            help="Method of the factors: sequential (fitted to the outputs of the already "
            "compressed layers), activation (fitted to each layer's outputs on calibration data), "
            "or svd (truncated SVD of the weights).",
            rich_help_panel=METHOD,
        ),
    ] = "sequential",
    refine: Annotated[
        str,
        typer.Option(
            metavar="STEPS|joint",
            help="Fit of the factors without labels: a number of gradient steps per layer, for "
            "method sequential; or joint, which then fits all factors together to the outputs of "
            "the original network.",
            rich_help_panel=METHOD,
        ),
    ] = "300",
    min_rank: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RANK|LAYER=RANK",
            help="Smallest rank of every layer, or of layers by name or pattern: head=32. May be "
            "repeated; the last that fits a layer counts.",
            show_default="4 where ranks are searched",
            rich_help_panel=METHOD,
        ),
    ] = None,
    round_to: Annotated[
        int,
        typer.Option(
            help="Make ranks multiples of this, such as 8, in layers that are large enough for it.",
            min=1,
            rich_help_panel=METHOD,
        ),
    ] = 1,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Store 8-bit numbers in model.onnx after the other steps. Without a budget, it is "
            "the only step.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    seed: Annotated[
        int, typer.Option(help="Random seed of the calibration data.", rich_help_panel=METHOD)
    ] = 0,
    calibration: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Training examples, or frames of a denoiser, to fit to: more is better, slower.",
            show_default="8192, or 4096 frames",
            rich_help_panel=METHOD,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Number of torch threads; times are measured with one.",
            show_default="torch's default",
            rich_help_panel=METHOD,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run folder of the teacher for distillation in fine-tuning.",
            show_default="the original network",
            rich_help_panel=TUNING,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue the fine-tuning in -o, with the same options.",
            rich_help_panel=TUNING,
        ),
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            help="Data set of a classifier, see 'tinysignal train classifier'. Its training split "
            "is used for calibration, its validation split for scores.",
            show_default="that of the run",
            rich_help_panel=DATA,
        ),
    ] = None,
    data_dir: DataDir = None,
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="Score on the test split too, with --sweep.", rich_help_panel=DATA
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print the report as JSON instead of tables.", rich_help_panel=OUTPUT
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print no progress.", rich_help_panel=OUTPUT)
    ] = False,
    **chosen: Any,
) -> None:
    """Compress a trained network: factor its layers by SVD within a budget.

    Example: tinysignal compress run --params 4.3% --finetune 3 -o small

    The output is a run folder with plan.json (the ranks) and report.json (accuracy, parameters,
    bytes and milliseconds before and after). An edited plan.json can be passed with --plan. With
    --sweep, the output holds the curve and the network of the best rank.
    """
    budget = {item.name: chosen.pop(item.name) for item in fields(Budget)}
    _check_one({**budget, "plan": plan, "sweep": sweep})
    try:
        from tinysignal.runs.compress import compress_run
        from tinysignal.runs.sweep import sweep_run
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"compression ({error.name})", "train") from None
    if test and sweep is None:
        raise ConfigError(
            "--test is given without --sweep. Evaluate a run with 'tinysignal evaluate'."
        )
    options = _options(
        budget,
        plan,
        method=method,
        refine=int(refine) if refine.isdecimal() else refine,
        min_rank=_floors(min_rank or []),
        round_to=round_to,
        tune=_tune(chosen, resume=resume),
        teacher=teacher,
        int8=int8,
        seed=seed,
        calibration=calibration,
    )
    _set_threads(threads)
    common: dict[str, Any] = {
        "data": data,
        "data_dir": data_dir,
        "quiet": quiet,
    }
    if not quiet:
        common["on_message"] = _print_message
    if sweep is not None:
        if resume:
            raise ConfigError("--resume is given with --sweep, which cannot be resumed.")
        found = sweep_run(run, output, _ranks(sweep), options, test=test, **common)
        show: Callable[[dict[str, Any]], None] = show_sweep
    else:
        found = compress_run(run, output, options, resume=resume, **common)
        show = show_report
    if as_json:
        print(json_text(found))
    else:
        show(found)
        print(on_one_line(f"run: {output}"))
        print(on_one_line(f"next: tinysignal evaluate {output}"))
    for note in found["notes"]:
        _print_message(f"note: {note}")


def _check_one(choices: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in choices.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"{' and '.join(given)} are given, expected one of them.")


def _tune(tuning: dict[str, Any], *, resume: bool) -> TuneOptions | None:
    """Options of fine-tuning; None without fine-tuning."""
    given = {name: value for name, value in tuning.items() if value is not None}
    if "finetune" not in given:
        if given or resume:
            first = next(iter(given), "resume").replace("_", "-")
            raise ConfigError(
                f"--{first} is given without fine-tuning. Pass --finetune EPOCHS too."
            )
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


def _floors(texts: list[str]) -> dict[str, int] | None:
    """Smallest ranks by pattern, of texts such as ``8`` (of every layer) and ``head=32``."""
    floors: dict[str, int] = {}
    for text in texts:
        pattern, _, rank = text.rpartition("=")
        if not rank.isdecimal() or int(rank) < 1 or (not pattern and "=" in text):
            raise ConfigError(
                f"--min-rank {text}: expected a rank of 1 or more such as 8, or LAYER=RANK such "
                "as head=32."
            )
        floors.pop(pattern or "*", None)  # what is given last is looked at last
        floors[pattern or "*"] = int(rank)
    return floors or None


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


def _print_message(line: str) -> None:
    print(printable(line), file=sys.stderr)
