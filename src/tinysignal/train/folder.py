"""Run folders: names of their files, and atomic writing."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinysignal.errors import ConfigError, FileError
from tinysignal.files import make_folder


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
    for name in (CONFIG, *parts):
        if (folder / name).exists():
            what = "a run" if name == CONFIG else f"'{name}'"
            raise ConfigError(f"{folder}: holds {what} already. Pass another folder with -o.")
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
    temporary = place.with_name(f".{secrets.token_hex(8)}.part")
    done = False
    try:
        make_folder(temporary)
        yield temporary
        _move(temporary, place)
        done = True
    except FileError as error:  # the message must name the user's folder
        raise FileError(str(error).replace(str(temporary), str(folder))) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if made and not done:
            with suppress(OSError):
                place.rmdir()


def _move(source: Path, target: Path) -> None:
    """Move all files to another folder; the configuration, which marks a run, is moved last."""
    try:
        for item in sorted(source.iterdir(), key=lambda path: path.name == CONFIG):
            item.replace(target / item.name)
    except OSError as error:
        raise FileError(f"{target}: cannot be written ({error.strerror}).") from None


CONFIG, METRICS, WEIGHTS, MODEL = "config.toml", "metrics.json", "model.safetensors", "model.onnx"
