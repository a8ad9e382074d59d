"""Networks, STFT and Lightning module of a denoiser's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from tinysignal.errors import ConfigError
from tinysignal.nets import ARCHITECTURES, DenoisingNet, LstmNet, MaskingNet
from tinysignal.stft import StftSize
from tinysignal.train.checkpoint import load_state, load_weights
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData
from tinysignal.train.denoising.modules import MagnitudeModule, WaveformModule
from tinysignal.train.distillation import Teacher
from tinysignal.train.folder import CHECKPOINT, CONFIG, WEIGHTS
from tinysignal.train.residual import Terms

_AVERAGED, _TRAINED = "averaged.module.", "net."  # prefixes of weights in a checkpoint
_REFERENCE_HZ = 16_000  # sample rate of the default STFT sizes


def stft_size(config: DenoiserConfig) -> StftSize:
    """STFT size of a configuration, by default that of the architecture at its sample rate.

    Raises
    ------
    ConfigError
        Only one of window and hop is given, or the window is not an even number of hops.
    """
    own = ARCHITECTURES[config.arch].stft
    if bool(config.window_samples) != bool(config.hop_samples):
        raise ConfigError(
            f"window_samples is {config.window_samples} and hop_samples {config.hop_samples}, "
            "expected both or neither to be given."
        )
    if config.window_samples:
        if config.window_samples % (2 * config.hop_samples):
            raise ConfigError(
                f"window of {config.window_samples} samples and hop of {config.hop_samples}: "
                "expected a window of 2, 4, 6, ... hops."
            )
        return StftSize(config.window_samples, config.hop_samples)
    return StftSize.at_rate(
        window_samples=own.window_samples,
        hop_samples=own.hop_samples,
        model_rate_hz=_REFERENCE_HZ,
        sample_rate_hz=config.sample_rate_hz,
    )


def build_net(config: DenoiserConfig, size: StftSize) -> DenoisingNet:
    """Network of a configuration, with initial weights from torch's random state."""
    options: dict[str, Any] = {"lookahead_frames": config.lookahead_frames}
    if config.width:
        options["width"] = config.width
    if config.normalization:
        options["normalization"] = config.normalization
    return ARCHITECTURES[config.arch].build(
        bins=size.bins, frames_per_s=config.sample_rate_hz / size.hop_samples, **options
    )


def init_weights(net: DenoisingNet, run: Path) -> None:
    """Load the weights of a run, see `weights_of`; an lstm may be wider than that of the run.

    Raises
    ------
    ConfigError
        The weights belong to another network.
    ModelError
        The run has no readable weights.
    """
    weights = weights_of(run)
    try:
        if isinstance(net, LstmNet):
            net.widen(weights)
        else:
            net.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f"{run}: the weights belong to another network. Give the network options of "
            f"{run / CONFIG}."
        ) from None


def weights_of(run: Path) -> dict[str, Tensor]:
    """Selected weights of a run; of an unfinished one, the averages in its checkpoint.

    Raises
    ------
    ModelError
        The run has no readable weights.
    """
    if (run / WEIGHTS).is_file() or not (run / CHECKPOINT).is_file():
        return load_weights(run / WEIGHTS)
    state = load_state(run / CHECKPOINT)["state_dict"]
    prefix = _AVERAGED if any(name.startswith(_AVERAGED) for name in state) else _TRAINED
    return {n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)}


def make_module(
    config: DenoiserConfig,
    net: DenoisingNet,
    size: StftSize,
    data: TrainingData | None = None,
    teacher: Teacher | None = None,
) -> MagnitudeModule:
    """Lightning module of a configuration: `WaveformModule` for masks, else `MagnitudeModule`."""
    if isinstance(net, MaskingNet):
        return WaveformModule(
            net,
            size,
            learning_rate=config.learning_rate,
            pesq_weight=config.pesq_weight,
            opinion_weight=config.opinion_weight,
            weights=Terms(config.resolution_weight, config.residual_weight, config.removed_weight),
            sample_rate_hz=config.sample_rate_hz,
            data=data,
            teacher=teacher,
        )
    return MagnitudeModule(
        net,
        size,
        loss=config.loss or "mse",
        learning_rate=config.learning_rate,
        data=data,
        teacher=teacher,
    )
