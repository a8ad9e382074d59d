"""Lightning module of classifiers."""

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

_CHUNK = 1000  # examples in a batch of scoring
_SETTLING_BATCHES = 100


class ClassificationModule(TrainingModule):
    """Training of a classifier with cross-entropy.

    The random numbers of a step (dropout, deformation) depend on the seed and the step only, which
    makes runs resumable.

    Parameters
    ----------
    net : nn.Module
        Network from float (examples, rows, columns) to logits (examples, classes).
    source : BatchSource
        Training batches.
    score_on : Examples
        Examples of the scores.
    learning_rate : float
        Peak learning rate of AdamW.
    weight_decay : float
        Decoupled weight decay.
    label_smoothing : float
        Probability distributed over all classes, 0 to 1.
    ema_decay : float
        Decay per step of the exponential moving average of the weights, which is scored and
        exported; 0 for no average. See `tinysignal.train.module.decaying`.
    deform : Deformation or None
        Random deformation of the training examples.
    teacher : Teacher or None
        Network whose probabilities are a second target.
    seed : int
        Random seed.
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
        """Network with the averaged weights, or the trained one without an average."""
        return self.net if self.averaged is None else self.averaged.module

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        """Seed torch by the step and the rank of the process."""
        step = self._seed * 1_000_003 + self.trainer.global_step
        torch.manual_seed(step + (self.global_rank << 40))

    def on_after_batch_transfer(
        self, batch: tuple[Tensor, Tensor], dataloader_idx: int
    ) -> tuple[Tensor, Tensor]:
        """Convert values to floats on the device."""
        values, labels = batch
        return as_float(values), labels

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        """Loss of a batch of examples and labels."""
        examples, labels = batch
        with torch.autocast(examples.device.type, enabled=False):
            examples = self._deform(examples)
        return self.loss(examples, labels)

    def loss(self, examples: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of the logits, mixed with the divergence from the teacher's."""
        logits = self.net(examples).float()
        own = cross_entropy(logits, labels, label_smoothing=self._label_smoothing)
        return mixed(self._teacher, own, lambda teacher: _divergence(teacher, examples, logits))

    def on_train_batch_end(
        self, outputs: Any, batch: tuple[Tensor, Tensor], batch_idx: int
    ) -> None:
        """Update the moving average of the weights after each step."""
        if self.averaged is not None and self.takes_step(batch_idx):
            self.averaged.update_parameters(self.net)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Fused AdamW; `Schedule` sets its learning rate."""
        return torch.optim.AdamW(
            self.net.parameters(),
            self._learning_rate,
            weight_decay=self._weight_decay,
            fused=True,
        )

    @torch.no_grad()
    def score(self) -> dict[str, float]:
        """Accuracy, 0 to 1, and mean negative log-likelihood in nats."""
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
        """Recompute batch-norm statistics on deformed training batches."""
        torch.manual_seed(self._seed)
        numbers = range(min(_SETTLING_BATCHES, self._source.steps_per_epoch))
        batches = (torch.from_numpy(self._source.batch(n)[0]).to(self.device) for n in numbers)
        recalibrate_batch_norm(
            self.exported, (self._deform(as_float(values)) for values in batches)
        )


def as_float(values: Tensor) -> Tensor:
    """Values of uint8 pictures divided by 255; floats are unchanged."""
    return values.float() / 255 if values.dtype == torch.uint8 else values


def _divergence(teacher: Teacher, examples: Tensor, logits: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the teacher's probabilities at its temperature T.

    It is multiplied by T^2 to keep the scale of the gradient.
    """
    target = log_softmax(teacher(examples) / teacher.temperature, dim=1)
    found = log_softmax(logits / teacher.temperature, dim=1)
    divergence = kl_div(found, target, reduction="batchmean", log_target=True)
    return divergence * teacher.temperature**2
