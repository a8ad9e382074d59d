"""Run folders of compressed networks: how they are written, and how any run is loaded.

Beside what every run folder holds there is ``plan.json``; its forms and ranks say how the factored
weights in ``model.safetensors`` fit together. A network that was compressed again has the plans
before in ``plan-1.json``, ``plan-2.json``, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from tinysignal.compress.plan import Plan
from tinysignal.compress.rebuild import rebuild
from tinysignal.errors import ConfigError, ModelError
from tinysignal.files import atomic
from tinysignal.model import read_spec
from tinysignal.spec import Spec
from tinysignal.train.checkpoint import load_weights
from tinysignal.train.config import TrainConfig
from tinysignal.train.export import folded
from tinysignal.train.folder import CONFIG, MODEL, WEIGHTS
from tinysignal.train.task import TrainedRun
from tinysignal.train.tasks import TASKS

PLAN, REPORT = "plan.json", "report.json"


def load_run(run: Path) -> tuple[nn.Module, Spec]:
    """A run's network with its chosen weights, in evaluation mode, and its spec.

    Of a classifier or a denoiser, as it was trained or compressed.

    Parameters
    ----------
    run : Path
        A folder made by ``tinysignal train`` or ``tinysignal compress``.

    Raises
    ------
    ModelError
        Not a run folder, or one that is damaged.
    """
    check_is_run(run)
    spec = read_spec(run / MODEL)
    net = _shaped(run, spec)
    try:
        net.load_state_dict(load_weights(run / WEIGHTS))
    except RuntimeError:
        files = f"{CONFIG} and {PLAN}" if (run / PLAN).exists() else CONFIG
        raise ModelError(
            f"{run / WEIGHTS}: the weights are not those of the network in {files}."
        ) from None
    return net.eval(), spec


def check_is_run(run: Path) -> None:
    """Refuse what is no run folder.

    Raises
    ------
    ModelError
    """
    if run.is_file():
        raise ModelError(
            f"{run}: a file, but the weights as they were trained are needed. "
            "Give the run folder that 'tinysignal train' made."
        )
    if not run.is_dir():
        raise ModelError(
            f"{run}: there is no such folder. Expected one made by 'tinysignal train'."
        )
    for name in (CONFIG, WEIGHTS, MODEL):
        if not (run / name).is_file():
            raise ModelError(
                f"{run}: there is no {name} in it. Expected a folder made by "
                "'tinysignal train' or 'tinysignal compress'."
            )


def read_run_config(run: Path, spec: Spec) -> TrainConfig:
    """The options that a run was trained with.

    Raises
    ------
    ModelError
    """
    try:
        return TASKS[spec.task].config.read(run / CONFIG, {})
    except ConfigError as error:
        raise ModelError(str(error)) from None


def open_run(
    run: Path, *, data: str | None = None, data_dir: Path | None = None, seed: int = 0
) -> TrainedRun:
    """A run with its data, to be compressed or looked into.

    Parameters
    ----------
    run : Path
        A folder made by ``tinysignal train`` or ``tinysignal compress``.
    data : str or None
        A classifier's data set, see `tinysignal.datasets.load_dataset`; None for the run's own.
    data_dir : Path or None
        Folder in which data that is not found as it is named is looked for.
    seed : int

    Raises
    ------
    ModelError
        Not a run folder, or one that is damaged.
    DataError, AudioFileError, ConfigError, MissingExtraError
    """
    net, spec = load_run(run)
    config = read_run_config(run, spec)
    return TASKS[spec.task].open(run, net, spec, config, data=data, data_dir=data_dir, seed=seed)


def _shaped(run: Path, spec: Spec) -> nn.Module:
    """The network of a run's configuration and plans; its weights are not set."""
    net = TASKS[spec.task].build(read_run_config(run, spec), spec)
    plans = read_plans(run)
    if plans:
        net = folded(net)
    for plan in plans:
        try:
            net = rebuild(net, plan)
        except ConfigError:
            raise ModelError(f"{run / PLAN}: not a plan for the network in {CONFIG}.") from None
    return net


def read_plans(run: Path) -> list[Plan]:
    """The plans of a run, the first one first; none of a run that was not compressed.

    Raises
    ------
    ModelError
    """
    if not (run / PLAN).exists():
        return []
    paths: list[Path] = []
    while (path := run / _earlier(len(paths) + 1)).exists():
        paths.append(path)
    try:
        return [read_plan(path) for path in (*paths, run / PLAN)]
    except ConfigError as error:
        raise ModelError(str(error)) from None


def read_plan(path: Path) -> Plan:
    """A plan from its file.

    Raises
    ------
    ConfigError
    """
    try:
        return Plan.from_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not a plan, it is not even text.") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_plans(folder: Path, plans: Sequence[Plan]) -> None:
    """Write a run's plans, the first one first."""
    names = [_earlier(number) for number in range(1, len(plans))]
    for name, plan in zip((*names, PLAN), plans, strict=True):
        with atomic(folder / name) as temporary:
            temporary.write_text(plan.to_json(), encoding="utf-8")


def _earlier(number: int) -> str:
    return f"plan-{number}.json"
