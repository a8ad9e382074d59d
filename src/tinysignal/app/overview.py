"""Spectrograms of a recording before and after, small enough to be drawn at any strength."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.audio.formats import AudioInfo
from tinysignal.stft import Signal, StftSize, StftStream

_COLUMNS, _ROWS = 900, 120
_FLOOR_DB, _STEP_DB = -110.0, 0.43  # of the levels, in steps of a byte
_SILENCE = 1e-12

Power = NDArray[np.float64]  # (columns, rows)


@dataclass
class Overview:
    """Power over time and frequency of two signals, and of what they have in common.

    The output at a strength is ``k * before + (1 - k) * after``. Its power is that of both, and of
    their product, so that a page can draw it for any ``k``.

    Parameters
    ----------
    info : AudioInfo
        Of the recording.
    """

    info: AudioInfo
    _size: StftSize = field(init=False)

    def __post_init__(self) -> None:
        rate_hz = self.info.sample_rate_hz
        self._size = StftSize.at_rate(
            window_samples=512, hop_samples=256, model_rate_hz=16_000, sample_rate_hz=rate_hz
        )
        self._streams = [StftStream(self._size, self.info.channels) for _ in range(2)]
        self._expected = max(1, self.info.samples // self._size.hop_samples)
        self._width = min(_COLUMNS, self._expected)
        self._rows = _mel_rows(self._size.bins, rate_hz / 2)  # (bins, rows)
        self._sums = np.zeros((3, self._width, _ROWS))
        self._counts = np.zeros(self._width)
        self._frame = 0
        scale = (self._size.analysis_window.sum() / 2) ** 2  # of a full-scale sine
        self._scale = 1 / (float(scale) * self.info.channels)

    def add(self, before: Signal, after: Signal) -> None:
        """The next stretch of both, float32 (channels, time)."""
        spectra = [
            stream.feed(part) for stream, part in zip(self._streams, (before, after), strict=True)
        ]
        first, second = spectra
        products = (np.abs(first) ** 2, np.abs(second) ** 2, (first * second.conj()).real)
        at = (self._frame + np.arange(first.shape[1])) * self._width // self._expected
        at = np.minimum(at, self._width - 1)
        for sums, product in zip(self._sums, products, strict=True):
            np.add.at(sums, at, product.sum(axis=0, dtype=np.float64) @ self._rows)
        np.add.at(self._counts, at, 1)
        self._frame += first.shape[1]

    def to_json(self) -> dict[str, Any]:
        """Levels in bytes, column by column from the lowest tone; the product as a fraction."""
        seen = self._counts > 0  # a film's length is only known to its container's clock
        mean = self._sums[:, seen] * (self._scale / self._counts[seen, np.newaxis])
        before, after, both = mean
        share = both / np.sqrt(np.maximum(before * after, _SILENCE**2))
        return {
            "columns": int(seen.sum()),
            "rows": _ROWS,
            "top_hz": self.info.sample_rate_hz / 2,
            "floor_db": _FLOOR_DB,
            "step_db": _STEP_DB,
            "before": _bytes_of((_db(before) - _FLOOR_DB) / _STEP_DB),
            "after": _bytes_of((_db(after) - _FLOOR_DB) / _STEP_DB),
            "product": _bytes_of(127.5 + 127.5 * share),
        }


def _db(power: Power) -> Power:
    return np.asarray(10 * np.log10(power + _SILENCE))


def _bytes_of(values: Power) -> str:
    levels = np.clip(np.round(values), 0, 255).astype(np.uint8)
    return base64.b64encode(levels.tobytes()).decode("ascii")


def _mel_rows(bins: int, top_hz: float) -> NDArray[np.float64]:
    """How much of each bin belongs to each row, (bins, rows); rows are even on the mel scale."""
    top_mel = 2595 * np.log10(1 + top_hz / 700)
    edges_hz = 700 * (10 ** (np.linspace(0, top_mel, _ROWS + 1) / 2595) - 1)
    edges = edges_hz / top_hz * (bins - 1)
    low, high = edges[:-1], edges[1:]
    centres = np.arange(bins)[:, np.newaxis]
    overlap = np.minimum(high, centres + 0.5) - np.maximum(low, centres - 0.5)
    return np.asarray(np.maximum(overlap, 0) / (high - low))
