"""The training of a denoiser, from its configuration to a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinysignal.errors import ConfigError
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import StftSize
from tinysignal.train.checkpoint import load_weights
from tinysignal.train.config import DenoiserConfig
from tinysignal.train.denoising import DenoisingTask
from tinysignal.train.enhancing import EnhancingTask
from tinysignal.train.export import export_denoiser
from tinysignal.train.nets import ARCHITECTURES, DenoisingNet, LstmNet, MaskingNet
from tinysignal.train.residual import Terms
from tinysignal.train.run import CONFIG, WEIGHTS, RunResult, Training, begin, fit
from tinysignal.train.sources import TrainingData, load_training_data

_WHOLE_RECORDING = 20  # an epoch is one step then: it is scored so many times less often


def train_denoiser(
    config: DenoiserConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Train a denoiser and write its run folder, see `tinysignal.train.run.fit`.

    Parameters
    ----------
    config : DenoiserConfig
    folder : Path
    data_dir : Path or None
        Where the configuration's data paths are looked for if they are not found as they are.
    resume, quiet : bool
        See `tinysignal.train.run.fit`.

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume.
    DataError, AudioFileError, ModelError
    """
    begin(config, folder, resume=resume)
    size = stft_size(config)
    net = build_net(config, size)
    if config.start_from and not resume:
        start_from(net, Path(config.start_from))
    data = load_training_data(config, size, data_dir)
    task = make_task(config, net, size, data)

    def export(path: Path) -> DenoiserSpec:
        assert isinstance(task.result, DenoisingNet)
        return export_denoiser(
            task.result,
            size,
            path,
            arch=config.arch,
            sample_rate_hz=config.sample_rate_hz,
            name=config.name or folder.resolve().name,
            trained_on=config.trained_on,
            licence=config.licence,
        )

    training = Training(
        config=config,
        folder=folder,
        task=task,
        source=data.source,
        side=data.side,
        score_every=config.validate_every * (_WHOLE_RECORDING if config.whole_recording else 1),
        summary=data.summary,
        export=export,
    )
    return fit(training, resume=resume, quiet=quiet)


def make_task(
    config: DenoiserConfig, net: DenoisingNet, size: StftSize, data: TrainingData | None = None
) -> DenoisingTask:
    """The task of a configuration: on signals for a complex mask, on magnitudes for a gain."""
    if isinstance(net, MaskingNet):
        return EnhancingTask(
            net,
            size,
            learning_rate=config.learning_rate,
            perceptual=config.perceptual,
            weights=term_weights(config),
            sample_rate_hz=config.sample_rate_hz,
            data=data,
        )
    return DenoisingTask(net, size, loss=config.loss, learning_rate=config.learning_rate, data=data)


def term_weights(config: DenoiserConfig) -> Terms[float]:
    """Weights of what `tinysignal.train.residual.ResidualLoss` measures."""
    return Terms(config.resolution_weight, config.residual_weight, config.removed_weight)


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


def start_from(net: DenoisingNet, run: Path) -> None:
    """Give a network the weights that a run chose; an lstm may be wider than the run's.

    Raises
    ------
    ConfigError
        They are of another network.
    ModelError
        There are none to read.
    """
    weights = load_weights(run / WEIGHTS)
    try:
        if isinstance(net, LstmNet):
            net.widen(weights)
        else:
            net.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f"{run / WEIGHTS}: the weights are of another network. "
            f"Give the options of {run / CONFIG} that shape it."
        ) from None


def build_net(config: DenoiserConfig, size: StftSize) -> DenoisingNet:
    """The network of a configuration, with fresh weights from torch's random state."""
    options: dict[str, Any] = {"lookahead_frames": config.lookahead_frames}
    if config.width:
        options["width"] = config.width
    if config.level:
        options["level"] = config.level
    if config.arch == "bands":
        options["sample_rate_hz"] = config.sample_rate_hz
    return ARCHITECTURES[config.arch].build(
        bins=size.bins, frames_per_s=config.sample_rate_hz / size.hop_samples, **options
    )
