"""Claims about recordings that are written again without running the network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysignal import Denoiser, audio
from tinysignal.denoise_file import FileOptions, denoise_file
from tinysignal.remembered import Remembered, remember

_STRENGTHS: list[dict[str, Any]] = [
    {},
    {"attenuation_limit_db": 12},
    {"mix": 0.4},
    {"attenuation_limit_db": 3, "mix": 0.9},
    {"attenuation_limit_db": 0},
]


@pytest.fixture
def talk(tmp_path: Path, make_noisy: Callable[..., np.ndarray]) -> Callable[..., Path]:
    def write(suffix: str = ".wav", *, seconds: float = 3.0, level: float = 1.0) -> Path:
        path = tmp_path / f"talk{suffix}"
        noisy = level * make_noisy(seconds=seconds, rate_hz=44_100, channels=2)
        audio.write(path, noisy, sample_rate_hz=44_100)
        return path

    return write


def heard_of(path: Path, denoiser: Denoiser) -> Remembered:
    return remember(path, path.with_suffix(".wet"), denoiser=denoiser)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize("strength", _STRENGTHS, ids=str)
def test_any_strength_is_the_file_that_the_network_would_write(
    talk: Callable[..., Path], strength: dict[str, Any], suffix: str
) -> None:
    path = talk(suffix)
    heard_of(path, Denoiser.load()).write(path.with_name(f"again{suffix}"), **strength)
    denoiser = Denoiser.load(**strength)
    denoise_file(path, path.with_name(f"once{suffix}"), denoiser=denoiser)
    again, once = (audio.read(path.with_name(f"{n}{suffix}"))[0] for n in ("again", "once"))
    np.testing.assert_array_equal(again, once)


@pytest.mark.parametrize("mode", ["shared", "independent"])
def test_the_bytes_are_the_same_too(talk: Callable[..., Path], mode: str) -> None:
    path = talk(".flac", level=3)  # beyond full scale: written quieter, in a second pass
    heard = heard_of(path, Denoiser.load(channel_mode=mode))
    stored = FileOptions(subtype="PCM_16")
    heard.write(path.with_name("again.flac"), mix=0.3, stored=stored)
    denoiser = Denoiser.load(channel_mode=mode, mix=0.3)
    denoise_file(path, path.with_name("once.flac"), denoiser=denoiser, options=stored)
    assert (path.with_name("again.flac")).read_bytes() == path.with_name("once.flac").read_bytes()


def test_a_sound_track_that_only_ffmpeg_reads_is_the_same_too(talk: Callable[..., Path]) -> None:
    pytest.importorskip("av", reason="the sound track needs the 'video' extra")
    path = talk(".wav").with_name("talk.m4a")
    denoise_file(path.with_suffix(".wav"), path, denoiser=Denoiser.load(mix=0))
    heard_of(path, Denoiser.load()).write(path.with_name("again.m4a"), mix=0.6)
    denoise_file(path, path.with_name("once.m4a"), denoiser=Denoiser.load(mix=0.6))
    again, once = (audio.read(path.with_name(f"{name}.m4a"))[0] for name in ("again", "once"))
    np.testing.assert_array_equal(again, once)


def test_the_network_runs_once(talk: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = talk(".wav")
    heard = heard_of(path, Denoiser.load(attenuation_limit_db=5, mix=0.2))
    monkeypatch.setattr("tinysignal.model.network.run", None)
    first = heard.write(path.with_name("full.wav"))
    second = heard.write(path.with_name("half.wav"), mix=0.5)
    assert first.samples == second.samples == 3 * 44_100
    assert first.level_out_dbfs < second.level_out_dbfs


def test_every_pair_is_told_in_order(talk: Callable[..., Path]) -> None:
    path = talk(".wav")
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    remember(
        path,
        path.with_suffix(".wet"),
        denoiser=Denoiser.load(),
        on_pair=lambda before, after: pairs.append((before, after)),
    )
    signal, rate_hz = audio.read(path)
    np.testing.assert_array_equal(np.concatenate([b for b, _ in pairs], axis=1), signal)
    whole = Denoiser.load()(signal, sample_rate_hz=rate_hz)
    after = np.concatenate([a for _, a in pairs], axis=1)
    np.testing.assert_allclose(after, whole, atol=1e-6)  # other runs of frames, other rounding
