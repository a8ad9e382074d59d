"""Check of labelled examples: copies, blank ones, and classes with few of them."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets.dataset import Examples
from tinysignal.datasets.report import Finding

_FEW = 10  # training examples of a class


def of_examples(
    examples: Examples, splits: NDArray[np.str_], classes: tuple[str, ...], *, kind: str
) -> list[Finding]:
    """Findings about the examples of a folder and their splits.

    Parameters
    ----------
    examples : Examples
        With the names of their files.
    splits : str (examples,)
        Split of each example; empty for those that are left out because a copy, or another example
        of their group, is held out.
    classes : tuple of str
    kind : {"image", "sound"}

    Returns
    -------
    list of Finding
    """
    findings = []
    first: dict[bytes, int] = {}
    held = np.flatnonzero((splits != "train") & (splits != "")).tolist()
    held_out = {_digest(examples, i) for i in held}
    for i in np.argsort(splits == "", kind="stable").tolist():
        name, values = examples.names[i], examples.values[i]
        content = _digest(examples, i)
        if not splits[i]:
            grouped = "" if content in held_out else "its group is held out"
            done = "left out of training"
            findings.append(
                Finding("grouped" if grouped else "crossing", name, grouped, None, done)
            )
        elif values.min() == values.max():
            findings.append(Finding("blank" if kind == "image" else "silent", name))
            continue
        other = first.setdefault(content, i)
        if other == i:
            continue
        if examples.labels[other] != examples.labels[i]:
            of_class = classes[examples.labels[other]]
            findings.append(
                Finding("ambiguous", name, f"same as {examples.names[other]} ('{of_class}')")
            )
        elif splits[i]:
            done = "kept on the same side of the split"
            findings.append(Finding("copy", name, f"of {examples.names[other]}", done=done))
    trained = Counter(examples.labels[splits == "train"].tolist())
    for label, name in enumerate(classes):
        if trained[label] < _FEW:
            findings.append(
                Finding("few", name, f"{trained[label]} for training", float(trained[label]))
            )
    return findings


def _digest(examples: Examples, index: int) -> bytes:
    return hashlib.blake2b(examples.values[index].tobytes(), digest_size=16).digest()
