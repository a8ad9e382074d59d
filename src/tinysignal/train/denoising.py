"""The denoiser's training as a Lightning module."""

from __future__ import annotations

from typing import Any

import lightning as pl
import numpy as np
import torch
from torch import Tensor

from tinysignal import metrics
from tinysignal.stft import StftSize
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.data.pairs import Pair
from tinysignal.train.losses import LOSSES
from tinysignal.train.nets import DenoisingNet
from tinysignal.train.stft import istft, stft


class DenoisingTask(pl.LightningModule):
    """Magnitudes of the noisy signal in, magnitudes of the clean one out, phase as it was.

    Parameters
    ----------
    net : DenoisingNet
    size : StftSize
    loss : str
        A name in `tinysignal.train.losses.LOSSES`.
    learning_rate : float
        Of Adam.
    """

    def __init__(
        self, net: DenoisingNet, size: StftSize, *, loss: str, learning_rate: float
    ) -> None:
        super().__init__()
        self.net = net
        self.size = size
        self.loss = LOSSES[loss]
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

    @torch.no_grad()
    def denoise(self, noisy: Tensor) -> Tensor:
        """Denoised signals, float (batch, time)."""
        spectrum = stft(noisy, self.size)
        ahead = self.net.lookahead_frames
        magnitude = torch.nn.functional.pad(spectrum.abs(), (0, 0, 0, ahead))
        state = tuple(s.to(noisy.device) for s in self.net.initial_state(noisy.shape[0]))
        gain, _ = self.net.gain(magnitude, state)
        return istft(spectrum * gain[:, ahead:].float(), self.size, noisy.shape[1])


def settle_statistics(task: DenoisingTask, source: BatchSource, batches: int) -> None:
    """Average batch normalisation's statistics anew, over training batches and with these weights.

    Those kept during training lag behind the weights and rest on the last few batches.

    References
    ----------
    Wu and Johnson (2021), "Rethinking 'batch' in BatchNorm", section 3.
    """
    layers = [m for m in task.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
    task.train()
    for number in range(batches):
        noisy = torch.from_numpy(source.batch(number)[0]).to(task.device)
        with torch.no_grad():
            task.net(task.magnitudes(noisy) if noisy.ndim == 2 else noisy)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    task.eval()


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
        with torch.no_grad():
            given = task.magnitudes(noisy)
            magnitudes = (task.net(given), task.magnitudes(clean), given)
        row = {"loss": float(task.loss(*magnitudes)), "mse": float(LOSSES["mse"](*magnitudes))}
        for name, signal in (("noisy", pair.noisy[None]), ("denoised", denoised)):
            row[f"snr_{name}_db"] = float(metrics.snr(signal, pair.clean[None])[0])
            row[f"si_sdr_{name}_db"] = float(metrics.si_sdr(signal, pair.clean[None])[0])
        rows.append(row)
    task.train(was_training)
    if not rows:
        return {}
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
