"""Several streams' states side by side, as if their signals were the channels of one.

What takes in a signal block by block names, in ``LANES``, what it remembers of each channel: arrays
with channels as their first axis, tuples of them, or parts that have such names themselves. All
else must be the same in the streams that go side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np


class Remembers(Protocol):
    """What has memories that can lie side by side."""

    LANES: ClassVar[tuple[str, ...]]


T = TypeVar("T", bound=Remembers)


def beside(parts: Sequence[T]) -> T:
    """One for the channels of all, in their order; the given ones stay as they are."""
    one = copy(parts[0])
    for name in one.LANES:
        setattr(one, name, _joined([getattr(part, name) for part in parts]))
    return one


def taken_back(one: Remembers, parts: Sequence[Remembers], channels: Sequence[int]) -> None:
    """What ``one`` remembers now, for each of the parts its own; ``channels`` are their numbers."""
    ends = np.cumsum([0, *channels]).tolist()
    cuts = [slice(first, end) for first, end in pairwise(ends)]
    for name in one.LANES:
        value = getattr(one, name)
        if isinstance(value, np.ndarray):
            for part, cut in zip(parts, cuts, strict=True):
                setattr(part, name, value[cut].copy())  # a view would keep what is the others'
        elif isinstance(value, tuple):
            for part, cut in zip(parts, cuts, strict=True):
                setattr(part, name, tuple([array[cut].copy() for array in value]))
        elif value is not None:
            taken_back(value, [getattr(part, name) for part in parts], channels)


def _joined(values: Sequence[Any]) -> Any:
    first = values[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if isinstance(first, tuple):
        return tuple(map(_joined, zip(*values, strict=True)))
    return None if first is None else beside(values)
