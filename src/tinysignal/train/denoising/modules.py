"""The denoiser's training as a Lightning module."""

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
from tinysignal.train.data.pairs import Pair
from tinysignal.train.denoising.data import TrainingData
from tinysignal.train.distillation import _Original
from tinysignal.train.losses import LOSSES, mse, spectral
from tinysignal.train.module import Measure, Task, averaged, settle_statistics
from tinysignal.train.pesq import PesqLoss

_SETTLING_BATCHES = 50


class DenoisingTask(Task):
    """Magnitudes of the noisy signal in, magnitudes of the clean one out, phase as it was.

    Parameters
    ----------
    net : DenoisingNet
    size : StftSize
    loss : str
        A name in `tinysignal.train.losses.LOSSES`; empty for ``mse``.
    learning_rate : float
        Of Adam.
    data : TrainingData or None
        What it is scored on; None for a network that is only used.
    """

    net: DenoisingNet
    measure = Measure("si_sdr_denoised_db", "SI-SDR", "{:.2f} dB")

    def __init__(
        self,
        net: DenoisingNet,
        size: StftSize,
        *,
        loss: str,
        learning_rate: float,
        data: TrainingData | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.data = data
        self.size = size
        self.loss = LOSSES[loss or "mse"]
        self._learning_rate = learning_rate

    def magnitudes(self, signal: Tensor) -> Tensor:
        """float (batch, frames, freq) of float (batch, time)."""
        return stft(signal, self.size).abs()

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Loss of a batch of noisy and clean magnitudes."""
        noisy, clean = batch
        return self.loss(self.net(noisy), clean, noisy)

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, ...], dataloader_idx: int
    ) -> tuple[Tensor, ...]:
        """Signals become magnitudes where they are needed, on the device; magnitudes stay."""
        if self.trainer.training and batch[0].ndim == 2:
            with torch.no_grad():
                return tuple(self.magnitudes(signal) for signal in batch)
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, fused; its rate is set by the run's budget."""
        return torch.optim.Adam(self.net.parameters(), self._learning_rate, fused=True)

    def score(self) -> dict[str, float]:
        """Scores on the run's pairs, see `score_pairs`."""
        return score_pairs(self, self.data.score) if self.data else {}

    def settle(self) -> None:
        """Average batch normalisation's statistics over training batches."""
        if self.data:
            source = self.data.source
            numbers = range(min(_SETTLING_BATCHES, source.steps_per_epoch))
            noisy = (torch.from_numpy(source.batch(n)[0]).to(self.device) for n in numbers)
            settle_statistics(self.net, (x if x.ndim == 3 else self.magnitudes(x) for x in noisy))

    @torch.no_grad()
    def losses(self, noisy: Tensor, clean: Tensor) -> dict[str, float]:
        """The loss, and the mean squared error of magnitudes, of float (batch, time)."""
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


def score_pairs(task: DenoisingTask, pairs: list[Pair]) -> dict[str, float]:
    """Mean loss, and SNR and SI-SDR in dB of the noisy and the denoised signals.

    Pairs whose clean signal is silent have neither ratio and are left out.
    """
    was_training = task.training
    task.eval()
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        if not pair.clean.any():
            continue
        noisy = torch.from_numpy(pair.noisy)[None].to(task.device)
        clean = torch.from_numpy(pair.clean)[None].to(task.device)
        denoised = task.denoise(noisy).cpu().numpy()
        row = task.losses(noisy, clean)
        for name, signal in (("noisy", pair.noisy[None]), ("denoised", denoised)):
            row[f"snr_{name}_db"] = float(metrics.snr(signal, pair.clean[None])[0])
            row[f"si_sdr_{name}_db"] = float(metrics.si_sdr(signal, pair.clean[None])[0])
        rows.append(row)
    task.train(was_training)
    if not rows:
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


_AVERAGE = 0.999  # decay of the weights' average, by the step
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0


class EnhancingTask(DenoisingTask):
    """Noisy signals in, clean signals out; the loss is `tinysignal.train.losses.spectral`.

    `tinysignal.train.pesq.PesqLoss` is added to it where that has a weight.

    AdamW, gradients bounded, and an exponential average of the weights, which is what is scored
    and exported.

    Parameters
    ----------
    net : MaskingNet
    size : StftSize
    learning_rate : float
    perceptual : float
        Weight of the points that PESQ takes off.
    sample_rate_hz : int
        For PESQ.
    data : TrainingData or None
        What it is scored on; None for a network that is only used.
    """

    net: MaskingNet

    def __init__(
        self,
        net: MaskingNet,
        size: StftSize,
        *,
        learning_rate: float,
        perceptual: float = 0.0,
        sample_rate_hz: int = 16_000,
        data: TrainingData | None = None,
    ) -> None:
        super().__init__(net, size, loss="mse", learning_rate=learning_rate, data=data)
        self.averaged = averaged(net, _AVERAGE)
        self._perceptual = perceptual
        self._pesq = PesqLoss(sample_rate_hz=sample_rate_hz) if perceptual else None

    @property
    def result(self) -> nn.Module:
        """The averaged network."""
        return self.averaged.module

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, ...], dataloader_idx: int
    ) -> tuple[Tensor, ...]:
        """Signals stay signals."""
        return batch

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Loss of a batch of noisy and clean signals."""
        noisy, clean = batch
        return self._loss(self._enhanced(self.net, noisy), clean, noisy)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Average the weights after each step."""
        self.averaged.update_parameters(self.net)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW, fused; its rate is set by the run's budget."""
        return torch.optim.AdamW(
            self.net.parameters(), self._learning_rate, weight_decay=_WEIGHT_DECAY, fused=True
        )

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Gradients of norm 1 at most: recurrent networks have rare, huge ones."""
        nn.utils.clip_grad_norm_(self.net.parameters(), _LARGEST_GRADIENT)

    def settle(self) -> None:
        """The average has its own statistics, which lag as its weights do."""

    @torch.no_grad()
    def losses(self, noisy: Tensor, clean: Tensor) -> dict[str, float]:
        """The loss, and the mean squared error of magnitudes, of float (batch, time)."""
        enhanced = self.denoise(noisy)
        magnitudes = (self.magnitudes(s) for s in (enhanced, clean, noisy))
        return {
            "loss": float(self._loss(enhanced, clean, noisy)),
            "mse": float(mse(*magnitudes)),
        }

    @torch.no_grad()
    def denoise(self, noisy: Tensor) -> Tensor:
        """Denoised signals, float (batch, time), by the averaged network."""
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
            loss = loss + self._perceptual * self._pesq(enhanced, clean).mean()
        return loss

    def _enhanced(self, net: Callable[[Tensor], Tensor], noisy: Tensor) -> Tensor:
        masked = net(torch.view_as_real(stft(noisy, self.size)))
        return istft(torch.view_as_complex(masked), self.size, noisy.shape[1])


class DistilledDenoising(DenoisingTask):
    """A denoiser's training with the original's magnitudes as a second target."""

    def __init__(self, *args: Any, teacher: nn.Module, share: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._original = _Original(teacher)
        self._share = share

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Mix of the losses to the clean magnitudes and to the original's."""
        noisy, clean = batch
        found = self.net(noisy)
        loss = (1 - self._share) * self.loss(found, clean, noisy)
        if self._share:
            loss = loss + self._share * self.loss(found, self._original(noisy), noisy)
        return loss


class DistilledEnhancing(EnhancingTask):
    """The training of a network of complex masks with the original's signals as a second target."""

    def __init__(self, *args: Any, teacher: nn.Module, share: float, **options: Any) -> None:
        super().__init__(*args, **options)
        self._original = _Original(teacher)
        self._share = share

    def training_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> Tensor:
        """Mix of the losses to the clean signals and to those of the original."""
        noisy, clean = batch
        found = self._enhanced(self.net, noisy)
        loss = (1 - self._share) * self._loss(found, clean, noisy)
        if self._share:
            aim = self._enhanced(self._original, noisy)
            least = spectral(aim, aim, noisy, self.size)  # SI-SDR has no zero; PESQ has
            loss = loss + self._share * (self._loss(found, aim, noisy) - least)
        return loss
