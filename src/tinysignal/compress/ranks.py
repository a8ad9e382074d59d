"""Ranks that a layer may have: the smallest, and steps that suit the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from tinysignal.compress.layer_profile import LayerProfile
from tinysignal.compress.profile import Profile
from tinysignal.compress.structure import is_within
from tinysignal.errors import ConfigError

LEAST = 4
Floor = int | Mapping[str, int]

_LADDER = (1, 2, 3, 4, 6, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64, 80, 104, 128, 160, 208, 256)


@dataclass(frozen=True)
class Ranks:
    """Bounds and steps of the ranks of all layers.

    Parameters
    ----------
    floors : dict of str to int
        Smallest rank by the name of the layer. Searches take `LEAST` for the others.
    multiple : int
        Ranks of layers that are large enough for it are multiples of this.
    """

    floors: dict[str, int] = field(default_factory=dict)
    multiple: int = 1

    def step(self, layer: LayerProfile, decomposition: str) -> int:
        """Number of which the ranks are multiples; 1 for a layer that is too small for it."""
        return self.multiple if self.multiple <= layer.largest_rank(decomposition) else 1

    def rounded(self, layer: LayerProfile, decomposition: str, rank: int) -> int:
        """The rank, at least its floor, or a multiple: the next if that makes the layer smaller."""
        step, largest = self.step(layer, decomposition), layer.largest_rank(decomposition)
        rank = max(rank, min(self.floors.get(layer.name, 1), largest))
        up = -(-rank // step) * step
        return up if up <= largest or step == 1 else rank // step * step

    def ladder(self, layer: LayerProfile, decomposition: str) -> list[int]:
        """Ranks to try, ascending; none if no rank makes the layer smaller."""
        largest, step = layer.largest_rank(decomposition), self.step(layer, decomposition)
        if largest == 0:
            return []
        top = largest // step * step
        least = min(-(-self.floors.get(layer.name, LEAST) // step) * step, top)
        between = {-(-rank // step) * step for rank in _LADDER}
        return sorted({least, top, *(rank for rank in between if least < rank < top)})


def ranks_of(profile: Profile, min_rank: Floor | None, round_to: int) -> Ranks:
    """Ranks from the parameters of `tinysignal.compress.plan`.

    Raises
    ------
    ConfigError
        A number is not a whole one of 1 or more, or a pattern matches no layer.
    """
    _check(round_to, "round_to")
    names = [layer.name for layer in profile.layers]
    if min_rank is None:
        return Ranks({}, round_to)
    if not isinstance(min_rank, Mapping):
        _check(min_rank, "min_rank")
        return Ranks(dict.fromkeys(names, min_rank), round_to)
    floors: dict[str, int] = {}
    for pattern, least in min_rank.items():
        _check(least, f"min_rank of '{pattern}'")
        fitting = [n for n in names if fnmatchcase(n, pattern) or is_within(n, pattern)]
        if not fitting or not pattern:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            raise ConfigError(f"min_rank: no layer matches '{pattern}', expected some of {shown}.")
        floors |= dict.fromkeys(fitting, least)  # the last pattern that matches counts
    return Ranks(floors, round_to)


def _check(value: object, name: str) -> None:
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} is {value!r:.80}, expected a whole number of 1 or more.")
