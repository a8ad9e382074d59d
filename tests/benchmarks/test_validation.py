"""What a denoiser keeps and leaves, on made signals; and which noises choose."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="the 'train' extra")

from benchmarks import validation
from tinysignal.train.data.pairs import SignalPair

RATE_HZ = validation.RATE_HZ


def spoken() -> np.ndarray:
    """Two words of 300 ms, the first one 20 dB weaker, in 3 s of silence."""
    time_s = np.arange(3 * RATE_HZ) / RATE_HZ
    voiced = sum(np.sin(2 * np.pi * 120 * k * time_s) for k in range(1, 20)) / 40
    first, second = ((time_s >= start) & (time_s < start + 0.3) for start in (1.0, 2.0))
    return (voiced * (10 ** (-20 / 20) * first + second)).astype(np.float32)


CLEAN = spoken()
NOISE = (0.003 * np.random.default_rng(0).standard_normal(CLEAN.size)).astype(np.float32)
PAIR = SignalPair(CLEAN + NOISE, CLEAN, "made")


def test_doing_nothing_keeps_all_and_leaves_all() -> None:
    found = validation.kept_and_left(PAIR, PAIR.noisy)
    assert found["pauses_db"] == pytest.approx(0, abs=1e-6)
    assert found["onset_db"] == pytest.approx(0, abs=0.2)
    assert found["weak_db"] == pytest.approx(0, abs=0.5)


def test_noise_left_is_of_pauses_and_speech_kept_is_of_onsets_and_weak_frames() -> None:
    quieter = validation.kept_and_left(PAIR, CLEAN + 0.01 * NOISE)
    assert quieter["pauses_db"] == pytest.approx(-40, abs=0.1)
    assert quieter["weak_db"] == pytest.approx(0, abs=0.1)
    weakened = CLEAN.copy()
    weakened[: 2 * RATE_HZ] *= 0.5  # the weak word
    found = validation.kept_and_left(PAIR, weakened)
    assert found["weak_db"] == pytest.approx(-6, abs=0.1)
    assert found["onset_db"] == pytest.approx(-3, abs=0.5)  # one of two


def test_only_noise_at_a_lower_level_is_no_speech() -> None:
    found = validation.kept_and_left(PAIR, NOISE)
    assert found["weak_db"] < -8
    assert found["pauses_db"] == pytest.approx(0, abs=1e-6)


def test_a_half_of_the_second_noises_is_for_a_test_and_never_scored(tmp_path: Path) -> None:
    (tmp_path / "noise").mkdir()
    lines = ["path,recording,noise_class,split"]
    for i in range(10):
        soundfile.write(tmp_path / "noise" / f"{i}.wav", np.zeros(10), RATE_HZ)
        split = "valid-second" if i < 8 else "train"
        lines.append(f"{i}.wav,r{i},rain,{split}")
    (tmp_path / "noise" / "manifest.csv").write_text("\n".join(lines) + "\n")
    halves = [validation.second_noises(tmp_path, half) for half in ("choose", "test")]
    names = [{r.path.name for r in half} for half in halves]
    assert [len(n) for n in names] == [4, 4]
    assert not names[0] & names[1]


DATA = Path(os.environ.get("TINYSIGNAL_DATA", ""))


@pytest.mark.skipif(
    not (os.environ.get("TINYSIGNAL_DATA") and (DATA / "rir" / "manifest.csv").is_file()),
    reason="TINYSIGNAL_DATA names no folder with speech, noise and rir",
)
def test_rooms_of_validation_are_not_those_of_training() -> None:
    listed = validation.list_rooms(DATA / "rir")
    rooms = {split: {r.group for r in listed if r.split == split} for split in ("train", "valid")}
    assert not rooms["train"] & rooms["valid"]
    assert len(rooms["valid"]) == 6
    assert len(validation.second_noises(DATA, "choose")) == 44
