"""Running any network with hooks: evaluation mode, shapes, multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from tinysignal.errors import DataError, TinysignalError

Forward = Callable[[nn.Module, Any], Any]


@contextmanager
def evaluating(network: nn.Module, *, seed: int | None = None) -> Iterator[list[Any]]:
    """Context of evaluation mode without gradients; the modes of all modules are restored.

    Parameters
    ----------
    network : nn.Module
    seed : int or None
        Seed of torch's random numbers in the block, whose state is restored; None for no seeding.

    Yields
    ------
    list
        Collects the handles of hooks, which are removed at the end.
    """
    handles: list[Any] = []
    modes = [(module, module.training) for module in network.modules()]
    device = device_of(network)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=seed is not None), torch.no_grad():
        if seed is not None:
            torch.manual_seed(seed)
        try:
            network.eval()
            yield handles
        finally:
            for handle in handles:
                handle.remove()
            for module, training in modes:
                module.training = training


def guarded(run: Forward, network: nn.Module, inputs: Any) -> Any:
    """Outputs of a network for a batch, with an error that names the shapes.

    Parameters
    ----------
    run : callable
        ``run(network, inputs)`` gives the outputs.
    network : nn.Module
    inputs : Tensor or nested Tensors

    Raises
    ------
    DataError
        The network does not take the batch.
    """
    try:
        return run(network, inputs)
    except TinysignalError:
        raise
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"the network does not take inputs of shape {shapes(inputs)} ({reason}). "
            "Give batches as in training, or a forward function."
        ) from None


def first_tensor(outputs: Any) -> Tensor:
    """First Tensor of nested outputs."""
    while not isinstance(outputs, Tensor):
        outputs = next(iter(outputs.values() if isinstance(outputs, dict) else outputs))
    return outputs


def first_input(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """First argument of a module's call, positional or by name."""
    return args[0] if args else next(iter(kwargs.values()))


def device_of(model: nn.Module) -> torch.device:
    """Device of a network's first parameter or buffer; the CPU if it has none."""
    first = next(iter([*model.parameters(), *model.buffers()]), None)
    return torch.device("cpu") if first is None else first.device


def shape_text(shape: Iterable[int]) -> str:
    """Text of a shape: ``1024 x 784``."""
    return " x ".join(map(str, shape)) or "one number"


def shapes(inputs: Any) -> str:
    """Text of the shapes of all tensors in nested inputs."""
    if isinstance(inputs, Tensor):
        return shape_text(inputs.shape)
    if isinstance(inputs, dict):
        return ", ".join(f"{key} {shapes(value)}" for key, value in inputs.items())
    if isinstance(inputs, list | tuple):
        return ", ".join(shapes(item) for item in inputs)
    return type(inputs).__name__


def layer_macs(module: nn.Module, output: Any, *, given: Tensor | None = None) -> int | None:
    """Multiply-accumulates of one call of a module, for the whole batch.

    Matrix products and convolutions are counted; biases and activations are not. Attention is
    counted by its projections.

    Parameters
    ----------
    module : nn.Module
    output : Tensor or nested Tensors
        Output of the call. The first Tensor is counted: of a recurrent module, the sequence.
    given : Tensor or None
        First input of the call, needed for transposed convolutions.

    Returns
    -------
    int or None
        None for a type of module that is not known.
    """
    for kinds, count in _COUNTS.items():
        if isinstance(module, kinds):
            return count(module, given, first_tensor(output))
    return None


def count_macs(net: nn.Module, run: Callable[[], object]) -> int:
    """Multiply-accumulates of all known layers in one run of a network.

    Parameters
    ----------
    net : nn.Module
    run : callable
        Runs the network once.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets.introspection import count_macs
    >>> net = torch.nn.Linear(30, 10)
    >>> count_macs(net, lambda: net(torch.zeros(5, 30)))
    1500
    """
    total = 0

    def count(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal total
        given = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
        total += layer_macs(layer, output, given=given) or 0

    with evaluating(net) as handles:
        handles += [layer.register_forward_hook(count) for layer in net.modules()]
        run()
    return total


def _linear(module: Any, given: Tensor | None, output: Tensor) -> int:
    return output.numel() * int(module.in_features)


def _convolution(module: Any, given: Tensor | None, output: Tensor) -> int:
    return output.numel() * int(module.in_channels // module.groups * prod(module.kernel_size))


def _transposed(module: Any, given: Tensor | None, output: Tensor) -> int | None:
    if given is None:
        return None
    return given.numel() * int(module.out_channels // module.groups * prod(module.kernel_size))


def _recurrent(module: nn.Module, given: Tensor | None, output: Tensor) -> int:
    """Every weight matrix is used once for each step of each example."""
    matrices = sum(p.numel() for p in module.parameters(recurse=False) if p.ndim == 2)
    return prod(output.shape[:-1]) * matrices  # the axes before the last: steps, examples


def _attention(module: Any, given: Tensor | None, output: Tensor) -> int:
    return output.numel() * 4 * int(module.embed_dim)


def _looked_up(module: nn.Module, given: Tensor | None, output: Tensor) -> int:
    return 0


Count = Callable[[Any, Tensor | None, Tensor], int | None]

_COUNTS: dict[tuple[type[nn.Module], ...], Count] = {
    (nn.Linear,): _linear,
    (nn.Conv1d, nn.Conv2d, nn.Conv3d): _convolution,
    (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d): _transposed,
    (nn.RNNBase, nn.RNNCellBase): _recurrent,
    (nn.MultiheadAttention,): _attention,
    (nn.Embedding,): _looked_up,
}
