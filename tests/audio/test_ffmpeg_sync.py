"""Claims about time: the sound stays in step with the picture, and does not grow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from films import RATE_HZ, noise, read, write_sound

from tinysignal import audio
from tinysignal.denoise_file import denoise_file
from tinysignal.denoiser import Denoiser

sync = pytest.importorskip("sync", reason="needs the 'video' extra")


@pytest.mark.parametrize("case", sync.CASES, ids=lambda case: "-".join(filter(None, case)))
def test_start_and_length_stay_over_two_passes(
    case: tuple[str, str, str | None], tmp_path: Path, onset_model: Path
) -> None:
    row = sync.measure(tmp_path, case, Denoiser.load(onset_model, mix=0))
    for one in row["passes"]:
        assert abs(one["start_samples"]) <= 1
        assert one["length_samples"] == one["read_samples"] == 0


@pytest.mark.parametrize("suffix", ["m4a", "aac", "mp4", "webm", "mka", "mkv", "wma", "ts", "ac3"])
@pytest.mark.parametrize("rate_hz", [48_000, 44_100])
def test_a_plain_sound_is_written_as_a_film_in_step(
    suffix: str, rate_hz: int, tmp_path: Path, onset_model: Path
) -> None:
    signal = np.concatenate([noise(1.5, seed=i) for i in range(2)])
    audio.write(tmp_path / "x.wav", signal, sample_rate_hz=rate_hz, subtype="PCM_16")
    denoiser = Denoiser.load(onset_model, mix=0)
    report = denoise_file(tmp_path / "x.wav", tmp_path / f"x.{suffix}", denoiser=denoiser)
    found, found_hz = audio.read(tmp_path / f"x.{suffix}")
    assert report.samples == signal.shape[1]
    assert found.shape[0] == 2
    assert found_hz == rate_hz or suffix == "webm"  # Opus
    expected = audio.resample(signal, from_hz=rate_hz, to_hz=found_hz)
    assert abs(sync.lag_samples(found[:1], expected[:1])) <= 1
    assert abs(found.shape[1] - expected.shape[1]) <= 2048


def test_mp3_and_ogg_keep_their_start_as_m4a(tmp_path: Path, onset_model: Path) -> None:
    denoiser = Denoiser.load(onset_model, mix=0)
    for name in ("x.mp3", "x.ogg", "x.flac"):
        audio.write(tmp_path / name, noise(2), sample_rate_hz=RATE_HZ)
        before, _ = audio.read(tmp_path / name)
        denoise_file(tmp_path / name, tmp_path / "y.m4a", denoiser=denoiser)
        after = read(tmp_path / "y.m4a")
        assert after.shape == before.shape
        assert sync.lag_samples(after, before) == 0


def test_a_bit_rate_stays(
    tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    denoiser = Denoiser.load(onset_model, mix=0)
    source, target = tmp_path / "x.mp2", tmp_path / "y.mp2"
    write_sound(source, "mp2", make_noisy(seconds=3, rate_hz=RATE_HZ), container="mp2")
    denoise_file(source, target, denoiser=denoiser)
    assert target.stat().st_size == pytest.approx(source.stat().st_size, rel=0.02)
