"""A run folder: the names of its files, and writing it whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinysignal.errors import ConfigError, FileError
from tinysignal.files import make_folder


def check_free(folder: Path, *parts: str) -> None:
    """Refuse a folder that holds a run, or anything by the name of a part.

    Raises
    ------
    ConfigError
    """
    for name in (CONFIG, *parts):
        if (folder / name).exists():
            what = "a run" if name == CONFIG else f"'{name}'"
            raise ConfigError(f"{folder}: holds {what} already. Pass another folder with -o.")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: a file, expected a folder to write the run into.")


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder``; what is in it moves there when the block ends well.

    When the block ends with any exception, an interrupt included, nothing is left of it.
    """
    place = folder.resolve()
    made = not place.exists()
    make_folder(place)  # now, as it may not be possible
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    done = False
    try:
        make_folder(temporary)
        yield temporary
        _move(temporary, place)
        done = True
    except FileError as error:  # people know the folder by its own name
        raise FileError(str(error).replace(str(temporary), str(folder))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if made and not done:
            with suppress(OSError):
                place.rmdir()


def _move(source: Path, target: Path) -> None:
    """What is in one folder to another; the configuration, which makes it a run, comes last."""
    try:
        for item in sorted(source.iterdir(), key=lambda path: path.name == CONFIG):
            item.replace(target / item.name)
    except OSError as error:
        raise FileError(f"{target}: cannot be written ({error.strerror}).") from None


CONFIG, METRICS, WEIGHTS, MODEL = "config.toml", "metrics.json", "model.safetensors", "model.onnx"
