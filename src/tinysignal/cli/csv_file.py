"""Rows as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinysignal.files import atomic


def write_csv(path: Path, rows: Sequence[Mapping[str, str | int | float]]) -> None:
    """Write rows of the same keys, at least one, whole or not at all.

    Raises
    ------
    AudioFileError
        See `tinysignal.files.atomic`.
    """
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
