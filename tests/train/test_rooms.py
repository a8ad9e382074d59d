"""Rooms: how they decay, what of them is kept, and which are held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Clip
from tinysignal.train.data.rooms import (
    MeasuredRooms,
    decay_s,
    kept_part,
    list_rooms,
    simulated_room,
)

RATE_HZ = 16_000


def hall(decays_in_s: float, seconds: float = 1.0) -> np.ndarray:
    """A response without a direct sound of its own."""
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    tail = np.random.default_rng(0).standard_normal(time_s.size) * 10 ** (-3 * time_s / decays_in_s)
    tail[0] = 5.0
    return tail / 5


def clip_of(response: np.ndarray) -> Clip:
    return Clip(np.round(32767 * response / np.abs(response).max()).astype(np.int16), "hall")


@given(seed=st.integers(0, 1000))
def test_a_simulated_room_is_the_direct_sound_and_a_decay(seed: int) -> None:
    response = simulated_room(np.random.default_rng(seed), RATE_HZ)
    assert response[0] == 1
    assert np.square(response[1:]).sum() <= 1.0001
    assert 0.1 * RATE_HZ <= response.size <= 0.6 * RATE_HZ
    assert np.abs(response[-20:]).max() < 0.02  # 60 dB lower


@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 3.0])
def test_the_decay_time_is_measured(seconds: float) -> None:
    assert decay_s(hall(seconds), RATE_HZ) == pytest.approx(seconds, rel=0.15)


def test_a_hall_is_made_a_living_room() -> None:
    rooms = MeasuredRooms([clip_of(hall(4.0))], RATE_HZ)
    found = [rooms.draw(np.random.default_rng(seed)) for seed in range(10)]
    assert all(decay_s(response, RATE_HZ) < 1 for response in found)
    assert all(response.size < 0.9 * RATE_HZ for response in found)
    assert len({response.size for response in found}) == 10


def test_what_comes_late_is_lowered_and_what_comes_early_stays() -> None:
    response = hall(0.5)
    kept = kept_part(response, RATE_HZ, late_db=-12)
    early, late = slice(0, 800), slice(960, None)  # 50 and 60 ms
    np.testing.assert_array_equal(kept[early], response[early])
    np.testing.assert_allclose(kept[late], response[late] * 10 ** (-12 / 20))


def test_rooms_are_held_out_with_all_their_microphones(tmp_path: Path) -> None:
    for room in range(10):
        for microphone in (1, 2):
            soundfile.write(tmp_path / f"room{room}-{microphone}.wav", hall(0.3), RATE_HZ)
    listed = list_rooms(tmp_path)
    sides = {s: {r.group for r in listed if r.split == s} for s in ("train", "valid")}
    assert [len(sides[s]) for s in ("train", "valid")] == [8, 2]
    assert not sides["train"] & sides["valid"]
    assert len(listed) == 20
    assert list_rooms(tmp_path) == listed


@pytest.mark.parametrize("measured", [False, True])
def test_what_a_room_adds_late_is_noise_to_the_degree_asked_for(measured: bool) -> None:
    def late(late_db: float) -> float:
        rng = np.random.default_rng(1)
        speech = [Clip(rng.integers(-9000, 9000, 2 * RATE_HZ).astype(np.int16), "a")]
        options = MixOptions(
            filter_db=0, low_pass_share=0, second_noise_share=0, noise_only_share=0,
            clean_only_share=1.0, room_share=1.0, measured_share=float(measured), late_db=late_db,
        )  # fmt: skip
        mixtures = Mixtures(
            speech, speech, options, rooms=[clip_of(hall(0.8))], sample_rate_hz=RATE_HZ,
            clip_samples=RATE_HZ, batch=4, steps_per_epoch=1, seed=0,
        )  # fmt: skip
        noisy, clean = mixtures.batch(0)
        return float(np.square(noisy - clean).sum() / np.square(clean).sum())

    assert late(0) < 1e-8
    assert 1e-4 < late(-12) < late(-60)
    assert late(-12) / late(-60) == pytest.approx((1 - 10 ** (-12 / 20)) ** 2, rel=0.1)
