"""Run folders: names of their files, and atomic writing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinysignal.errors import ConfigError, FileError
from tinysignal.files import make_folder
from tinysignal.temporaries import sync_folder, temporary_folder


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run that can be resumed or used.

    What a run leaves that is killed before its first checkpoint is none.
    """
    begun = (folder / CONFIG).exists()
    return begun and any((folder / name).exists() for name in (CHECKPOINT, METRICS))


def check_free(folder: Path, *parts: str) -> None:
    """Check that a folder holds no run.

    Parameters
    ----------
    folder : Path
    *parts : str
        Other names that the folder must not hold.

    Raises
    ------
    ConfigError
        The folder holds a run or one of the names, or is a file.
    """
    found = "a run" if holds_run(folder) else None
    for name in parts:
        if (folder / name).exists():
            found = found or f"'{name}'"
    if found:
        raise ConfigError(f"{folder}: holds {found} already. Pass another folder with -o.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file, expected a folder for the run. Pass it with -o.")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Temporary folder beside ``folder``, whose contents move there at the end of the block.

    After an exception or an interrupt in the block, the temporary folder is removed and ``folder``
    is unchanged.
    """
    place = folder.resolve()
    made = not place.exists()
    make_folder(place)  # fails before the work in the block
    temporary, done = place, False
    try:
        with temporary_folder(place) as temporary:
            yield temporary
            _move(temporary, place, at_once=made)
        done = True
    except FileError as error:  # the message must name the user's folder
        raise FileError(str(error).replace(str(temporary), str(folder))) from None
    except OSError as error:
        raise FileError(f"{folder}: cannot be written ({error.strerror or error}).") from None
    finally:
        if made and not done:
            with suppress(OSError):
                place.rmdir()


def _move(source: Path, target: Path, *, at_once: bool) -> None:
    """Move all files to another folder; the configuration, which marks a run, is moved last."""
    if at_once and os.name == "posix":  # a folder replaces an empty one
        source.replace(target)
    else:
        for item in sorted(source.iterdir(), key=lambda path: path.name == CONFIG):
            item.replace(target / item.name)
        sync_folder(target)
    sync_folder(target.parent)


CONFIG, METRICS, WEIGHTS, MODEL = "config.toml", "metrics.json", "model.safetensors", "model.onnx"
CHECKPOINT, DATA_REPORT = "last.safetensors", "data.json"
