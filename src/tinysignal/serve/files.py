"""``POST /denoise``: a file in, a file out."""

from __future__ import annotations

import json
import mimetypes
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from tinysignal.audio import SOUND_SUFFIXES
from tinysignal.denoise_file import FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, TinysignalError
from tinysignal.serve.figures import Figures
from tinysignal.serve.settings import ServeSettings

_PIECE_BYTES = 1 << 18
_ASK_EVERY_S = 0.5
_MOST_NAME = 200
_NUMBERS = ("attenuation_limit_db", "mix")


class _TooLargeError(Exception):
    pass


class _GoneError(Exception):
    """Whoever asked is not there any more."""


class Files:
    """Denoises files: some at once, some waiting, no more.

    Parameters
    ----------
    settings : ServeSettings
    denoiser : Denoiser
        Shared by all.
    figures : Figures
    """

    folder: Path  # private, removed when the service ends

    def __init__(self, settings: ServeSettings, denoiser: Denoiser, figures: Figures) -> None:
        self._settings = settings
        self._denoiser = denoiser
        self._figures = figures
        self._workers = anyio.CapacityLimiter(settings.workers)
        self._inside = 0

    async def denoise(self, request: Request) -> Response:
        """The body is a sound file or film; so is the answer, or one line of JSON says why not."""
        if self._inside >= self._settings.workers + self._settings.queue:
            self._figures.refused.labels("too many files").inc()
            return _refused(503, "too many files wait. Try again later.", {"Retry-After": "5"})
        self._inside += 1
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            response, result = await self._answer(request, folder), "done"
            if response.status_code != 200:
                result = "failed"
        except (ClientDisconnect, _GoneError):
            response, result = Response(status_code=499), "gone"
        except _TooLargeError:
            limit = f"larger than {self._settings.max_mb} million bytes."
            response, result = _refused(413, limit), "failed"
        except ConfigError as error:
            response, result = _refused(400, error), "failed"
        except TinysignalError as error:
            response, result = _refused(422, _named(error, folder)), "failed"
        except Exception as error:  # noqa: BLE001 - one file, and not the service
            text = f"unexpected error ({type(error).__name__}: {error}). Please report it."
            response, result = _refused(500, _named(text, folder)), "failed"
        finally:
            self._inside -= 1
            shutil.rmtree(folder, ignore_errors=True)
        self._figures.files.labels(result).inc()
        return response

    async def _answer(self, request: Request, folder: Path) -> Response:
        query = request.query_params
        name = Path(query.get("name", "sound.wav").replace("\\", "/")).name[-_MOST_NAME:]
        suffix = Path(name).suffix
        if not suffix[1:].isalnum():
            raise ConfigError(f"name '{name}', expected one with an extension, such as talk.wav.")
        if "format" in query:
            suffix = f".{query['format'].lower().lstrip('.')}"
            if suffix not in SOUND_SUFFIXES:
                raise ConfigError(
                    f"format '{query['format']}', expected one such as wav, flac, mp3."
                )
        options = _options(dict(query))
        source = folder / "in" / name
        source.parent.mkdir()
        await self._receive(request, source)
        target = folder / f"out{suffix}"
        report = await self._work(request, source, target, options)
        self._figures.file_seconds.inc(report.duration_s)
        # Open before the folder goes: the answer outlives it.
        opened = target.open("rb")
        return StreamingResponse(
            _pieces(opened),
            media_type=mimetypes.guess_type(target.name)[0] or "application/octet-stream",
            headers={
                "Content-Length": str(target.stat().st_size),
                "Content-Disposition": "attachment; filename*=UTF-8''"
                + quote(f"{Path(name).stem}.clean{suffix}"),
                "Tinysignal-Report": json.dumps(report.to_dict()),
            },
        )

    async def _receive(self, request: Request, source: Path) -> None:
        taken, most = 0, self._settings.max_mb * 1_000_000
        if int(request.headers.get("content-length") or 0) > most:
            raise _TooLargeError
        async with await anyio.open_file(source, "wb") as file:
            async for piece in request.stream():
                taken += len(piece)
                if taken > most:
                    raise _TooLargeError
                await file.write(piece)

    async def _work(
        self, request: Request, source: Path, target: Path, options: dict[str, Any]
    ) -> FileReport:
        """Denoise in a thread, which ends when nobody waits for it any more."""
        gone = threading.Event()

        def look(_: float) -> None:
            if gone.is_set():
                raise _GoneError

        denoiser = self._denoiser.with_options(**options)
        work = partial(denoise_file, source, target, denoiser=denoiser, on_block=look)
        outcome: FileReport | Exception
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                while not await request.is_disconnected():
                    await anyio.sleep(_ASK_EVERY_S)
                gone.set()

            tasks.start_soon(watch)
            try:
                outcome = await anyio.to_thread.run_sync(work, limiter=self._workers)
            except Exception as error:  # noqa: BLE001 - the group would wrap it
                outcome = error
            tasks.cancel_scope.cancel()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def _options(query: dict[str, str]) -> dict[str, Any]:
    known = ("name", "format", "channel_mode", *_NUMBERS, "token")
    if unknown := sorted(set(query).difference(known)):
        raise ConfigError(
            f"'{unknown[0]}': no such parameter, expected {', '.join(sorted(known))}."
        )
    options: dict[str, Any] = {}
    for name in _NUMBERS:
        if name in query:
            try:
                options[name] = float(query[name])
            except ValueError:
                raise ConfigError(f"{name} '{query[name]}', expected a number.") from None
    if "channel_mode" in query:
        options["channel_mode"] = query["channel_mode"]
    return options


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await anyio.to_thread.run_sync(file.read, _PIECE_BYTES):
            yield piece


def _named(error: object, folder: Path) -> str:
    """An error without the folder of the upload, which is nobody's business."""
    return str(error).replace(f"{folder / 'in'}/", "").replace(f"{folder}/", "")


def _refused(status: int, why: object, headers: dict[str, str] | None = None) -> Response:
    line = " ".join(str(why).split())
    return JSONResponse({"error": line}, status_code=status, headers=headers)
