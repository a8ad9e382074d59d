"""Denoising networks and their registry by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tinysignal.nets.base import DenoisingNet, MaskingNet
from tinysignal.nets.cnn import CnnNet
from tinysignal.nets.linear import LinearNet
from tinysignal.nets.lstm import LstmNet
from tinysignal.stft import StftSize

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "CnnNet",
    "DenoisingNet",
    "LinearNet",
    "LstmNet",
    "MaskingNet",
]


@dataclass(frozen=True)
class Architecture:
    """Entry of the registry of networks.

    Parameters
    ----------
    build : callable
        Constructor of the network.
    stft : StftSize
        Default STFT size at 16 kHz.
    """

    build: Callable[..., DenoisingNet]
    stft: StftSize


ARCHITECTURES = {
    "linear": Architecture(LinearNet, StftSize(1024, 512)),
    "cnn": Architecture(CnnNet, StftSize(512, 256)),
    "lstm": Architecture(LstmNet, StftSize(512, 128)),
}
