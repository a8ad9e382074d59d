"""The training of a denoiser, from its configuration to a run folder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal import metrics
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, DataError
from tinysignal.model import load_denoising_model
from tinysignal.nets import ARCHITECTURES, DenoisingNet, LstmNet, MaskingNet
from tinysignal.nets.stft import stft
from tinysignal.spec import DenoiserSpec, Spec
from tinysignal.stft import StftSize
from tinysignal.train.callbacks import CHECKPOINT
from tinysignal.train.checkpoint import load_state, load_weights
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData, load_training_data
from tinysignal.train.denoising.modules import (
    MagnitudeModule,
    WaveformModule,
)
from tinysignal.train.distillation import Teacher
from tinysignal.train.export import export_denoiser, folded, parity
from tinysignal.train.fit import RunResult, Training, begin, fit
from tinysignal.train.folder import CONFIG, WEIGHTS
from tinysignal.train.module import TrainingModule
from tinysignal.train.residual import Terms
from tinysignal.train.task import Task, TrainedRun
from tinysignal.train.tuning import TuneOptions

_AVERAGED, _TRAINED = "averaged.module.", "net."  # names in a checkpoint
_WHOLE_RECORDING = 20  # an epoch is one step then: it is scored so many times less often


def train_denoiser(
    config: DenoiserConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Train a denoiser and write its run folder, see `tinysignal.train.fit.fit`.

    Parameters
    ----------
    config : DenoiserConfig
    folder : Path
    data_dir : Path or None
        Where the configuration's data paths are looked for if they are not found as they are.
    resume, quiet : bool
        See `tinysignal.train.fit.fit`.

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume.
    DataError, AudioFileError, ModelError
    """
    begin(config, folder, resume=resume)
    size = stft_size(config)
    net = build_net(config, size)
    if config.init_from and not resume:
        init_weights(net, Path(config.init_from))
    data = load_training_data(config, size, data_dir)
    module = make_module(config, net, size, data)

    def export(path: Path) -> DenoiserSpec:
        assert isinstance(module.exported, DenoisingNet)
        return export_denoiser(
            module.exported,
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
        module=module,
        source=data.source,
        split=data.split,
        score_every=config.validate_every * (_WHOLE_RECORDING if config.whole_recording else 1),
        data_facts=data.data_facts,
        export=export,
    )
    return fit(training, resume=resume, quiet=quiet)


def make_module(
    config: DenoiserConfig,
    net: DenoisingNet,
    size: StftSize,
    data: TrainingData | None = None,
    teacher: Teacher | None = None,
) -> MagnitudeModule:
    """The Lightning module of a configuration: of signals for a mask, of magnitudes for a gain."""
    if isinstance(net, MaskingNet):
        return WaveformModule(
            net,
            size,
            learning_rate=config.learning_rate,
            pesq_weight=config.pesq_weight,
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


def stft_size(config: DenoiserConfig) -> StftSize:
    """The STFT of a configuration: what it says, else the architecture's own at this rate."""
    own = ARCHITECTURES[config.arch].stft
    if bool(config.window_samples) != bool(config.hop_samples):
        raise ConfigError("window_samples and hop_samples come together: give both or neither.")
    if config.window_samples:
        if config.window_samples % (2 * config.hop_samples):
            raise ConfigError(
                f"window of {config.window_samples} samples and hop of {config.hop_samples}: "
                "the window must be 2, 4, 6, ... hops."
            )
        return StftSize(config.window_samples, config.hop_samples)
    return StftSize.at_rate(
        window_samples=own.window_samples,
        hop_samples=own.hop_samples,
        model_rate_hz=16_000,
        sample_rate_hz=config.sample_rate_hz,
    )


def init_weights(net: DenoisingNet, run: Path) -> None:
    """Give a network the weights of a run, see `weights_of`; an lstm may be wider than the run's.

    Raises
    ------
    ConfigError
        They are of another network.
    ModelError
        There are none to read.
    """
    weights = weights_of(run)
    try:
        if isinstance(net, LstmNet):
            net.widen(weights)
        else:
            net.load_state_dict(weights)
    except RuntimeError:
        raise ConfigError(
            f"{run}: the weights are of another network. "
            f"Give the options of {run / CONFIG} that shape it."
        ) from None


def weights_of(run: Path) -> dict[str, Tensor]:
    """The weights that a run chose, or of an unfinished one the averages in its checkpoint.

    Raises
    ------
    ModelError
        There are none to read.
    """
    if (run / WEIGHTS).is_file() or not (run / CHECKPOINT).is_file():
        return load_weights(run / WEIGHTS)
    state = load_state(run / CHECKPOINT)["state_dict"]
    prefix = _AVERAGED if any(name.startswith(_AVERAGED) for name in state) else _TRAINED
    return {n.removeprefix(prefix): w for n, w in state.items() if n.startswith(prefix)}


def build_net(config: DenoiserConfig, size: StftSize) -> DenoisingNet:
    """The network of a configuration, with fresh weights from torch's random state."""
    options: dict[str, Any] = {"lookahead_frames": config.lookahead_frames}
    if config.width:
        options["width"] = config.width
    if config.normalization:
        options["normalization"] = config.normalization
    return ARCHITECTURES[config.arch].build(
        bins=size.bins, frames_per_s=config.sample_rate_hz / size.hop_samples, **options
    )


_CALIBRATION = 4096  # frames that the factors are made from
_AT_ONCE = 512
_LEARNING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class DenoiserRun(TrainedRun):
    """See `TrainedRun`; and the recordings."""

    spec: DenoiserSpec
    config: DenoiserConfig
    data: TrainingData = field(repr=False)
    size: StftSize

    metric = MagnitudeModule.metric
    tolerance = 0.2
    counted = "frames"
    macs_field = "macs_per_s"
    # Scales from every run would differ between a stream's blocks and the whole signal.
    int8_ways = ("weights", "static")

    @property
    def unit_ms(self) -> float:
        """Duration of a frame, in ms."""
        return 1000 * self.spec.hop_samples / self.spec.sample_rate_hz

    def interface(self, net: nn.Module, spec: Spec) -> tuple[object, ...]:
        """See `TrainedRun.interface`."""
        assert isinstance(spec, DenoiserSpec)
        masks = isinstance(net, MaskingNet)
        return spec.task, spec.sample_rate_hz, spec.window_samples, spec.hop_samples, masks

    def export(self, net: nn.Module, path: Path, *, name: str) -> DenoiserSpec:
        """See `TrainedRun.export`."""
        assert isinstance(net, DenoisingNet)
        return export_denoiser(
            net,
            self.size,
            path,
            arch=self.spec.arch,
            sample_rate_hz=self.spec.sample_rate_hz,
            name=name,
            trained_on=self.spec.trained_on,
            licence=self.spec.licence,
        )

    def score(self, model: nn.Module | Path, *, split: str | None = None) -> dict[str, float]:
        """Mean SI-SDR and SNR, in dB, of the noisy and the denoised signals.

        Raises
        ------
        ConfigError
            Another split than the run's.
        """
        if split not in (None, self.split):
            raise ConfigError(
                f"{self.folder}: a denoiser's run has no {split} split. Measure the result with "
                "'tinysignal evaluate'."
            )
        denoise = self._denoising(model)
        rows = []
        for pair in self.data.score:
            if not pair.clean.any():  # neither ratio is defined
                continue
            clean, row = pair.clean[np.newaxis], {}
            for name, signal in (("noisy", pair.noisy), ("denoised", denoise(pair.noisy))):
                row[f"si_sdr_{name}_db"] = float(metrics.si_sdr(signal[np.newaxis], clean)[0])
                row[f"snr_{name}_db"] = float(metrics.snr(signal[np.newaxis], clean)[0])
            rows.append(row)
        if not rows:
            raise DataError(f"{self.folder}: no pair of its data can be scored, all are silent.")
        scores = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return {**scores, "pairs": len(rows)}

    def _denoising(
        self, model: nn.Module | Path
    ) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        rate = self.spec.sample_rate_hz
        if isinstance(model, Path):
            denoiser = Denoiser.load(model)
            return lambda noisy: denoiser(noisy, sample_rate_hz=rate)
        assert isinstance(model, DenoisingNet)
        module = make_module(self.config, model, self.size).eval()
        return lambda noisy: module.denoise(torch.from_numpy(noisy)[None]).numpy()[0]

    def runner(self, model: nn.Module | Path, count: int) -> Callable[[], object]:
        """See `TrainedRun.runner`."""
        shown = self._frames(count)[np.newaxis]
        if isinstance(model, Path):
            network = load_denoising_model(model)
            is_complex = shown.ndim == 4
            spectrum = (
                shown.view(np.complex64)[..., 0] if is_complex else shown.astype(np.complex64)
            )
            start = network.initial_state(1)
            return lambda: network.run(spectrum, start)
        assert isinstance(model, DenoisingNet)
        inputs, state = torch.from_numpy(shown), model.eval().initial_state(1)
        answer = model.complex_mask if isinstance(model, MaskingNet) else model.gain
        return lambda: answer(inputs, state)

    def parity(self, net: nn.Module, model: Path) -> float:
        """See `TrainedRun.parity`; of spectra around 1."""
        assert isinstance(net, DenoisingNet)
        return parity(net, model)

    def examples(self) -> list[NDArray[np.float32]]:
        """See `TrainedRun.examples`."""
        return [batch.numpy() for batch in self.batches]

    def _frames(self, count: int) -> NDArray[np.float32]:
        """Noisy frames, float32 (count, ...) as in the batches, repeated if there are fewer."""
        frames = torch.cat([batch.flatten(0, 1) for batch in self.batches]).numpy()
        return np.resize(frames, (count, *frames.shape[1:]))

    def tuned_config(self, options: TuneOptions) -> DenoiserConfig:
        """See `TrainedRun.tuned_config`."""
        return replace(
            self.config,
            epochs=options.epochs,
            steps=0,
            minutes=0.0,
            learning_rate=options.learning_rate or _LEARNING_RATE,
            schedule="onecycle",
            precision=options.precision,
            device=options.device,
            threads=0,
        )

    def module(
        self, net: nn.Module, teacher: nn.Module, options: TuneOptions
    ) -> tuple[TrainingModule, BatchSource]:
        """See `TrainedRun.module`."""
        assert isinstance(net, DenoisingNet)
        module = make_module(
            self.tuned_config(options),
            copy.deepcopy(net),
            self.size,
            self.data,
            Teacher(teacher, weight=options.distill_weight),
        )
        return module, self.data.source


def open_denoiser(
    run: Path,
    net: nn.Module,
    spec: DenoiserSpec,
    config: DenoiserConfig,
    *,
    data: str | None,
    data_dir: Path | None,
    seed: int,
) -> DenoiserRun:
    """A denoiser's run with its recordings; parameters as `open_classifier`.

    Raises
    ------
    ConfigError
        Other data than the run's is asked for.
    DataError, AudioFileError
    """
    if data is not None:
        raise ConfigError(
            f"{run}: a denoiser's run takes its data from config.toml; leave --data out."
        )
    size = stft_size(config)
    recordings = load_training_data(config, size, data_dir)
    batches = tuple(_calibration(recordings.source, size, is_complex=isinstance(net, MaskingNet)))
    return DenoiserRun(
        folder=run,
        net=folded(net),
        spec=spec,
        config=config,
        batches=batches,
        split=recordings.split,
        data_facts={
            **recordings.data_facts,
            "calibration": sum(b.shape[0] * b.shape[1] for b in batches),
        },
        seed=seed,
        data=recordings,
        size=size,
    )


def _calibration(source: BatchSource, size: StftSize, *, is_complex: bool) -> list[Tensor]:
    """Noisy frames in batches of a few hundred: magnitudes, float (signals, frames, freq).

    Where phases are seen, spectra of real and imaginary parts, (signals, frames, freq, 2).
    """
    found: list[Tensor] = []
    for signals in _batches(source):
        given = signals  # a whole recording comes as magnitudes
        if signals.ndim == 2:
            spectrum = stft(signals, size)
            given = torch.view_as_real(spectrum) if is_complex else spectrum.abs()
        for block in torch.split(given, _AT_ONCE, dim=1):
            found += torch.split(block, max(1, _AT_ONCE // block.shape[1]))
        if sum(block.shape[0] * block.shape[1] for block in found) >= _CALIBRATION:
            break
    return _some(found)


def _batches(source: BatchSource) -> Iterator[Tensor]:
    for number in range(source.steps_per_epoch):
        yield torch.from_numpy(source.batch(number)[0])


def _some(blocks: list[Tensor]) -> list[Tensor]:
    """As many of the blocks as are needed, from everywhere."""
    frames = sum(block.shape[0] * block.shape[1] for block in blocks)
    return blocks[:: max(1, frames // _CALIBRATION)]


DENOISING = Task(
    config=DenoiserConfig,
    train=train_denoiser,
    build=lambda config, spec: build_net(config, stft_size(config)),
    open=open_denoiser,
)
