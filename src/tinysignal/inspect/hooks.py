"""Hooks on a network: outputs and multiply-accumulates of every layer for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.hooks import RemovableHandle

from tinysignal.nets.introspection import layer_macs

CONVOLUTIONS = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_NORM_HOMES = (
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.instancenorm",
    "torch.nn.modules.normalization",
)
# Modules without parameters that end a layer, because they change the meaning of its output.
_NOT_FOLLOWERS = (nn.Softmax, nn.Softmax2d, nn.LogSoftmax, nn.Softmin, nn.Flatten, nn.Unflatten)


@dataclass
class Call:
    """Call of a module, with its output after the modules that follow it directly.

    Parameters
    ----------
    end : Tensor
        Last output in this chain; the next module of the chain takes this object.
    value : Tensor or None
        Copy of it with examples first, because later modules may overwrite it; None for a layer
        that is not recorded.
    shape : tuple of int
        Shape of the output of the module itself for one example.
    macs : int or None
        Multiply-accumulates of the call for the whole batch; None if unknown.
    fired : bool Tensor (units,) or None
        True for units or channels above zero for any example; None without a ReLU.
    """

    end: Tensor
    value: Tensor | None
    shape: tuple[int, ...]
    macs: int | None
    fired: Tensor | None = None


@dataclass
class Watch:
    """Context with hooks on a network, which are removed at its end.

    Parameters
    ----------
    model : nn.Module
    wanted : set of str or None
        Modules whose outputs are copied; None for every layer, see `is_layer`.

    Attributes
    ----------
    calls : dict of str to list of Call
        Calls since the last `clear`, in the order of computation.
    """

    model: nn.Module
    wanted: set[str] | None = None
    calls: dict[str, list[Call]] = field(default_factory=dict)
    _ends: dict[int, tuple[Call, nn.Module]] = field(default_factory=dict)
    _handles: list[RemovableHandle] = field(default_factory=list)

    def __enter__(self) -> Watch:
        for name, module in self.model.named_modules():
            asked = self.wanted is not None and name in self.wanted
            if asked or has_parameters(module) or is_leaf(module):
                self._handles.append(self._hook(name, module))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self.clear()

    def clear(self) -> None:
        """Delete all recorded calls."""
        self.calls.clear()
        self._ends.clear()

    def _hook(self, name: str, module: nn.Module) -> RemovableHandle:
        wanted = is_layer(module) if self.wanted is None else name in self.wanted
        starts = wanted or has_parameters(module)

        def after(_: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
            given = next(tensors_in([args, kwargs]), None)
            passed_on = next(tensors_in(output), None)
            if passed_on is None:
                return
            # A module follows a layer only if it takes its output object; branches do not.
            before = None if given is None else self._ends.pop(id(given), None)
            if starts:
                first = examples_first(passed_on, module)
                value = first.detach().clone() if wanted else None
                macs = layer_macs(module, passed_on, given=given)
                call = Call(passed_on, value, tuple(first.shape[1:]), macs)
                self.calls.setdefault(name, []).append(call)
                if is_layer(module):
                    self._ends[id(passed_on)] = call, module
            if before is not None and is_follower(module):
                self._follow(*before, module, passed_on)

        return module.register_forward_hook(after, with_kwargs=True)

    def _follow(self, call: Call, layer: nn.Module, follower: nn.Module, output: Tensor) -> None:
        call.end = output
        if call.value is not None:
            call.value = examples_first(output, layer).detach().clone()
        if isinstance(follower, _RECTIFIERS):
            units = output.movedim(unit_axis(layer), -1).flatten(0, -2)
            call.fired = (units > 0).any(dim=0)
        self._ends.setdefault(id(output), (call, layer))


def is_leaf(module: nn.Module) -> bool:
    """Whether a module has no submodules, apart from parametrizations."""
    return all(name == "parametrizations" for name, _ in module.named_children())


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalisation of torch."""
    return any(base.__module__ in _NORM_HOMES for base in type(module).__mro__)


def has_parameters(module: nn.Module) -> bool:
    """Whether a module itself has parameters, without its submodules."""
    own = next(iter(module.parameters(recurse=False)), None)
    return own is not None or parametrize.is_parametrized(module)


def is_layer(module: nn.Module) -> bool:
    """Whether a module is a layer: it has parameters and is no normalisation."""
    whole = is_leaf(module) or isinstance(module, nn.MultiheadAttention)
    inside = isinstance(module, parametrize.ParametrizationList)
    return whole and has_parameters(module) and not is_follower(module) and not inside


def is_follower(module: nn.Module) -> bool:
    """Whether a module belongs to the layer before it: activation, norm, dropout, pooling."""
    if is_norm(module) or isinstance(module, nn.PReLU):
        return True
    return is_leaf(module) and not has_parameters(module) and not isinstance(module, _NOT_FOLLOWERS)


def unit_axis(layer: nn.Module) -> int:
    """Axis of the units or channels in the output of a layer."""
    return 1 if isinstance(layer, CONVOLUTIONS) else -1


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in nested tuples, lists and dicts in order; for an LSTM, the sequence is first."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)


def examples_first(value: Tensor, module: nn.Module) -> Tensor:
    """Output of a layer with examples first; a time-first recurrent output is transposed."""
    recurrent = isinstance(module, nn.RNNBase | nn.MultiheadAttention)
    swapped = recurrent and not module.batch_first and value.ndim == 3
    return value.transpose(0, 1) if swapped else value
