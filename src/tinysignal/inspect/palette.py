"""Colours of the classes: the same on the page and in the pictures."""

from __future__ import annotations

import colorsys

# Told apart by most colour-blind people, on white and on black: Petroff (2021), "Accessible color
# sequences for data visualization", arXiv:2107.02270, the sequence of ten; its order is changed so
# that digits which networks confuse (4, 7 and 9; 3, 5 and 8) have colours that lie far apart.
TEN = (
    "#3f90da",
    "#94a4a2",
    "#e76300",
    "#832db6",
    "#bd1f01",
    "#b9ac70",
    "#a96b59",
    "#92dadd",
    "#717581",
    "#ffa90e",
)
_GOLDEN = 0.618034  # of a turn: consecutive hues lie far apart


def class_colours(count: int) -> tuple[str, ...]:
    """A colour for each class, ``#rrggbb``.

    The first ten are told apart by colour-blind people; from the eleventh on they are distinct,
    but more and more alike.
    """
    return TEN[:count] + tuple(_further(i) for i in range(count - len(TEN)))


def _further(number: int) -> str:
    hue = (0.33 + number * _GOLDEN) % 1.0
    lightness = (0.45, 0.65, 0.55)[number % 3]
    channels = colorsys.hls_to_rgb(hue, lightness, 0.55)
    return "#" + "".join(f"{round(255 * value):02x}" for value in channels)
