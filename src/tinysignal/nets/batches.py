"""Batches as people's loaders yield them: what goes into a network, and what are labels."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tinysignal.nets.introspection import Forward, guarded

_LABEL_KEYS = ("labels", "label", "targets", "target", "y")


@dataclass(frozen=True)
class Batch:
    """A batch of a loader.

    Parameters
    ----------
    whole : any
        As the loader yielded it.
    args, kwargs
        What the network is called with; ``args`` is the whole batch for a forward function.
    labels : integer Tensor or None
    """

    whole: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    labels: Tensor | None

    @property
    def examples(self) -> int:
        """Number of examples: the length of the first tensor."""
        first = next(tensors((self.args, self.kwargs)), None)
        return len(first) if first is not None and first.ndim else 1

    @property
    def inputs(self) -> Any:
        """What the network gets, for messages."""
        return self.kwargs or (self.args[0] if len(self.args) == 1 else self.args)

    def take(self, part: slice | Tensor) -> Batch | None:
        """Some of the examples; None if the batch is not tensors with one row an example."""
        count = self.examples
        held = tensors((self.whole, self.args, self.kwargs))
        if count < 2 or not all(t.ndim and len(t) == count for t in held):
            return None
        if any(not isinstance(leaf, Tensor) for leaf in _leaves(self.whole)):
            return None

        def some(tensor: Tensor) -> Tensor:
            return tensor[part.to(tensor.device) if isinstance(part, Tensor) else part]

        return self._changed(some, None if self.labels is None else some(self.labels))

    def mixed(self, generator: torch.Generator) -> Batch:
        """Every example averaged with another by a random weight, without labels.

        Numbers that are not floating-point stay. The batch has a row an example, see `take`.
        """
        count = self.examples
        order = torch.randperm(count, generator=generator)
        weight = torch.rand(count, generator=generator)

        def mix(tensor: Tensor) -> Tensor:
            if not tensor.is_floating_point():
                return tensor
            shaped = weight.to(tensor).reshape(-1, *[1] * (tensor.ndim - 1))
            return tensor.lerp(tensor[order.to(tensor.device)], shaped)

        return self._changed(mix, None)

    def _changed(self, change: Callable[[Tensor], Tensor], labels: Tensor | None) -> Batch:
        whole, args, kwargs = (
            mapped(change, given) for given in (self.whole, self.args, self.kwargs)
        )
        return Batch(whole, args, kwargs, labels)


def read_batch(network: nn.Module, given: Any, forward: Forward | None) -> Batch:
    """Tell the inputs of a network from the labels.

    A forward function gets the batch as it came. Otherwise a network that needs ``k`` inputs gets
    the first ``k`` items of a tuple or list, and the next item is taken for labels if it holds
    integers; a dict is passed by name, as far as the network has parameters of these names.

    Parameters
    ----------
    network : nn.Module
    given : Tensor, tuple, list, dict or whatever ``forward`` takes
    forward : callable or None
    """
    if forward is not None:
        return Batch(given, (given,), {}, _labels_beside(given))
    if isinstance(given, Mapping):
        names, takes_any = _parameters(network)
        passed = {key: value for key, value in given.items() if takes_any or key in names}
        labels = next((given[key] for key in _LABEL_KEYS if key in given), None)
        if passed:
            return Batch(given, (), passed, labels if _is_integer(labels) else None)
        return Batch(given, (given,), {}, None)
    plain = isinstance(given, tuple | list) and not isinstance(given, PackedSequence)
    if plain and given and isinstance(given[0], Tensor | Mapping | tuple | list):
        count = min(_needed(network), len(given))
        after = given[count] if len(given) > count else None
        return Batch(given, tuple(given[:count]), {}, after if _is_integer(after) else None)
    return Batch(given, (given,), {}, None)


def run(network: nn.Module, batch: Batch, forward: Forward | None) -> Any:
    """Outputs of a network for a copy of a batch, which the network may change.

    Raises
    ------
    DataError
        The network does not take the batch.
    """
    args, kwargs = mapped(_copy, batch.args), mapped(_copy, batch.kwargs)

    def call(network: nn.Module, inputs: Any) -> Any:
        return network(*args, **kwargs) if forward is None else forward(network, *args)

    return guarded(call, network, batch.inputs)


def heads(outputs: Any, name: str = "") -> dict[str, Tensor]:
    """All floating-point tensors among nested outputs, by name: ``odd``, ``0``, ``logits``.

    Single numbers, such as a loss that the network computes itself, are left out. A single tensor
    has the name "".
    """
    if isinstance(outputs, Tensor):
        return {name: outputs} if outputs.is_floating_point() and outputs.ndim else {}
    inside = outputs
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, Mapping | type):
        inside = {f.name: getattr(outputs, f.name) for f in dataclasses.fields(outputs)}
    if isinstance(inside, tuple | list):
        named = getattr(inside, "_fields", None) or range(len(inside))
        inside = dict(zip(map(str, named), inside, strict=True))
    if not isinstance(inside, Mapping):
        return {}
    found: dict[str, Tensor] = {}
    for key, value in inside.items():
        found |= heads(value, f"{name}.{key}" if name else str(key))
    return found


def class_axis(output: Tensor, labels: Tensor) -> int | None:
    """The axis of an output that holds the classes of these labels; None if there is none.

    The last for one prediction an example or a step, the second for maps (examples, classes,
    height, width). One column, or none, is the logit of the second of two classes.
    """
    if output.ndim == labels.ndim + 1:
        last = output.shape[:-1] == labels.shape
        second = output.shape[:1] + output.shape[2:] == labels.shape
        if second and (output.ndim > 3 or not last):
            return 1
        return -1 if last else None
    return None


def right_answers(output: Tensor, labels: Tensor) -> tuple[int, int] | None:
    """Correct predictions and labels; None if an output does not fit the labels.

    Labels below 0 are not counted.
    """
    labels = labels.to(output.device)
    if output.ndim == labels.ndim and output.shape == labels.shape:
        axis, output = -1, output.unsqueeze(-1)
    elif output.ndim == labels.ndim == 2 and labels.shape[1] == 1:
        axis, labels = -1, labels[:, 0]
    else:
        found = class_axis(output, labels)
        if found is None:
            return None
        axis = found
    if output.shape[axis] == 1:
        values = output.squeeze(axis)
        bound = 0.5 if bool((values >= 0).all() and (values <= 1).all()) else 0.0
        answers = (values > bound).long()
    else:
        answers = output.argmax(dim=axis)
    counted = labels >= 0
    return int((answers == labels)[counted].sum()), int(counted.sum())


def _labels_beside(given: Any) -> Tensor | None:
    """Labels of a batch for a forward function: one integer an example, beside the inputs."""
    if isinstance(given, Mapping):
        found = next((given[key] for key in _LABEL_KEYS if key in given), None)
        return found if _is_integer(found) else None
    if isinstance(given, tuple | list) and len(given) == 2:
        first, one = next(tensors(given[0]), None), given[1]
        if first is not None and first.ndim and _is_integer(one) and one.ndim == 1:
            return one if len(one) == len(first) else None
    return None


def _is_integer(value: Any) -> bool:
    if not isinstance(value, Tensor) or not value.ndim:
        return False
    return not (value.is_floating_point() or value.is_complex())


def _parameters(network: nn.Module) -> tuple[set[str], bool]:
    """Names of the parameters of a network's forward, and whether it takes any other."""
    try:
        found = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return set(), False
    return {p.name for p in found}, any(p.kind is p.VAR_KEYWORD for p in found)


def _needed(network: nn.Module) -> int:
    """Number of positional inputs without which a network cannot be called; at least one."""
    try:
        found = inspect.signature(network.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    needed = [
        p
        for p in found
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty
    ]
    return max(1, len(needed))


def mapped(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Nested values with every tensor changed; what is no container stays as it is."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        items = {key: mapped(change, one) for key, one in value.items()}
        return items if type(value) is dict else _like(value, items)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(change, one) for one in value))
    if type(value) in (tuple, list):
        return type(value)(mapped(change, one) for one in value)
    return value


def _like(value: Any, items: dict[Any, Any]) -> Any:
    """A dict of another kind, such as Hugging Face's BatchEncoding, with other items."""
    try:
        return type(value)(items)
    except TypeError:
        return items


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for one in value.values() for leaf in _leaves(one)]
    if isinstance(value, tuple | list):
        return [leaf for one in value for leaf in _leaves(one)]
    return [value]


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors of nested values."""
    return (leaf for leaf in _leaves(value) if isinstance(leaf, Tensor))
