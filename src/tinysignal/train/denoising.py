"""The denoiser's training as a Lightning module."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from tinysignal import metrics
from tinysignal.stft import StftSize
from tinysignal.train.data.pairs import Pair
from tinysignal.train.losses import LOSSES, mse
from tinysignal.train.nets import DenoisingNet
from tinysignal.train.sources import TrainingData
from tinysignal.train.stft import istft, stft
from tinysignal.train.task import Measure, Task, settle_statistics

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
