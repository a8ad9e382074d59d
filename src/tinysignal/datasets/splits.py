"""Splits that share no group: a speaker, an original recording, copies of one picture.

The held-out groups depend on names and a seed only and are the same on every machine.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray


def rank(groups: Iterable[str], seed: int) -> list[str]:
    """Groups in a random order that depends on their names and the seed only."""
    return sorted(groups, key=lambda g: hashlib.sha256(f"{seed}:{g}".encode()).hexdigest())


def hold_out(groups: set[str], share: float, seed: int) -> set[str]:
    """Random fraction of the groups: at least one and not all; none of fewer than two groups.

    Examples
    --------
    >>> from tinysignal.datasets.splits import hold_out
    >>> len(hold_out({"ann", "bob", "eve", "kim"}, 0.25, seed=0))
    1
    """
    if len(groups) < 2 or share <= 0:
        return set()
    count = min(len(groups) - 1, max(1, round(share * len(groups))))
    return set(rank(groups, seed)[:count])


def split_off(
    labels: NDArray[np.int64], groups: Sequence[str], share: float, *, seed: int, smallest: int = 3
) -> NDArray[np.bool_]:
    """Hold out a fraction of every class without dividing a group.

    Groups are taken in the order of `rank` until a class reaches its share. A class of
    ``smallest`` examples or more has at least one held-out example if the groups allow it. Every
    class keeps at least one example.

    Parameters
    ----------
    labels : int64 (examples,)
        Class of each example.
    groups : sequence of str
        Group of each example.
    share : float
        Fraction of the examples, 0 to 1.
    seed : int
        Random seed of the order.
    smallest : int
        Smallest number of examples of a class from which one is held out.

    Returns
    -------
    bool (examples,)
        True for held-out examples.
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
    for group in ranked:  # groups above the share: one for each class without a held-out example
        left_out = any(room[c] > 0 and kept[c] == whole[c] for c in content[group])
        if left_out and all(count < kept[c] for c, count in content[group].items()):
            take(group)
    return taken


def _quotas(whole: Counter[int], share: float, smallest: int) -> Counter[int]:
    """Number of held-out examples per class, by the method of largest remainders."""
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
    """Groups of examples, joined where they share equal contents.

    Parameters
    ----------
    groups : sequence of str
        Group of each example.
    contents : sequence
        Bytes of each example, or a digest of them.

    Examples
    --------
    >>> from tinysignal.datasets.splits import join_copies
    >>> join_copies(["a", "b", "c"], [b"same", b"same", b"other"])
    ['a', 'a', 'c']
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
