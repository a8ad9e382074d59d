"""Task of denoising: its training, and its trained runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal import metrics
from tinysignal.datasets.report import OnReport, log_report
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, DataError
from tinysignal.model import load_denoising_model
from tinysignal.nets import DenoisingNet, MaskingNet
from tinysignal.nets.stft import stft
from tinysignal.spec import DenoiserSpec, Spec
from tinysignal.stft import StftSize
from tinysignal.subsonic import SubsonicStream
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.data.corpus import OnDecoded
from tinysignal.train.denoising.build import build_net, init_weights, make_module, stft_size
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData, load_training_data
from tinysignal.train.denoising.modules import MagnitudeModule
from tinysignal.train.distillation import Teacher
from tinysignal.train.export import export_denoiser, folded, parity
from tinysignal.train.fit import RunResult, Training, begin, fit
from tinysignal.train.module import TrainingModule
from tinysignal.train.task import Task, TrainedRun
from tinysignal.train.tuning import TuneOptions

_WHOLE_RECORDING = 20  # factor of the epochs between scorings if an epoch is one step


def train_denoiser(
    config: DenoiserConfig,
    folder: Path,
    *,
    data_dir: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    on_report: OnReport | None = log_report,
    on_decoded: OnDecoded | None = None,
) -> RunResult:
    """Train a denoiser and write its run folder, see `tinysignal.train.fit.fit`.

    Parameters
    ----------
    config : DenoiserConfig
    folder : Path
        Run folder.
    data_dir : Path or None
        Folder to search for the data paths that are not in the current folder.
    resume : bool
        Whether to continue the run in the folder.
    quiet : bool
        Whether to hide the progress bar.
    on_report : callable or None
        Is called with the `tinysignal.datasets.report.DataReport` of the data before the first
        step; by default, its warnings are logged.
    on_decoded : callable or None
        Is called with the number of recordings that are decoded into the cache so far, and of
        those to decode.

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        The folder holds a run already, or nothing to resume; the device is not available.
    DataError
        Recordings are missing, silent, unreadable or do not match.
    FileError
        The folder cannot be written.
    ModelError
        The weights of ``init_from`` are not readable, or the exported model differs.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.train import DenoiserConfig, train_denoiser
    >>> config = DenoiserConfig(clean="speech/", noise="noise/", minutes=20)
    >>> result = train_denoiser(config, Path("run"))  # doctest: +SKIP
    >>> result.metrics["valid"]["si_sdr_denoised_db"]  # doctest: +SKIP
    14.2
    """
    begin(config, folder, resume=resume)
    size = stft_size(config)
    net = build_net(config, size)
    if config.init_from and not resume:
        init_weights(net, Path(config.init_from))
    data = load_training_data(config, size, data_dir, on_report=on_report, on_decoded=on_decoded)
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
        report=data.report,
    )
    return fit(training, resume=resume, quiet=quiet)


_CALIBRATION = 4096  # calibration frames
_AT_ONCE = 512
_LEARNING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class DenoiserRun(TrainedRun):
    """Trained denoiser with its recordings, see `TrainedRun`."""

    spec: DenoiserSpec
    config: DenoiserConfig
    data: TrainingData = field(repr=False)
    size: StftSize

    metric = MagnitudeModule.metric
    tolerance = 0.2
    counted = "frames"
    macs_field = "macs_per_s"

    @property
    def int8_ways(self) -> tuple[str, ...]:
        """Not dynamic: its scales depend on the block, and a stream would differ from a whole."""
        return ("weights", "static", *(("recurrent",) if self.spec.arch == "lstm" else ()))

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
        """Mean SI-SDR and SNR in dB of the noisy and of the denoised signals.

        Raises
        ------
        ConfigError
            ``split`` is not that of the run.
        DataError
            All clean signals are silent.
        """
        if split not in (None, self.split):
            raise ConfigError(
                f"{self.folder}: split '{split}', expected '{self.split}' for the run of a "
                "denoiser. Evaluate other data with 'tinysignal evaluate'."
            )
        denoise = self._denoising(model)
        rows = []
        for pair in self.data.score:
            noisy, target = pair.arrays()
            if not target.any():  # SNR and SI-SDR are not defined
                continue
            clean, row = target[np.newaxis], {}
            for name, signal in (("noisy", noisy), ("denoised", denoise(noisy))):
                row[f"si_sdr_{name}_db"] = float(metrics.si_sdr(signal[np.newaxis], clean)[0])
                row[f"snr_{name}_db"] = float(metrics.snr(signal[np.newaxis], clean)[0])
            rows.append(row)
        if not rows:
            raise DataError(
                f"{self.folder}: all clean signals of its data are silent, expected at least one "
                "pair with speech."
            )
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

        def denoised(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
            # As the runtime hands a signal to the network.
            stream = SubsonicStream(self.size.hop_samples, rate, 1)
            steady = np.concatenate([stream.feed(noisy[np.newaxis]), stream.flush()], axis=1)
            found: NDArray[np.float32] = module.denoise(torch.from_numpy(steady)).numpy()[0]
            return found

        return denoised

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
        """See `TrainedRun.parity`; the spectra are around 1."""
        assert isinstance(net, DenoisingNet)
        return parity(net, model)

    def examples(self) -> list[NDArray[np.float32]]:
        """See `TrainedRun.examples`."""
        return [batch.numpy() for batch in self.batches]

    def _frames(self, count: int) -> NDArray[np.float32]:
        """Noisy frames of the calibration batches, float32 (count, ...), repeated as needed."""
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
    calibration: int | None,
) -> DenoiserRun:
    """Run of a denoiser with its recordings; parameters as of `open_classifier`.

    ``calibration`` counts frames; None for 4096.

    Raises
    ------
    ConfigError
        ``data`` is given: a denoiser uses the data of its run.
    DataError
        See `load_training_data`.
    """
    if data is not None:
        raise ConfigError(
            f"{run}: data '{data}' given, but the run of a denoiser uses the data of its "
            "config.toml. Leave --data out."
        )
    size = stft_size(config)
    recordings = load_training_data(config, size, data_dir)
    batches = tuple(
        _calibration(
            recordings.source,
            size,
            frames=calibration or _CALIBRATION,
            is_complex=isinstance(net, MaskingNet),
        )
    )
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


def _calibration(
    source: BatchSource, size: StftSize, *, frames: int, is_complex: bool
) -> list[Tensor]:
    """About ``frames`` noisy frames in batches of a few hundred, for calibration.

    Magnitudes, float (signals, frames, freq), or complex spectra, (signals, frames, freq, 2).
    """
    found: list[Tensor] = []
    for signals in _batches(source):
        given = signals  # magnitudes, if the source is a whole recording
        if signals.ndim == 2:
            spectrum = stft(signals, size)
            given = torch.view_as_real(spectrum) if is_complex else spectrum.abs()
        for block in torch.split(given, _AT_ONCE, dim=1):
            found += torch.split(block, max(1, _AT_ONCE // block.shape[1]))
        if sum(block.shape[0] * block.shape[1] for block in found) >= frames:
            break
    return _some(found, frames)


def _batches(source: BatchSource) -> Iterator[Tensor]:
    for number in range(source.steps_per_epoch):
        yield torch.from_numpy(source.batch(number)[0])


def _some(blocks: list[Tensor], frames: int) -> list[Tensor]:
    """Every k-th block, for about so many frames."""
    found = sum(block.shape[0] * block.shape[1] for block in blocks)
    return blocks[:: max(1, found // frames)]


DENOISING = Task(
    config=DenoiserConfig,
    train=train_denoiser,
    build=lambda config, spec: build_net(config, stft_size(config)),
    open=open_denoiser,
)
