"""Mixtures made during training: speech and noise of random recordings at a random SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.train.data.batches import Array
from tinysignal.train.data.effects import changed_speed, crossed, varied
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.paths import (
    Gains,
    clipped,
    coded,
    equaliser,
    level_jumps,
    low_pass,
    microphone,
    passed,
)
from tinysignal.train.data.recordings import Clip
from tinysignal.train.data.rooms import MeasuredRooms, Response, kept_part, simulated_room
from tinysignal.train.data.synthetic import synthetic_noise

_ACTIVE_DB = 40  # frames of 20 ms so far below the loudest are pauses
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
    room_share, noise_room_share : float
        Speech, and noise, with reverberation.
    measured_share : float
        Rooms that are measured ones, if there are any.
    late_db : float
        Gain in dB of reverberation later than 50 ms in the clean signal; the rest is noise.
    microphone_share, jump_share : float
        Mixtures through a random microphone, and with jumps of the level, both also in the clean
        signal.
    clip_share, code_share : float
        Mixtures that are clipped, and that pass a lossy codec, both not in the clean signal.
    by_kind : bool
        Whether noise is drawn by its kind instead of its duration, see `KindPool`.
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
    noise_room_share: float = 0.0
    measured_share: float = 0.5
    late_db: float = -20.0
    microphone_share: float = 0.0
    jump_share: float = 0.0
    clip_share: float = 0.0
    code_share: float = 0.0
    by_kind: bool = False


class Pool:
    """Random clips: a group by the root of its duration, then a recording by its duration."""

    def __init__(self, clips: list[Clip]) -> None:
        self._groups = _gathered(clips, [clip.group for clip in clips])
        sizes = [np.array([c.samples.size for c in group], float) for group in self._groups]
        roots = np.sqrt([size.sum() for size in sizes])
        self._share = roots / roots.sum()
        self._within = [size / size.sum() for size in sizes]

    def draw(self, rng: np.random.Generator, samples: int, *, loop: bool) -> NDArray[np.float32]:
        """Clip from a random place, float32 (samples,); short recordings are looped or padded."""
        chosen = rng.choice(len(self._groups), p=self._share)
        group = self._groups[chosen]
        recording = group[rng.choice(len(group), p=self._within[chosen])]
        size = recording.samples.size
        if size >= samples:
            start = int(rng.integers(0, size - samples + 1))
            return recording.part(start, start + samples)
        whole = recording.part(0, size)
        if loop:
            start = int(rng.integers(0, size))
            return np.take(whole, np.arange(start, start + samples), mode="wrap")
        padded = np.zeros(samples, np.float32)
        offset = rng.integers(0, samples - size + 1)
        padded[offset : offset + size] = whole
        return padded


class KindPool(Pool):
    """Draws clips: a kind nearly evenly, then one of its recordings evenly.

    A kind of ``n`` recordings has the weight log2(1 + n): there is little to learn from the
    hundredth draw of the only recording of its kind. Clips of no kind are one of their own each.
    """

    def __init__(self, clips: list[Clip]) -> None:
        self._groups = _gathered(clips, [clip.kind or f"group {clip.group}" for clip in clips])
        weight = np.log2([1 + len(group) for group in self._groups])
        self._share = weight / weight.sum()
        self._within = [np.full(len(group), 1 / len(group)) for group in self._groups]


def _gathered(clips: list[Clip], names: list[str]) -> list[list[Clip]]:
    """The clips of every name together, in the order in which names come."""
    groups: dict[str, list[Clip]] = {}
    for clip, name in zip(clips, names, strict=True):
        groups.setdefault(name, []).append(clip)
    return list(groups.values())


class Mixtures:
    """Batches of mixtures; batch ``n`` depends on the seed and ``n`` only.

    Parameters
    ----------
    speech, noise : list of Clip
    options : MixOptions
    rooms : list of Clip
        Measured impulse responses, if there are any.
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
        rooms: list[Clip] | None = None,
        sample_rate_hz: int,
        clip_samples: int,
        batch: int,
        steps_per_epoch: int,
        seed: int,
    ) -> None:
        self._speech = Pool(speech)
        self._noise = KindPool(noise) if options.by_kind else Pool(noise)
        self._rooms = MeasuredRooms(rooms, sample_rate_hz) if rooms else None
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
        heard, speech, noise = self._recorded(rng, speech, noise)
        level = 10 ** (rng.uniform(*options.level_dbfs) / 20)
        gain = np.float32(level / (active_rms(speech, self._sample_rate_hz) + 1e-9))
        heard, speech = heard * gain, speech * gain
        drawn_db = rng.uniform(*options.snr_db)
        noise_level = level * 10 ** (-(drawn_db if snr_db is None else snr_db) / 20)
        noise = noise * np.float32(noise_level / (_rms(noise) + 1e-9))
        if snr_db is None and kind < options.noise_only_share:
            speech = heard = np.zeros_like(speech)
        elif snr_db is None and kind > 1 - options.clean_only_share:
            noise = np.zeros_like(noise)
        return self._stored(rng, heard + noise, speech)

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
        self, rng: np.random.Generator, pool: Pool, speed: float, *, loop: bool
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

    def _recorded(
        self, rng: np.random.Generator, speech: NDArray[np.float32], noise: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Speech through filters and a room, its target, and noise through filters and a room."""
        options, rate_hz = self._options, self._sample_rate_hz
        ways: list[list[Gains]] = [[], []]
        if options.filter_db:
            for way in ways:
                way.append(equaliser(rng, options.filter_db, rate_hz))
        both: list[Gains] = []
        if rng.random() < options.low_pass_share:
            both.append(low_pass(rng.uniform(3_000, 7_000)))
        if _happens(rng, options.microphone_share):
            both.append(microphone(rng))
        rooms: list[Response] = []
        if _happens(rng, options.room_share):
            room = self._room(rng)
            rooms = [room, kept_part(room, rate_hz, late_db=options.late_db)]
        noise_rooms = [self._room(rng)] if _happens(rng, options.noise_room_share) else []
        spoken = passed(speech, rate_hz, ways[0] + both, rooms)
        (noise,) = passed(noise, rate_hz, ways[1] + both, noise_rooms)
        return spoken[0], spoken[-1], noise

    def _stored(
        self, rng: np.random.Generator, noisy: NDArray[np.float32], clean: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Noisy and clean signal after level control, clipping and codec, peaks of 1 at most."""
        options = self._options
        if _happens(rng, options.jump_share):
            gains = level_jumps(rng, noisy.size, self._sample_rate_hz)
            noisy, clean = noisy * gains, clean * gains
        if _happens(rng, options.clip_share):
            noisy = clipped(rng, noisy)
        if _happens(rng, options.code_share):
            noisy = coded(rng, noisy, self._sample_rate_hz)
        peak = np.abs(noisy).max()
        return (noisy / peak, clean / peak) if peak > 1 else (noisy, clean)

    def _room(self, rng: np.random.Generator) -> Response:
        if self._rooms is not None and _happens(rng, self._options.measured_share):
            return self._rooms.draw(rng)
        return simulated_room(rng, self._sample_rate_hz)


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
