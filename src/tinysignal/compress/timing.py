"""Interleaved timing of several calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

_WARM_UP = 3
_LEAST_TURNS = 12
_MOST_TURNS = 200
_MOST_IN_A_ROW = 50
_BLOCK_MS = 5.0


@dataclass(frozen=True)
class Latency:
    """Times of one call.

    Parameters
    ----------
    median_ms, p99_ms, least_ms : float
        Median, 99th percentile and minimum in ms.
    runs : int
        Number of timed calls.
    """

    median_ms: float
    p99_ms: float
    least_ms: float
    runs: int


@torch.no_grad()
def side_by_side(
    calls: Mapping[str, Callable[[], object]], *, seconds: float
) -> dict[str, Latency]:
    """Times of several calls in alternation, which spreads other load of the machine over all.

    In each turn, in random order, every call runs several times in a row, with its weights in the
    processor's cache as in use. Torch has one thread.

    Parameters
    ----------
    calls : mapping of str to callable
    seconds : float
        Duration of the measurement of all calls in seconds; at least 12 turns are made.

    Returns
    -------
    dict of str to Latency
        Times by the names of the calls.

    Examples
    --------
    >>> from tinysignal.compress.timing import side_by_side
    >>> times = side_by_side({"sum": lambda: sum(range(100))}, seconds=0.01)
    >>> times["sum"].least_ms <= times["sum"].median_ms <= times["sum"].p99_ms
    True
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    order = np.random.default_rng(0)
    with one_thread():
        in_a_row = {}
        for name, call in calls.items():
            once = min(_time(call) for _ in range(_WARM_UP))
            in_a_row[name] = int(np.clip(_BLOCK_MS / max(once, 1e-6), 1, _MOST_IN_A_ROW))
        begin = time.perf_counter()
        for turn in range(_MOST_TURNS):
            if turn >= _LEAST_TURNS and time.perf_counter() - begin > seconds:
                break
            for name in order.permutation(list(calls)):
                times[name] += [_time(calls[name]) for _ in range(in_a_row[name])]
    return {
        name: Latency(
            float(np.median(taken)), float(np.quantile(taken, 0.99)), min(taken), len(taken)
        )
        for name, taken in times.items()
    }


def _time(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


@contextmanager
def one_thread() -> Iterator[None]:
    """Context of one torch thread; the number of threads is restored, also after an error."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
