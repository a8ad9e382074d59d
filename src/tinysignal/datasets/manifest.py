"""Manifests: CSV lists of files with their groups, splits and classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinysignal.errors import DataError
from tinysignal.files import find_anywhere, read_csv
from tinysignal.remote import Place, Url, inside

MANIFEST = "manifest.csv"
GROUP_COLUMNS = ("speaker", "recording", "group")
LABEL_COLUMNS = ("class", "noise_class")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest; empty strings for missing values."""

    path: Place
    group: str
    split: str
    label: str


def read_manifest(manifest: Place, *, data_dir: Path | None = None) -> list[Entry]:
    """Files in a manifest.

    Parameters
    ----------
    manifest : Path or Url
        CSV file in UTF-8 with a column ``path``, relative to the manifest's folder or to its
        parent. Optional columns are ``split``, ``class`` or ``noise_class``, and ``speaker``,
        ``recording`` or ``group``: the first of these three that is filled is the group, else the
        path. Files that a manifest in a store lists lie in its folder there.
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
    if isinstance(manifest, Url):
        find = _in_store(manifest, {PurePosixPath(row["path"]).suffix.lower() for row in rows})
    else:
        find = _here(manifest, data_dir)
    found = []
    for row in rows:
        name = row["path"]
        path = find(name)
        if path is None:
            raise DataError(
                f"{manifest}: {name[:200] or 'a line without a path'} is listed, but there is no "
                "such file."
            )
        group = next((row[c] for c in GROUP_COLUMNS if row.get(c)), name)
        label = next((row[c] for c in LABEL_COLUMNS if row.get(c)), "")
        found.append(Entry(path, group, row.get("split", ""), label))
    return found


def _here(manifest: Path, data_dir: Path | None) -> Callable[[str], Place | None]:
    """Finds the files of a local manifest by their names."""
    roots = (manifest.parent, manifest.parent.parent)
    within = [folder.resolve() for folder in (manifest.parent, data_dir) if folder is not None]

    def find(name: str) -> Path | None:
        path = next((r / name for r in roots if name and _is_file(r / name)), None)
        if path is None:
            return None
        if not any(path.resolve().is_relative_to(folder) for folder in within):
            raise DataError(
                f"{manifest}: {name} is outside of {manifest.parent}. If you trust the list, pass "
                "a folder that holds all files with --data-dir."
            )
        return path

    return find


def _in_store(manifest: Url, suffixes: set[str]) -> Callable[[str], Place | None]:
    """Finds the files of a manifest in a store, which is asked once for its list."""
    folder = manifest.parent
    there = {inside(path, folder).as_posix(): path for path in find_anywhere(folder, suffixes)}

    def find(name: str) -> Place | None:
        return there.get(name) or there.get(name.removeprefix(f"{folder.name}/"))

    return find


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False
