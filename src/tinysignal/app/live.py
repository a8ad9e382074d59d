"""Tab: the microphone, cleaned while one speaks."""

from __future__ import annotations

import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import gradio as gr
import numpy as np

from tinysignal.app.denoise import NO_LIMIT_DB, strength_of
from tinysignal.app.site import Site, answered, denoiser, web
from tinysignal.errors import ConfigError, SignalError
from tinysignal.model import DEFAULT_MODEL
from tinysignal.stream import DenoiserStream

_MOST = 8  # streams at once; the one that was silent for the longest gives way
_SILENT_S = 30.0
_LONGEST_BLOCK = 1 << 17  # samples


def build(site: Site) -> None:
    """The tab, in a Gradio context."""
    streams = Streams()
    gr.HTML(
        {"no_limit_db": NO_LIMIT_DB},
        html_template=web("live.html"),
        js_on_load=web("live.js"),
        apply_default_css=False,
        elem_id="live",
        server_functions=[streams.begin, streams.feed],
    )


@dataclass
class _Running:
    stream: DenoiserStream
    heard_s: float
    lock: Lock = field(default_factory=Lock)


@dataclass
class Streams:
    """One stream for each open microphone; two users do not share one."""

    _running: OrderedDict[str, _Running] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    @property
    def begin(self) -> Callable[..., dict[str, Any]]:
        """Open a stream, or begin one anew."""

        @answered
        def begin(asked: dict[str, Any]) -> dict[str, Any]:
            strength = strength_of(float(asked["limit"]), 1.0)
            stream = denoiser(DEFAULT_MODEL, "shared").stream(
                sample_rate_hz=int(asked["rate_hz"]), **strength
            )
            now_s = time.monotonic()
            with self._lock:
                for key, one in list(self._running.items()):
                    if now_s - one.heard_s > _SILENT_S or len(self._running) >= _MOST:
                        del self._running[key]
                self._running[str(asked["id"])] = _Running(stream, now_s)
            return {"hop_samples": stream.hop_samples, "latency_ms": 1000 * stream.latency_s}

        return begin

    @property
    def feed(self) -> Callable[..., dict[str, Any]]:
        """The next block: 16-bit samples in base64; answered by those that are ready."""

        @answered
        def feed(asked: dict[str, Any]) -> dict[str, Any]:
            with self._lock:
                one = self._running.get(str(asked["id"]))
            if one is None:
                raise ConfigError("the microphone was silent for too long. Start it again.")
            block = np.frombuffer(base64.b64decode(asked["block"]), "<i2")
            if block.size > _LONGEST_BLOCK:
                raise SignalError(f"a block of {block.size} samples, at most {_LONGEST_BLOCK}.")
            started_s = time.perf_counter()
            with one.lock:
                ready = one.stream.feed(block.astype(np.float32) / 32_768)[0]
            one.heard_s = time.monotonic()
            whole = np.round(np.clip(ready, -1, 1) * 32_767).astype("<i2")
            return {
                "block": base64.b64encode(whole.tobytes()).decode("ascii"),
                "work_ms": 1000 * (time.perf_counter() - started_s),
            }

        return feed
