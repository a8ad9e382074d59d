"""One training run, from a configuration to a run folder."""

from __future__ import annotations

import copy
import json
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.fabric.utilities.warnings import PossibleUserWarning
from torch.utils.data import DataLoader

from tinysignal.errors import ConfigError
from tinysignal.files import atomic, make_folder
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import StftSize
from tinysignal.train.budget import Budget
from tinysignal.train.checkpoint import SafetensorsIO, load_state, load_weights, save_weights
from tinysignal.train.config import DenoiserConfig
from tinysignal.train.data.batches import Batches, BatchSource, EpochSampler
from tinysignal.train.denoising import DenoisingTask, score_pairs, settle_statistics
from tinysignal.train.export import export_denoiser
from tinysignal.train.keeper import BEST, CHECKPOINT, CURVE, Keeper, plot_curve, write_curve
from tinysignal.train.nets import ARCHITECTURES, DenoisingNet
from tinysignal.train.progress import TrainingProgress
from tinysignal.train.sources import TrainingData, load_training_data

CONFIG = "config.toml"
_SETTLING_BATCHES = 50
_PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Parameters
    ----------
    folder : Path
    spec : DenoiserSpec
    metrics : dict
        The contents of ``metrics.json``.
    interrupted : bool
        Whether it was stopped before its budget was spent.
    """

    folder: Path
    spec: DenoiserSpec
    metrics: dict[str, Any]
    interrupted: bool


def train_denoiser(
    config: DenoiserConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Train a denoiser and write its run folder.

    The folder holds ``config.toml``, ``curve.csv`` and ``curve.png``, ``metrics.json``,
    ``model.safetensors`` (the chosen weights), ``last.safetensors`` (to resume from) and
    ``model.onnx`` (for the light runtime).

    Parameters
    ----------
    config : DenoiserConfig
    folder : Path
        Made if it is not there.
    data_dir : Path or None
        Where the configuration's data paths are looked for if they are not found as they are.
    resume : bool
        Continue from the folder's checkpoint. With a budget in epochs or steps on one device,
        the result is that of an uninterrupted run.
    quiet : bool
        No progress bar.

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume.
    DataError, AudioFileError, ModelError
    """
    checkpoint = folder / CHECKPOINT
    if resume and not checkpoint.is_file():
        raise ConfigError(f"{folder}: nothing to resume, there is no {CHECKPOINT} in it.")
    if not resume and (folder / CONFIG).exists():
        raise ConfigError(f"{folder}: holds a run already. Pass --resume, or another folder.")
    if config.threads:
        torch.set_num_threads(config.threads)
    _check_device(config)
    size = stft_size(config)
    pl.seed_everything(config.seed, verbose=False)
    net = build_net(config, size)
    data = load_training_data(config, size, data_dir)
    make_folder(folder)
    with atomic(folder / CONFIG) as temporary:
        temporary.write_text(config.to_toml(), encoding="utf-8")

    task = DenoisingTask(net, size, loss=config.loss, learning_rate=config.learning_rate)
    budget = Budget(config, data.source.steps_per_epoch)
    with TrainingProgress(budget, quiet=quiet) as progress, _calm():
        every = config.validate_every * (20 if config.whole_recording else 1)
        keeper = Keeper(
            folder=folder,
            pairs=data.score,
            side=data.side,
            every_epochs=every,
            budget=budget,
            report=progress.report,
        )
        if resume and _already_done(checkpoint, budget):
            _restore(task, keeper, checkpoint)
        else:
            trainer = _trainer(config, folder, [budget, keeper])
            with _stop_on_signals(trainer, keeper):
                trainer.fit(
                    task, _loader(config, data.source), ckpt_path=checkpoint if resume else None
                )
    return _finish(config, folder, task, keeper, data)


def stft_size(config: DenoiserConfig) -> StftSize:
    """The STFT of a configuration: what it says, else the architecture's own at this rate."""
    own = ARCHITECTURES[config.arch].stft
    if bool(config.fft_samples) != bool(config.hop_samples):
        raise ConfigError("fft_samples and hop_samples come together: give both or neither.")
    if config.fft_samples:
        if config.fft_samples % (2 * config.hop_samples):
            raise ConfigError(
                f"window of {config.fft_samples} samples and hop of {config.hop_samples}: "
                "the window must be 2, 4, 6, ... hops."
            )
        return StftSize(config.fft_samples, config.hop_samples)
    return StftSize.at_rate(
        fft_samples=own.fft_samples,
        hop_samples=own.hop_samples,
        model_rate_hz=16_000,
        sample_rate_hz=config.sample_rate_hz,
    )


def build_net(config: DenoiserConfig, size: StftSize) -> DenoisingNet:
    """The network of a configuration, with fresh weights from torch's random state."""
    options: dict[str, Any] = {"lookahead_frames": config.lookahead_frames}
    if config.width:
        options["width"] = config.width
    if config.level:
        options["level"] = config.level
    return ARCHITECTURES[config.arch].build(
        bins=size.bins, frames_per_s=config.sample_rate_hz / size.hop_samples, **options
    )


def _loader(config: DenoiserConfig, source: BatchSource) -> DataLoader[Any]:
    return DataLoader(
        Batches(source),
        batch_size=None,
        sampler=EpochSampler(source.steps_per_epoch),
        num_workers=config.workers,
        persistent_workers=config.workers > 0,
    )


def _accelerator(config: DenoiserConfig) -> str:
    return "gpu" if config.device == "cuda" else config.device


def _check_device(config: DenoiserConfig) -> None:
    """Before anything is read or written: whether Lightning finds such devices here."""
    try:
        with _calm():
            pl.Trainer(accelerator=_accelerator(config), devices=config.devices, logger=False)
    except (MisconfigurationException, ModuleNotFoundError, ValueError) as error:
        raise ConfigError(
            f"device is '{config.device}', devices {config.devices}: {str(error).rstrip('.!')}. "
            "Pass --device cpu, or auto."
        ) from None


def _trainer(config: DenoiserConfig, folder: Path, callbacks: list[pl.Callback]) -> pl.Trainer:
    logger: Any = False
    if config.log == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        logger = TensorBoardLogger(folder, name="tensorboard", version="")
    return pl.Trainer(
        accelerator=_accelerator(config),
        devices=config.devices,
        precision=_PRECISIONS[config.precision],  # type: ignore[arg-type]
        max_epochs=-1,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=logger,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def _calm() -> Iterator[None]:
    """Lightning's advice to programmers is not for those who train with a command."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        warnings.filterwarnings("ignore", module=r"lightning\.")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _stop_on_signals(trainer: pl.Trainer, keeper: Keeper) -> Iterator[None]:
    """The first interrupt ends the run after its step, so that a usable model is written."""

    def stop(number: int, frame: FrameType | None) -> None:
        keeper.interrupted = True
        trainer.should_stop = True
        signal.signal(number, before.get(number, signal.SIG_DFL))

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere no handler may be set
        for end in (signal.SIGINT, signal.SIGTERM):
            before[end] = signal.signal(end, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _already_done(checkpoint: Path, budget: Budget) -> bool:
    state = load_state(checkpoint)
    budget.load_state_dict(state["callbacks"][budget.state_key])
    return budget.spent(state["global_step"]) >= 1


def _restore(task: DenoisingTask, keeper: Keeper, checkpoint: Path) -> None:
    state = load_state(checkpoint)
    task.load_state_dict(state["state_dict"])
    keeper.load_state_dict(state["callbacks"][keeper.state_key])


def _finish(
    config: DenoiserConfig, folder: Path, task: DenoisingTask, keeper: Keeper, data: TrainingData
) -> RunResult:
    """Choose the weights, write the model, the curve and the metrics."""
    task = task.cpu()
    batches = min(_SETTLING_BATCHES, data.source.steps_per_epoch)
    settle_statistics(task, data.source, batches)
    scores = last = score_pairs(task, data.score)
    weights = "last"
    if config.select == "best" and keeper.best and (folder / BEST).exists():
        last_state = copy.deepcopy(task.net.state_dict())
        task.net.load_state_dict(load_weights(folder / BEST))
        settle_statistics(task, data.source, batches)
        best = score_pairs(task, data.score)
        if best["si_sdr_denoised_db"] > last["si_sdr_denoised_db"]:
            scores, weights = best, "best"
        else:
            task.net.load_state_dict(last_state)
    save_weights(folder / "model.safetensors", task.net)
    spec = export_denoiser(
        task.net,
        task.size,
        folder / "model.onnx",
        arch=config.arch,
        sample_rate_hz=config.sample_rate_hz,
        name=config.name or folder.resolve().name,
        trained_on=config.trained_on,
        licence=config.licence,
    )
    if keeper.rows:
        write_curve(folder / CURVE, keeper.rows)
        plot_curve(folder / "curve.png", keeper.rows)
    final = keeper.rows[-1] if keeper.rows else {}
    metrics = {
        "weights": weights,
        "interrupted": keeper.interrupted,
        "epochs": final.get("epoch", 0),
        "steps": final.get("step", 0),
        "minutes": final.get("minutes", 0.0),
        "loss": final.get("loss"),
        data.side: scores,
        f"{data.side}_last": last,
        "best": keeper.best or None,
        "data": data.summary,
        "spec": asdict(spec),
    }
    with atomic(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    return RunResult(folder, spec, metrics, keeper.interrupted)
