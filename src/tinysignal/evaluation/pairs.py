"""Noisy recordings and their clean targets: which belong together, and how long both are."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinysignal.audio import SOUND_SUFFIXES
from tinysignal.errors import DataError
from tinysignal.files import find_anywhere, read_csv
from tinysignal.remote import Place, inside, is_folder, is_url, place

# What cutting to whole samples or blocks leaves. A fixed time, as it does not grow with the
# recording. A lossy codec's padding is longer, and mostly delays the sound as well: then sample by
# sample the two are no pair, neither to train on nor to score.
LENGTH_TOLERANCE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A noisy recording and its clean target; ``name`` is what reports call it."""

    name: str
    noisy: Place
    clean: Place


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What was not evaluated, and why; ``metric`` is None where it is the whole file."""

    file: str
    metric: str | None
    reason: str


def match_folders(
    noisy: Place, clean: Place, *, passed_over: Counter[str] | None = None
) -> tuple[list[Pair], list[Failure]]:
    """Pair the audio files of two folders by their path inside the folder, without its suffix.

    Parameters
    ----------
    noisy, clean : Path or Url
        Searched as by `tinysignal.files.find_files`.
    passed_over : Counter or None
        Is told the extensions of the files of both folders that are no audio files.

    Returns
    -------
    list of Pair, list of Failure
        Sorted by name. A failure for every file without a counterpart, on either side, and for
        every name that two files of a folder share.

    Raises
    ------
    DataError
        A folder does not exist, or neither holds an audio file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.evaluation import match_folders
    >>> for folder, name in (("noisy", "a.m4a"), ("clean", "a.wav"), ("clean", "b.wav")):
    ...     Path(folder).mkdir(exist_ok=True)
    ...     Path(folder, name).touch()
    >>> pairs, failures = match_folders(Path("noisy"), Path("clean"))
    >>> pairs[0].name, pairs[0].noisy.name, failures[0].file
    ('a', 'a.m4a', 'b')
    """
    sides = {"noisy": _by_name(noisy, passed_over), "clean": _by_name(clean, passed_over)}
    names = sorted(sides["noisy"].keys() | sides["clean"].keys())
    if not names:
        raise DataError(f"{noisy}, {clean}: no audio files in these folders.")
    pairs, failures = [], []
    for name in names:
        found = {side: by_name.get(name, []) for side, by_name in sides.items()}
        problem = _problem(found, {"noisy": noisy, "clean": clean})
        if problem:
            failures.append(Failure(file=name, metric=None, reason=problem))
        else:
            pairs.append(Pair(name=name, noisy=found["noisy"][0], clean=found["clean"][0]))
    return pairs, failures


def read_pairs(path: Place) -> list[Pair]:
    """Pairs from a CSV file with the columns ``noisy`` and ``clean``.

    Parameters
    ----------
    path : Path or Url
        Paths in it are absolute, relative to the CSV file's folder, or URLs.

    Returns
    -------
    list of Pair
        In the order of the rows.

    Raises
    ------
    DataError
        Unreadable, without these columns, a row without both paths, or no rows.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.evaluation import read_pairs
    >>> _ = Path("pairs.csv").write_text("noisy,clean\\nin/a.wav,out/a.wav\\n")
    >>> [(pair.name, pair.clean.as_posix()) for pair in read_pairs(Path("pairs.csv"))]
    [('in/a', 'out/a.wav')]
    """
    rows = read_csv(path, ["noisy", "clean"])
    if not rows:
        raise DataError(f"{path}: no rows below the header.")
    pairs = []
    for number, row in enumerate(rows, start=2):
        if not row["noisy"] or not row["clean"]:
            raise DataError(f"{path}: row {number} lacks a path; expected noisy and clean.")
        noisy, clean = (
            place(row[side]) if is_url(row[side]) else path.parent / row[side]
            for side in ("noisy", "clean")
        )
        pairs.append(Pair(name=_name_inside(row["noisy"]), noisy=noisy, clean=clean))
    return pairs


def cut_alike(
    noisy: NDArray[Any], clean: NDArray[Any], *, sample_rate_hz: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Both signals at the length of the shorter one.

    Parameters
    ----------
    noisy, clean : array (..., time)
    sample_rate_hz : int

    Raises
    ------
    DataError
        The lengths differ by more than 10 ms.
    """
    lengths = noisy.shape[-1], clean.shape[-1]
    if abs(lengths[0] - lengths[1]) > LENGTH_TOLERANCE_S * sample_rate_hz:
        raise DataError(
            f"noisy has {lengths[0]} samples at {sample_rate_hz} Hz, clean {lengths[1]}: expected "
            f"the same recording, sample by sample, of lengths within "
            f"{1000 * LENGTH_TOLERANCE_S:g} ms."
        )
    shorter = min(lengths)
    return noisy[..., :shorter], clean[..., :shorter]


def _name_inside(path: str) -> str:
    """The path without suffix, root and steps upward: a name that can be saved in a folder."""
    parts = Path(path.partition("://")[2] or path).with_suffix("").parts
    return "/".join(p for p in parts if p not in ("..", Path(path).anchor))


def _by_name(folder: Place, passed_over: Counter[str] | None) -> dict[str, list[Place]]:
    if not is_folder(folder):
        raise DataError(f"{folder}: no such folder.")
    found = defaultdict(list)
    for path in find_anywhere(folder, SOUND_SUFFIXES, passed_over=passed_over):
        found[inside(path, folder).with_suffix("").as_posix()].append(path)
    return found


def _problem(found: dict[str, list[Place]], folders: dict[str, Place]) -> str | None:
    for side, paths in found.items():
        if not paths:
            return f"no file of this name in the {side} folder {folders[side]}."
        if len(paths) > 1:
            names = ", ".join(path.name for path in paths)
            return f"more than one {side} file of this name: {names}."
    return None
