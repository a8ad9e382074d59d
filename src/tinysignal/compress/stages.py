"""What passes between the stages of a compression, and how long each takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import nn

from tinysignal.compress.plan_file import Plan

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Cut:
    """A compressed network before any further training.

    Parameters
    ----------
    plan : Plan
    net : nn.Module
    seconds : dict of str to float
        What each stage took; stages that follow add theirs.
    """

    plan: Plan
    net: nn.Module = field(repr=False)
    seconds: dict[str, float]


def silent(line: str) -> None:
    """Tell nobody."""


@contextmanager
def timed(seconds: dict[str, float], stage: str, tell: Tell) -> Iterator[None]:
    """Time a stage, and tell of its end."""
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start
    tell(f"{stage}: {seconds[stage]:.1f} s")
