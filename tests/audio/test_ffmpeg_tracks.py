"""Claims about films: what is no sound is there afterwards, or the film is not written."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from films import RATE_HZ, av, noise, packets, read, write_film, write_sound

from tinysignal import audio
from tinysignal.audio.mp4_tracks import UnmovableError, move_tracks
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, ConfigError

Clean = Callable[..., FileReport]


@pytest.fixture
def clean(onset_model: Path) -> Clean:
    denoiser = Denoiser.load(onset_model)

    def run(source: Path, target: Path, track: str | None = None) -> FileReport:
        return denoise_file(source, target, denoiser=denoiser, options=FileOptions(track=track))

    return run


def streams(path: Path) -> list[tuple[str, str]]:
    with av.open(str(path)) as film:
        return [
            (s.type, s.name if s.type == "data" else s.codec_context.name) for s in film.streams
        ]


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as film:
        return [
            (
                float(c["start"] * c["time_base"]),
                float(c["end"] * c["time_base"]),
                c["metadata"]["title"],
            )
            for c in film.chapters()
        ]


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as film:
        return dict(film.metadata)


# Tracks


def test_only_the_default_track_changes_and_the_other_is_copied(
    tmp_path: Path, clean: Clean
) -> None:
    source = write_film(tmp_path / "x.mkv", codecs=("flac", "flac"), default=2)
    report = clean(source, tmp_path / "y.mkv")
    assert packets(tmp_path / "y.mkv", "audio", 0) == packets(source, "audio", 0)
    assert not np.array_equal(read(tmp_path / "y.mkv", 2), read(source, 2))
    assert report.notes == (
        "stream 1, a further sound track, is copied as it is (--track all cleans every one)",
    )
    with av.open(str(tmp_path / "y.mkv")) as film:
        assert [int(s.disposition) for s in film.streams.audio] == [0, 1]
        titles = [s.metadata["title"] for s in film.streams.audio]
    assert titles == ["track 1", "track 2"]


@pytest.mark.parametrize(("track", "changed"), [("1", {1}), ("2", {2}), ("all", {1, 2, 3})])
def test_tracks_are_chosen_by_number_or_all_at_once(
    track: str, changed: set[int], tmp_path: Path, clean: Clean
) -> None:
    source = write_film(tmp_path / "x.mkv", codecs=("flac", "pcm_s16le", "flac"))
    clean(source, tmp_path / "y.mkv", track)
    for number in (1, 2, 3):
        before, after = read(source, number), read(tmp_path / "y.mkv", number)
        assert before.shape == after.shape
        assert np.array_equal(before, after) == (number not in changed)
        if number in changed:  # the same as of a file of its own
            sf.write(tmp_path / "one.wav", before.T, RATE_HZ, subtype="PCM_16")
            clean(tmp_path / "one.wav", tmp_path / "one.clean.wav")
            np.testing.assert_allclose(read(tmp_path / "one.clean.wav"), after, atol=2**-14)


def test_all_tracks_need_a_film_and_a_number_one_that_there_is(
    tmp_path: Path, clean: Clean
) -> None:
    source = write_film(tmp_path / "x.mkv", codecs=("flac", "flac"))
    with pytest.raises(ConfigError, match="only a film holds several"):
        clean(source, tmp_path / "y.wav", "all")
    with pytest.raises(ConfigError, match="has 2 sound track"):
        clean(source, tmp_path / "y.mkv", "3")
    with pytest.raises(ConfigError, match="a number from 1 on, or all"):
        FileOptions(track="0")
    clean(source, tmp_path / "y.wav", "2")
    assert read(tmp_path / "y.wav").shape == (1, RATE_HZ)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.mkv", "y.wav"]


# What a container cannot hold


@pytest.mark.parametrize(
    ("source", "target", "what"),
    [
        ({"picture": "libvpx", "codecs": ("libopus",)}, "y.mp4", r"picture \(vp8\)"),
        ({}, "y.webm", r"picture \(mpeg4\)"),
        ({"picture": "libx264"}, "y.avi", r"picture \(h264\)"),
        ({"subtitle": "subrip"}, "y.avi", r"subtitles \(sub?ri?p?t?\)|subtitles \(srt\)"),
        ({"codecs": ("aac", "tta")}, "y.mp4", r"sound track \(tta\)"),
    ],
)
def test_a_film_is_not_written_without_a_picture_a_track_or_subtitles(
    source: dict[str, Any], target: str, what: str, tmp_path: Path, clean: Clean
) -> None:
    write_film(tmp_path / "x.mkv", **source)
    with pytest.raises(AudioFileError, match=f"cannot hold.*{what}.*Use -o NAME.mkv"):
        clean(tmp_path / "x.mkv", tmp_path / target)
    assert [p.name for p in tmp_path.iterdir()] == ["x.mkv"]


def test_a_kind_that_is_only_read_says_what_to_pass(tmp_path: Path, clean: Clean) -> None:
    write_sound(tmp_path / "x.amr", "libopencore_amrnb", noise(rate_hz=8_000), rate_hz=8_000)
    with pytest.raises(AudioFileError, match=r"\.amr can be read but not written. Pass --format"):
        clean(tmp_path / "x.amr", tmp_path / "y.amr")
    clean(tmp_path / "x.amr", tmp_path / "y.wav")


@pytest.mark.parametrize("suffix", ["mts", "m2ts", "vob", "ts", "mpg"])
def test_broadcast_films_are_written_as_what_they_are(
    suffix: str, tmp_path: Path, clean: Clean
) -> None:
    source = write_film(tmp_path / f"x.{suffix}", picture="mpeg2video", codecs=("ac3", "mp2"))
    clean(source, tmp_path / f"y.{suffix}")
    assert streams(tmp_path / f"y.{suffix}") == streams(source)
    pictures = [[content for _, content in packets(p, "video")] for p in tmp_path.iterdir()]
    assert pictures[0] == pictures[1] != []


# What is kept


@pytest.mark.parametrize("suffix", ["mp4", "m4v", "mov", "mkv"])
def test_chapters_stay_with_titles_and_times(suffix: str, tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / f"x.{suffix}", chapters=True)
    assert clean(source, tmp_path / f"y.{suffix}").notes == ()
    expected = [(0.0, 0.5, "Part 0"), (0.5, 1.0, "Part 1")]
    assert chapters(tmp_path / f"y.{suffix}") == chapters(source) == expected
    assert streams(tmp_path / f"y.{suffix}") == streams(source)


@pytest.mark.parametrize("suffix", ["m4a", "m4b", "mka"])
def test_chapters_of_a_sound_file_stay(suffix: str, tmp_path: Path, clean: Clean) -> None:
    film = write_film(tmp_path / "film.mp4", chapters=True)
    source, target = tmp_path / f"x.{suffix}", tmp_path / f"y.{suffix}"
    clean(film, source)
    clean(source, target)
    assert chapters(target) == chapters(source) == chapters(film) != []
    assert [kind for kind, _ in streams(target)] == [kind for kind, _ in streams(source)]


def test_chapters_that_a_container_cannot_hold_are_named(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mkv", chapters=True, codecs=("libmp3lame",))
    assert "chapters are not kept: avi holds none" in clean(source, tmp_path / "y.avi").notes


@pytest.mark.parametrize(("suffix", "target"), [("mov", "mov"), ("mp4", "mp4"), ("mov", "mkv")])
def test_timecode_stays(suffix: str, target: str, tmp_path: Path, clean: Clean) -> None:
    code = "01:02:03:04"
    source = write_film(tmp_path / f"x.{suffix}", picture_tags={"timecode": code})
    assert clean(source, tmp_path / f"y.{target}").notes == ()
    with av.open(str(tmp_path / f"y.{target}")) as film:
        found = {k.lower(): v for k, v in film.streams.video[0].metadata.items()}
        assert found["timecode"] == code
        data = [s for s in film.streams if s.type == "data"]
    assert len(data) == (target != "mkv")


@pytest.mark.parametrize("suffix", ["mov", "mp4"])
def test_keys_of_phones_and_cameras_stay(suffix: str, tmp_path: Path, clean: Clean) -> None:
    keys = {
        "com.apple.quicktime.make": "Apple",
        "com.apple.quicktime.location.ISO6709": "+52.1000-001.2000+010.000/",
        "com.android.version": "14",
        "creation_time": "2024-05-06T07:08:09.000000Z",
        "title": "Holiday",
        "my own": "word",
    }
    source = write_film(
        tmp_path / f"x.{suffix}", tags=keys, options={"movflags": "use_metadata_tags"}
    )
    before = tags(source)
    clean(source, tmp_path / f"y.{suffix}")
    after = tags(tmp_path / f"y.{suffix}")
    assert {k: v for k, v in after.items() if k != "encoder"} == {
        k: v for k, v in before.items() if k != "encoder"
    }
    assert set(keys) <= set(after)


def test_tags_that_a_container_does_not_hold_are_named(tmp_path: Path, clean: Clean) -> None:
    source = write_film(
        tmp_path / "x.mkv", tags={"title": "A", "MOOD": "calm"}, codecs=("libmp3lame",)
    )
    assert "tags not kept by avi: MOOD" in clean(source, tmp_path / "y.avi").notes


def test_subtitles_become_the_kind_that_the_container_has(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mkv", subtitle="subrip")
    report = clean(source, tmp_path / "y.mp4")
    assert ("subtitle", "mov_text") in streams(tmp_path / "y.mp4")
    assert any("subtitles are written as mov_text" in note for note in report.notes)
    clean(tmp_path / "y.mp4", tmp_path / "z.mkv")
    for path in (tmp_path / "y.mp4", tmp_path / "z.mkv"):
        texts = [(float(t), b) for t, b in packets(path, "subtitle") if b"Hello" in b]
        assert len(texts) == 1
        assert texts[0][0] == pytest.approx(0.25, abs=0.03)
        with av.open(str(path)) as film:
            assert film.streams.subtitles[0].metadata["language"] == "fra"


def test_subtitles_stay_in_their_own_container(tmp_path: Path, clean: Clean) -> None:
    for name, kind in (("x.mp4", "mov_text"), ("x.mkv", "subrip"), ("x.mkv", "ass")):
        source = write_film(tmp_path / name, subtitle=kind)
        target = source.with_stem("y")
        clean(source, target)
        assert packets(target, "subtitle") == packets(source, "subtitle") != []


def test_attachments_stay_in_matroska_and_are_named_elsewhere(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mkv", attachment=b"LETTERS" * 100)
    clean(source, tmp_path / "y.mkv")
    with av.open(str(tmp_path / "y.mkv")) as film:
        (found,) = [s for s in film.streams if s.type == "attachment"]
        assert (found.data, found.metadata["filename"]) == (b"LETTERS" * 100, "letters.ttf")
    assert clean(source, tmp_path / "y.mp4").notes == (
        "the attachment letters.ttf is left out: mp4 holds none",
    )


def positions(path: Path) -> list[tuple[Any, bytes]]:
    """Packets of all data tracks; FFmpeg skips those of chapters."""
    count = [kind for kind, _ in streams(path)].count("data")
    return [packet for number in range(count) for packet in packets(path, "data", number)]


@pytest.mark.parametrize("kind", [b"gpmd", b"mebx", b"camm"])
@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_data_tracks_of_cameras_stay(
    kind: bytes, suffix: str, tmp_path: Path, clean: Clean
) -> None:
    source, target = tmp_path / "x.mp4", tmp_path / f"y.{suffix}"
    write_film(source, data=b"\0\0\1\2 positions", chapters=True, codecs=("aac", "aac"))
    source.write_bytes(source.read_bytes().replace(b"gpmd", kind))  # FFmpeg writes no other
    assert not any("left out" in note for note in clean(source, target).notes)
    assert positions(target) == positions(source) != []
    assert kind in target.read_bytes()
    assert chapters(target) == chapters(source)
    assert [kind for kind, _ in streams(target)].count("data") == 2  # the titles of the chapters
    pictures = packets(source, "video")
    assert packets(target, "video") == pictures
    clean(target, tmp_path / f"z.{suffix}")
    assert positions(tmp_path / f"z.{suffix}") == positions(source)


def test_a_data_track_that_cannot_be_written_is_named(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mp4", data=b"positions")
    assert clean(source, tmp_path / "y.mkv").notes == (
        "stream 2, a data track (GoPro MET), is left out: FFmpeg cannot write it into matroska",
    )


def test_tracks_are_moved_whole_or_not_at_all(tmp_path: Path) -> None:
    source = write_film(tmp_path / "x.mp4", data=b"positions")
    target = write_film(tmp_path / "y.mp4", options={"movflags": "faststart"})
    before = target.read_bytes()
    with pytest.raises(UnmovableError, match="last box"):
        move_tracks(source, target, [3], {})
    target = write_film(tmp_path / "y.mp4")
    before = target.read_bytes()
    with pytest.raises(UnmovableError, match="a track is missing"):
        move_tracks(source, target, [7], {})
    content = source.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(300):  # an index made by an enemy
        broken = bytearray(content)
        for at in random.integers(content.index(b"moov"), len(content), 8):
            broken[at] = random.integers(256)
        source.write_bytes(broken)
        try:
            move_tracks(source, target, [3], {})
        except UnmovableError:
            assert target.read_bytes() == before
        target.write_bytes(before)


def test_apples_tag_of_h265_stays(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mov", picture="libx265", tag="hvc1")
    clean(source, tmp_path / "y.mov")
    with av.open(str(tmp_path / "y.mov")) as film:
        assert film.streams.video[0].codec_context.codec_tag == "hvc1"


def matrix(content: bytes) -> bytes:
    """That of the first track header, by which a picture is turned (ISO 14496-12, 8.3.2)."""
    start = content.index(b"tkhd") + 44
    return content[start : start + 36]


def test_a_picture_stays_turned(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mp4")
    content = source.read_bytes()
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
    source.write_bytes(content.replace(matrix(content), quarter, 1))
    clean(source, tmp_path / "y.mp4")
    assert matrix((tmp_path / "y.mp4").read_bytes())[:24] == quarter[:24]


def test_an_index_in_front_stays_in_front(tmp_path: Path, clean: Clean) -> None:
    source = write_film(tmp_path / "x.mp4", options={"movflags": "faststart"})
    clean(source, tmp_path / "y.mp4")
    for path in (source, tmp_path / "y.mp4"):
        content = path.read_bytes()
        assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("suffix", ["m4a", "mka", "mp4"])
def test_the_cover_of_a_flac_file_goes_along(suffix: str, tmp_path: Path, clean: Clean) -> None:
    source = tmp_path / "x.flac"
    with av.open(str(source), "w") as song:
        song.metadata["title"] = "A song"
        track = song.add_stream("flac", rate=RATE_HZ, layout="mono")
        cover = song.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        red = np.full((48, 64, 3), (200, 10, 10), np.uint8)
        song.mux(cover.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        frame = av.AudioFrame.from_ndarray(
            (noise() * 32767).astype(np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = RATE_HZ
        song.mux(track.encode(frame))
        song.mux(track.encode(None))
    target = tmp_path / f"y.{suffix}"
    clean(source, target)
    with av.open(str(target)) as song:
        (picture,) = song.streams.video
        assert picture.disposition & av.stream.Disposition.attached_pic
        assert song.metadata["title"] == "A song"
    assert packets(target, "video")[0][1] == packets(source, "video")[0][1]
    assert audio.info(target).samples == pytest.approx(RATE_HZ, abs=50)


def test_flac_in_ogg_stays_flac_in_ogg(tmp_path: Path, clean: Clean) -> None:
    write_sound(tmp_path / "x.oga", "flac", noise(1.5), container="ogg")
    clean(tmp_path / "x.oga", tmp_path / "y.oga")
    assert streams(tmp_path / "y.oga") == [("audio", "flac")]
    assert read(tmp_path / "y.oga").shape == read(tmp_path / "x.oga").shape


@pytest.mark.parametrize(("suffix", "container"), [("avi", "avi"), ("wav", "mp4"), ("mp3", "mp4")])
def test_tags_of_a_film_or_of_another_name_are_not_called_damaged(
    suffix: str, container: str, tmp_path: Path, clean: Clean
) -> None:
    source = tmp_path / f"x.{suffix}"
    write_sound(source, "libmp3lame" if suffix == "avi" else "aac", container=container)
    assert clean(source, tmp_path / "y.flac").notes == ()
    assert clean(source, tmp_path / "y.mka").notes == ()
