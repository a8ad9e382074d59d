"""The further training of a compressed network: a training run whose folder is the result."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from torch import nn

from tinysignal.compress.distilling import TuneOptions
from tinysignal.compress.run_folder import (
    PLAN,
    folded,
    in_form,
    load_run,
    read_plan,
    read_plans,
    read_run_config,
    write_plans,
)
from tinysignal.compress.stages import Cut, Tell, silent, timed
from tinysignal.compress.trained_run import TrainedRun
from tinysignal.errors import ConfigError
from tinysignal.files import make_folder
from tinysignal.spec import ClassifierSpec, Spec
from tinysignal.train.nets import MaskingNet
from tinysignal.train.run import RunResult, Training, begin, fit


def load_teacher(trained: TrainedRun, teacher: Path | None) -> nn.Module:
    """The network whose answers the compressed one is held to: the original, or another run's.

    Raises
    ------
    ConfigError
        It answers something else.
    ModelError
    """
    if teacher is None:
        return trained.net
    net, spec = load_run(teacher)
    if _answers(net, spec) != _answers(trained.net, trained.spec):
        raise ConfigError(
            f"{teacher}: does not answer what {trained.folder} does. The teacher must be of the "
            "same task, with the same inputs and outputs."
        )
    return folded(net)


def _answers(net: nn.Module, spec: Spec) -> tuple[object, ...]:
    """What two networks must share for one to learn from the other."""
    if isinstance(spec, ClassifierSpec):
        return spec.task, spec.classes, spec.input
    masks = isinstance(net, MaskingNet)
    return spec.task, spec.sample_rate_hz, spec.fft_samples, spec.hop_samples, masks


def begin_tuning(trained: TrainedRun, options: TuneOptions, folder: Path, *, resume: bool) -> None:
    """See `tinysignal.train.run.begin`; what is resumed must have been begun alike.

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
        return Cut(chosen, in_form(trained.net, chosen), {})
    except AttributeError:
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
        See `tinysignal.train.run.fit`.
    tell : callable
    """
    make_folder(folder)
    write_plans(folder, [*read_plans(trained.folder), made.plan])
    task, source = trained.task(made.net, teacher, options)
    config = trained.tuned_config(options)

    def export(path: Path) -> Spec:
        return trained.export(task.result, path, name=name or folder.resolve().name)

    training = Training(
        config=config,
        folder=folder,
        task=task,
        source=source,
        side=trained.side,
        score_every=config.validate_every,
        summary=trained.summary,
        export=export,
    )
    with timed(made.seconds, "finetune", tell):
        return fit(training, resume=resume, quiet=quiet)
