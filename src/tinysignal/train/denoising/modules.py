"""Lightning modules of denoisers, on magnitudes and on signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinysignal import metrics
from tinysignal.nets import DenoisingNet, MaskingNet
from tinysignal.nets.stft import istft, stft
from tinysignal.stft import StftSize
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.denoising.data import TrainingData
from tinysignal.train.distillation import Teacher, mixed
from tinysignal.train.losses import LOSSES, mse, spectral
from tinysignal.train.module import (
    TrainingModule,
    ValidationMetric,
    averaged,
    recalibrate_batch_norm,
)
from tinysignal.train.opinion import OpinionLoss
from tinysignal.train.pesq import PesqLoss
from tinysignal.train.residual import UNUSED, ResidualLoss, Terms

_SETTLING_BATCHES = 50


class MagnitudeModule(TrainingModule):
    """Training on magnitudes: the network estimates clean from noisy ones; phases are unchanged.

    Parameters
    ----------
    net : DenoisingNet
    size : StftSize
    loss : str
        Name of a loss in `tinysignal.train.losses.LOSSES`.
    learning_rate : float
        Peak learning rate of Adam.
    data : TrainingData or None
        Data of the scores; None for a network that is only applied.
    teacher : Teacher or None
        Network whose outputs are a second target.
    """

    net: DenoisingNet
    metric = ValidationMetric("si_sdr_denoised_db", "SI-SDR", "{:.2f} dB")

    def __init__(
        self,
        net: DenoisingNet,
        size: StftSize,
        *,
        loss: str,
        learning_rate: float,
        data: TrainingData | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__()
        self._teacher = teacher
        self.net = net
        self.data = data
        self.size = size
        self.loss = LOSSES[loss]
        self._learning_rate = learning_rate

    def magnitudes(self, signal: Tensor) -> Tensor:
        """Magnitudes, float (batch, frames, freq), of signals, float (batch, time)."""
        return stft(signal, self.size).abs()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Loss of a batch of noisy and clean magnitudes."""
        noisy, clean = batch
        found = self.net(noisy)
        loss = self.loss(found, clean, noisy)
        return mixed(self._teacher, loss, lambda teacher: self.loss(found, teacher(noisy), noisy))

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, ...], dataloader_idx: int
    ) -> tuple[Tensor, ...]:
        """Compute the magnitudes of training signals on the device; magnitudes are unchanged."""
        if self.trainer.training and batch[0].ndim == 2:
            with torch.no_grad():
                return tuple(self.magnitudes(signal) for signal in batch)
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Fused Adam; `Schedule` sets its learning rate."""
        return torch.optim.Adam(self.net.parameters(), self._learning_rate, fused=True)

    def score(self) -> dict[str, float]:
        """Scores on the pairs of the run, see `score_pairs`."""
        return score_pairs(self, self.data.score) if self.data else {}

    def recalibrate(self) -> None:
        """Recompute batch-norm statistics on training batches, see `recalibrate_batch_norm`."""
        if self.data:
            source = self.data.source
            numbers = range(min(_SETTLING_BATCHES, source.steps_per_epoch))
            noisy = (torch.from_numpy(source.batch(n)[0]).to(self.device) for n in numbers)
            recalibrate_batch_norm(
                self.net, (x if x.ndim == 3 else self.magnitudes(x) for x in noisy)
            )

    @torch.no_grad()
    def losses(self, noisy: Tensor, clean: Tensor) -> dict[str, float]:
        """Loss, and mean squared error of magnitudes, of signals, float (batch, time)."""
        given = self.magnitudes(noisy)
        magnitudes = (self.net(given), self.magnitudes(clean), given)
        return {"loss": float(self.loss(*magnitudes)), "mse": float(mse(*magnitudes))}

    @torch.no_grad()
    def denoise(self, noisy: Tensor) -> Tensor:
        """Denoised signals, float (batch, time)."""
        spectrum = stft(noisy, self.size)
        ahead = self.net.lookahead_frames
        magnitude = torch.nn.functional.pad(spectrum.abs(), (0, 0, 0, ahead))
        state = tuple(s.to(noisy.device) for s in self.net.initial_state(noisy.shape[0]))
        gain, _ = self.net.gain(magnitude, state)
        return istft(spectrum * gain[:, ahead:].float(), self.size, noisy.shape[1])


def score_pairs(task: MagnitudeModule, pairs: list[SignalPair]) -> dict[str, float]:
    """Mean loss, and mean SNR and SI-SDR in dB of the noisy and of the denoised signals.

    Pairs with a silent clean signal are left out, because their ratios are not defined.
    """
    was_training = task.training
    task.eval()
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        given, target = pair.arrays()
        if not target.any():
            continue
        noisy = torch.from_numpy(given)[None].to(task.device)
        clean = torch.from_numpy(target)[None].to(task.device)
        denoised = task.denoise(noisy).cpu().numpy()
        row = task.losses(noisy, clean)
        for name, signal in (("noisy", given[None]), ("denoised", denoised)):
            row[f"snr_{name}_db"] = float(metrics.snr(signal, target[None])[0])
            row[f"si_sdr_{name}_db"] = float(metrics.si_sdr(signal, target[None])[0])
        rows.append(row)
    task.train(was_training)
    if not rows:
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


_EMA_DECAY = 0.999  # decay per step of the moving average of the weights
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0


class WaveformModule(MagnitudeModule):
    """Training on signals with the loss `tinysignal.train.losses.spectral`.

    `tinysignal.train.pesq.PesqLoss`, `tinysignal.train.opinion.OpinionLoss` and
    `tinysignal.train.residual.ResidualLoss` are added with their weights. The optimiser is AdamW
    with clipped gradients; the exponential moving average of the weights is scored and exported.

    Parameters
    ----------
    net : MaskingNet
    size : StftSize
    learning_rate : float
        Peak learning rate of AdamW.
    pesq_weight : float
        Weight of the PESQ loss.
    opinion_weight : float
        Weight of the points that DNSMOS's overall opinion lacks.
    weights : Terms of float
        Weights of the residual loss.
    sample_rate_hz : int
        Sample rate of the signals in Hz, for the PESQ loss.
    data : TrainingData or None
        Data of the scores; None for a network that is only applied.
    teacher : Teacher or None
        Network whose outputs are a second target.
    """

    net: MaskingNet

    def __init__(
        self,
        net: MaskingNet,
        size: StftSize,
        *,
        learning_rate: float,
        pesq_weight: float = 0.0,
        opinion_weight: float = 0.0,
        weights: Terms[float] = UNUSED,
        sample_rate_hz: int = 16_000,
        data: TrainingData | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(
            net, size, loss="mse", learning_rate=learning_rate, data=data, teacher=teacher
        )
        self.averaged = averaged(net, _EMA_DECAY)
        self._pesq_weight = pesq_weight
        self._pesq = PesqLoss(sample_rate_hz=sample_rate_hz) if pesq_weight else None
        self._opinion_weight = opinion_weight
        self._opinion = OpinionLoss() if opinion_weight else None
        self._weights = weights
        self._residual = ResidualLoss(sample_rate_hz=sample_rate_hz) if any(weights) else None

    @property
    def exported(self) -> nn.Module:
        """Network with the averaged weights."""
        return self.averaged.module

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, ...], dataloader_idx: int
    ) -> tuple[Tensor, ...]:
        """Return the signals unchanged."""
        return batch

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Loss of a batch of noisy and clean signals."""
        noisy, clean = batch
        found = self._enhanced(self.net, noisy)

        def imitation(teacher: Teacher) -> Tensor:
            target = self._enhanced(teacher, noisy)
            # The minimum of the spectral loss is not zero, because of SI-SDR.
            least = spectral(target, target, noisy, self.size)
            return self._loss(found, target, noisy) - least

        return mixed(self._teacher, self._loss(found, clean, noisy), imitation)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Update the moving average of the weights after each step."""
        if self.takes_step(batch_idx):
            self.averaged.update_parameters(self.net)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Fused AdamW; `Schedule` sets its learning rate."""
        return torch.optim.AdamW(
            self.net.parameters(), self._learning_rate, weight_decay=_WEIGHT_DECAY, fused=True
        )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip gradients to norm 1: recurrent networks have rare, large ones."""
        nn.utils.clip_grad_norm_(self.net.parameters(), _LARGEST_GRADIENT)

    def recalibrate(self) -> None:
        """Keep the batch-norm statistics, which are averaged together with the weights."""

    @torch.no_grad()
    def losses(self, noisy: Tensor, clean: Tensor) -> dict[str, float]:
        """Loss, and mean squared error of magnitudes, of signals, float (batch, time)."""
        enhanced = self.denoise(noisy)
        magnitudes = (self.magnitudes(s) for s in (enhanced, clean, noisy))
        return {
            "loss": float(self._loss(enhanced, clean, noisy)),
            "mse": float(mse(*magnitudes)),
        }

    @torch.no_grad()
    def denoise(self, noisy: Tensor) -> Tensor:
        """Denoised signals, float (batch, time), from the averaged network."""
        net = self.averaged.module
        assert isinstance(net, MaskingNet)
        was_training = net.training
        net.eval()
        enhanced = self._enhanced(net, noisy)
        net.train(was_training)
        return enhanced

    def _loss(self, enhanced: Tensor, clean: Tensor, noisy: Tensor) -> Tensor:
        loss = spectral(enhanced, clean, noisy, self.size)
        if self._pesq is not None:
            loss = loss + self._pesq_weight * self._pesq(enhanced, clean).mean()
        if self._opinion is not None:
            loss = loss + self._opinion_weight * self._opinion(enhanced, clean)
        if self._residual is not None:
            terms = self._residual(enhanced, clean, noisy)
            for weight, term in zip(self._weights, terms, strict=True):
                loss = loss + weight * term
        return loss

    def _enhanced(self, net: Callable[[Tensor], Tensor], noisy: Tensor) -> Tensor:
        masked = net(torch.view_as_real(stft(noisy, self.size)))
        return istft(torch.view_as_complex(masked), self.size, noisy.shape[1])
