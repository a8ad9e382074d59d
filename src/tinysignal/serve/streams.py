"""``WS /stream``: samples in, samples out, block by block."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any, get_args

import anyio
import anyio.to_thread
from starlette.websockets import WebSocket, WebSocketDisconnect

from tinysignal.audio.pcm import PcmFormat, PcmKind
from tinysignal.denoiser import Denoiser
from tinysignal.errors import SignalError, TinysignalError
from tinysignal.serve.figures import Figures
from tinysignal.serve.settings import ServeSettings
from tinysignal.serve.turns import Turns
from tinysignal.stft import Signal
from tinysignal.stream import DenoiserStream

_BAD_DATA, _TRY_LATER, _REFUSED = 1007, 1013, 1008
_MOST_REASON = 120  # bytes of a closing reason
_SHORT_S = 0.05  # of sound, of all channels together


class Streams:
    """Live streams over one network, each with a state of its own.

    Parameters
    ----------
    settings : ServeSettings
    denoiser : Denoiser
        Shared by all.
    figures : Figures
    """

    def __init__(self, settings: ServeSettings, denoiser: Denoiser, figures: Figures) -> None:
        self._settings = settings
        self._denoiser = denoiser
        self._figures = figures
        self._workers = anyio.CapacityLimiter(settings.workers)
        self._turns = Turns(self._workers)
        self.open_now = 0

    async def serve(self, socket: WebSocket) -> None:
        """One stream.

        The address says ``rate`` (Hz), ``channels`` and ``format`` (``s16le``, ``f32le``, ...). The
        first answer is JSON with the latency. Then each binary message, of any length, is answered
        by one with what is ready, which may be nothing. The text ``end`` asks for the rest, and
        ends it.
        """
        if self.open_now >= self._settings.streams:
            self._figures.refused.labels("too many streams").inc()
            await socket.close(_TRY_LATER, "too many streams")
            return
        self.open_now += 1
        self._figures.streams.inc()
        try:
            await socket.accept()
            form, stream = self._opened(socket)
            latency = {"latency_samples": stream.latency_samples, "latency_s": stream.latency_s}
            await socket.send_text(json.dumps(latency))
            await self._run(socket, form, stream)
        except (WebSocketDisconnect, RuntimeError):
            pass  # gone without a word; starlette has the second for a send after that
        except TimeoutError:
            await _close(socket, _REFUSED, f"silent for {self._settings.idle_s:g} s")
        except TinysignalError as error:
            await _close(socket, _BAD_DATA, str(error))
        finally:
            self.open_now -= 1
            self._figures.streams.dec()

    def _opened(self, socket: WebSocket) -> tuple[PcmFormat, DenoiserStream]:
        query = socket.query_params
        kind: Any = query.get("format", "s16le")
        if kind not in get_args(PcmKind):
            raise SignalError(f"format '{kind}', expected {', '.join(get_args(PcmKind))}.")
        form = PcmFormat(_whole(query, "rate", 16_000), _whole(query, "channels", 1), kind)
        stream = self._denoiser.stream(
            sample_rate_hz=form.sample_rate_hz, channels=form.channels
        )  # fmt: skip
        return form, stream

    async def _run(self, socket: WebSocket, form: PcmFormat, stream: DenoiserStream) -> None:
        rest = b""
        while True:
            async with asyncio.timeout(self._settings.idle_s):
                message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if (text := message.get("text")) is not None:
                if text != "end":
                    raise SignalError(f"message '{text[:40]}', expected samples, or 'end'.")
                ready = await anyio.to_thread.run_sync(stream.flush, limiter=self._workers)
                await socket.send_bytes(form.encode(ready))
                await socket.close()
                return
            begun = time.perf_counter()
            data = rest + message["bytes"]
            whole = len(data) // form.frame_bytes * form.frame_bytes
            rest = data[whole:]
            block = form.decode(data[:whole])
            ready = await self._fed(stream, block, form.sample_rate_hz)
            await socket.send_bytes(form.encode(ready))
            self._figures.stream_seconds.inc(block.shape[1] / form.sample_rate_hz)
            self._figures.block_seconds.observe(time.perf_counter() - begun)

    async def _fed(self, stream: DenoiserStream, block: Signal, rate_hz: int) -> Signal:
        """What is ready; short blocks of all streams in turns, a long one keeps nobody waiting."""
        if block.size <= _SHORT_S * rate_hz:
            return await self._turns.feed(stream, block)
        return await anyio.to_thread.run_sync(stream.feed, block, limiter=self._workers)


def _whole(query: Any, name: str, otherwise: int) -> int:
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise SignalError(f"{name} '{text[:20]}', expected a whole number.")
    return int(text)


async def _close(socket: WebSocket, code: int, why: str) -> None:
    reason = " ".join(why.split()).encode()[:_MOST_REASON].decode(errors="ignore")
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, reason)
