"""Lists of files: a CSV file with what is known of each."""

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
    """One row of a manifest; a column that it lacks is an empty string."""

    path: Path
    group: str
    split: str
    label: str


def read_manifest(manifest: Path) -> list[Entry]:
    """The files that a manifest lists.

    Parameters
    ----------
    manifest : Path
        CSV, UTF-8, with a column ``path`` (relative to the manifest's folder or to the one above
        it) and, if it has them, ``speaker`` / ``recording`` / ``group`` (the first of them that is
        filled; else the path), ``split`` and ``class`` / ``noise_class``.

    Raises
    ------
    DataError
        Not readable as that, no column ``path``, or a file that is not there.
    """
    rows = read_csv(manifest, ["path"])
    roots = (manifest.parent, manifest.parent.parent)
    found = []
    for row in rows:
        name = row["path"]
        path = next((r / name for r in roots if name and (r / name).is_file()), None)
        if path is None:
            raise DataError(
                f"{manifest}: {name or 'a line without a path'} is listed but not there."
            )
        group = next((row[c] for c in GROUP_COLUMNS if row.get(c)), name)
        label = next((row[c] for c in LABEL_COLUMNS if row.get(c)), "")
        found.append(Entry(path, group, row.get("split", ""), label))
    return found
