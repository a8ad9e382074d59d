"""How long networks take, measured side by side."""

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
    runs : int
    """

    median_ms: float
    p99_ms: float
    least_ms: float
    runs: int


@torch.no_grad()
def side_by_side(
    calls: Mapping[str, Callable[[], object]], *, seconds: float
) -> dict[str, Latency]:
    """Times of several calls that take turns, so that what else the machine does hits all alike.

    In a turn, in an order that changes at random, each is called some times in a row: a network
    that has just run finds its weights in the processor's cache, as it does at work. Torch has one
    thread meanwhile.

    Parameters
    ----------
    calls : mapping of str to callable
    seconds : float
        How long to measure all of them together; 12 turns are made in any case.

    Returns
    -------
    dict of str to Latency
        Under the calls' names.
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
    """Torch with a single thread; afterwards, be it after an error, with as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
