"""Further training of a compressed network, with the original's outputs as a second target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tinysignal.options import Options, option

TUNING = "Further training"


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Options):
    """Further training of a compressed network; `describe` lists the options.

    Raises
    ------
    ConfigError
        A value is out of its bounds.
    """

    epochs: int = option(
        1,
        "Epochs of further training; of a denoiser's single whole recording, one is one step.",
        group=TUNING,
        at_least=1,
    )
    learning_rate: float | None = option(
        None,
        "Peak learning rate of the one-cycle schedule.",
        group=TUNING,
        shown="0.002 of classifiers, 0.001 of denoisers",
        at_least=1e-9,
        below=10,
    )
    batch: int | None = option(
        None,
        "Examples in a batch of a classifier; a denoiser keeps its run's.",
        group=TUNING,
        shown="256",
        at_least=1,
    )
    distill_weight: float = option(
        0.9,
        "Weight in the loss of the original's outputs, 0 to 1; the rest goes to the labels or the "
        "clean signals.",
        group=TUNING,
        at_least=0,
        at_most=1,
    )
    temperature: float = option(
        2.0, "Distillation temperature of a classifier.", group=TUNING, at_least=1e-6
    )
    ema_decay: float = option(
        0.998,
        "Decay of the exponential moving average of a classifier's weights; 0 for none.",
        group=TUNING,
        at_least=0,
        below=1,
    )
    augment: Literal["run", "none", "best"] = option(
        "run",
        "Deformation of a classifier's examples: the run's own, none, or the best recipe's.",
        group=TUNING,
    )
    precision: Literal["32", "bf16", "16"] = option(
        "32", "Bits of a number in training; bf16 and 16 keep 32-bit weights.", group=TUNING
    )
    device: str = option("auto", "Device: auto, cpu, cuda or mps.", group=TUNING)


class Teacher:
    """A network whose outputs are a second target; it is neither trained nor saved.

    Parameters
    ----------
    net : nn.Module
        Takes what the trained network takes.
    weight : float
        Its weight in the loss, 0 to 1.
    temperature : float
        Divides the logits of a classifier.

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
        """Its outputs in float32, on the device of the inputs."""
        outputs: Tensor = self._net.to(inputs.device)(inputs)
        return outputs.float()


def mixed(teacher: Teacher | None, loss: Tensor, imitation: Callable[[Teacher], Tensor]) -> Tensor:
    """The task's loss, mixed with the loss of imitating a teacher if there is one."""
    if teacher is None or not teacher.weight:
        return loss
    return (1 - teacher.weight) * loss + teacher.weight * imitation(teacher)
