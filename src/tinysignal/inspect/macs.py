"""Multiply-accumulate operations of one call of a module."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from torch import Tensor, nn


def layer_macs(module: nn.Module, given: Tensor | None, output: Tensor) -> int | None:
    """Multiply-accumulate operations of one call, for the whole batch.

    Matrix products and convolutions are counted, additions of a bias and activations are not.

    Parameters
    ----------
    module : nn.Module
    given : Tensor or None
        Its first input.
    output : Tensor
        Its output, of a recurrent module the sequence.

    Returns
    -------
    int, or None for a module that is not known
    """
    for kinds, count in _COUNTS.items():
        if given is not None and isinstance(module, kinds):
            return count(module, given, output)
    return None


def _linear(module: Any, given: Tensor, output: Tensor) -> int:
    return output.numel() * int(module.in_features)


def _convolution(module: Any, given: Tensor, output: Tensor) -> int:
    return output.numel() * int(module.in_channels // module.groups * prod(module.kernel_size))


def _transposed(module: Any, given: Tensor, output: Tensor) -> int:
    return given.numel() * int(module.out_channels // module.groups * prod(module.kernel_size))


def _recurrent(module: nn.Module, given: Tensor, output: Tensor) -> int:
    """Each step of each example multiplies by every weight matrix once."""
    matrices = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim == 2)
    return prod(output.shape[:-1]) * matrices  # the axes before the last: steps, examples


def _looked_up(module: nn.Module, given: Tensor, output: Tensor) -> int:
    return 0


Count = Callable[[Any, Tensor, Tensor], int]

_COUNTS: dict[tuple[type[nn.Module], ...], Count] = {
    (nn.Linear,): _linear,
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): _convolution,
    (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): _transposed,
    (nn.RNNBase, nn.RNNCellBase): _recurrent,
    (nn.Embedding,): _looked_up,
}
