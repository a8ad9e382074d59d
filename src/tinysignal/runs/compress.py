"""Compression of a run, and fine-tuning of the compressed network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from tinysignal.budget import Budget
from tinysignal.compress.apply import REFINE_STEPS, apply, check_refine
from tinysignal.compress.plan import Plan, check_method
from tinysignal.compress.profile import Profile, profile
from tinysignal.compress.ranks import Floor
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
from tinysignal.runs.report import (
    CompressedNetwork,
    finish,
    ignore_message,
    timed,
    write_compressed,
)
from tinysignal.spec import Spec
from tinysignal.train.export import folded
from tinysignal.train.fit import RunResult, Training, begin, fit
from tinysignal.train.folder import check_free, staged
from tinysignal.train.task import TrainedRun
from tinysignal.train.tuning import TuneOptions


@dataclass(frozen=True, kw_only=True)
class CompressOptions:
    """Options of the compression of a run.

    Parameters
    ----------
    budget : Budget or None
        Budget; None for the default of the task (a loss of 0.5 percentage points of accuracy for a
        classifier) or, with ``int8``, for no low-rank compression.
    plan : Plan or None
        Plan in place of a budget.
    method : {"sequential", "activation", "svd"}
        Method of the factors, see `tinysignal.compress.compress`.
    refine : int or "joint"
        Fit of the factors, see `tinysignal.compress.apply`.
    tune : TuneOptions or None
        Fine-tuning; None for none.
    min_rank : int, mapping of str to int, or None
        Smallest rank of every layer, or of layers by name or pattern, see
        `tinysignal.compress.plan`.
    round_to : int
        Ranks become multiples of this, see `tinysignal.compress.plan`.
    teacher : Path or None
        Run folder of the teacher in fine-tuning; None for the original network.
    int8 : bool
        Whether to store 8-bit numbers in the model file.
    seed : int
        Random seed of the calibration data and of their order.
    calibration : int or None
        Training examples, or frames of a denoiser, to fit to; None for 8192, or 4096.

    Raises
    ------
    ConfigError
        Both a plan and a budget are given, a teacher without fine-tuning, ``min_rank`` or
        ``round_to`` where no ranks are chosen, or a value out of bounds.

    Examples
    --------
    >>> from tinysignal.budget import Budget
    >>> from tinysignal.runs import CompressOptions
    >>> CompressOptions(budget=Budget(params=0.04), int8=True).whole
    False
    """

    budget: Budget | None = None
    plan: Plan | None = None
    method: str = "sequential"
    refine: int | str = REFINE_STEPS
    min_rank: Floor | None = None
    round_to: int = 1
    tune: TuneOptions | None = None
    teacher: Path | None = None
    int8: bool = False
    seed: int = 0
    calibration: int | None = None

    @property
    def whole(self) -> bool:
        """Whether all layers stay whole."""
        return self.int8 and self.budget is None and self.plan is None

    def __post_init__(self) -> None:
        if self.plan is not None and self.budget is not None:
            raise ConfigError("both a plan and a budget are given, expected one of them.")
        if (self.plan is not None or self.whole) and (
            self.min_rank is not None or self.round_to > 1
        ):
            given = "round_to" if self.min_rank is None else "min_rank"
            fixed = "a plan, which has ranks" if self.plan is not None else "int8 and no budget"
            raise ConfigError(f"{given} is given with {fixed}. Leave it out, or give a budget.")
        check_method(self.method)
        check_refine(self.refine)
        if self.teacher is not None and self.tune is None:
            raise ConfigError(
                f"teacher is {self.teacher}, but there is no fine-tuning. Give its epochs too."
            )
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}, expected 0 or more.")
        if self.calibration is not None and self.calibration < 1:
            raise ConfigError(f"calibration is {self.calibration}, expected 1 or more.")


def compress_run(
    run: Path,
    output: Path,
    options: CompressOptions,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_message: Callable[[str], None] = ignore_message,
) -> dict[str, Any]:
    """Compress the network of a run and write the result as a run folder.

    The folder holds the files of every run folder, ``plan.json`` and ``report.json``.

    Parameters
    ----------
    run, output : Path
        Run folder, and run folder of the result.
    options : CompressOptions
    data, data_dir
        See `tinysignal.runs.open_run`.
    resume : bool
        Whether to continue the fine-tuning in ``output``, with the same options.
    quiet : bool
        Whether to hide the progress bar.
    on_message : callable
        ``on_message(line)`` is called at the end of each stage with its duration.

    Returns
    -------
    dict
        Contents of ``report.json``: scores, sizes and times before and after.

    Raises
    ------
    ConfigError
        The folder holds a run already, a budget cannot be met, or there is nothing to resume.
    ModelError
        ``run`` is not a run folder or is damaged, or no layer can be factored.
    DataError
        The data of the run are missing or do not fit the model.
    AudioFileError
        A recording is not readable.
    FileError
        The folder cannot be written.
    MissingExtraError
        An optional package is needed to read the data.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.budget import Budget
    >>> from tinysignal.runs import CompressOptions, compress_run
    >>> options = CompressOptions(budget=Budget(params=0.04))
    >>> report = compress_run(Path("run"), Path("small"), options)  # doctest: +SKIP
    >>> report["after"]["bytes"]  # doctest: +SKIP
    209715
    """
    if resume and (options.tune is None or not (output / PLAN).is_file()):
        raise ConfigError(f"{output}: no fine-tuning to resume. Leave --resume out.")
    if not resume:
        check_free(output)
    trained = open_run(
        run, data=data, data_dir=data_dir, seed=options.seed, calibration=options.calibration
    )
    if options.tune is None:
        compressed = compress_network(trained, options, on_message=on_message)
        with staged(output) as folder:
            write_compressed(trained, compressed, folder, name=output.resolve().name)
            return finish(trained, compressed, folder, int8=options.int8, on_message=on_message)
    teacher = load_teacher(trained, options.teacher)
    begin_tuning(trained, options.tune, output, resume=resume)
    compressed = (
        network_to_resume(trained, output)
        if resume
        else compress_network(trained, options, on_message=on_message)
    )
    result = tune(
        trained,
        compressed,
        teacher,
        output,
        options.tune,
        resume=resume,
        quiet=quiet,
        on_message=on_message,
    )
    report = finish(trained, compressed, output, int8=options.int8, on_message=on_message)
    if result.interrupted:
        report["notes"].append("Stopped early. Continue with the same command and --resume.")
    return report


def compress_network(
    trained: TrainedRun,
    options: CompressOptions,
    *,
    profiled: Profile | None = None,
    on_message: Callable[[str], None] = ignore_message,
) -> CompressedNetwork:
    """Profile, plan and compress the network of a run.

    Parameters
    ----------
    trained : TrainedRun
    options : CompressOptions
    profiled : Profile or None
        Profile of the run, if there is one already.
    on_message : callable
        See `compress_run`.

    Raises
    ------
    ConfigError
        There is no budget, or it cannot be met.
    ModelError
        No layer can be factored.
    """
    seconds: dict[str, float] = {}
    if options.whole:
        return CompressedNetwork(Plan(options.method, {}, ()), trained.net, seconds)
    if profiled is None:
        with timed(seconds, "profile", on_message):
            profiled = profile(trained.net, trained.batches)
    with timed(seconds, "plan", on_message):
        chosen = options.plan or plan_for(
            profiled,
            _budget(trained, options),
            method=options.method,
            min_rank=options.min_rank,
            round_to=options.round_to,
        )
    with timed(seconds, "apply", on_message):
        small = apply(trained.net, chosen, profiled, refine=options.refine, seed=options.seed)
    return CompressedNetwork(chosen, small, seconds)


def _budget(trained: TrainedRun, options: CompressOptions) -> Budget:
    if options.budget is not None:
        return options.budget
    if not trained.default_budget:
        raise ConfigError(f"{trained.folder}: no budget given; pass one, such as --params 10%.")
    return Budget.from_values(trained.default_budget, "default budget")


def load_teacher(trained: TrainedRun, teacher: Path | None) -> nn.Module:
    """Teacher of the fine-tuning: the original network, or that of another run.

    Raises
    ------
    ConfigError
        The teacher has another task, other classes or other inputs.
    ModelError
        ``teacher`` is not a run folder or is damaged.
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
    """Checks of `tinysignal.train.fit.begin`, and equal options on a resume.

    Raises
    ------
    ConfigError
        The run was begun with other options.
    """
    config = trained.tuned_config(options)
    begin(config, folder, resume=resume)
    if resume:
        begun = asdict(read_run_config(folder, trained.spec))
        for name, value in asdict(config).items():
            if begun[name] != value:
                raise ConfigError(
                    f"{folder}: {name} is {value!r}, but the run was begun with {begun[name]!r}. "
                    "Resume with the same options."
                )


def network_to_resume(trained: TrainedRun, folder: Path) -> CompressedNetwork:
    """Network in the shape of the fine-tuning to resume, without its weights.

    Raises
    ------
    ConfigError
        The plan in the folder does not fit the run.
    """
    chosen = read_plan(folder / PLAN)
    try:
        return CompressedNetwork(chosen, rebuild(trained.net, chosen), {})
    except ConfigError:
        raise ConfigError(
            f"{folder / PLAN}: the plan does not fit the network of {trained.folder}. Resume with "
            "the same run."
        ) from None


def tune(
    trained: TrainedRun,
    compressed: CompressedNetwork,
    teacher: nn.Module,
    folder: Path,
    options: TuneOptions,
    *,
    name: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_message: Callable[[str], None] = ignore_message,
) -> RunResult:
    """Fine-tune a compressed network and write its run folder.

    Parameters
    ----------
    trained : TrainedRun
    compressed : CompressedNetwork
    teacher : nn.Module
    folder : Path
        Run folder of the result.
    options : TuneOptions
    name : str or None
        Name of the model; None for that of the folder.
    resume, quiet : bool
        See `tinysignal.train.fit.fit`.
    on_message : callable
        See `compress_run`.
    """
    make_folder(folder)
    write_plans(folder, [*read_plans(trained.folder), compressed.plan])
    module, source = trained.module(compressed.net, teacher, options)
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
    with timed(compressed.seconds, "finetune", on_message):
        return fit(training, resume=resume, quiet=quiet)
