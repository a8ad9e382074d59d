"""Mixtures made during training: speech and noise of random recordings at a random SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.train.data.batches import Array
from tinysignal.train.data.effects import (
    changed_speed,
    clipped,
    crossed,
    filtered,
    reverberated,
    varied,
)
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import Clip
from tinysignal.train.data.synthetic import synthetic_noise

_ACTIVE_DB = 40  # frames of 20 ms so far below the loudest are pauses
_EQ_KNOTS = 8
_FEWEST_TALKERS, _MOST_TALKERS = 6, 12  # number of talkers in babble
_SPEECH_SPEED, _NOISE_SPEED = 1.12, 2.0  # largest factors; the smallest are their inverses


@dataclass(frozen=True, kw_only=True)
class MixOptions:
    """Options of mixtures; every ``_share`` is a probability, 0 to 1.

    Parameters
    ----------
    snr_db : (float, float)
        Range of the level of active speech above the noise in dB.
    level_dbfs : (float, float)
        Range of the root mean square of active speech in dB relative to full scale.
    filter_db : float
        Largest gain and attenuation of random smooth filters of speech and noise; 0 for none.
    low_pass_share : float
        Mixtures with a low-pass at 3 to 7 kHz, as of telephones and codecs.
    noise_only_share, clean_only_share : float
        Mixtures without speech, and without noise.
    second_noise_share : float
        Mixtures with two noises.
    speed_share : float
        Speech, and noise, that is played faster or slower.
    babble_share, synthetic_share : float
        Noises that are babble of the speech recordings, and synthetic noises.
    vary_share : float
        Noises with a random gain over time and frequency; half of these are reversed in time.
    cross_share : float
        Noises that get the levels over time and frequency of another noise.
    room_share : float
        Speech with reverberation, whose late part counts as noise.
    clip_share : float
        Mixtures that are clipped.
    """

    snr_db: tuple[float, float] = (-5.0, 20.0)
    level_dbfs: tuple[float, float] = (-30.0, -20.0)
    filter_db: float = 6.0
    low_pass_share: float = 0.1
    noise_only_share: float = 0.03
    clean_only_share: float = 0.05
    second_noise_share: float = 0.2
    speed_share: float = 0.0
    babble_share: float = 0.0
    synthetic_share: float = 0.0
    vary_share: float = 0.0
    cross_share: float = 0.0
    room_share: float = 0.0
    clip_share: float = 0.0


class _Pool:
    """Random clips: a group by the root of its duration, then a recording by its duration."""

    def __init__(self, clips: list[Clip]) -> None:
        self._groups: list[list[Clip]] = []
        by_group: dict[str, list[Clip]] = {}
        for clip in clips:
            by_group.setdefault(clip.group, []).append(clip)
        self._groups = list(by_group.values())
        durations = np.array([sum(c.samples.size for c in g) for g in self._groups], float)
        self._share = np.sqrt(durations) / np.sqrt(durations).sum()

    def draw(self, rng: np.random.Generator, samples: int, *, loop: bool) -> NDArray[np.float32]:
        """Clip from a random place, float32 (samples,); short recordings are looped or padded."""
        group = self._groups[rng.choice(len(self._groups), p=self._share)]
        sizes = np.array([c.samples.size for c in group], float)
        recording = group[rng.choice(len(group), p=sizes / sizes.sum())].samples
        if recording.size >= samples:
            start = rng.integers(0, recording.size - samples + 1)
            return _as_float(recording[start : start + samples])
        if loop:
            start = rng.integers(0, recording.size)
            looped = np.take(recording, np.arange(start, start + samples), mode="wrap")
            return _as_float(looped)
        padded = np.zeros(samples, np.float32)
        offset = rng.integers(0, samples - recording.size + 1)
        padded[offset : offset + recording.size] = _as_float(recording)
        return padded


class Mixtures:
    """Batches of mixtures; batch ``n`` depends on the seed and ``n`` only.

    Parameters
    ----------
    speech, noise : list of Clip
    options : MixOptions
    sample_rate_hz : int
        Sample rate of all clips in Hz.
    clip_samples : int
        Length of a mixture in samples.
    batch, steps_per_epoch : int
        Number of mixtures in a batch, and of batches in an epoch.
    seed : int
        Random seed.
    """

    def __init__(
        self,
        speech: list[Clip],
        noise: list[Clip],
        options: MixOptions,
        *,
        sample_rate_hz: int,
        clip_samples: int,
        batch: int,
        steps_per_epoch: int,
        seed: int,
    ) -> None:
        self._speech = _Pool(speech)
        self._noise = _Pool(noise)
        self._options = options
        self._sample_rate_hz = sample_rate_hz
        self._clip_samples = clip_samples
        self._batch = batch
        self._seed = seed
        self.steps_per_epoch = steps_per_epoch

    def batch(self, number: int) -> tuple[Array, Array]:
        """Noisy and clean signals, float32 (batch, clip_samples)."""
        rng = np.random.default_rng([self._seed, number])
        mixtures = [self.mixture(rng) for _ in range(self._batch)]
        noisy, clean = (np.stack(signals) for signals in zip(*mixtures, strict=True))
        return noisy, clean

    def mixture(
        self, rng: np.random.Generator, *, snr_db: float | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Noisy and clean signal, float32 (clip_samples,); a given SNR forces speech and noise."""
        options = self._options
        kind = rng.random()
        speech = self._drawn(rng, self._speech, _SPEECH_SPEED, loop=False)
        noise = self._drawn_noise(rng)
        if rng.random() < options.second_noise_share:
            other = self._drawn_noise(rng)
            noise = noise + other * (_rms(noise) / (_rms(other) + 1e-9) * rng.uniform(0.2, 1))
        speech, noise = self._filter(rng, speech), self._filter(rng, noise)
        if rng.random() < options.low_pass_share:
            response = self._low_pass(rng)
            speech, noise = filtered(speech, response), filtered(noise, response)
        level = 10 ** (rng.uniform(*options.level_dbfs) / 20)
        speech = speech * np.float32(level / (active_rms(speech, self._sample_rate_hz) + 1e-9))
        heard = speech
        if _happens(rng, options.room_share):
            heard, speech = reverberated(rng, speech, self._sample_rate_hz)
        drawn_db = rng.uniform(*options.snr_db)
        noise_level = level * 10 ** (-(drawn_db if snr_db is None else snr_db) / 20)
        noise = noise * np.float32(noise_level / (_rms(noise) + 1e-9))
        if snr_db is None and kind < options.noise_only_share:
            speech = heard = np.zeros_like(speech)
        elif snr_db is None and kind > 1 - options.clean_only_share:
            noise = np.zeros_like(noise)
        noisy = heard + noise
        if _happens(rng, options.clip_share):
            noisy = clipped(rng, noisy)
        peak = np.abs(noisy).max()
        if peak > 1:
            noisy, speech = noisy / peak, speech / peak
        return noisy, speech

    def fixed_pairs(self, count: int, snrs_db: tuple[float, ...]) -> list[SignalPair]:
        """Mixtures for validation, at each of the given SNRs in turn."""
        rng = np.random.default_rng([self._seed, 2**31])
        pairs = []
        for i in range(count):
            snr_db = snrs_db[i % len(snrs_db)]
            noisy, clean = self.mixture(rng, snr_db=snr_db)
            pairs.append(SignalPair(noisy, clean, f"mixture {i} at {snr_db:g} dB"))
        return pairs

    def _drawn(
        self, rng: np.random.Generator, pool: _Pool, speed: float, *, loop: bool
    ) -> NDArray[np.float32]:
        if not _happens(rng, self._options.speed_share):
            return pool.draw(rng, self._clip_samples, loop=loop)
        factor = speed ** rng.uniform(-1, 1)
        drawn = pool.draw(rng, math.ceil(self._clip_samples * factor) + 1, loop=loop)
        return changed_speed(drawn, factor)[: self._clip_samples]

    def _drawn_noise(self, rng: np.random.Generator) -> NDArray[np.float32]:
        noise = self._plain_noise(rng)
        if _happens(rng, self._options.cross_share):
            noise = crossed(noise, self._plain_noise(rng))
        if _happens(rng, self._options.vary_share):
            noise = varied(rng, noise[:: rng.choice([-1, 1])], self._sample_rate_hz)
        return noise

    def _plain_noise(self, rng: np.random.Generator) -> NDArray[np.float32]:
        if _happens(rng, self._options.synthetic_share):
            return synthetic_noise(rng, self._clip_samples, self._sample_rate_hz)
        if not _happens(rng, self._options.babble_share):
            return self._drawn(rng, self._noise, _NOISE_SPEED, loop=True)
        babble = np.zeros(self._clip_samples, np.float32)
        for _ in range(rng.integers(_FEWEST_TALKERS, _MOST_TALKERS + 1)):
            talker = self._speech.draw(rng, self._clip_samples, loop=True)
            babble += talker / np.float32(active_rms(talker, self._sample_rate_hz) + 1e-9)
        return babble

    def _filter(self, rng: np.random.Generator, x: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._options.filter_db == 0:
            return x
        knots_db = rng.uniform(-1, 1, _EQ_KNOTS) * self._options.filter_db
        freq = np.arange(x.size // 2 + 1) / (x.size // 2)
        # Knots are equidistant on a warped axis: denser at low frequencies.
        response_db = np.interp(np.sqrt(freq), np.linspace(0, 1, _EQ_KNOTS), knots_db)
        return filtered(x, 10 ** (response_db / 20))

    def _low_pass(self, rng: np.random.Generator) -> NDArray[np.float64]:
        cutoff_hz = rng.uniform(3_000, 7_000)
        freq_hz = np.fft.rfftfreq(self._clip_samples, 1 / self._sample_rate_hz)
        return 1 / (1 + (freq_hz / cutoff_hz) ** 12)


def _as_float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return samples.astype(np.float32) / np.float32(32768)


def active_rms(x: NDArray[np.float32], sample_rate_hz: int) -> float:
    """Root mean square of the 20 ms frames within 40 dB of the loudest."""
    frame = sample_rate_hz // 50
    power = np.square(x[: x.size // frame * frame], dtype=np.float64).reshape(-1, frame).mean(1)
    loudest = power.max(initial=0)
    if loudest == 0:
        return 0.0
    return float(np.sqrt(power[power >= loudest * 10 ** (-_ACTIVE_DB / 10)].mean()))


def _rms(x: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def _happens(rng: np.random.Generator, share: float) -> bool:
    """Random event; draws no number for a share of 0, which keeps the random stream the same."""
    return share > 0 and rng.random() < share
