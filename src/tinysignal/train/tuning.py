"""Options of the further training of a compressed network; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
