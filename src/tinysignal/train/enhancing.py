"""The training of a network that answers with a complex mask, on signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.stft import StftSize
from tinysignal.train.averaging import averaged
from tinysignal.train.denoising import DenoisingTask
from tinysignal.train.losses import mse, spectral
from tinysignal.train.nets import MaskingNet
from tinysignal.train.perceptual import PesqLoss
from tinysignal.train.residual import UNUSED, ResidualLoss, Terms
from tinysignal.train.sources import TrainingData
from tinysignal.train.stft import istft, stft

_AVERAGE = 0.999  # decay of the weights' average, by the step
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0


class EnhancingTask(DenoisingTask):
    """Noisy signals in, clean signals out; the loss is `tinysignal.train.losses.spectral`.

    `tinysignal.train.perceptual.PesqLoss` and `tinysignal.train.residual.ResidualLoss` are added to
    it where they have a weight.

    AdamW, gradients bounded, and an exponential average of the weights, which is what is scored
    and exported.

    Parameters
    ----------
    net : MaskingNet
    size : StftSize
    learning_rate : float
    perceptual : float
        Weight of the points that PESQ takes off.
    weights : Terms of float
        Of the noise that is left, and so on.
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
        weights: Terms[float] = UNUSED,
        sample_rate_hz: int = 16_000,
        data: TrainingData | None = None,
    ) -> None:
        super().__init__(net, size, loss="mse", learning_rate=learning_rate, data=data)
        self.averaged = averaged(net, _AVERAGE)
        self._perceptual = perceptual
        self._pesq = PesqLoss(sample_rate_hz=sample_rate_hz) if perceptual else None
        self._weights = weights
        self._residual = ResidualLoss(sample_rate_hz=sample_rate_hz) if any(weights) else None

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
        if self._residual is not None:
            terms = self._residual(enhanced, clean, noisy)
            for weight, term in zip(self._weights, terms, strict=True):
                loss = loss + weight * term
        return loss

    def _enhanced(self, net: Callable[[Tensor], Tensor], noisy: Tensor) -> Tensor:
        masked = net(torch.view_as_real(stft(noisy, self.size)))
        return istft(torch.view_as_complex(masked), self.size, noisy.shape[1])
