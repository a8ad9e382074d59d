"""What a terminal would obey instead of show is escaped: names, tags and specs are others' text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Any

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.segment import Segment

_UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, other line ends
_REORDERING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """The text, with escapes such as ``\\x1b`` for what would change the terminal or the order."""
    return "".join(c if c == "\n" or _is_shown(c) else ascii(c)[1:-1] for c in text)


def on_one_line(text: str) -> str:
    """The text as `printable`, with its line ends escaped as well: a name may hold some."""
    return printable(text).replace("\n", "\\n")


def _is_shown(character: str) -> bool:
    return character not in _REORDERING and unicodedata.category(character) not in _UNSHOWN


class Console(rich.console.Console):
    """Rich's console; what it is given to show is made `printable`, its own codes are not.

    ``:smile:`` stays as it is: it may be part of a name.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The pieces of a renderable."""
        for piece in super().render(renderable, options):
            yield piece if piece.control else piece._replace(text=printable(piece.text))
