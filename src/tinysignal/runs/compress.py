"""From a run folder and a budget to the run folder of the compressed network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tinysignal.budget import Budget
from tinysignal.compress.apply import apply
from tinysignal.compress.plan import Plan, check_method
from tinysignal.compress.profile import Profile, profile
from tinysignal.compress.rebuild import rebuild
from tinysignal.compress.search import plan_for
from tinysignal.errors import ConfigError
from tinysignal.files import make_folder
from tinysignal.runs.load import (
    PLAN,
    load_run,
    open_run,
    read_plan,
    read_plans,
    read_run_config,
    write_plans,
)
from tinysignal.runs.report import Cut, Tell, finish, silent, timed, write_cut
from tinysignal.spec import Spec
from tinysignal.train.export import folded
from tinysignal.train.fit import RunResult, Training, begin, fit
from tinysignal.train.folder import check_free, staged
from tinysignal.train.task import TrainedRun
from tinysignal.train.tuning import TuneOptions


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    """What decides the outcome of a compression.

    Parameters
    ----------
    budget : Budget or None
        None for the task's default (a classifier may lose half a percentage point of accuracy) or,
        with ``int8``, for a network left whole.
    plan : Plan or None
        Instead of a budget.
    method : {"sequential", "activation", "svd"}
        See `tinysignal.compress.compress`.
    tune : TuneOptions or None
        Further training.
    teacher : Path or None
        The run whose answers the further training is held to; None for the one compressed.
    int8 : bool
    seed : int
        Of the choice of calibration data and the order in which they are seen.
    """

    budget: Budget | None = None
    plan: Plan | None = None
    method: str = "sequential"
    tune: TuneOptions | None = None
    teacher: Path | None = None
    int8: bool = False
    seed: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing is to be cut."""
        return self.int8 and self.budget is None and self.plan is None

    def __post_init__(self) -> None:
        if self.plan is not None and self.budget is not None:
            raise ConfigError("a plan and a budget: give one of them.")
        check_method(self.method)
        if self.teacher is not None and self.tune is None:
            raise ConfigError("a teacher is for the further training. Give its epochs as well.")
        if self.seed < 0:
            raise ConfigError(f"seed = {self.seed}, expected 0 or more.")


def compress_run(
    run: Path,
    output: Path,
    options: CompressOptions,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    tell: Tell = silent,
) -> dict[str, Any]:
    """Compress the network of a run, and write the result as a run folder.

    It holds what every run folder holds, ``plan.json`` and ``report.json``.

    Parameters
    ----------
    run, output : Path
    options : CompressOptions
    data, data_dir
        See `open_run`.
    resume : bool
        Go on with a further training that was killed; everything else as before.
    quiet : bool
        No progress bar.
    tell : callable
        Told what is going on, a line each.

    Returns
    -------
    dict
        The contents of ``report.json``.

    Raises
    ------
    ConfigError
        The folder holds a run already; a budget that cannot be met; nothing to resume.
    ModelError, DataError, AudioFileError, MissingExtraError
    """
    if resume and (options.tune is None or not (output / PLAN).is_file()):
        raise ConfigError(f"{output}: no further training to resume. Leave --resume out.")
    if not resume:
        check_free(output)
    trained = open_run(run, data=data, data_dir=data_dir, seed=options.seed)
    if options.tune is None:
        made = cut(trained, options, tell=tell)
        with staged(output) as folder:
            write_cut(trained, made, folder, name=output.resolve().name)
            return finish(trained, made, folder, int8=options.int8, tell=tell)
    teacher = load_teacher(trained, options.teacher)
    begin_tuning(trained, options.tune, output, resume=resume)
    made = cut_before(trained, output) if resume else cut(trained, options, tell=tell)
    result = tune(
        trained, made, teacher, output, options.tune, resume=resume, quiet=quiet, tell=tell
    )
    report = finish(trained, made, output, int8=options.int8, tell=tell)
    if result.interrupted:
        report["notes"].append("Stopped early; the same command with --resume goes on.")
    return report


def cut(
    trained: TrainedRun,
    options: CompressOptions,
    *,
    profiled: Profile | None = None,
    tell: Tell = silent,
) -> Cut:
    """Profile, plan and apply.

    Parameters
    ----------
    trained : TrainedRun
    options : CompressOptions
    profiled : Profile or None
        Of this very run, if it is there already.
    tell : callable

    Raises
    ------
    ConfigError, ModelError
    """
    seconds: dict[str, float] = {}
    if options.whole:
        return Cut(Plan(options.method, {}, ()), trained.net, seconds)
    if profiled is None:
        with timed(seconds, "profile", tell):
            profiled = profile(trained.net, trained.batches)
    with timed(seconds, "plan", tell):
        chosen = options.plan or plan_for(
            profiled, _budget(trained, options), method=options.method
        )
    with timed(seconds, "apply", tell):
        small = apply(trained.net, chosen, profiled, seed=options.seed)
    return Cut(chosen, small, seconds)


def _budget(trained: TrainedRun, options: CompressOptions) -> Budget:
    if options.budget is not None:
        return options.budget
    if not trained.default_budget:
        raise ConfigError(f"{trained.folder}: no budget given; pass one, such as --params 10%.")
    return Budget.from_values(trained.default_budget, "default budget")


def load_teacher(trained: TrainedRun, teacher: Path | None) -> nn.Module:
    """The network whose answers the compressed one is held to: the original, or another run's.

    Raises
    ------
    ConfigError
        It has another task, other classes or other inputs.
    ModelError
    """
    if teacher is None:
        return trained.net
    net, spec = load_run(teacher)
    same_task = spec.task == trained.spec.task
    if not same_task or trained.interface(net, spec) != trained.interface(
        trained.net, trained.spec
    ):
        raise ConfigError(
            f"{teacher}: teacher and {trained.folder} differ in task, classes or input. Give a "
            "teacher of the same task, with the same inputs and outputs."
        )
    return folded(net)


def begin_tuning(trained: TrainedRun, options: TuneOptions, folder: Path, *, resume: bool) -> None:
    """See `tinysignal.train.fit.begin`; what is resumed must have been begun alike.

    Raises
    ------
    ConfigError
    """
    config = trained.tuned_config(options)
    begin(config, folder, resume=resume)
    if resume:
        begun = asdict(read_run_config(folder, trained.spec))
        for name, value in asdict(config).items():
            if begun[name] != value:
                raise ConfigError(
                    f"{folder}: begun with {name} = {begun[name]!r}, not {value!r}. "
                    "Resume with the same options."
                )


def cut_before(trained: TrainedRun, folder: Path) -> Cut:
    """The network whose further training is resumed, in its form; its weights are not set.

    Raises
    ------
    ConfigError
    """
    chosen = read_plan(folder / PLAN)
    try:
        return Cut(chosen, rebuild(trained.net, chosen), {})
    except ConfigError:
        raise ConfigError(f"{folder / PLAN}: not a plan for {trained.folder}.") from None


def tune(
    trained: TrainedRun,
    made: Cut,
    teacher: nn.Module,
    folder: Path,
    options: TuneOptions,
    *,
    name: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    tell: Tell = silent,
) -> RunResult:
    """Train a compressed network further and write its run folder.

    Parameters
    ----------
    trained : TrainedRun
    made : Cut
    teacher : nn.Module
    folder : Path
    options : TuneOptions
    name : str or None
        Of the model; None for the folder's.
    resume, quiet : bool
        See `tinysignal.train.fit.fit`.
    tell : callable
    """
    make_folder(folder)
    write_plans(folder, [*read_plans(trained.folder), made.plan])
    module, source = trained.module(made.net, teacher, options)
    config = trained.tuned_config(options)

    def export(path: Path) -> Spec:
        return trained.export(module.exported, path, name=name or folder.resolve().name)

    training = Training(
        config=config,
        folder=folder,
        module=module,
        source=source,
        split=trained.split,
        score_every=config.validate_every,
        data_facts=trained.data_facts,
        export=export,
    )
    with timed(made.seconds, "finetune", tell):
        return fit(training, resume=resume, quiet=quiet)
