"""Markdown from lists: what the modules of pages share."""

from __future__ import annotations

from typing import Any

Report = dict[str, Any]


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(title: str, *parts: str) -> str:
    """A Markdown page of paragraphs, tables and headings."""
    return "\n\n".join([f"# {title}", *parts]) + "\n"
