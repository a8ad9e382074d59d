"""Bit rates of lossy files: what a file has, and what makes libsndfile write about as much."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinysignal.audio import mp3


@dataclass(frozen=True)
class BitRate:
    """Bits of encoded sound per second, tags left out, and whether each second has as many."""

    bits_per_s: float
    constant: bool = False


def bit_rate(path: Path, *, duration_s: float, facts: mp3.Mp3Facts | None) -> BitRate | None:
    """The bit rate of an Ogg or MP3 file.

    Parameters
    ----------
    path : Path
    duration_s : float
    facts : Mp3Facts or None
        Of an MP3 file.
    """
    if facts is not None:
        return BitRate(facts.sound_bytes * 8 / duration_s, facts.mode == "CONSTANT")
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return None
        headers = _ogg_header_bytes(file)
    return BitRate((path.stat().st_size - headers) * 8 / duration_s)


def _ogg_header_bytes(file: BinaryIO) -> int:
    """Bytes of the pages before the first with sound; a cover picture may fill many."""
    at = 0
    while True:
        file.seek(at)
        page = file.read(27)
        position = page[6:14]  # in samples, -1 where no packet ends; RFC 3533, section 6
        if len(page) < 27 or position not in (bytes(8), b"\xff" * 8):
            return at
        at += 27 + page[26] + sum(file.read(page[26]))


def encoder_settings(
    subtype: str, wanted: BitRate, *, rate_hz: int, channels: int
) -> dict[str, Any]:
    """Arguments of libsndfile for about that bit rate; none for a subtype without a choice.

    The figures for Vorbis are those of the encoder at 44.1 and 48 kHz.
    """
    kbps = wanted.bits_per_s / 1000
    if subtype == "MPEG_LAYER_III":
        return _mp3_settings(kbps, rate_hz, channels, constant=wanted.constant)
    stereo_kbps = kbps * 2 / channels
    if subtype == "VORBIS":
        known, levels = (64, 112, 160, 256, 500), (1.0, 0.7, 0.5, 0.2, 0.0)
        return {"compression_level": float(np.interp(stereo_kbps, known, levels))}
    if subtype == "OPUS":
        return {"compression_level": float(np.interp(stereo_kbps, (12, 512), (1.0, 0.0)))}
    return {}


def _mp3_settings(kbps: float, rate_hz: int, channels: int, *, constant: bool) -> dict[str, Any]:
    """LAME's average bit rate falls short of what is asked for where that is high."""
    low, high = mp3.kbps_range(rate_hz)
    if constant or kbps > high / 2:
        kbps, constant = mp3.nearest_kbps(rate_hz, kbps), True
    # At the end of the scale libsndfile fails.
    level = min(max((high - kbps) / (high - low), 0.0), 0.999)
    return {
        "compression_level": level,
        "bitrate_mode": "CONSTANT" if constant else "AVERAGE",
    }
