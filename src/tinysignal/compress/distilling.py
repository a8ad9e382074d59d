"""The training of a compressed network: the task's own loss, and what the original answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from tinysignal.errors import ConfigError
from tinysignal.train.classifying import ClassifyingTask
from tinysignal.train.denoising import DenoisingTask
from tinysignal.train.enhancing import EnhancingTask
from tinysignal.train.losses import spectral

AUGMENTS = ("run", "none", "best")


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How a compressed network is trained further.

    Parameters
    ----------
    epochs : int
        Of a denoiser's single whole recording, one is one step.
    learning_rate : float or None
        The highest of a one-cycle schedule; None for the task's default.
    batch : int or None
        Examples of a classifier; None for 256. A denoiser keeps its own.
    distill : float
        Share of the loss that compares with the original's answers, 0 to 1; the rest compares with
        the labels or the clean signals.
    temperature : float
        By which the logits are divided for that.
    average : float
        Decay of a classifier's averaged weights; 0 for none.
    augment : {"run", "none", "best"}
        Deformation of a classifier's examples: the run's own, none, or the best recipe's.
    precision : {"32", "bf16", "16"}
    device : str
    """

    epochs: int
    learning_rate: float | None = None
    batch: int | None = None
    distill: float = 0.9
    temperature: float = 2.0
    average: float = 0.998
    augment: str = "run"
    precision: str = "32"
    device: str = "auto"

    def __post_init__(self) -> None:
        if type(self.epochs) is not int or self.epochs < 1:
            raise ConfigError(f"finetune = {self.epochs!r}, expected 1 epoch or more.")
        if self.augment not in AUGMENTS:
            raise ConfigError(f"augment is '{self.augment}', expected {' or '.join(AUGMENTS)}.")
        if not 0 <= self.distill <= 1:
            raise ConfigError(f"distill is {self.distill}, expected a share of 0 to 1.")
        if not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}, expected more than 0.")


class _Original:
    """The original network, no part of what is trained: neither optimised nor saved."""

    def __init__(self, net: nn.Module) -> None:
        self._net = net.eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self._net.to(inputs.device)(inputs)
        return answer.float()


class DistilledClassifying(ClassifyingTask):
    """A classifier's training with the original's probabilities as a second target.

    Parameters
    ----------
    net, args, options
        See `tinysignal.train.classifying.ClassifyingTask`.
    teacher : nn.Module
        From examples to logits of the same classes.
    share, temperature : float
        See `TuneOptions`.

    References
    ----------
    Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a neural network", section 2.
    """

    def __init__(
        self,
        net: nn.Module,
        *args: Any,
        teacher: nn.Module,
        share: float,
        temperature: float,
        **options: Any,
    ) -> None:
        super().__init__(net, *args, **options)
        self._original = _Original(teacher)
        self._share = share
        self._temperature = temperature

    def loss(self, examples: Tensor, labels: Tensor) -> Tensor:
        """Mix of cross-entropy to the labels and divergence from the original."""
        logits = self.net(examples).float()
        own = cross_entropy(logits, labels)
        if not self._share:
            return own
        aim = log_softmax(self._original(examples) / self._temperature, dim=1)
        found = log_softmax(logits / self._temperature, dim=1)
        # Its gradient shrinks with the temperature squared, which is made up for.
        apart = kl_div(found, aim, reduction="batchmean", log_target=True) * self._temperature**2
        return self._share * apart + (1 - self._share) * own


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
