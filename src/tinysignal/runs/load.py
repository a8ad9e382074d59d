"""Loading of run folders, and plans of compressed networks.

The run folder of a compressed network also holds ``plan.json``, whose decompositions and ranks
define the shapes of the weights in ``model.safetensors``. After several compressions, the earlier
plans are in ``plan-1.json``, ``plan-2.json``, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from tinysignal.compress.plan import Plan
from tinysignal.compress.rebuild import rebuild
from tinysignal.errors import ConfigError, FileError, ModelError
from tinysignal.files import atomic, read_text
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
    """Network of a run with its selected weights, in evaluation mode, and its spec.

    Parameters
    ----------
    run : Path
        Folder made by ``tinysignal train`` or ``tinysignal compress``.

    Returns
    -------
    nn.Module
    DenoiserSpec or ClassifierSpec

    Raises
    ------
    ModelError
        ``run`` is not a run folder, or is damaged.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.runs import load_run
    >>> net, spec = load_run(Path("digits-run"))  # doctest: +SKIP
    >>> spec.classes[:3]  # doctest: +SKIP
    ('0', '1', '2')
    """
    check_is_run(run)
    spec = read_spec(run / MODEL)
    weights = load_weights(run / WEIGHTS)
    net = _shaped(run, spec, held=sum(part.numel() for part in weights.values()))
    try:
        net.load_state_dict(weights)
    except RuntimeError:
        raise _misfit(run) from None
    return net.eval(), spec


def check_is_run(run: Path) -> None:
    """Check that a folder is a run folder.

    Raises
    ------
    ModelError
        It is a file, is missing, or lacks a file of a run folder.
    """
    if run.is_file():
        raise ModelError(
            f"{run}: a file, expected a run folder, which holds the weights of the training. "
            "Give a folder made by 'tinysignal train'."
        )
    if not run.is_dir():
        raise ModelError(f"{run}: no such folder. Give a folder made by 'tinysignal train'.")
    for name in (CONFIG, WEIGHTS, MODEL):
        if not (run / name).is_file():
            raise ModelError(
                f"{run}: no {name} in this folder. Give a folder made by 'tinysignal train' or "
                "'tinysignal compress'."
            )


def read_run_config(run: Path, spec: Spec) -> TrainConfig:
    """Configuration of the training of a run.

    Raises
    ------
    ModelError
        Its ``config.toml`` is not readable or holds values out of bounds.
    """
    try:
        return TASKS[spec.task].config.read(run / CONFIG, {})
    except ConfigError as error:
        raise ModelError(str(error)) from None


def open_run(
    run: Path,
    *,
    data: str | None = None,
    data_dir: Path | None = None,
    seed: int = 0,
    calibration: int | None = None,
) -> TrainedRun:
    """Run with its data, for compression.

    Parameters
    ----------
    run : Path
        Folder made by ``tinysignal train`` or ``tinysignal compress``.
    data : str or None
        Data set of a classifier, see `tinysignal.datasets.load_dataset`; None for that of the run.
    data_dir : Path or None
        Folder to search for data that is not in the current folder.
    seed : int
        Random seed of the calibration data.
    calibration : int or None
        Examples of it, or frames of a denoiser; None for 8192, or 4096.

    Returns
    -------
    TrainedRun

    Raises
    ------
    ModelError
        ``run`` is not a run folder, or is damaged.
    DataError
        The data are missing or do not fit the model.
    AudioFileError
        A recording is not readable.
    ConfigError
        ``data`` is given for a denoiser.
    MissingExtraError
        An optional package is needed to read the data.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.runs import open_run
    >>> trained = open_run(Path("digits-run"))  # doctest: +SKIP
    >>> trained.score(trained.net)["accuracy"]  # doctest: +SKIP
    0.9727272727272728
    """
    net, spec = load_run(run)
    config = read_run_config(run, spec)
    return TASKS[spec.task].open(
        run, net, spec, config, data=data, data_dir=data_dir, seed=seed, calibration=calibration
    )


def _misfit(run: Path) -> ModelError:
    files = f"{CONFIG} and {PLAN}" if (run / PLAN).exists() else CONFIG
    return ModelError(
        f"{run / WEIGHTS}: the weights do not fit the network in {files}. Restore both files from "
        "one run."
    )


_ALWAYS_BUILT = 10_000_000  # numbers in the weights of a network before it is compressed
_MOST_CUT = 100  # times as many as afterwards, in a larger one


def _shaped(run: Path, spec: Spec, *, held: int) -> nn.Module:
    """Network in the shape of a run's configuration and plans, without its weights.

    Parameters
    ----------
    run : Path
    spec : Spec
    held : int
        Numbers in its weights, which bound the memory that the shape may take.
    """
    config, plans = read_run_config(run, spec), read_plans(run)
    try:
        with torch.device("meta"):  # takes no memory
            size = sum(part.numel() for part in _built(config, spec).state_dict().values())
        if size > (max(_ALWAYS_BUILT, _MOST_CUT * held) if plans else held):
            raise _misfit(run)
        net = _built(config, spec)
    except ConfigError as error:
        raise ModelError(f"{run / CONFIG}: {error}") from None
    if plans:
        net = folded(net)
    for plan in plans:
        try:
            net = rebuild(net, plan)
        except ConfigError:
            raise ModelError(
                f"{run / PLAN}: the plan does not fit the network in {CONFIG}. Restore both files "
                "from one run."
            ) from None
    return net


def _built(config: TrainConfig, spec: Spec) -> nn.Module:
    return TASKS[spec.task].build(config, spec)


def read_plans(run: Path) -> list[Plan]:
    """Plans of a run in the order of its compressions; empty for a run without compression.

    Raises
    ------
    ModelError
        A plan is not readable.
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
    """Plan from its file.

    Raises
    ------
    ConfigError
        The file is not readable or holds no plan.
    """
    try:
        return Plan.from_json(read_text(path))
    except FileError as error:
        raise ConfigError(str(error)) from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_plans(folder: Path, plans: Sequence[Plan]) -> None:
    """Write the plans of a run in the order of its compressions."""
    names = [_earlier(number) for number in range(1, len(plans))]
    for name, plan in zip((*names, PLAN), plans, strict=True):
        with atomic(folder / name) as temporary:
            temporary.write_text(plan.to_json(), encoding="utf-8")


def _earlier(number: int) -> str:
    return f"plan-{number}.json"
