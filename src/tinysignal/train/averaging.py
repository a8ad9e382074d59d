"""Exponential averages of weights."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(net: nn.Module, decay: float) -> AveragedModel:
    """A copy of a network that follows its weights and statistics, see `decaying`."""
    model = AveragedModel(net, avg_fn=decaying(decay), use_buffers=True)
    return model.requires_grad_(False)  # no optimiser's, and nothing to share between processes


def decaying(average: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """An exponential average that starts as a plain mean, as there is little to forget yet.

    Parameters
    ----------
    average : float
        Decay by the step, below 1.

    Returns
    -------
    callable
        For `torch.optim.swa_utils.AveragedModel`'s ``avg_fn``.
    """

    def update(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        decay = min(average, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - decay) if averaged.is_floating_point() else current

    return update
