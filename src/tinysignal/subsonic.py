"""What lies below hearing, taken out of a signal: an offset, its drift, rumble below 20 Hz.

A network's window is too short to tell 10 Hz from 30 Hz, and an offset may be a hundred times the
speech: it would set the level that the network works at, and come and go with the voice.

Both are subtracted only while they matter; other signals pass bit for bit. The offset and its
drift are what a low-pass at 2 Hz leaves, which is 60 dB down from 63 Hz on: speech keeps its
waveform. The filter at 20 Hz that takes out rumble turns the phase of low voices, and is faded in
only while the rumble is 6 dB louder than everything audible.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tinysignal.stft import Signal

Samples = NDArray[np.float64]

_DRIFT_HZ, _RUMBLE_HZ = 2.0, 20.0
_MEMORY_S = 2.0  # of the powers that are compared
# Power relative to that of the rest from which some of it goes, and all of it.
_DRIFT_GOES, _RUMBLE_GOES = (0.01, 0.03), (4.0, 16.0)
_SILENCE = 1e-20  # power far below one 24-bit step


class SubsonicStream:
    """Removes what lies below hearing from a signal that arrives in blocks.

    Blocks of any sizes give the same samples, and a hop is returned as soon as it is whole.

    Parameters
    ----------
    hop_samples, sample_rate_hz, channels : int
    """

    LANES: ClassVar[tuple[str, ...]] = (
        "_drift",
        "_audible",
        "_again",
        "_drift_share",
        "_rumble_share",
        "_pending",
    )

    def __init__(self, hop_samples: int, sample_rate_hz: int, channels: int) -> None:
        self._hop = hop_samples
        self._drift = _Butterworth(_DRIFT_HZ, hop_samples, sample_rate_hz, high_pass=False)
        # Two in a row (Linkwitz and Riley, 1976): what one leaves of loud rumble mutes speech.
        self._audible, self._again = (
            _Butterworth(_RUMBLE_HZ, hop_samples, sample_rate_hz, high_pass=True) for _ in range(2)
        )
        forget = float(np.exp(-hop_samples / (_MEMORY_S * sample_rate_hz)))
        self._drift_share = _Share(*_DRIFT_GOES, forget=forget, channels=channels)
        self._rumble_share = _Share(*_RUMBLE_GOES, forget=forget, channels=channels)
        self._pending: Signal = np.zeros((channels, 0), np.float32)

    @property
    def settled(self) -> bool:
        """Whether how long it has run changes nothing any more."""
        return self._drift.started

    @property
    def waiting(self) -> int:
        """Samples of a hop that is not whole."""
        return int(self._pending.shape[1])

    def feed(self, block: Signal) -> Signal:
        """The hops that are whole now, float32 (channels, hops * hop_samples)."""
        known = np.concatenate([self._pending, block], axis=1)
        whole = known.shape[1] // self._hop * self._hop
        hops, self._pending = known[:, :whole], known[:, whole:]
        return self._without(hops) if whole else hops

    def flush(self) -> Signal:
        """The samples of the last hop that is not whole."""
        rest = self._pending
        samples = rest.shape[1]
        if samples == 0:
            return rest
        # Filled up with its mean: zeros would be a step where there is an offset.
        mean = np.repeat(rest.mean(axis=1, keepdims=True), self._hop - samples, axis=1)
        return self._without(np.concatenate([rest, mean], axis=1))[:, :samples]

    def _without(self, hops: Signal) -> Signal:
        blocks = hops.astype(np.float64).reshape(len(hops), -1, self._hop)
        drift = self._drift(blocks)
        steady = blocks - drift
        audible = self._again(self._audible(steady))
        rumble = steady - audible
        shares = self._drift_share(drift, steady), self._rumble_share(rumble, audible)
        if not any(share.any() for share in shares):
            return hops
        removed = shares[0] * drift + shares[1] * rumble
        return (blocks - removed).reshape(hops.shape).astype(np.float32)


class _Share:
    """The share of a part that goes, by its power relative to that of the rest."""

    LANES: ClassVar[tuple[str, ...]] = ("_powers", "_last")

    def __init__(self, some: float, all: float, *, forget: float, channels: int) -> None:
        self._some, self._range = some, np.log(all / some)
        self._forget = forget
        self._powers = np.full((channels, 2), _SILENCE)
        self._last: Samples | None = None

    def __call__(self, part: Samples, rest: Samples) -> Samples:
        """The share in every sample, (channels, hops, hop_samples), or 1 of zeros for a hop's.

        It changes without a step.
        """
        powers = [np.einsum("chs,chs->ch", signal, signal) for signal in (part, rest)]
        rows = np.stack(powers, axis=1).reshape(self._powers.size, -1)
        sums = _sums(self._powers.ravel(), self._forget, rows)[:, 1:].reshape(len(part), 2, -1)
        self._powers = sums[:, :, -1]
        ratio = sums[:, 0] / (sums[:, 1] + _SILENCE)
        now = np.clip(np.log(np.maximum(ratio / self._some, 1)) / self._range, 0, 1)
        first = now[:, :1] if self._last is None else self._last
        before = np.concatenate([first, now[:, :-1]], axis=1)
        self._last = now[:, -1:]
        if not (now.any() or first.any()):
            return np.zeros((*now.shape, 1))
        ramp = np.arange(1, part.shape[2] + 1) / part.shape[2]
        share: Samples = before[..., np.newaxis] + (now - before)[..., np.newaxis] * ramp
        return share


class _Butterworth:
    """A Butterworth filter of the second order: y[n] = direct x[n] + Re(weight z[n]), with one
    complex pole, z[n] = pole z[n-1] + x[n].

    In a hop, z is a sum of x over powers of the pole; between hops only z is carried. It starts as
    if the mean of the first hop had lasted forever.

    References
    ----------
    Zölzer (2011), "DAFX: Digital Audio Effects", table 2.1: coefficients by the bilinear transform.
    """

    LANES: ClassVar[tuple[str, ...]] = ("_state",)

    def __init__(self, edge_hz: float, hop: int, rate_hz: int, *, high_pass: bool) -> None:
        k = np.tan(np.pi * edge_hz / rate_hz)
        scale = 1 / (1 + np.sqrt(2) * k + k * k)
        b = scale * (np.array([1, -2, 1]) if high_pass else k * k * np.array([1, 2, 1]))
        a1, a2 = 2 * (k * k - 1) * scale, (1 - np.sqrt(2) * k + k * k) * scale
        self._pole = complex(-a1 / 2, np.sqrt(a2 - a1 * a1 / 4))
        self._direct = b[2] / a2
        numerator = b[0] + b[1] / self._pole + b[2] / self._pole**2
        weight = 2 * numerator / (1 - self._pole.conjugate() / self._pole)
        powers = self._pole ** np.arange(hop)
        self._rising, self._last_power = 1 / powers, complex(powers[-1])
        self._weights = weight * powers
        self._state: NDArray[np.complex128] | None = None

    @property
    def started(self) -> bool:
        """Whether it has heard anything."""
        return self._state is not None

    def __call__(self, blocks: Samples) -> Samples:
        """The filtered hops; both (channels, hops, hop_samples)."""
        state = self._state
        if state is None:
            state = blocks[:, 0].mean(axis=1) / (1 - self._pole)
        sums = np.cumsum(blocks * self._rising, axis=2)
        states = _sums(state, self._pole * self._last_power, sums[:, :, -1] * self._last_power)
        self._state = states[:, -1]
        sums += (self._pole * states[:, :-1])[..., np.newaxis]
        sums *= self._weights
        filtered: Samples = self._direct * blocks + sums.real
        return filtered


def _sums(start: NDArray[Any], factor: complex, values: NDArray[Any]) -> NDArray[Any]:
    """``sum = factor * sum + value`` from a start on: (rows,), (rows, n) to (rows, n + 1).

    In Python's own numbers, which for a few rows are faster than arrays.
    """
    rows = []
    for total, row in zip(start.tolist(), values.tolist(), strict=True):
        rows.append([total])
        for value in row:
            rows[-1].append(factor * rows[-1][-1] + value)
    return np.array(rows)
