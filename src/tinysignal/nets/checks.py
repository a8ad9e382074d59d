"""Networks that cannot be taken apart, told with a sentence each."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tinysignal.errors import ConfigError


def check_network(model: Any) -> None:
    """Check that a network is made of modules with weights that can be read and replaced.

    Parameters
    ----------
    model : any

    Raises
    ------
    ConfigError
        It is no module, is scripted, traced, exported, compiled or quantised, or has lazy modules
        or weights on the meta device.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.nets.checks import check_network
    >>> check_network(torch.compile(torch.nn.Linear(3, 3), backend="eager"))
    Traceback (most recent call last):
    ...
    tinysignal.errors.ConfigError: the network is compiled by torch.compile. Give the module \
inside, network._orig_mod, and compile the result.
    """
    reason = _not_a_module(model) if not isinstance(model, nn.Module) else _obstacle(model)
    if reason is not None:
        raise ConfigError(reason)


def _not_a_module(model: Any) -> str:
    kind = type(model).__name__
    if isinstance(model, type) and issubclass(model, nn.Module):
        return f"the network is the class {model.__name__}, expected an instance of it."
    if isinstance(model, dict):
        return (
            "the network is a dict, such as a state dict, expected a torch.nn.Module. Make the "
            "module and load the dict into it."
        )
    if isinstance(model, torch.export.ExportedProgram):
        return (
            "the network is an exported program, whose layers are no modules any more. Give the "
            "module that it was made from."
        )
    return f"the network is a {kind}, expected a torch.nn.Module."


def _obstacle(model: nn.Module) -> str | None:
    parts = list(model.modules())
    scripted = next((one for one in parts if isinstance(one, torch.jit.ScriptModule)), None)
    if scripted is not None:
        how = "traced" if "Traced" in type(scripted).__name__ else "scripted"
        return (
            f"the network is {how} (TorchScript), and its layers cannot be taken apart. Give the "
            "module that it was made from."
        )
    if any("_orig_mod" in one._modules for one in parts):
        return (
            "the network is compiled by torch.compile. Give the module inside, network._orig_mod, "
            "and compile the result."
        )
    quantised = next((one for one in parts if _is_quantised(one)), None)
    if quantised is not None:
        return (
            f"the network is quantised (it holds a {type(quantised).__name__}). Compress the "
            "network of floating-point weights, and quantise the result."
        )
    tensors = [*model.parameters(), *model.buffers()]
    if any(is_lazy(tensor) for tensor in tensors):
        return "the network has lazy modules without sizes. Run it on one batch first."
    if any(tensor.is_meta for tensor in tensors):
        return (
            "the network has weights on the meta device, which hold no numbers. Load them first, "
            "for instance by network.to_empty(device='cpu') and load_state_dict."
        )
    return None


def _is_quantised(module: nn.Module) -> bool:
    return "quantized" in type(module).__module__.split(".")
