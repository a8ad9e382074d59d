"""Options of fine-tuning a compressed network. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tinysignal.options import Options, option

TUNING = "Fine-tuning"


@dataclass(frozen=True, kw_only=True)
class TuneOptions(Options):
    """Configuration of fine-tuning a compressed network; `describe` lists its options.

    Raises
    ------
    ConfigError
        A value is out of its bounds.

    Examples
    --------
    >>> from tinysignal.train.tuning import TuneOptions
    >>> TuneOptions(epochs=3).distill_weight
    0.9
    """

    epochs: int = option(
        1,
        "Number of epochs of fine-tuning; if a denoiser was trained on one whole recording, an "
        "epoch is one step.",
        group=TUNING,
        shown="no fine-tuning; from Python, 1",
        at_least=1,
    )
    learning_rate: float | None = option(
        None,
        "Peak learning rate of the one-cycle schedule.",
        group=TUNING,
        shown="0.002 for classifiers, 0.001 for denoisers",
        at_least=1e-9,
        below=10,
    )
    batch: int | None = option(
        None,
        "Number of examples in a batch, for classifiers; a denoiser keeps that of its run.",
        group=TUNING,
        shown="256",
        at_least=1,
    )
    distill_weight: float = option(
        0.9,
        "Weight of distillation from the original network in the loss, 0 to 1; labels or clean "
        "signals have the rest.",
        group=TUNING,
        at_least=0,
        at_most=1,
    )
    temperature: float = option(
        2.0, "Distillation temperature, for classifiers.", group=TUNING, at_least=1e-6
    )
    ema_decay: float = option(
        0.998,
        "Decay per step of the exponential moving average of the weights, for classifiers; 0 for "
        "no average.",
        group=TUNING,
        at_least=0,
        below=1,
    )
    augment: Literal["run", "none", "best"] = option(
        "run",
        "Deformation of the examples, for classifiers: that of the run, none, or that of recipe "
        "best.",
        group=TUNING,
    )
    precision: Literal["32", "bf16", "16"] = option(
        "32", "Numeric precision; bf16 and 16 keep 32-bit weights.", group=TUNING
    )
    device: str = option("auto", "Device: auto, cpu, cuda or mps.", group=TUNING)
