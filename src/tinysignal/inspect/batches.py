"""Running a network on batches, with checks of inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal.errors import DataError
from tinysignal.nets.batches import Batch, heads, mapped, read_batch, run, tensors
from tinysignal.nets.introspection import Forward, device_of, shape_text


@dataclass(frozen=True)
class Labelled:
    """Checked batch.

    Parameters
    ----------
    batch : Batch
        What the network is called with.
    shown : Tensor (examples, ...)
        The inputs to show: the first of floating-point numbers, else the first.
    labels : int64 (examples,)
    """

    batch: Batch
    shown: Tensor
    labels: NDArray[np.int64]


@dataclass
class Runner:
    """Logits of a network, computed on its device and in its dtype.

    The logits of a network that returns probabilities are their logarithms. Of several outputs, the
    only one of the shape (examples, classes) is taken.

    Parameters
    ----------
    model : nn.Module
    forward : callable or None
        ``forward(model, inputs)`` gives the logits; None to call the model.
    """

    model: nn.Module
    forward: Forward | None = None

    def __post_init__(self) -> None:
        self.device = device_of(self.model)
        floats = [p.dtype for p in self.model.parameters() if p.is_floating_point()]
        self.dtype = floats[0] if floats else torch.float32

    def __call__(self, labelled: Labelled) -> NDArray[np.float64]:
        """Logits, float64 (examples, classes)."""
        batch = labelled.batch
        moved = replace(
            batch, args=mapped(self._moved, batch.args), kwargs=mapped(self._moved, batch.kwargs)
        )
        outputs = run(self.model, moved, self.forward)
        logits = _logits(outputs, len(labelled.labels))
        return _as_logits(logits.double().cpu().numpy())

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)


def _logits(outputs: Any, examples: int) -> Tensor:
    found = heads(outputs)
    fitting = {
        name: one
        for name, one in found.items()
        if one.ndim == 2 and len(one) == examples and one.shape[1] > 1
    }
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if isinstance(outputs, Tensor):
        raise DataError(
            f"the network returns {shape_text(outputs.shape)} for {examples} examples, "
            "expected logits (examples, classes) of 2 classes or more."
        )
    shown = ", ".join(f"{name} {shape_text(one.shape)}" for name, one in found.items())
    raise DataError(
        f"the network returns a {type(outputs).__name__} ({shown or 'no tensors'}) for {examples} "
        "examples, expected one tensor of logits (examples, classes). Select it with forward=."
    )


def _as_logits(given: NDArray[np.float64]) -> NDArray[np.float64]:
    if (given >= 0).all() and np.allclose(given.sum(axis=1), 1, atol=1e-4):
        return np.log(np.maximum(given, 1e-30))
    return given


def checked_batches(
    network: nn.Module, loader: Iterable[Any], forward: Forward | None
) -> Iterator[Labelled]:
    """Batches with integer labels (examples,), without empty ones.

    The inputs are told from the labels as by `tinysignal.nets.batches.read_batch`; of a pair
    (inputs, labels), a forward function gets the inputs.

    Raises
    ------
    DataError
        A batch has no integer labels, one an example, or its inputs are not finite.
    """
    try:
        batches = iter(loader)
    except TypeError:
        raise DataError(
            f"the loader is a {type(loader).__name__}, expected an iterable of (inputs, labels)."
        ) from None
    for number, given in enumerate(batches):
        if not isinstance(given, tuple | list | Mapping):
            raise DataError(
                f"batch {number} is a {type(given).__name__}, expected a pair (inputs, labels), or "
                "inputs with labels in a longer tuple or a dict."
            )
        found = _labelled(network, given, forward, number)
        if len(found.labels):
            yield found


def _labelled(network: nn.Module, given: Any, forward: Forward | None, number: int) -> Labelled:
    if isinstance(given, Mapping):
        whole = mapped(_plain, {key: _as_tensor(value) for key, value in given.items()})
        batch = read_batch(network, whole, forward)
    elif len(given) == 2:
        inputs, labels = _nested(given[0], number, "inputs"), _nested(given[1], number, "labels")
        if isinstance(labels, Tensor) and (
            labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool
        ):
            raise DataError(f"batch {number}: labels of type {labels.dtype}, expected integers.")
        batch = Batch((inputs, labels), (inputs,), {}, labels)
        if forward is None and isinstance(inputs, dict):
            batch = replace(read_batch(network, inputs, None), labels=labels)
        elif forward is None and isinstance(inputs, list):
            batch = replace(batch, args=tuple(inputs))
    else:
        whole = tuple(_as_tensor(value) for value in given)
        batch = read_batch(network, whole, forward)
        if forward is not None:
            batch = replace(batch, labels=_first_labels(whole))
    return _checked(batch, number)


def _first_labels(whole: tuple[Any, ...]) -> Tensor | None:
    """The first integer for each example after the inputs."""
    count = next((len(one) for one in tensors(whole) if one.ndim), 0)
    fitting = (
        one
        for one in whole[1:]
        if isinstance(one, Tensor)
        and not one.is_floating_point()
        and one.ndim == 1
        and len(one) == count
    )
    return next(fitting, None)


def _checked(batch: Batch, number: int) -> Labelled:
    labels = batch.labels
    if labels is None:
        raise DataError(
            f"batch {number}: no integer labels after the inputs, expected one label per example."
        )
    given = [one for one in tensors((batch.args, batch.kwargs)) if one is not labels]
    alike = [one for one in given if one.ndim and len(one) == len(labels)]
    if labels.ndim != 1 or not alike:
        shown = shape_text(given[0].shape) if given else "no tensors"
        raise DataError(
            f"batch {number}: inputs {shown} and labels {shape_text(labels.shape)}, expected one "
            "label per example."
        )
    if any(one.is_floating_point() and not bool(torch.isfinite(one).all()) for one in given):
        raise DataError(
            f"batch {number}: the inputs hold NaN or infinity, expected finite numbers."
        )
    shown_inputs = next((one for one in alike if one.is_floating_point()), alike[0])
    return Labelled(batch, shown_inputs, labels.detach().cpu().numpy().astype(np.int64))


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach()


def _as_tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _nested(value: Any, number: int, what: str) -> Any:
    """Tensors of a value, in a list or dict if the value is several."""
    if isinstance(value, Mapping):
        return {key: _as_tensor(one) for key, one in value.items()}
    if isinstance(value, tuple | list) and value and isinstance(value[0], Tensor | np.ndarray):
        return [_as_tensor(one) for one in value]
    try:
        return torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"batch {number}: the {what} are a {type(value).__name__}, expected a tensor."
        ) from None
