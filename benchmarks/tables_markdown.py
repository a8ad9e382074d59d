"""What the modules of tables share: a family is ``TABLES`` in ``tables_NAME.py``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Report = dict[str, Any]
Render = Callable[[Report], str]

Tables = dict[str, tuple[str, Render]]
"""Names of tables to the name of the report and the function that makes Markdown of it."""


class TableError(Exception):
    """A document names a table that cannot be made."""


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
