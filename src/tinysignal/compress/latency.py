"""How long networks take, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
import torch

_WARM_UP = 3
_LEAST_RUNS = 15
_MOST_RUNS = 1000


@dataclass(frozen=True)
class Latency:
    """Times of one call.

    Parameters
    ----------
    median_ms, p99_ms : float
    runs : int
    """

    median_ms: float
    p99_ms: float
    runs: int

    def to_dict(self) -> dict[str, float]:
        """Plain values."""
        return asdict(self)


@torch.no_grad()
def side_by_side(
    calls: Mapping[str, Callable[[], object]], *, seconds: float
) -> dict[str, Latency]:
    """Times of several calls that take turns, so that what else the machine does hits all alike.

    Torch works with one thread meanwhile.

    Parameters
    ----------
    calls : mapping of str to callable
    seconds : float
        How long to measure all of them together, if that is enough for 15 turns.

    Returns
    -------
    dict of str to Latency
        Under the calls' names.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times: dict[str, list[float]] = {name: [] for name in calls}
    try:
        for call in calls.values():
            for _ in range(_WARM_UP):
                call()
        begin = time.perf_counter()
        for turn in range(_MOST_RUNS):
            if turn >= _LEAST_RUNS and time.perf_counter() - begin > seconds:
                break
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(1000 * (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return {
        name: Latency(float(np.median(taken)), float(np.quantile(taken, 0.99)), len(taken))
        for name, taken in times.items()
    }
