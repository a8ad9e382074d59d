"""Films and sound files made with PyAV, for the tests of what FFmpeg reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysignal import audio

av = pytest.importorskip("av")

RATE_HZ = 48_000


def noise(seconds: float = 1.0, *, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """White noise, float32 (1, time)."""
    random = np.random.default_rng(seed)
    return random.normal(0, 0.1, (1, round(seconds * rate_hz))).astype(np.float32)


def frames_of(signal: np.ndarray, *, rate_hz: int = RATE_HZ, start: int = 0) -> Any:
    frame = av.AudioFrame.from_ndarray(signal, format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
    return frame


def write_sound(
    path: Path,
    codec: str,
    signal: np.ndarray | None = None,
    *,
    container: str | None = None,
    rate_hz: int = RATE_HZ,
) -> np.ndarray:
    """A sound file; returns what was encoded."""
    signal = noise() if signal is None else signal
    with av.open(str(path), "w", format=container) as file:
        track = file.add_stream(codec, rate=rate_hz, layout="mono")
        if codec.startswith("wma"):
            track.codec_context.bit_rate = 128_000
        file.mux(track.encode(frames_of(signal, rate_hz=rate_hz)))
        file.mux(track.encode(None))
    return signal


def write_film(
    path: Path,
    *,
    picture: str = "mpeg4",
    codecs: Sequence[str] = ("aac",),
    tag: str | None = None,
    default: int | None = None,
    chapters: bool = False,
    options: dict[str, str] | None = None,
    tags: dict[str, str] | None = None,
    picture_tags: dict[str, str] | None = None,
    subtitle: str | None = None,
    attachment: bytes | None = None,
    data: bytes | None = None,
) -> Path:
    """A second of grey and a track of noise for every codec, numbered by their titles."""
    with av.open(str(path), "w", container_options=options or {}) as film:
        film.metadata.update(tags or {})
        stream = film.add_stream(picture, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.metadata.update(picture_tags or {})
        if tag is not None:
            stream.codec_context.codec_tag = tag
        tracks = []
        for number, codec in enumerate(codecs, start=1):
            tracks.append(film.add_stream(codec, rate=RATE_HZ, layout="mono"))
            tracks[-1].metadata["title"] = f"track {number}"
            if default is not None:
                tracks[-1].disposition = av.stream.Disposition(int(number == default))
        millisecond = Fraction(1, 1000)
        if chapters:
            film.set_chapters(
                [
                    {"id": i, "start": 500 * i, "end": 500 * (i + 1), "time_base": millisecond}
                    | {"metadata": {"title": f"Part {i}"}}
                    for i in range(2)
                ]
            )
        texts = None if subtitle is None else film.add_mux_stream(subtitle)
        if texts is not None:
            texts.metadata["language"] = "fra"
        if attachment is not None:
            film.add_attachment("letters.ttf", "font/ttf", attachment)
        facts = None if data is None else film.add_data_stream("bin_data")
        for i in range(25):
            grey = np.full((48, 64, 3), i * 10, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        film.mux(stream.encode())
        for number, track in enumerate(tracks):
            film.mux(track.encode(frames_of(noise(seed=number))))
            film.mux(track.encode(None))
        for found, content in ((texts, _text(subtitle)), (facts, data)):
            if found is not None:
                packet = av.Packet(content)
                packet.stream, packet.time_base = found, millisecond
                packet.pts = packet.dts = 250
                packet.duration = 400
                film.mux(packet)
    return path


def _text(subtitle: str | None) -> bytes:
    return b"\0\5Hello" if subtitle == "mov_text" else b"Hello"


def packets(path: Path, kind: str, number: int = 0) -> list[tuple[Any, bytes]]:
    """Time and content of the packets of one stream."""
    with av.open(str(path)) as film:
        stream = [s for s in film.streams if s.type == kind][number]
        return [((p.pts or 0) * p.time_base, bytes(p)) for p in film.demux(stream) if p.size]


def read(path: Path, track: int | None = None) -> np.ndarray:
    with audio.open(path, track=track) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)
