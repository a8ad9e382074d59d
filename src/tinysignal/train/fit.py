"""One training run of any task, from its configuration to a run folder."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from tinysignal.datasets.report import DataReport
from tinysignal.errors import ConfigError, TinysignalError
from tinysignal.files import atomic, make_folder, write_json
from tinysignal.model import read_spec
from tinysignal.spec import Spec
from tinysignal.train.callbacks import (
    BEST,
    CURVE,
    ProgressBar,
    RunRecorder,
    Schedule,
    plot_curve,
    write_curve,
)
from tinysignal.train.checkpoint import SafetensorsIO, load_weights, save_weights
from tinysignal.train.config import TrainConfig
from tinysignal.train.data.batches import Batches, BatchSource, EpochSampler
from tinysignal.train.folder import (
    CHECKPOINT,
    CONFIG,
    DATA_REPORT,
    METRICS,
    MODEL,
    WEIGHTS,
    holds_run,
)
from tinysignal.train.interrupts import StopOnSignals
from tinysignal.train.module import TrainingModule
from tinysignal.train.processes import (
    is_of_another_process,
    layout,
    left_alone,
    process_rank,
    processes,
    tell_other_processes,
    wait_for_all,
)
from tinysignal.train.resume import check_same_network, read_checkpoint, unresumable

_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunResult:
    """Result of a training run.

    Parameters
    ----------
    folder : Path
        Run folder.
    spec : DenoiserSpec or ClassifierSpec
    metrics : dict
        Contents of ``metrics.json``.
    interrupted : bool
        Whether the run was stopped before its end.
    """

    folder: Path
    spec: Spec
    metrics: dict[str, Any]
    interrupted: bool


@dataclass(frozen=True)
class Training:
    """Parts of a training run.

    Parameters
    ----------
    config : TrainConfig
    folder : Path
        Run folder; created if it is missing.
    module : TrainingModule
    source : BatchSource
        Training batches.
    split : {"valid", "train"}
        Split of the scores.
    score_every : int
        Number of epochs between two scorings.
    data_facts : dict
        Counts and durations of the data, for ``metrics.json``.
    export : callable
        Writes the chosen network to a path as ONNX and returns its spec.
    report : DataReport or None
        What the check of the data found, for ``data.json``.
    """

    config: TrainConfig
    folder: Path
    module: TrainingModule
    source: BatchSource
    split: str
    score_every: int
    data_facts: dict[str, Any]
    export: Callable[[Path], Spec]
    report: DataReport | None = None


def begin(config: TrainConfig, folder: Path, *, resume: bool) -> None:
    """Check folder and device, and set threads and seed, before data is read or written.

    Parameters
    ----------
    config : TrainConfig
    folder : Path
        Run folder.
    resume : bool
        Whether to continue the run in the folder.

    Raises
    ------
    ConfigError
        The folder already holds a run, nothing to resume, or a run of another network; the device
        is not available, or there is no compiler that was asked for.
    """
    if resume:
        check_same_network(config, folder)
    first = process_rank() == 0  # other processes may start after the first has written
    if not resume and first and holds_run(folder):
        raise ConfigError(f"{folder}: holds a run already. Pass --resume, or another folder.")
    if config.threads:
        torch.set_num_threads(config.threads)
    _check_device(config)
    if config.compile:
        _check_compiler(config)
    pl.seed_everything(config.seed, verbose=False)


def fit(training: Training, *, resume: bool = False, quiet: bool = False) -> RunResult:
    """Train, select the weights, and write the run folder.

    The folder holds ``config.toml``, ``data.json`` (what the check of the data found),
    ``curve.csv`` and ``curve.png``, ``metrics.json``, ``model.safetensors`` (the selected weights),
    ``last.safetensors`` (the checkpoint) and ``model.onnx`` (for the light runtime).

    Parameters
    ----------
    training : Training
    resume : bool
        Whether to continue from the checkpoint. With a length in epochs or steps and as
        many processes, the result equals that of an uninterrupted run.
    quiet : bool
        Whether to hide the progress bar.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        An epoch has fewer batches than there are devices.
    FileError
        The folder cannot be written.
    """
    config, folder, module = training.config, training.folder, training.module
    checkpoint = folder / CHECKPOINT
    state = read_checkpoint(checkpoint, module) if resume else None  # before anything is written
    first = process_rank() == 0
    if state is not None:
        tell_other_processes(state, config)
    if first:
        make_folder(folder)
    schedule = Schedule(config, _steps_per_epoch(training), processes=processes(config))
    quiet = quiet or not first
    with (
        ProgressBar(schedule, module.metric, quiet=quiet) as progress,
        _lightning_warnings_off(),
        StopOnSignals(schedule) as stop,
    ):
        recorder = RunRecorder(
            folder=folder,
            split=training.split,
            every_epochs=training.score_every,
            schedule=schedule,
            on_start=lambda: _write_config(training),
            report=progress.report,
        )
        if state is not None and _already_done(state, schedule):
            module.load_state_dict(state["state_dict"])
            recorder.load_state_dict(state["callbacks"][recorder.state_key])
            recorder.start()
        else:
            trainer = _trainer(config, folder, [schedule, recorder, stop])
            loader = _loader(config, training.source)
            try:
                with _compiled(module.net, config):
                    trainer.fit(module, loader, ckpt_path=checkpoint if resume else None)
            except Exception as error:  # Lightning says in many ways that it cannot restore
                if is_of_another_process(error):
                    raise left_alone(folder) from None
                if resume and not recorder.started and not isinstance(error, TinysignalError):
                    raise unresumable(checkpoint, error) from None
                raise
        if first:
            result = _finish(training, recorder, interrupted=schedule.interrupted)
    try:
        wait_for_all()
    except RuntimeError:
        raise left_alone(folder) from None
    if first:
        return result
    metrics = json.loads((folder / METRICS).read_text(encoding="utf-8"))
    return RunResult(folder, read_spec(folder / MODEL), metrics, schedule.interrupted)


def _write_config(training: Training) -> None:
    if process_rank() == 0:
        if training.report is not None:
            write_json(training.folder / DATA_REPORT, training.report.to_dict())
        with atomic(training.folder / CONFIG) as temporary:
            temporary.write_text(training.config.to_toml(), encoding="utf-8")


def _steps_per_epoch(training: Training) -> int:
    batches, sharers = training.source.steps_per_epoch, processes(training.config)
    together = training.config.accumulate
    if batches < sharers * together:
        each = "one" if together == 1 else f"{together}, which are accumulated,"
        raise ConfigError(
            f"an epoch of {batches} batch(es), expected at least {each} for each of {sharers} "
            "devices."
        )
    return batches // (sharers * together)


def _loader(config: TrainConfig, source: BatchSource) -> DataLoader[Any]:
    sampler = EpochSampler(
        source.steps_per_epoch,
        rank=process_rank(),
        processes=processes(config),
        together=config.accumulate,
    )
    return DataLoader(
        Batches(source),
        batch_size=None,
        sampler=sampler,
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
    )


def _accelerator(config: TrainConfig) -> str:
    return "gpu" if config.device == "cuda" else config.device


def _check_device(config: TrainConfig) -> None:
    """Raise ConfigError if Lightning does not find the devices."""
    devices, machines = layout(config)
    try:
        with _lightning_warnings_off():
            pl.Trainer(
                accelerator=_accelerator(config), devices=devices, num_nodes=machines, logger=False
            )
    except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
        raise ConfigError(
            f"device is '{config.device}', devices {devices}: {str(error).rstrip('.!')}. "
            "Pass --device cpu, or auto."
        ) from None


def _check_compiler(config: TrainConfig) -> None:
    """Raise ConfigError if torch.compile does not work here: tried, since it has many parts."""
    device = "cpu" if _on_cpu(config) else "cuda" if torch.cuda.is_available() else "mps"
    try:
        torch.compile(torch.cos)(torch.zeros(8, device=device))
    except (RuntimeError, OSError, ImportError) as error:
        why = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ConfigError(
            f"compile: torch.compile does not work here ({why:.150}). Leave --compile out."
        ) from None


@contextmanager
def _compiled(net: nn.Module, config: TrainConfig) -> Iterator[None]:
    """Compile a network's call in place, and give it its own call back: exporters trace that."""
    if not config.compile:
        yield
        return
    net.compile()
    try:
        yield
    finally:
        net._compiled_call_impl = None


def _trainer(config: TrainConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    logger: Any = False
    if config.log == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name="tensorboard", version="")
    devices, machines = layout(config)
    return pl.Trainer(
        accelerator=_accelerator(config),
        devices=devices,
        num_nodes=machines,
        strategy=_strategy(config),
        use_distributed_sampler=False,
        precision=_PRECISIONS[_possible_precision(config)],  # type: ignore[arg-type]
        max_epochs=-1,
        accumulate_grad_batches=config.accumulate,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _strategy(config: TrainConfig) -> Any:
    """Lightning's choice for one process; for several, gradients that are always summed alike.

    Without a search for unused parameters, torch sorts the gradients anew after the first step, of
    a run or of its continuation, and sums of more than two then differ in their last bits.
    """
    return "auto" if processes(config) == 1 else DDPStrategy(find_unused_parameters=True)


def _possible_precision(config: TrainConfig) -> str:
    """The precision asked for, or 32 where the processor has no bfloat16 recurrent layers."""
    if config.precision != "bf16" or not _on_cpu(config) or _trains_in_bfloat16():
        return config.precision
    _log.warning(
        "precision is bf16, but this processor has no bfloat16 units: training in 32 bits. "
        "Pass --precision 32 to choose that."
    )
    return "32"


def _on_cpu(config: TrainConfig) -> bool:
    if config.device != "auto":
        return config.device == "cpu"
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def _trains_in_bfloat16() -> bool:
    """Whether oneDNN trains an LSTM in bfloat16 here: tried, since lists of processors get old."""
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", torch.bfloat16):
        layer = torch.nn.LSTM(8, 8)
        try:
            layer(torch.zeros(2, 1, 8))[0].sum().backward()
        except RuntimeError:
            return False
    return True


@contextmanager
def _lightning_warnings_off() -> Iterator[None]:
    """Hide Lightning's warnings, which address programmers and not users of the command."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", module=r"lightning\.")
        warnings.filterwarnings("ignore", message="find_unused_parameters=True was specified")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _already_done(state: dict[str, Any], schedule: Schedule) -> bool:
    schedule.load_state_dict(state["callbacks"][schedule.state_key])
    return schedule.share_done(state["global_step"]) >= 1


def _finish(training: Training, recorder: RunRecorder, *, interrupted: bool) -> RunResult:
    """Select the weights, and write the model, the curve and the metrics."""
    config, folder, split = training.config, training.folder, training.split
    module = training.module.cpu()
    module.recalibrate()
    scores = last = module.score()
    weights = "last"
    if config.keep == "best" and recorder.best and (folder / BEST).exists():
        last_state = copy.deepcopy(module.exported.state_dict())
        module.exported.load_state_dict(load_weights(folder / BEST))
        module.recalibrate()
        best = module.score()
        if best[module.metric.key] > last[module.metric.key]:
            scores, weights = best, "best"
        else:
            module.exported.load_state_dict(last_state)
    save_weights(folder / WEIGHTS, module.exported)
    spec = training.export(folder / MODEL)
    if recorder.rows:
        write_curve(folder / CURVE, recorder.rows)
        plot_curve(folder / "curve.png", recorder.rows, module.metric)
    final = recorder.rows[-1] if recorder.rows else {}
    metrics = {
        "weights": weights,
        "interrupted": interrupted,
        "epochs": final.get("epoch", 0),
        "steps": final.get("step", 0),
        "minutes": final.get("minutes", 0.0),
        "loss": final.get("loss"),
        split: scores,
        f"{split}_last": last,
        "best": recorder.best or None,
        "data": training.data_facts,
        "spec": asdict(spec),
    }
    write_json(folder / METRICS, metrics)
    return RunResult(folder, spec, metrics, interrupted)
