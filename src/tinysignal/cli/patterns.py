"""Patterns such as ``*.wav`` where the shell leaves them as they are: on Windows, or in quotes."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable

from tinysignal.remote import is_url


def expanded(inputs: Iterable[str]) -> list[str]:
    """The inputs, with what a pattern stands for in its place.

    ``**`` stands for any folders. The name of something that exists is no pattern, though it has
    brackets, nor is a URL; a pattern that nothing matches stays, and whoever opens it says that it
    is missing.
    """
    found: list[str] = []
    for item in inputs:
        is_pattern = glob.has_magic(item) and not is_url(item) and not os.path.lexists(item)
        found += (sorted(glob.glob(item, recursive=True)) if is_pattern else []) or [item]  # noqa: PTH207 - keeps ./ and \\?\ as typed
    return found
