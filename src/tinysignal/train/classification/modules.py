"""The classifier's training as a Lightning module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from tinysignal.datasets import Examples
from tinysignal.train.classification.augment import Deformation
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.distillation import Teacher, mixed
from tinysignal.train.module import (
    TrainingModule,
    ValidationMetric,
    averaged,
    recalibrate_batch_norm,
)

_CHUNK = 1000  # examples scored at once
_SETTLING_BATCHES = 100


class ClassificationModule(TrainingModule):
    """Examples in, logits out, cross-entropy to the labels.

    Every step's random numbers (dropout, deformation) depend on the seed and the step alone, so
    that a resumed run goes on as it would have.

    Parameters
    ----------
    net : nn.Module
        From float (examples, rows, columns) to logits (examples, classes).
    source : BatchSource
        What it is trained on.
    score_on : Examples
        What it is scored on.
    learning_rate : float
        Of Adam; its weight decay is decoupled.
    weight_decay, label_smoothing : float
    ema_decay : float
        Decay of the exponential moving average of the weights, which is then scored and exported;
        0 for none. It is shorter in the first steps.
    deform : Deformation
    teacher : Teacher or None
        Its probabilities are a second target.
    seed : int
    """

    metric = ValidationMetric("accuracy", "accuracy", "{:.2%}")

    def __init__(
        self,
        net: nn.Module,
        source: BatchSource,
        score_on: Examples,
        *,
        learning_rate: float,
        weight_decay: float = 0.0,
        label_smoothing: float = 0.0,
        ema_decay: float = 0.0,
        deform: Deformation | None = None,
        teacher: Teacher | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.net = net
        self.averaged = averaged(net, ema_decay) if ema_decay else None
        self._source = source
        self._score_on = score_on
        self._learning_rate = learning_rate
        self._weight_decay = weight_decay
        self._label_smoothing = label_smoothing
        self._deform = deform or Deformation()
        self._teacher = teacher
        self._seed = seed

    @property
    def exported(self) -> nn.Module:
        """The averaged network if there is one."""
        return self.net if self.averaged is None else self.averaged.module

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """The step's own random numbers, and the process's."""
        step = self._seed * 1_000_003 + self.trainer.global_step
        torch.manual_seed(step + (self.global_rank << 40))

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, Tensor], dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Values become floats on the device."""
        values, labels = batch
        return as_float(values), labels

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch of examples and labels."""
        examples, labels = batch
        with torch.autocast(examples.device.type, enabled=False):
            examples = self._deform(examples)
        return self.loss(examples, labels)

    def loss(self, examples: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the logits, mixed with their divergence from a teacher's."""
        logits = self.net(examples).float()
        own = cross_entropy(logits, labels, label_smoothing=self._label_smoothing)
        return mixed(self._teacher, own, lambda teacher: _divergence(teacher, examples, logits))

    def on_train_batch_end(
        self, outputs: Any, batch: tuple[Tensor, Tensor], batch_idx: int
    ) -> None:
        """Average the weights after each step."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.net)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, fused, with decoupled weight decay; its rate is set by the run's budget."""
        return torch.optim.AdamW(
            self.net.parameters(),
            self._learning_rate,
            weight_decay=self._weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Accuracy, as a share, and mean negative log-likelihood in nats."""
        net, was_training = self.exported, self.exported.training
        net.eval()
        right = loss = 0.0
        for start in range(0, len(self._score_on), _CHUNK):
            part = slice(start, start + _CHUNK)
            values = as_float(torch.from_numpy(self._score_on.values[part]).to(self.device))
            labels = torch.from_numpy(self._score_on.labels[part]).to(self.device)
            logits = net(values).float()
            right += float((logits.argmax(dim=1) == labels).sum())
            loss += float(cross_entropy(logits, labels, reduction="sum"))
        net.train(was_training)
        count = len(self._score_on)
        return {"accuracy": right / count, "nll": loss / count}

    def recalibrate(self) -> None:
        """Average batch normalisation's statistics over training batches, deformed as they were."""
        torch.manual_seed(self._seed)
        numbers = range(min(_SETTLING_BATCHES, self._source.steps_per_epoch))
        batches = (torch.from_numpy(self._source.batch(n)[0]).to(self.device) for n in numbers)
        recalibrate_batch_norm(
            self.exported, (self._deform(as_float(values)) for values in batches)
        )


def as_float(values: Tensor) -> Tensor:
    """Pictures of 0 to 255 as 0 to 1; floats as they are."""
    return values.float() / 255 if values.dtype == torch.uint8 else values


def _divergence(teacher: Teacher, examples: Tensor, logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's probabilities.

    Times the temperature squared, to keep the gradient's scale.
    """
    target = log_softmax(teacher(examples) / teacher.temperature, dim=1)
    found = log_softmax(logits / teacher.temperature, dim=1)
    divergence = kl_div(found, target, reduction="batchmean", log_target=True)
    return divergence * teacher.temperature**2
