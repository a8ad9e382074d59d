"""Claims about reading: the content decides, and damage is never filled in in silence."""

from __future__ import annotations

import io
import shutil
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from films import RATE_HZ, av, frames_of, noise, read, write_film, write_sound

from tinysignal import audio
from tinysignal.errors import AudioFileError, ConfigError, MissingExtraError

FOREIGN = [
    ("x.caf", "alac", "caf", RATE_HZ),
    ("x.caf", "adpcm_ima_qt", "caf", RATE_HZ),
    ("x.wav", "libmp3lame", "wav", RATE_HZ),
    ("x.wav", "g726", "wav", 8_000),
    ("x.oga", "flac", "ogg", RATE_HZ),
    ("x.wav", "aac", "mp4", RATE_HZ),
    ("x.mp3", "alac", "mp4", RATE_HZ),
    ("x.flac", "libopus", "matroska", RATE_HZ),
    ("x.tta", "tta", "tta", RATE_HZ),
    ("x.wv", "wavpack", "wv", RATE_HZ),
    ("x.amr", "libopencore_amrnb", "amr", 8_000),
    ("x.mka", "flac", "matroska", RATE_HZ),
    ("x.weba", "libopus", "webm", RATE_HZ),
    ("x.m4b", "aac", "mp4", RATE_HZ),
    ("x.mts", "ac3", "mpegts", RATE_HZ),
    ("x.vob", "ac3", "vob", RATE_HZ),
]


@pytest.mark.parametrize(("name", "codec", "container", "rate_hz"), FOREIGN)
def test_the_content_decides_which_library_reads(
    name: str, codec: str, container: str, rate_hz: int, tmp_path: Path
) -> None:
    signal = write_sound(
        tmp_path / name, codec, noise(rate_hz=rate_hz), container=container, rate_hz=rate_hz
    )
    found = read(tmp_path / name)
    assert audio.info(tmp_path / name).sample_rate_hz == rate_hz
    assert abs(found.shape[1] - signal.shape[1]) <= 2 * 2048  # whole frames
    assert Path(name).suffix in audio.SOUND_SUFFIXES


@pytest.mark.parametrize("name", ["x.m4a", "x.mp4", "x.wma", "x.mkv"])
def test_a_file_of_libsndfile_under_a_films_name_is_read_by_it(name: str, tmp_path: Path) -> None:
    sf.write(tmp_path / "x.wav", noise()[0], RATE_HZ)
    shutil.move(tmp_path / "x.wav", tmp_path / name)
    assert audio.info(tmp_path / name).container == "WAV"
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-3000])
    with pytest.raises(AudioFileError, match="truncated"):
        audio.open(tmp_path / name)


@pytest.mark.parametrize("suffix", ["ul", "al", "g722", "sln", "gsm", "sw", "ub", "daud", "g729"])
def test_headerless_samples_are_not_read_at_a_guess(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(20_000))
    with pytest.raises(AudioFileError, match="not a readable audio"):
        audio.open(path)


def test_damage_that_libsndfile_finds_is_not_left_out_by_ffmpeg(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    sf.write(path, noise(3)[0], RATE_HZ)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(2048) + content[middle + 2048 :])
    with pytest.raises(AudioFileError, match="damaged"):
        read(path)
    path.write_bytes(content[:20] + bytes(8) + content[28:])  # its header
    with pytest.raises(AudioFileError):
        read(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"<html>404</html>", "a web page"),
        (b"\n<!DOCTYPE HTML><html></html>", "a web page"),
        (b"#EXTM3U\nfile:///etc/passwd\n", "a text"),
        (b'{"error": "expired"}', "a text"),
        (b"%PDF-1.7 x", "a PDF"),
        (b"\x89PNG\r\n\x1a\n....", "a picture"),
    ],
)
@pytest.mark.parametrize("name", ["page.mp3", "page.mp4", "page.wav"])
def test_what_is_no_sound_is_called_by_its_name(
    name: str, content: bytes, what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioFileError, match=what):
        audio.open(tmp_path / name)
    assert capfd.readouterr().err == ""


def test_without_pyav_mp3_in_wav_names_the_extra_and_other_names_keep_their_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sound(tmp_path / "x.wav", "libmp3lame", container="wav")
    (tmp_path / "text.wav").write_text("not audio")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"tinysignal\[video\]"):
        audio.open(tmp_path / "x.wav")
    with pytest.raises(AudioFileError, match="not a readable audio file"):
        audio.open(tmp_path / "text.wav")


# Damage

SOUNDS = [
    ("mkv", "flac", "matroska"),
    ("mkv", "libmp3lame", "matroska"),
    ("webm", "libopus", "webm"),
    ("avi", "libmp3lame", "avi"),
    ("avi", "adpcm_ima_wav", "avi"),
    ("wma", "wmav2", "asf"),
    ("flv", "aac", "flv"),
    ("tta", "tta", "tta"),
    ("wv", "wavpack", "wv"),
    ("ts", "mp2", "mpegts"),
    ("ts", "libopus", "mpegts"),
    ("aac", "aac", "adts"),
    ("ac3", "ac3", "ac3"),
    ("eac3", "eac3", "eac3"),
    ("mp2", "mp2", "mp2"),
    ("amr", "libopencore_amrnb", "amr"),
    ("m4a", "aac", "mp4"),
    ("mp4", "libopus", "mp4"),
    ("oga", "flac", "ogg"),
]


@pytest.mark.parametrize(("suffix", "codec", "container"), SOUNDS)
def test_truncation_and_damage_are_noticed_wherever_they_are(
    suffix: str, codec: str, container: str, tmp_path: Path
) -> None:
    rate_hz = 8_000 if "amr" in codec else RATE_HZ
    path = tmp_path / f"x.{suffix}"
    signal = noise(8 if rate_hz == RATE_HZ else 16, rate_hz=rate_hz)
    write_sound(path, codec, signal, container=container, rate_hz=rate_hz)
    read(path)
    content = path.read_bytes()
    size = len(content)
    states_no_length = suffix in ("ts", "aac", "ac3", "eac3", "mp2", "amr")
    for part in (0.3, 0.6, 0.95):
        # A stream without a stated length ends anywhere, but not within a frame.
        cut = round(size * part) // 188 * 188 + 7 if states_no_length else round(size * part)
        path.write_bytes(content[:cut])
        with pytest.raises(AudioFileError, match=r"truncated|damaged"):
            read(path)
    for part in () if suffix == "amr" else (0.4, 0.7):  # zeros are frames of AMR
        at = round(size * part)
        path.write_bytes(content[:at] + bytes(2048) + content[at + 2048 :])
        with pytest.raises(AudioFileError, match=r"damaged.*( byte \d+| \d+\.\d+ s)|damaged after"):
            read(path)


def test_damage_is_named_with_its_place_and_length(tmp_path: Path) -> None:
    path = tmp_path / "x.wma"
    write_sound(path, "wmav2", noise(8), container="asf")
    content = bytearray(path.read_bytes())
    content[70_000:80_000] = bytes(10_000)
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match=r"damaged: 9600 bytes from byte \d+ on, at about \d"):
        read(path)


def test_a_film_that_a_crash_left_without_sizes_is_read(tmp_path: Path) -> None:
    stream = io.BytesIO()
    stream.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(stream, "w", format="matroska") as film:
        track = film.add_stream("flac", rate=RATE_HZ, layout="mono")
        film.mux(track.encode(frames_of(noise(3))))
        film.mux(track.encode(None))
    (tmp_path / "x.mkv").write_bytes(stream.getvalue())
    assert read(tmp_path / "x.mkv").shape == (1, 3 * RATE_HZ)


def pcm_film(path: Path, starts: tuple[int, ...]) -> Path:
    with av.open(str(path), "w") as film:
        track = film.add_stream("pcm_s16le", rate=RATE_HZ, layout="mono")
        for start in starts:
            film.mux(track.encode(frames_of(noise(0.1), start=start)))
        film.mux(track.encode(None))
    return path


def test_a_hole_is_silence_and_is_named(tmp_path: Path) -> None:
    path = pcm_film(tmp_path / "x.mkv", (0, RATE_HZ))
    with audio.open(path) as reader:
        found = np.concatenate(list(reader.blocks()), axis=1)
        assert reader.notes == ("no sound for 0.900 s at 0.100 s: silence there",)
    assert found.shape == (1, RATE_HZ + RATE_HZ // 10)


def test_a_timestamp_far_away_does_not_become_hours_of_silence(tmp_path: Path) -> None:
    path = pcm_film(tmp_path / "x.mkv", (0, 100_000 * RATE_HZ))
    with audio.open(path) as reader, pytest.raises(AudioFileError, match="next timestamp is 9999"):
        for _ in reader.blocks():
            pass


def test_many_holes_are_counted_and_mostly_holes_is_damage(tmp_path: Path) -> None:
    def every(step_s: float) -> Path:
        return pcm_film(tmp_path / "x.mkv", tuple(round(step_s * RATE_HZ * i) for i in range(20)))

    with audio.open(every(0.17)) as reader:
        assert sum(block.shape[1] for block in reader.blocks()) == round(3.33 * RATE_HZ)
        assert len(reader.notes) == 4
        assert reader.notes[-1] == "16 more such holes, 1.330 s in all"
    with pytest.raises(AudioFileError, match=r"are 11 holes"):
        read(every(0.5))


def test_timestamps_that_jump_ahead_and_back_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    parts = []
    for starts in ((0, 30), (0,)):
        with av.open(str(path), "w") as film:
            track = film.add_stream("mp2", rate=RATE_HZ, layout="mono")
            for start in starts:
                film.mux(track.encode(frames_of(noise(0.48), start=start * RATE_HZ)))
            film.mux(track.encode(None))
        parts.append(path.read_bytes())
    path.write_bytes(b"".join(parts))
    with pytest.raises(AudioFileError, match=r"damaged at 30\.\d+ s: timestamps jump ahead"):
        read(path)


# Tracks


def test_the_default_sound_track_is_read_and_others_by_their_number(tmp_path: Path) -> None:
    path = write_film(tmp_path / "x.mkv", codecs=("flac", "flac"), default=2)
    first, second = read(path, 1), read(path, 2)
    np.testing.assert_allclose(first, noise(seed=0), atol=2**-15)
    np.testing.assert_array_equal(read(path), second)
    assert not np.array_equal(first, second)
    with pytest.raises(ConfigError, match="has 2 sound"):
        audio.open(path, track=3)
    sf.write(tmp_path / "x.wav", first[0], RATE_HZ)
    assert read(tmp_path / "x.wav", 1).shape == first.shape
    with pytest.raises(ConfigError, match="has 1 sound track"):
        audio.open(tmp_path / "x.wav", track=2)


def test_a_time_base_that_is_no_fraction_of_the_rate_keeps_the_length(tmp_path: Path) -> None:
    write_sound(tmp_path / "x.mkv", "aac", noise(1.2345, rate_hz=44_100), rate_hz=44_100)
    assert Fraction(read(tmp_path / "x.mkv").shape[1], 44_100) < Fraction(13, 10)
