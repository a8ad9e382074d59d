"""Memory that a training run keeps between steps, instead of returning it and asking anew."""

from __future__ import annotations

import ctypes
import os
import sys

# glibc's mallopt: what to set, its number, and the environment variable that sets it otherwise.
_SETTINGS = (
    (-4, 0, "MALLOC_MMAP_MAX_"),  # large blocks come from the heap, and stay there
    (-1, (1 << 31) - 1, "MALLOC_TRIM_THRESHOLD_"),
    (-2, 1 << 28, "MALLOC_TOP_PAD_"),  # bytes by which the heap grows
)


def keep_memory() -> bool:
    """Let glibc keep what is freed; whether it does now.

    A step on a CPU allocates and frees the same blocks of many MiB each time. By default glibc
    returns them to the system, which then hands out empty pages again, one fault for 4 KiB: up to
    half of the time of a step. What is set in the environment (``MALLOC_TOP_PAD_`` and the like)
    stays as it is. Other C libraries have no such settings.

    Examples
    --------
    >>> from tinysignal.train.memory import keep_memory
    >>> keep_memory() in (True, False)
    True
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # musl
        return False
    mallopt.argtypes = (ctypes.c_int, ctypes.c_int)
    return all(
        mallopt(number, value) == 1 for number, value, name in _SETTINGS if name not in os.environ
    )
