"""What the tabs share: folders, models, and errors in one line."""

from __future__ import annotations

import base64
import html
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache, wraps
from importlib import resources
from inspect import isgeneratorfunction
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import gradio as gr
import numpy as np

from tinysignal.app.settings import Settings
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, DataError, ModelError, TinysignalError
from tinysignal.images.files import Grey
from tinysignal.model import bundled_models, model_path, read_spec
from tinysignal.spec import Spec

_SIDE = 140  # pixels of a drawing
_Work = TypeVar("_Work", bound=Callable[..., Any])


@dataclass(frozen=True)
class Site:
    """One running page.

    Parameters
    ----------
    settings : Settings
    folder : Path
        Private; removed at the end.
    ended : threading.Event
        Set when the server stops: long work gives up.
    """

    settings: Settings
    folder: Path
    ended: threading.Event = field(default_factory=threading.Event)

    def new_folder(self) -> Path:
        """An empty folder, whose name nobody can guess."""
        made = self.folder / "files" / secrets.token_hex(16)
        made.mkdir(mode=0o700)
        return made

    def models(self, task: str) -> dict[str, str]:
        """Titles and paths of the models for a task: bundled ones, and those of the runs given."""
        found = {name: name for name in bundled_models() if read_spec(name).task == task}
        for run in self.settings.runs:
            spec = spec_of(run)
            if spec is not None and spec.task == task:
                found[str(run)] = str(run)
        return found


def spec_of(run: Path) -> Spec | None:
    """What the model of a run says of itself; None while there is none."""
    try:
        return read_spec(model_path(run))
    except ModelError:
        return None


@lru_cache(maxsize=8)
def denoiser(model: str, channel_mode: str) -> Denoiser:
    """A loaded denoiser; it serves several users at once."""
    return Denoiser.load(model, channel_mode=channel_mode)


def url_of(path: Path) -> str:
    """Where the page finds a file, relative to itself."""
    return f"gradio_api/file={quote(str(path))}"


@cache
def web(name: str) -> str:
    """The text of one of the page's own parts."""
    return (resources.files("tinysignal.app") / "web" / name).read_text(encoding="utf-8")


def in_one_line(error: Exception, source: Path | None = None) -> str:
    """What the command would say of an error; the path of an upload becomes its name."""
    if isinstance(error, TinysignalError):
        text = str(error)
    else:
        text = f"unexpected error ({type(error).__name__}: {error}). Please report it."
    if source is not None:
        text = text.replace(str(source), source.name)
    return " ".join(text.split())


def told(work: _Work) -> _Work:
    """A handler whose errors the page shows in one line."""

    @wraps(work)
    def one(*given: Any) -> Any:
        try:
            return work(*given)
        except gr.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a page has no traceback
            raise _shown(error) from None

    @wraps(work)
    def several(*given: Any) -> Iterator[Any]:
        try:
            yield from work(*given)
        except gr.Error:
            raise
        except Exception as error:  # noqa: BLE001 - a page has no traceback
            raise _shown(error) from None

    return several if isgeneratorfunction(work) else one  # type: ignore[return-value]


def _shown(error: Exception) -> Exception:
    message = html.escape(in_one_line(error))
    shown: Exception = gr.Error(message, title="Not done", print_exception=False, duration=None)
    return shown


def answered(work: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A function that the page's own parts call; an error is an answer in one line."""

    @wraps(work)
    def safe(*given: Any) -> dict[str, Any]:
        try:
            return work(*given)
        except Exception as error:  # noqa: BLE001 - a page has no traceback
            return {"error": in_one_line(error)}

    return safe


def drawing(framed: Callable[[Grey], Grey], ink: str) -> Grey | None:
    """What a network sees of a drawing, from the page's bytes; None of an empty sheet.

    Parameters
    ----------
    framed : callable
        Of float32 (rows, columns), 0 paper to 1 ink.
    ink : str
        Base64 of a byte for each pixel.
    """
    levels = np.frombuffer(base64.b64decode(ink), np.uint8)
    if levels.size != _SIDE * _SIDE:
        raise ConfigError(f"a drawing of {levels.size} bytes, expected {_SIDE} x {_SIDE}.")
    if not levels.any():
        return None
    try:
        return framed(levels.reshape(_SIDE, _SIDE).astype(np.float32) / np.float32(255))
    except DataError:  # too little ink
        return None
