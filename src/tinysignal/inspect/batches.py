"""Running a network on batches, with checks of inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tinysignal.errors import DataError
from tinysignal.nets.introspection import Forward, call, device_of, guarded, shape_text


@dataclass
class Runner:
    """Logits of a network, computed on its device and in its dtype.

    The logits of a network that returns probabilities are their logarithms.

    Parameters
    ----------
    model : nn.Module
    forward : callable or None
        ``forward(model, inputs)`` gives the logits; None for ``model(inputs)``.
    """

    model: nn.Module
    forward: Forward | None = None

    def __post_init__(self) -> None:
        self.device = device_of(self.model)
        floats = [p.dtype for p in self.model.parameters() if p.is_floating_point()]
        self.dtype = floats[0] if floats else torch.float32

    def __call__(self, inputs: Tensor) -> NDArray[np.float64]:
        """Logits, float64 (examples, classes), of inputs (examples, ...)."""
        dtype = self.dtype if inputs.is_floating_point() else inputs.dtype
        logits = guarded(self.forward or call, self.model, inputs.to(self.device, dtype))
        if not isinstance(logits, Tensor):
            raise DataError(
                f"the network returns a {type(logits).__name__}, expected a tensor of logits "
                "(examples, classes). Select it with forward=."
            )
        if logits.ndim != 2 or len(logits) != len(inputs) or logits.shape[1] < 2:
            raise DataError(
                f"the network returns {shape_text(logits.shape)} for {len(inputs)} examples, "
                "expected logits (examples, classes) of 2 classes or more."
            )
        return _as_logits(logits.double().cpu().numpy())


def _as_logits(given: NDArray[np.float64]) -> NDArray[np.float64]:
    if (given >= 0).all() and np.allclose(given.sum(axis=1), 1, atol=1e-4):
        return np.log(np.maximum(given, 1e-30))
    return given


def checked_batches(loader: Iterable[Any]) -> Iterator[tuple[Tensor, NDArray[np.int64]]]:
    """Batches of inputs and of labels, int64 (examples,), without empty ones.

    Raises
    ------
    DataError
        A batch is not a pair of inputs and integer labels, or its inputs are not finite.
    """
    try:
        batches = iter(loader)
    except TypeError:
        raise DataError(
            f"the loader is a {type(loader).__name__}, expected an iterable of (inputs, labels)."
        ) from None
    for number, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise DataError(
                f"batch {number} is a {type(batch).__name__}, expected a pair (inputs, labels)."
            )
        inputs, labels = _tensor(batch[0], number, "inputs"), _tensor(batch[1], number, "labels")
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise DataError(f"batch {number}: labels of type {labels.dtype}, expected integers.")
        if labels.ndim != 1 or inputs.ndim < 1 or len(labels) != len(inputs):
            raise DataError(
                f"batch {number}: inputs {shape_text(inputs.shape)} and labels "
                f"{shape_text(labels.shape)}, expected one label per example."
            )
        if not bool(torch.isfinite(inputs).all()):
            raise DataError(
                f"batch {number}: the inputs hold NaN or infinity, expected finite numbers."
            )
        if len(inputs):
            yield inputs, labels.detach().cpu().numpy().astype(np.int64)


def _tensor(value: Any, number: int, what: str) -> Tensor:
    try:
        return torch.as_tensor(value).detach()
    except (TypeError, ValueError, RuntimeError):
        raise DataError(
            f"batch {number}: the {what} are a {type(value).__name__}, expected a tensor."
        ) from None
