"""Multiply-accumulate operations of one call of a module."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.errors import DataError


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


Forward = Callable[[nn.Module, Any], Any]


def _macs(module: nn.Module, output: Any) -> int:
    """Of a layer that is left as it is; attention is counted by its projections."""
    value = output[0] if isinstance(output, tuple) else output
    if not isinstance(value, Tensor):
        return 0
    own = [p.numel() for p in module.parameters(recurse=False) if p.ndim >= 2]
    if isinstance(module, nn.modules.conv._ConvNd):
        return value.numel() // max(1, module.out_channels) * sum(own)
    if isinstance(module, nn.Linear | nn.RNNBase | nn.RNNCellBase):
        return value.numel() // max(1, value.shape[-1]) * sum(own)
    if isinstance(module, nn.MultiheadAttention):
        return value.numel() * 4 * int(module.embed_dim)
    return 0


def _recurrent_macs(module: nn.Module, output: Any) -> int:
    """Of the recurrent weights, no part of the matrix that is factored."""
    if not isinstance(module, nn.RNNBase):
        return 0
    value = first_tensor(output)
    across = [p.numel() for name, p in module.named_parameters() if name.startswith("weight_hh")]
    return value.numel() // value.shape[-1] * sum(across)


def first_tensor(outputs: Any) -> Tensor:
    """The first Tensor of nested outputs."""
    while not isinstance(outputs, Tensor):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a module is called with, be it by name."""
    return args[0] if args else next(iter(kwargs.values()))


@contextmanager
def watching(network: nn.Module) -> Iterator[list[Any]]:
    """Evaluation without gradients, hooks' handles; afterwards all is as it was."""
    handles: list[Any] = []
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield handles
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training


def guarded(run: Forward, network: nn.Module, inputs: Any) -> Any:
    """The outputs for a batch.

    Raises
    ------
    DataError
        The network does not take them.
    """
    try:
        return run(network, inputs)
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"the network does not take calibration inputs of shape {shapes(inputs)} ({reason}). "
            "Give batches as in training, or a forward function."
        ) from None


def shapes(inputs: Any) -> str:
    """The shapes of the tensors in nested inputs, for a message."""
    if isinstance(inputs, Tensor):
        return str(tuple(inputs.shape))
    if isinstance(inputs, dict):
        return ", ".join(f"{key} {shapes(value)}" for key, value in inputs.items())
    if isinstance(inputs, list | tuple):
        return ", ".join(shapes(item) for item in inputs)
    return type(inputs).__name__


@contextmanager
def left_as_it_was(model: nn.Module, seed: int) -> Iterator[None]:
    """Evaluation mode, no gradients, a seed of our own; then all as before."""
    modes = [(module, module.training) for module in model.modules()]
    device = _device_of(model)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        try:
            model.eval()
            yield
        finally:
            for module, mode in modes:
                module.training = mode


def shape_text(shape: Iterable[int]) -> str:
    """``1024 x 784``."""
    return " x ".join(map(str, shape)) or "one number"


def _device_of(model: nn.Module) -> torch.device:
    """Where a network's first parameter or buffer lies; the CPU if it has none."""
    first = next(iter([*model.parameters(), *model.buffers()]), None)
    return torch.device("cpu") if first is None else first.device


def count_macs(net: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-accumulate operations of a network's layers in one run of it."""
    total = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Linear):
            total += output.numel() * layer.in_features
        elif isinstance(layer, nn.Conv2d):
            total += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.LSTM):
            total += output[0].numel() * 4 * (layer.input_size + layer.hidden_size)

    hooks = [layer.register_forward_hook(count) for layer in net.modules()]
    try:
        with torch.no_grad():
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return total
