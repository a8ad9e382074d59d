"""The training of a compressed network: the task's own loss, and what the original answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinysignal.errors import ConfigError

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
