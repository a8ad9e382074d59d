"""Sides that share no group: a speaker, an original recording, copies of one picture.

Who is held out follows from names and a seed alone, so that it is the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def rank(groups: Iterable[str], seed: int) -> list[str]:
    """The groups in an order that depends on their names and the seed only."""
    return sorted(groups, key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest())


def hold_out(groups: set[str], share: float, seed: int) -> set[str]:
    """A share of the groups: at least one and not all; none where there are fewer than two."""
    if len(groups) < 2 or share <= 0:
        return set()
    count = min(len(groups) - 1, max(1, round(share * len(groups))))
    return set(rank(groups, seed)[:count])


def split_off(
    labels: NDArray[np.int64], groups: Sequence[str], share: float, *, seed: int, smallest: int = 3
) -> NDArray[np.bool_]:
    """Hold out a share of every class; no group is divided.

    Groups are taken in the order of `rank` as long as no class passes its share. Of a class of
    ``smallest`` examples or more, one at least is held out if the groups allow it. Every class
    keeps an example on the other split.

    Parameters
    ----------
    labels : int64 (examples,)
    groups : sequence of str
        Of each example.
    share : float
        0 to 1; 0 holds out nothing.
    seed, smallest : int

    Returns
    -------
    bool (examples,)
        True for what is held out.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    whole = Counter(labels.tolist())
    room = _quotas(whole, share, smallest)
    kept, taken = Counter(whole), np.zeros(len(labels), bool)
    content = {group: Counter(labels[places].tolist()) for group, places in members.items()}
    ranked = rank(members, seed) if share > 0 else []

    def take(group: str) -> None:
        taken[members[group]] = True
        kept.subtract(content[group])
        room.subtract(content[group])

    for group in ranked:
        if all(count <= min(room[c], kept[c] - 1) for c, count in content[group].items()):
            take(group)
    for group in ranked:  # groups too large for the share: one for each class left without any
        left_out = any(room[c] > 0 and kept[c] == whole[c] for c in content[group])
        if left_out and all(count < kept[c] for c, count in content[group].items()):
            take(group)
    return taken


def _quotas(whole: Counter[int], share: float, smallest: int) -> Counter[int]:
    """How many of each class, in total the share of all examples (largest remainders)."""
    exact = {label: share * count for label, count in whole.items()}
    quotas = Counter({label: int(value) for label, value in exact.items()})
    missing = round(share * whole.total()) - quotas.total()
    for label in sorted(exact, key=lambda c: (quotas[c] - exact[c], c))[:missing]:
        quotas[label] += 1
    for label, count in whole.items():
        if count >= smallest and share > 0:
            quotas[label] = max(1, quotas[label])
    return quotas


def join_copies(groups: Sequence[str], contents: Sequence[Hashable]) -> list[str]:
    """Groups in which equal contents are in one group, and all that hangs together with them.

    Parameters
    ----------
    groups : sequence of str
        Of each example.
    contents : sequence
        Of each example: its bytes, or a digest of them.
    """
    leader: dict[str, str] = {}
    first: dict[Hashable, str] = {}

    def find(group: str) -> str:
        while (above := leader.setdefault(group, group)) != group:
            leader[group] = leader[above]
            group = above
        return group

    for group, content in zip(groups, contents, strict=True):
        leader[find(group)] = find(first.setdefault(content, group))
    return [find(group) for group in groups]
