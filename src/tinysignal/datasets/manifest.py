"""Manifests: CSV lists of files with their groups, splits and classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinysignal.errors import DataError
from tinysignal.files import read_csv

MANIFEST = "manifest.csv"
GROUP_COLUMNS = ("speaker", "recording", "group")
LABEL_COLUMNS = ("class", "noise_class")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest; empty strings for missing values."""

    path: Path
    group: str
    split: str
    label: str


def read_manifest(manifest: Path, *, data_dir: Path | None = None) -> list[Entry]:
    """Files in a manifest.

    Parameters
    ----------
    manifest : Path
        CSV file in UTF-8 with a column ``path``, relative to the manifest's folder or to its
        parent. Optional columns are ``split``, ``class`` or ``noise_class``, and ``speaker``,
        ``recording`` or ``group``: the first of these three that is filled is the group, else the
        path.
    data_dir : Path or None
        Folder that the files may be in too. Others outside of the manifest's own folder are
        refused, also those that links lead to.

    Returns
    -------
    list of Entry

    Raises
    ------
    DataError
        The file is not such a CSV file, or a listed file is missing or outside of the folders.
    """
    rows = read_csv(manifest, ["path"])
    roots = (manifest.parent, manifest.parent.parent)
    within = [folder.resolve() for folder in (manifest.parent, data_dir) if folder is not None]
    found = []
    for row in rows:
        name = row["path"]
        path = next((r / name for r in roots if name and _is_file(r / name)), None)
        if path is None:
            raise DataError(
                f"{manifest}: {name[:200] or 'a line without a path'} is listed, but there is no "
                "such file."
            )
        place = path.resolve()
        if not any(place.is_relative_to(folder) for folder in within):
            raise DataError(
                f"{manifest}: {name} is outside of {manifest.parent}. If you trust the list, pass "
                "a folder that holds all files with --data-dir."
            )
        group = next((row[c] for c in GROUP_COLUMNS if row.get(c)), name)
        label = next((row[c] for c in LABEL_COLUMNS if row.get(c)), "")
        found.append(Entry(path, group, row.get("split", ""), label))
    return found


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
