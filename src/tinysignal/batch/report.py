"""What became of each file of a run: a line of JSON as it comes, or a table of Parquet at the end.

Lines are appended to the report itself, not to a temporary file: after hours, a run that is killed
keeps what it knew. A table cannot be read before its end is written; it appears whole or not at
all. What a second run may skip is not read from here, see `tinysignal.batch.record`.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tinysignal.batch.plan import Work
from tinysignal.batch.run import Outcome
from tinysignal.cluster import Engine
from tinysignal.errors import ConfigError, FileError, MissingExtraError
from tinysignal.files import atomic, check_writable, make_folder
from tinysignal.remote import Place

REPORT = "report.jsonl"
LINES, TABLE = ".jsonl", ".parquet"
_WHOLE = ("sample_rate_hz", "channels", "samples")
_REAL = ("level_in_dbfs", "level_out_dbfs", "gain_db", "elapsed_s", "speed", "seconds")


@contextmanager
def report_to(path: Path | None) -> Iterator[Callable[[Outcome], None]]:
    """A function that writes outcomes to a report, which it replaces.

    Parameters
    ----------
    path : Path or None
        Ends in ``.jsonl`` or ``.parquet``; its folder is made if needed. None for no report.

    Raises
    ------
    ConfigError
        Another ending, or a place that cannot be written.
    FileError
        The disk is full, for one.
    MissingExtraError
        Parquet needs pyarrow, which comes with the extra ``ray``.
    """
    if path is None:
        yield lambda outcome: None
        return
    if path.suffix not in (LINES, TABLE):
        raise ConfigError(f"--report {path}: expected a name that ends in {LINES} or {TABLE}.")
    if path.suffix == TABLE and find_spec("pyarrow") is None:
        raise MissingExtraError(f"--report {path}", "ray")
    make_folder(path.parent)
    check_writable(path)
    rows: list[dict[str, Any]] = []
    if path.suffix == TABLE:
        yield lambda outcome: rows.append(outcome.to_dict())
        _write_table(path, rows)
        return
    with _said(path):
        file = path.open("w", encoding="utf-8", buffering=1)

    def write(outcome: Outcome) -> None:
        with _said(path):
            file.write(json.dumps(outcome.to_dict()) + "\n")

    with file:
        yield write


def default_report(engine: Engine, folder: Place | None) -> Path | None:
    """Where the report goes that nobody named: Ray's beside its outputs, if these are here."""
    return folder / REPORT if engine.is_ray and isinstance(folder, Path) else None


def in_order(outcomes: Iterable[Outcome], work: Iterable[Work]) -> list[Outcome]:
    """Outcomes in the order of their work."""
    places = {item: place for place, item in enumerate(work)}
    return sorted(outcomes, key=lambda outcome: places[outcome.work])


@contextmanager
def _said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise FileError(f"{path}: cannot be written ({reason}).") from None


def _write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {**dict.fromkeys(_WHOLE, pa.int64()), **dict.fromkeys(_REAL, pa.float64())}
    kinds |= {"real_time_factor": pa.float64(), "notes": pa.list_(pa.string())}
    names = Outcome(Work(Path(), Path()), "done").to_dict()
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    with atomic(path) as part:
        parquet.write_table(pa.Table.from_pylist(rows, schema=schema), part)
