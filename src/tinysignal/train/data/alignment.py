"""How a noisy recording relates to its clean one: delay, polarity and level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.train.data.sound import Mono, Sound

_EXCERPT_S = 4.0  # of the clean recording, its loudest
_LARGEST_DELAY_S = 1.0
_SHORTEST_S = 0.1  # below it, nothing can be told
# A delay is clear if one peak of the correlation stands alone. Relative to the next beyond 0.5 ms
# it is 2.4 and more at an SNR of -5 dB, 2.0 and more at -10 dB; 1.9 and less in unrelated
# recordings, 1.7 and less where it is that of a reflection in a hall.
_PEAK_S, _CLEAR = 0.0005, 2.0
# Relative to the root mean square beyond 20 ms: 28 and more at -10 dB, 10 and more in halls; less
# than 8 in 95 % of unrelated recordings.
_NEAR_S, _RELATED = 0.02, 8.0


@dataclass(frozen=True)
class Relation:
    """Relation of a noisy recording to its clean one.

    Parameters
    ----------
    related : bool
        Whether the noisy recording seems to hold the clean one.
    clear : bool
        Whether the others could be told; they cannot in much noise or reverberation.
    delay_samples : int
        By how much the noisy recording is late; negative if it is early.
    inverted : bool
        Whether their polarities differ.
    gain_db : float
        Level of the clean signal within the noisy recording, relative to the clean recording.
    """

    related: bool
    clear: bool = False
    delay_samples: int = 0
    inverted: bool = False
    gain_db: float = 0.0


def relation(noisy: Mono, clean: Mono, *, sample_rate_hz: int) -> Relation | None:
    """Delay, polarity and gain between two recordings, by cross-correlation.

    The correlation is over the loudest 4 s of the clean recording and delays up to 1 s. Its
    spectrum X is divided by |X| + mean |X|, between plain correlation and the phase transform, so
    that its peak is narrow and frequencies without sound do not count.

    Parameters
    ----------
    noisy, clean : float32 (time,)
    sample_rate_hz : int

    Returns
    -------
    Relation or None
        None if one of them is silent there or shorter than 0.1 s.

    References
    ----------
    Knapp, Carter (1976), "The generalized correlation method for estimation of time delay".
    """
    size, most = round(_EXCERPT_S * sample_rate_hz), round(_LARGEST_DELAY_S * sample_rate_hz)
    start = loudest(clean, size, sample_rate_hz=sample_rate_hz)
    part = clean[start : start + size]
    around = noisy[max(0, start - most) : start + part.size + most]
    shortest = _SHORTEST_S * sample_rate_hz
    if min(part.size, around.size) < shortest or not part.any() or not around.any():
        return None
    around = np.pad(around, (max(0, most - start), 0))  # begins ``most`` samples before the part
    # No longer than it must be for delays up to ``most``, and of small factors: quick to transform.
    cross = np.fft.rfft(around, size + 2 * most) * np.conj(np.fft.rfft(part, size + 2 * most))
    strength = np.abs(cross)
    found = np.fft.irfft(cross / (strength + strength.mean()), size + 2 * most)[: 2 * most + 1]
    height = np.abs(found)
    peak = int(np.argmax(height))
    apart = np.abs(np.arange(height.size) - peak) / sample_rate_hz
    if height[peak] < _RELATED * np.sqrt(np.square(height[apart > _NEAR_S]).mean()):
        return Relation(related=False)
    if height[peak] < _CLEAR * height[apart > _PEAK_S].max():
        return Relation(related=True)
    delay = peak - most
    gain_db = _gain_db(noisy, part, start + delay)
    return Relation(True, True, delay, bool(found[peak] < 0), gain_db)


def _gain_db(noisy: Mono, part: Mono, start: int) -> float:
    """Gain of a part of the clean recording in the noisy one, by least squares."""
    begin, end = max(0, -start), min(part.size, noisy.size - start)
    clean = part[begin:end].astype(np.float64)
    dot = np.dot(noisy[start + begin : start + end].astype(np.float64), clean)
    return float(20 * np.log10((abs(dot) + 1e-20) / (np.dot(clean, clean) + 1e-20)))


def aligned(
    noisy: Mono | Sound, clean: Mono | Sound, found: Relation
) -> tuple[Mono | Sound, Mono | Sound]:
    """Both recordings without their delay, of equal lengths and of the noisy one's polarity."""
    late, early = max(0, found.delay_samples), max(0, -found.delay_samples)
    noisy, clean = noisy[late:], clean[early:]
    samples = min(noisy.size, clean.size)
    return noisy[:samples], -clean[:samples] if found.inverted else clean[:samples]


def loudest(samples: NDArray[np.generic], size: int, *, sample_rate_hz: int) -> int:
    """Start of the loudest stretch of ``size`` samples, in steps of 10 ms; 0 if it is all."""
    hop = max(1, sample_rate_hz // 100)
    if samples.size <= size:
        return 0
    frames = samples[: samples.size // hop * hop].reshape(-1, hop)
    power = _power(frames)
    sums = np.cumsum(np.concatenate([[0.0], power]))
    span = min(size // hop, len(power))
    return int(np.argmax(sums[span:] - sums[:-span])) * hop


def _power(frames: NDArray[np.generic]) -> NDArray[np.float64]:
    """Sum of squares of each frame, float64 (frames,), a few at a time for flat memory."""
    step = 4096
    parts = [
        np.square(frames[at : at + step], dtype=np.float64).sum(axis=1)
        for at in range(0, len(frames), step)
    ]
    return np.concatenate(parts)
