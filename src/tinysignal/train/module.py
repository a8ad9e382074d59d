"""What a run trains, whatever the task: a network, how it is scored, and by what it is chosen."""

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
    """A score, higher is better: its key, its name for people, and how it is written."""

    key: str
    label: str
    format: str

    def shown(self, value: float) -> str:
        """The value with its unit."""
        return self.format.format(value)


class TrainingModule(pl.LightningModule):
    """A network in training.

    Attributes
    ----------
    net : nn.Module
        What is trained.
    metric : ValidationMetric
        What ``best`` weights are chosen by, one of the keys of `score`.
    """

    net: nn.Module
    metric: ValidationMetric

    @abstractmethod
    def score(self) -> dict[str, float]:
        """Scores of `exported` on the run's validation data, or on what stands for it."""

    @property
    def exported(self) -> nn.Module:
        """The network whose weights are scored and kept: the trained one, or its average."""
        return self.net

    @abstractmethod
    def recalibrate(self) -> None:
        """Make `exported` ready to be exported: see `recalibrate_batch_norm`."""


@torch.no_grad()
def recalibrate_batch_norm(net: nn.Module, batches: Iterable[Tensor]) -> None:
    """Average batch normalisation's statistics anew, over training inputs and with these weights.

    Those kept during training lag behind the weights and rest on the last few batches.

    Parameters
    ----------
    net : nn.Module
        Left in evaluation mode.
    batches : iterable of Tensor
        Inputs as in training; not touched if there is no batch normalisation.

    References
    ----------
    Wu and Johnson (2021), "Rethinking 'batch' in BatchNorm", section 3.
    """
    layers = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    if layers:
        momenta = [layer.momentum for layer in layers]
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over all batches
        net.train()
        for batch in batches:
            net(batch)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
    net.eval()


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that follows its weights and statistics, see `decaying`."""
    model = AveragedModel(net, avg_fn=decaying(decay), use_buffers=True)
    return model.requires_grad_(False)  # no optimiser's, and nothing to share between processes


def decaying(ema_decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential average that starts as a plain mean, as there is little to forget yet.

    Parameters
    ----------
    ema_decay : float
        Decay by the step, below 1.

    Returns
    -------
    callable
        For `torch.optim.swa_utils.AveragedModel`'s ``avg_fn``.
    """

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        decay = min(ema_decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - decay) if averaged.is_floating_point() else current

    return update
