"""Distillation: the outputs of a teacher network as a second target."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Teacher:
    """Network whose outputs are a second target; it is neither trained nor saved.

    Parameters
    ----------
    net : nn.Module
        Network with the inputs and outputs of the trained one.
    weight : float
        Weight of the distillation loss, 0 to 1.
    temperature : float
        Divisor of the logits of a classifier.

    References
    ----------
    Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a neural network", section 2.
    """

    def __init__(self, net: nn.Module, *, weight: float, temperature: float = 1.0) -> None:
        self._net = net.eval().requires_grad_(requires_grad=False)
        self.weight = weight
        self.temperature = temperature

    @torch.no_grad()
    def __call__(self, inputs: Tensor) -> Tensor:
        """Outputs of the teacher in float32, on the device of the inputs."""
        outputs: Tensor = self._net.to(inputs.device)(inputs)
        return outputs.float()


def mixed(teacher: Teacher | None, loss: Tensor, imitation: Callable[[Teacher], Tensor]) -> Tensor:
    """Weighted mean of the task's loss and the distillation loss; the task's without a teacher.

    Parameters
    ----------
    teacher : Teacher or None
    loss : Tensor ()
        Loss of the task.
    imitation : callable
        Distillation loss of a teacher, a Tensor ().
    """
    if teacher is None or not teacher.weight:
        return loss
    return (1 - teacher.weight) * loss + teacher.weight * imitation(teacher)
