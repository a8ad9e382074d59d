"""Base class of the Lightning modules: a network in training with its scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import lightning as pl
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel


@dataclass(frozen=True)
class ValidationMetric:
    """Validation score, of which higher values are better.

    Parameters
    ----------
    key : str
        Key of the score in `TrainingModule.score`.
    label : str
        Name of the score for people.
    format : str
        Format of a value with its unit: ``{:.2f} dB``.
    """

    key: str
    label: str
    format: str

    def shown(self, value: float) -> str:
        """Text of a value with its unit."""
        return self.format.format(value)


class TrainingModule(pl.LightningModule):
    """Network in training.

    Attributes
    ----------
    net : nn.Module
        The trained network.
    metric : ValidationMetric
        Score that selects the ``best`` weights; its key is one of those of `score`.
    """

    net: nn.Module
    metric: ValidationMetric

    def takes_step(self, batch_idx: int) -> bool:
        """Whether the optimiser has taken a step after this batch, see ``accumulate``."""
        return (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Scores of `exported` on the validation data, or on training data without them."""

    @property
    def exported(self) -> nn.Module:
        """Network to score and export: the trained one, or the average of its weights."""
        return self.net

    @abstractmethod
    def recalibrate(self) -> None:
        """Recompute the batch-norm statistics of `exported`, see `recalibrate_batch_norm`."""


@torch.no_grad()
def recalibrate_batch_norm(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Recompute the statistics of batch normalisation as means over training batches.

    The running statistics of training lag behind the weights and depend on the last few batches.

    Parameters
    ----------
    net : nn.Module
        Changed in place and left in evaluation mode.
    batches : iterable of Tensor
        Inputs as in training; not read if the network has no batch normalisation.

    References
    ----------
    Wu and Johnson (2021), "Rethinking 'batch' in BatchNorm", section 3.
    """
    layers = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    if layers:
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # the mean over all batches
        net.train()
        for batch in batches:
            net(batch)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    net.eval()


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a network's weights and buffers, see `decaying`."""
    model = AveragedModel(net, avg_fn=decaying(decay), use_buffers=True)
    return model.requires_grad_(False)  # excluded from optimisers and from gradient exchange


def decaying(ema_decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Update rule of an exponential moving average with a shorter decay in the first steps.

    Parameters
    ----------
    ema_decay : float
        Decay per step, below 1; ``(1 + n) / (10 + n)`` in step n if that is smaller.

    Returns
    -------
    callable
        Argument ``avg_fn`` of `torch.optim.swa_utils.AveragedModel`.
    """

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        decay = min(ema_decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - decay) if averaged.is_floating_point() else current

    return update
