"""Claims about films: the sound is cleaned, the rest is untouched, time stands still."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from tinysignal import audio
from tinysignal.denoise_file import denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, MissingExtraError

av = pytest.importorskip("av")

RATE_HZ = 48_000
KINDS = [
    ("x.m4a", "aac"),
    ("x.mp4", "aac"),
    ("x.mkv", "libopus"),
    ("x.mkv", "flac"),
    ("x.mov", "pcm_s16le"),
    ("x.mkv", "libmp3lame"),
    ("x.m4a", "alac"),
]


def make_film(path: Path, sound: np.ndarray, *, codec: str = "aac", start: int = 0) -> Path:
    """A second of moving grey, the sound and, in Matroska, a subtitle and a chapter."""
    with av.open(str(path), "w") as film:
        film.metadata["title"] = "A film"
        picture = None
        if path.suffix != ".m4a":
            picture = film.add_stream("mpeg4", rate=25)
            picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
            picture.codec_context.max_b_frames = 2  # shown in another order than stored
        layout = "stereo" if sound.shape[0] == 2 else "mono"
        track = film.add_stream(codec, rate=RATE_HZ, layout=layout)
        track.metadata["language"] = "deu"
        subtitle = None
        if path.suffix == ".mkv":
            subtitle = film.add_mux_stream("subrip")
            millisecond = Fraction(1, 1000)
            film.set_chapters(
                [{"id": 1, "start": 0, "end": 500, "time_base": millisecond, "metadata": {}}]
            )
        if picture is not None:
            for i in range(25):
                grey = np.full((48, 64, 3), i * 10, np.uint8)
                frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
                film.mux(picture.encode(frame))
            film.mux(picture.encode())
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(sound), format="fltp", layout=layout
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
        film.mux(track.encode(frame))
        film.mux(track.encode())
        if subtitle is not None:
            packet = av.Packet(b"Hello")
            packet.stream, packet.time_base = subtitle, millisecond
            packet.pts = packet.dts = 250
            packet.duration = 100
            film.mux(packet)
    return path


def packets(path: Path, kind: str) -> list[tuple[Any, bytes]]:
    with av.open(str(path)) as film:
        stream = getattr(film.streams, kind)[0]
        return [(p.pts * p.time_base, bytes(p)) for p in film.demux(stream) if p.pts is not None]


def read(path: Path) -> np.ndarray:
    with audio.open(path) as reader:
        return np.concatenate(list(reader.blocks()), axis=1)


@pytest.mark.parametrize(("name", "codec"), KINDS)
def test_a_film_keeps_codec_length_time_and_tags(
    name: str, codec: str, tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    sound = make_noisy(seconds=1.2345, rate_hz=RATE_HZ, channels=2)
    source = make_film(tmp_path / name, sound, codec=codec)
    target = tmp_path / f"out{source.suffix}"
    denoise_file(source, target, denoiser=Denoiser.load(onset_model))
    before, after = audio.info(source), audio.info(target)
    assert after == replace(before, samples=after.samples)
    assert abs(after.samples - before.samples) <= RATE_HZ // 1000  # the source's clock ticks in ms
    assert after.tags["title"] == "A film"
    assert read(target).shape == read(source).shape == sound.shape
    assert packets(target, "audio")[0][0] == packets(source, "audio")[0][0]
    if source.suffix != ".m4a":
        assert packets(target, "video") == packets(source, "video")
    if source.suffix == ".mkv":
        assert packets(target, "subtitles") == packets(source, "subtitles") != []
        with av.open(str(source)) as old, av.open(str(target)) as new:
            assert new.chapters() == old.chapters() != []


def test_with_mix_0_the_sound_stays_in_place(
    tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    sound = make_noisy(seconds=1.0, rate_hz=RATE_HZ, channels=1)
    source = make_film(tmp_path / "x.mkv", sound, codec="flac", start=RATE_HZ // 4)
    target = tmp_path / "y.mkv"
    denoise_file(source, target, denoiser=Denoiser.load(onset_model, mix=0))
    np.testing.assert_allclose(read(target), sound, atol=2**-14)
    assert packets(target, "audio")[0][0] == packets(source, "audio")[0][0] == Fraction(1, 4)


def test_the_sound_of_a_film_can_be_written_alone(
    tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    source = make_film(tmp_path / "x.mp4", make_noisy(seconds=1.1, rate_hz=RATE_HZ))
    report = denoise_file(source, tmp_path / "x.wav", denoiser=Denoiser.load(onset_model))
    assert (report.container, report.subtype, report.samples) == ("WAV", "PCM_16", 52_800)


def test_a_cover_picture_stays(
    tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    source, target = tmp_path / "x.m4a", tmp_path / "y.m4a"
    with av.open(str(source), "w", format="mp4") as song:
        track = song.add_stream("aac", rate=RATE_HZ, layout="mono")
        cover = song.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        grey = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8), format="rgb24")
        song.mux(cover.encode(grey))
        song.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(
            make_noisy(rate_hz=RATE_HZ), format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        song.mux(track.encode(frame))
        song.mux(track.encode())
    report = denoise_file(source, target, denoiser=Denoiser.load(onset_model))
    assert report.notes == ()
    pictures = []
    for path in (source, target):
        with av.open(str(path)) as song:
            pictures.append([bytes(p) for p in song.demux(video=0) if p.size])
    assert pictures[0] == pictures[1] != []


def test_a_hole_in_the_timestamps_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    tone = np.full((1, 4800), 0.5, np.float32)
    with av.open(str(path), "w") as film:
        track = film.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for start in (0, 24_000):
            frame = av.AudioFrame.from_ndarray(
                (tone * 32768).astype(np.int16), format="s16", layout="mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, start, Fraction(1, RATE_HZ)
            film.mux(track.encode(frame))
        film.mux(track.encode())
    found = read(path)
    assert found.shape == (1, 28_800)
    assert not found[:, 4800:24_000].any()
    np.testing.assert_array_equal(found[:, 24_000:], tone)


def test_a_truncated_film_is_refused(
    tmp_path: Path, onset_model: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    source = make_film(tmp_path / "x.mkv", make_noisy(seconds=8, rate_hz=RATE_HZ), codec="flac")
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(AudioFileError, match=r"truncated|damaged"):
        denoise_file(source, tmp_path / "y.mkv", denoiser=Denoiser.load(onset_model))
    assert [p.name for p in tmp_path.iterdir()] == ["x.mkv"]


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"no film" * 100)
    with pytest.raises(AudioFileError, match="not a readable audio or video file"):
        audio.open(path)
    with av.open(str(tmp_path / "mute.mp4"), "w") as film:
        picture = film.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        grey = np.zeros((48, 64, 3), np.uint8)
        film.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        film.mux(picture.encode())
    with pytest.raises(AudioFileError, match="no sound track"):
        audio.open(tmp_path / "mute.mp4")


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "x.m4a").write_bytes(b"x")
    with pytest.raises(MissingExtraError, match=r"tinysignal\[video\]"):
        audio.open(tmp_path / "x.m4a")


def test_an_mp3_of_varying_bit_rate_without_a_header_is_read_whole(
    tmp_path: Path, onset_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.random.default_rng(0).normal(0, 0.1, (480_000, 2))
    sound[: 480_000 // 2] = 0
    path = tmp_path / "x.mp3"
    sf.write(path, sound[::-1], RATE_HZ, bitrate_mode="VARIABLE", compression_level=0.3)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xfb", 10) :])  # the frame with the Xing header
    report = denoise_file(path, tmp_path / "y.mp3", denoiser=Denoiser.load(onset_model))
    assert (report.subtype, report.sample_rate_hz) == ("MPEG_LAYER_III", RATE_HZ)
    assert 480_000 <= report.samples < 480_000 + 4 * 1152
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioFileError, match=r"only 3\.2 s of 10\.0 s would be read"):
        audio.open(path)
