"""Impulse responses of rooms, simulated and measured, and the part of them in the target.

An impulse response is float64 (samples,) with the direct sound first.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets.splits import hold_out
from tinysignal.remote import Place
from tinysignal.train.data.recordings import Clip, Recording, list_recordings

Response = NDArray[np.float64]

_EARLY_S, _FADE_S = 0.05, 0.01  # reflections up to 50 ms belong to the target
_VALID_FRACTION = 0.2
_SHORTEST_DECAY_S, _LONGEST_DECAY_S = 0.15, 0.9
_NEARER_DB = 9.0  # largest gain of the direct sound, as of a closer talker
_DIRECT_S = 0.0025
_HEARD_DB, _LONGEST_S = 40.0, 10.0
_MICROPHONE = re.compile(r"-\d+$")  # end of a file name: number of the microphone in a room


def simulated_room(rng: np.random.Generator, sample_rate_hz: int) -> Response:
    """Impulse response of a random room: the direct sound, 1, and decaying noise.

    The reverberation time is 0.1 to 0.6 s, the level of the noise 0 to -12 dB relative to the
    direct sound.

    References
    ----------
    Habets (2007), "Single- and multi-microphone speech dereverberation using spectral
    enhancement", section 2.2: Polack's statistical model of a room.
    """
    decay_s = rng.uniform(0.1, 0.6)
    size = round(decay_s * sample_rate_hz)
    time_s = np.arange(size) / sample_rate_hz
    tail = rng.standard_normal(size) * 10 ** (-3 * time_s / decay_s)
    delay = round(rng.uniform(0.001, 0.01) * sample_rate_hz)
    tail[:delay] = 0.0
    direct_db = rng.uniform(0, 12)
    tail *= 10 ** (-direct_db / 20) / np.sqrt(np.square(tail).sum() + 1e-12)
    tail[0] = 1.0
    return tail


class MeasuredRooms:
    """Measured impulse responses with random variations.

    Every draw shortens the reverberation time and raises the direct sound at random.

    Parameters
    ----------
    responses : list of Clip
        Impulse responses with the direct sound in the first milliseconds.
    sample_rate_hz : int
        Sample rate in Hz.
    """

    def __init__(self, responses: list[Clip], sample_rate_hz: int) -> None:
        self._rate_hz = sample_rate_hz
        found = [r.part(0, r.samples.size).astype(np.float64) for r in responses]
        self._responses = [r / (np.abs(r).max() + 1e-12) for r in found]
        self._decays_s = [decay_s(response, sample_rate_hz) for response in self._responses]

    def draw(self, rng: np.random.Generator) -> Response:
        """Random response with a reverberation time of 0.15 to 0.9 s."""
        chosen = rng.integers(len(self._responses))
        response, own_s = self._responses[chosen], self._decays_s[chosen]
        wanted_s = rng.uniform(_SHORTEST_DECAY_S, _LONGEST_DECAY_S)
        time_s = np.arange(response.size) / self._rate_hz
        if wanted_s < own_s:  # decay rates of products add
            response = response * 10 ** (-3 * time_s * (1 / wanted_s - 1 / own_s))
        direct = round(_DIRECT_S * self._rate_hz)
        nearer = 10 ** (rng.uniform(0, _NEARER_DB) / 20)
        response = np.concatenate([response[:direct] * nearer, response[direct:]])
        kept: Response = response[: round(wanted_s * self._rate_hz)]
        return kept


def decay_s(response: Response, sample_rate_hz: int) -> float:
    """Reverberation time of a response in seconds, at most 10 s: a decay by 60 dB.

    It is extrapolated from the level of 10 ms frames down to -40 dB, which allows for truncated
    responses.
    """
    frame = sample_rate_hz // 100
    whole = response[: response.size // frame * frame].reshape(-1, frame)
    level_db = 10 * np.log10(np.square(whole, dtype=np.float64).mean(axis=1) + 1e-20)[1:]
    if level_db.size < 2:
        return response.size / sample_rate_hz
    heard = np.flatnonzero(level_db > level_db.max() - _HEARD_DB)
    begin, end = int(level_db.argmax()), max(int(heard[-1]), int(level_db.argmax()) + 1)
    part = level_db[begin : end + 1]
    slope_db = np.polyfit(np.arange(part.size) / 100, part, 1)[0] if part.size > 1 else -np.inf
    return float(np.clip(-60 / min(slope_db, -1e-3), 0.01, _LONGEST_S))


def kept_part(response: Response, sample_rate_hz: int, *, late_db: float) -> Response:
    """Response of the denoising target: reflections after 50 ms get a gain of ``late_db``."""
    time_s = np.arange(response.size) / sample_rate_hz
    lateness = np.clip((time_s - _EARLY_S) / _FADE_S, 0, 1)
    part: Response = response * (1 - lateness * (1 - 10 ** (late_db / 20)))
    return part


def list_rooms(source: Place, *, data_dir: Path | None = None) -> list[Recording]:
    """Impulse responses in a folder, a fifth of the rooms for validation.

    Files whose names differ in a number at the end belong to one room: ``hall-1.flac`` and
    ``hall-2.flac``. The split depends on the names of the rooms only.

    Raises
    ------
    DataError
        The folder is missing or holds no audio files.
    """
    listed = list_recordings(source, valid_fraction=0, seed=0, data_dir=data_dir)
    rooms = [_MICROPHONE.sub("", r.path.stem) for r in listed]
    valid = hold_out(set(rooms), _VALID_FRACTION, seed=0)
    return [
        replace(r, group=room, split="valid" if room in valid else "train")
        for r, room in zip(listed, rooms, strict=True)
    ]
