"""Bit rates of lossy files: what a file has, and what makes libsndfile write about as much."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile as sf

from tinysignal.audio import mp3


@dataclass(frozen=True)
class BitRate:
    """Bits of encoded sound per second, tags left out.

    Parameters
    ----------
    bits_per_s : float
        Of the whole file.
    constant : bool
        Whether each second has as many.
    nominal_bits_per_s : float or None
        Of sound of average difficulty: how Vorbis states the quality that was asked for.
    """

    bits_per_s: float
    constant: bool = False
    nominal_bits_per_s: float | None = None


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
        nominal = _vorbis_nominal(file)
        headers = _ogg_header_bytes(file)
    bits_per_s = (path.stat().st_size - headers) * 8 / duration_s
    return BitRate(bits_per_s, nominal_bits_per_s=nominal)


def _vorbis_nominal(file: BinaryIO) -> float | None:
    """From the identification header, the first packet; Vorbis I specification, section 4.2.2."""
    file.seek(28)
    packet = file.read(30)
    stated = struct.unpack("<i", packet[20:24])[0] if packet[:7] == b"\1vorbis" else 0
    return stated if stated > 0 else None


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
    """Arguments of libsndfile for about that bit rate; none for a subtype without a choice."""
    kbps = wanted.bits_per_s / 1000
    if subtype == "MPEG_LAYER_III":
        return _mp3_settings(kbps, rate_hz, channels, constant=wanted.constant)
    if subtype == "VORBIS":
        known, levels = _vorbis_levels(rate_hz, channels)
        bits_per_s = wanted.nominal_bits_per_s or wanted.bits_per_s
        return {"compression_level": float(np.interp(bits_per_s, known, levels))}
    if subtype == "OPUS":
        mono_kbps = kbps / channels
        return {"compression_level": float(np.interp(mono_kbps, (6, 256), (1.0, 0.0)))}
    return {}


@lru_cache
def _vorbis_levels(rate_hz: int, channels: int) -> tuple[list[float], list[float]]:
    """Nominal bit rates of libvorbis, rising, and libsndfile's compression levels for them."""
    found = []
    for level in np.linspace(1, 0, 11):
        held = BytesIO()
        try:
            sf.write(
                held,
                np.zeros((1, channels)),
                rate_hz,
                format="OGG",
                subtype="VORBIS",
                compression_level=float(level),
            )
        except sf.LibsndfileError:
            continue
        found.append((_vorbis_nominal(held) or 0.0, float(level)))
    rates, levels = zip(*found, strict=True) if found else ((0.0,), (0.5,))
    return list(rates), list(levels)


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
