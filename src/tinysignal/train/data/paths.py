"""Signal path of a recording: filters, rooms, microphones, level control, clipping, codecs."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Signal = NDArray[np.float32]
Values = NDArray[np.floating[Any]]
Gains = Callable[[Values], Values]  # gains at frequencies in Hz

_EQ_KNOTS = 8
_FAST_SAMPLES = 4096
_LOW_CUT_HZ, _HIGH_CUT_HZ = (20.0, 300.0), (3_000.0, 7_500.0)
_HIGH_CUT_SHARE, _BUMP_DB = 0.3, 6.0
_JUMP_DB, _JUMP_S = (3.0, 15.0), (0.005, 0.2)
_TELEPHONE_HZ, _WIDEBAND_HZ = 8_000, 16_000


def passed(
    samples: Signal,
    sample_rate_hz: int,
    filters: Sequence[Gains],
    rooms: Sequence[NDArray[np.float64]] = (),
) -> list[Signal]:
    """Signal after all filters and each of the rooms, by one product of spectra.

    Without a room, the convolution with the filters is circular.

    Parameters
    ----------
    samples : float32 (samples,)
    sample_rate_hz : int
        Sample rate in Hz.
    filters : sequence of callable
        Gains at frequencies in Hz, of zero phase.
    rooms : sequence of float64 (samples,)
        Impulse responses.

    Returns
    -------
    list of float32 (samples,)
        One signal for each room; one signal without rooms.
    """
    if not filters and not rooms:
        return [samples]
    size = samples.size
    if rooms:  # a length with fast transforms
        size = -(-(size + max(room.size for room in rooms)) // _FAST_SAMPLES) * _FAST_SAMPLES
    freq_hz = np.fft.rfftfreq(size, 1 / sample_rate_hz)
    spectrum = np.fft.rfft(samples, size)
    for gains in filters:
        spectrum *= gains(freq_hz).astype(np.float32)
    spectra = [spectrum * np.fft.rfft(room.astype(np.float32), size) for room in rooms]
    return [np.fft.irfft(s, size)[: samples.size].astype(np.float32) for s in spectra or [spectrum]]


def equaliser(rng: np.random.Generator, most_db: float, sample_rate_hz: int) -> Gains:
    """Random smooth filter with gains from -most_db to most_db."""
    knots_db = rng.uniform(-1, 1, _EQ_KNOTS) * most_db
    # Knots are equidistant on a warped axis: denser at low frequencies.
    knots_hz = np.linspace(0, 1, _EQ_KNOTS) ** 2 * sample_rate_hz / 2
    return lambda freq_hz: 10 ** (np.interp(freq_hz, knots_hz, knots_db) / 20)


def low_pass(cutoff_hz: float) -> Gains:
    """Low-pass of 72 dB per octave, as of telephones and codecs."""
    return lambda freq_hz: 1 / (1 + (freq_hz / cutoff_hz) ** 12)


def microphone(rng: np.random.Generator) -> Gains:
    """Random response of a microphone: high-pass at 20 to 300 Hz, one peak or dip, low-pass."""
    low, high = _LOW_CUT_HZ
    low_hz, slope = low * (high / low) ** rng.random(), 2 * rng.integers(1, 4)
    centre_hz, octaves = 150 * 40 ** rng.random(), rng.uniform(0.3, 1.5)
    bump_db = rng.uniform(-_BUMP_DB, _BUMP_DB)
    cut = low_pass(rng.uniform(*_HIGH_CUT_HZ)) if rng.random() < _HIGH_CUT_SHARE else None

    def gains(freq_hz: Values) -> Values:
        audible_hz = np.maximum(freq_hz, 1.0)
        away = np.log2(audible_hz / centre_hz) / octaves
        gain = 10 ** (bump_db / 20 * np.exp(-(away**2)))
        gain = gain / np.sqrt(1 + (low_hz / audible_hz) ** slope)
        return np.asarray(gain if cut is None else gain * cut(freq_hz))

    return gains


def level_jumps(rng: np.random.Generator, samples: int, sample_rate_hz: int) -> Signal:
    """Gains of a level control with one to three jumps of 3 to 15 dB, float32 (samples,).

    A jump takes 5 to 200 ms.
    """
    places = np.sort(rng.integers(0, samples, rng.integers(1, 4)))
    level_db, knots, knots_db = 0.0, [0.0], [0.0]
    for place in places:
        begin = max(float(place), knots[-1])
        knots += [begin, begin + rng.uniform(*_JUMP_S) * sample_rate_hz]
        knots_db.append(level_db)
        # Jumps alternate with returns to 0 dB, which bounds the level.
        level_db = rng.uniform(*_JUMP_DB) * rng.choice([-1, 1]) if level_db == 0 else 0.0
        knots_db.append(level_db)
    gain_db = np.interp(np.arange(samples), knots, knots_db)
    return np.asarray(10 ** (gain_db / 20), np.float32)


def clipped(rng: np.random.Generator, samples: Signal) -> Signal:
    """Signal clipped at 0.25 to 0.9 of its peak."""
    limit = np.float32(rng.uniform(0.25, 0.9) * np.abs(samples).max())
    return np.clip(samples, -limit, limit)


@dataclass(frozen=True)
class Codec:
    """Lossy format that libsndfile writes and reads without delay.

    Parameters
    ----------
    container, subtype : str
        Names in libsndfile.
    sample_rate_hz : int
        Sample rate in Hz; 0 for that of the signal.
    compression : (float, float)
        Range of soundfile's compression level; (0, 0) for its default.
    """

    container: str
    subtype: str
    sample_rate_hz: int = 0
    compression: tuple[float, float] = (0.0, 0.0)


CODECS = {  # comments: bit rates in kbit/s at 16 kHz
    "gsm": Codec("WAV", "GSM610", _TELEPHONE_HZ),  # 13
    "ulaw": Codec("WAV", "ULAW", _TELEPHONE_HZ),  # 64
    "adpcm": Codec("AU", "G721_32", _TELEPHONE_HZ),  # 32
    "vorbis": Codec("OGG", "VORBIS", 0, (0.5, 1.0)),  # 61 to 35
    "mp3": Codec("MP3", "MPEG_LAYER_III", _WIDEBAND_HZ, (0.0, 0.6)),  # 160 to 64
    "opus": Codec("OGG", "OPUS", _WIDEBAND_HZ, (0.88, 0.97)),  # 40 to 16
}


def coded(rng: np.random.Generator, samples: Signal, sample_rate_hz: int) -> Signal:
    """Signal encoded and decoded by a random one of the `CODECS`, float32 (samples,)."""
    codec = CODECS[rng.choice(list(CODECS))]
    low, high = codec.compression
    options: dict[str, Any] = {"compression_level": rng.uniform(low, high)} if high else {}
    rate_hz = codec.sample_rate_hz or sample_rate_hz
    peak = max(float(np.abs(samples).max()), 1e-3)
    narrow = soxr.resample(samples / peak * np.float32(0.9), sample_rate_hz, rate_hz)
    file = io.BytesIO()
    soundfile.write(file, narrow, rate_hz, format=codec.container, subtype=codec.subtype, **options)
    file.seek(0)
    decoded = soundfile.read(file, dtype="float32")[0][: narrow.size]
    wide = soxr.resample(decoded, rate_hz, sample_rate_hz)[: samples.size] * np.float32(peak / 0.9)
    return np.pad(wide, (0, samples.size - wide.size))
