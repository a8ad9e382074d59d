"""Lists of files: a CSV file with what is known of each."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from tinysignal.errors import DataError

MANIFEST = "manifest.csv"
GROUP_COLUMNS = ("speaker", "recording", "group")
LABEL_COLUMNS = ("class", "noise_class")


@dataclass(frozen=True)
class Entry:
    """One line of a manifest; what it does not say is empty."""

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
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{manifest}: cannot be read ({error.strerror}).") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{manifest}: not a CSV file in UTF-8 ({error}).") from None
    if rows and "path" not in rows[0]:
        raise DataError(f"{manifest}: no column 'path', but {', '.join(map(str, rows[0]))}.")
    roots = (manifest.parent, manifest.parent.parent)
    found = []
    for row in rows:
        name = row["path"] or ""
        path = next((r / name for r in roots if name and (r / name).is_file()), None)
        if path is None:
            raise DataError(
                f"{manifest}: {name or 'a line without a path'} is listed but not there."
            )
        group = next((row[c] for c in GROUP_COLUMNS if row.get(c)), name)
        label = next((row[c] for c in LABEL_COLUMNS if row.get(c)), "")
        found.append(Entry(path, group, row.get("split") or "", label))
    return found
