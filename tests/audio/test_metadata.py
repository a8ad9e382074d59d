"""What is not sound comes back: chunks, tags, covers, chapters; what cannot is named."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from mutagen import MutagenError, flac, id3, mp3, oggvorbis

from tinysignal import audio
from tinysignal.audio.chunks import beside_the_sound
from tinysignal.audio.metadata import carry
from tinysignal.audio.tags import Chapter, Tags, from_file, from_id3_bytes, id3_bytes, open_tags
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError

RATE_HZ = 16_000
SAMPLES = 12_001
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
Noisy = Callable[..., np.ndarray]
Denoise = Callable[..., FileReport]


@pytest.fixture
def denoise(onset_model: Path) -> Denoise:
    denoiser = Denoiser.load(onset_model)

    def run(source: Path, target: Path, **options: object) -> FileReport:
        return denoise_file(source, target, denoiser=denoiser, options=FileOptions(**options))

    return run


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) % 2)


def read_chunks(path: Path) -> dict[bytes, bytes]:
    _, chunks = beside_the_sound(path)
    content = path.read_bytes()
    return {c.name: content[c.start : c.start + c.size] for c in chunks}


FORMAT = struct.pack("<HHIIHH", 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
BESIDE = {
    b"bext": b"Interview 12".ljust(346, b"\0") + struct.pack("<Q", 123_456_789) + bytes(248),
    b"iXML": b"<BWFXML><SCENE>1</SCENE></BWFXML>",
    b"cue ": struct.pack("<III4sIII", 1, 1, 480, b"data", 0, 0, 480),
    b"smpl": bytes(36),
    b"inst": b"\1\2\3\4\5\6\7",  # of an odd length
    b"axml": b"<x/>",
    b"zzzz": b"what nobody knows",
}
INFO = b"INFO" + chunk(b"INAM", b"Talk\0\0") + chunk(b"IKEY", b"keyword\0")


def make_wav(path: Path, noisy: np.ndarray, *, first: bytes = b"", last: bytes = b"") -> None:
    samples = (noisy[0] * 32767).astype("<i2").tobytes()
    body = b"WAVE" + chunk(b"fmt ", FORMAT) + first + chunk(b"data", samples) + last
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


@pytest.fixture
def field_recording(tmp_path: Path, make_noisy: Noisy) -> Path:
    """A broadcast WAV with chunks before and after the sound, and an odd number of bytes."""
    path = tmp_path / "field.wav"
    first = b"".join(chunk(n, b) for n, b in BESIDE.items() if n in (b"bext", b"iXML"))
    last = b"".join(chunk(n, b) for n, b in BESIDE.items() if n not in (b"bext", b"iXML"))
    make_wav(path, make_noisy(seconds=SAMPLES / RATE_HZ), first=first, last=last)
    content = path.read_bytes() + chunk(b"LIST", INFO)
    path.write_bytes(content[:4] + struct.pack("<I", len(content) - 8) + content[8:])
    return path


@pytest.mark.parametrize("suffix", [".wav", ".rf64"])
def test_chunks_of_a_field_recording_come_back_byte_by_byte(
    suffix: str, field_recording: Path, denoise: Denoise, tmp_path: Path
) -> None:
    target = tmp_path / f"clean{suffix}"
    assert denoise(field_recording, target).notes == ()
    assert read_chunks(target) == BESIDE | {b"LIST": INFO}
    assert audio.info(target).samples == audio.info(field_recording).samples
    head = target.read_bytes()[:28]
    stated = struct.unpack("<Q", head[20:28])[0] if suffix == ".rf64" else None
    stated = stated or struct.unpack("<I", head[4:8])[0]
    assert stated == target.stat().st_size - 8
    assert audio.info(target).tags["title"] == "Talk"
    content = target.read_bytes()
    assert content.index(b"bext") < content.index(b"data")  # where programs look first
    assert sf.info(target).frames == SAMPLES  # for those who read it with libsndfile alone


def test_rf64_with_a_chunk_of_an_odd_size_is_read(tmp_path: Path, make_noisy: Noisy) -> None:
    path = tmp_path / "x.rf64"
    audio.write(path, make_noisy(), sample_rate_hz=RATE_HZ)
    before, _ = audio.read(path)
    content = path.read_bytes()
    at = content.index(b"data")
    odd = chunk(b"iXML", b"<a></a>")
    whole = struct.pack("<Q", len(content) + len(odd) - 8)
    path.write_bytes(content[:20] + whole + content[28:at] + odd + content[at:])
    np.testing.assert_array_equal(audio.read(path)[0], before)


def test_rf64_with_a_chunk_larger_than_any_file_is_refused_by_name(
    tmp_path: Path, make_noisy: Noisy
) -> None:
    path = tmp_path / "x.rf64"
    audio.write(path, make_noisy(), sample_rate_hz=RATE_HZ)
    content = path.read_bytes()
    at = content.index(b"data")
    path.write_bytes(content[:at] + b"iXML" + b"\xff" * 4 + content[at:])
    with pytest.raises(AudioFileError, match=r"x\.rf64"):
        audio.read(path)


def test_a_second_pass_adds_nothing(
    field_recording: Path, denoise: Denoise, tmp_path: Path
) -> None:
    once, twice = tmp_path / "once.wav", tmp_path / "twice.wav"
    denoise(field_recording, once)
    denoise(once, twice)
    assert once.stat().st_size == twice.stat().st_size
    assert read_chunks(twice) == read_chunks(once)


def test_what_flac_cannot_hold_of_a_field_recording_is_named(
    field_recording: Path, denoise: Denoise, tmp_path: Path
) -> None:
    (note,) = denoise(field_recording, tmp_path / "clean.flac").notes
    assert note == "not kept by FLAC: bext, iXML, cue, smpl, inst, axml, zzzz"
    tags = flac.FLAC(tmp_path / "clean.flac").tags
    assert dict(tags) == {"title": ["Talk"], "keywords": ["keyword"]}


def test_a_checksum_of_the_old_samples_is_not_kept(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    make_wav(tmp_path / "x.wav", make_noisy(), last=chunk(b"MD5 ", bytes(16)))
    assert denoise(tmp_path / "x.wav", tmp_path / "y.wav").notes == ("not kept by WAV: MD5",)
    assert read_chunks(tmp_path / "y.wav") == {}


@pytest.mark.parametrize(
    ("container", "order", "names"),
    [("AIFF", ">", [b"MARK", b"INST", b"APPL"]), ("CAF", ">q", [b"mark", b"strg", b"uuid"])],
)
def test_chunks_of_aiff_and_caf_come_back(
    container: str,
    order: str,
    names: list[bytes],
    tmp_path: Path,
    make_noisy: Noisy,
    denoise: Denoise,
) -> None:
    source, target = (tmp_path / f"{name}.{container.lower()}" for name in "xy")
    sf.write(source, make_noisy()[0], RATE_HZ, format=container, subtype="PCM_16")
    bodies = {name: name * 5 for name in names}
    with source.open("r+b") as file:
        file.seek(0, 2)
        for name, body in bodies.items():
            if container == "CAF":
                file.write(name + struct.pack(">q", len(body)) + body)
            else:
                file.write(chunk(name, body, order))
        size = file.tell() - 8
        if container == "AIFF":
            file.seek(4)
            file.write(struct.pack(">I", size))
    assert denoise(source, target).notes == ()
    found = read_chunks(target)
    assert {name: found[name] for name in names} == bodies
    assert audio.info(target).samples == audio.info(source).samples


def test_chunks_of_w64_come_back(tmp_path: Path, make_noisy: Noisy, denoise: Denoise) -> None:
    source, target = tmp_path / "x.w64", tmp_path / "y.w64"
    sf.write(source, make_noisy(seconds=0.100125)[0], RATE_HZ, format="W64", subtype="PCM_16")
    name = b"bext" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
    with source.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(
            bytes(-end % 8) + name + struct.pack("<Q", 24 + 13) + b"thirteen byte" + bytes(3)
        )
    assert denoise(source, target).notes == ()
    assert read_chunks(target) == {name: b"thirteen byte"}
    assert audio.info(target).samples == audio.info(source).samples == 1602
    assert sf.info(target).frames == 1602  # for those who read it with libsndfile alone


def test_loudspeakers_of_channels_and_valid_bits_stay(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    source, target = tmp_path / "x.wav", tmp_path / "y.wav"
    sf.write(source, make_noisy(channels=4).T, RATE_HZ, format="WAVEX", subtype="PCM_16")
    content = bytearray(source.read_bytes())
    at = content.index(b"fmt ") + 8 + 18
    stated = struct.pack("<HI", 14, 0x107)  # bits; left, right, centre, back centre
    content[at : at + 6] = stated
    source.write_bytes(content)
    denoise(source, target)
    written = target.read_bytes()
    at = written.index(b"fmt ") + 8 + 18
    assert written[at : at + 6] == stated


def test_chunks_that_end_beyond_the_file_are_left(tmp_path: Path, make_noisy: Noisy) -> None:
    path = tmp_path / "x.wav"
    make_wav(path, make_noisy(), last=b"bext" + struct.pack("<I", 1 << 30) + b"short")
    assert beside_the_sound(path)[1] == []


def test_chunks_of_a_damaged_header_are_left(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    path = tmp_path / "x.wav"
    make_wav(path, make_noisy(), first=chunk(b"LIST", INFO))
    content = path.read_bytes()
    at = content.index(b"LIST") + 4
    # Beyond the header of the samples, to which libsndfile finds its way all the same.
    path.write_bytes(content[:at] + struct.pack("<I", 8000) + content[at + 4 :])
    assert beside_the_sound(path)[1] == []
    make_wav(path, make_noisy(), last=chunk(b"bext", b"kept") + bytes(800))
    assert [found.name for found in beside_the_sound(path)[1]] == [b"bext"]
    denoise(path, tmp_path / "y.wav")
    assert read_chunks(tmp_path / "y.wav") == {b"bext": b"kept"}


def full_tags() -> Tags:
    cover = flac.Picture()
    cover.data, cover.mime, cover.type, cover.desc = PNG, "image/png", 3, "Front"
    return Tags(
        text={
            "title": ["Folge 1 ä"],
            "artist": ["Host", "Gast"],
            "albumartist": ["Band"],
            "tracknumber": ["3/12"],
            "date": ["2024-05-06"],
            "comment": ["so said"],
            "podcast_guid": ["abc"],
            "lyrics": ["la la"],
        },
        pictures=[cover],
        chapters=[Chapter(0.0, 0.25, "One"), Chapter(0.25, SAMPLES / RATE_HZ, "Two")],
    )


def tagged(path: Path) -> Tags:
    """What is in a file, whichever way its kind holds it."""
    chunks = read_chunks(path)
    for name in (b"id3 ", b"ID3 "):
        if name in chunks:
            return from_id3_bytes(chunks[name])
    return from_file(open_tags(path))


def same(found: Tags, expected: Tags) -> None:
    assert found.text == expected.text
    assert [(p.data, p.mime, p.type) for p in found.pictures] == [
        (p.data, p.mime, p.type) for p in expected.pictures
    ]
    assert [c.title for c in found.chapters] == [c.title for c in expected.chapters]
    starts = [c.start_s for c in found.chapters]
    assert starts == pytest.approx([c.start_s for c in expected.chapters], abs=2e-3)
    ends = [c.end_s for c in found.chapters]
    assert ends == pytest.approx([c.end_s for c in expected.chapters], abs=2e-3)


SUFFIXES = [".mp3", ".flac", ".ogg", ".opus", ".wav", ".aiff"]


@pytest.fixture(params=SUFFIXES)
def episode(request: pytest.FixtureRequest, tmp_path: Path, make_noisy: Noisy) -> Path:
    """The same episode with all its tags in files of several kinds."""
    plain, path = tmp_path / "plain.mp3", tmp_path / f"episode{request.param}"
    audio.write(plain, make_noisy(seconds=SAMPLES / RATE_HZ), sample_rate_hz=RATE_HZ)
    plain.write_bytes(id3_bytes(full_tags()) + plain.read_bytes())
    if path.suffix == ".mp3":
        return plain.rename(path)
    audio.write(path, make_noisy(seconds=SAMPLES / RATE_HZ), sample_rate_hz=RATE_HZ)
    container = {".wav": "WAV", ".aiff": "AIFF"}.get(path.suffix, "")
    assert carry(plain, path, audio.info(plain), container=container) == []
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_tags_cover_and_chapters_go_from_every_kind_to_every_kind(
    suffix: str, episode: Path, denoise: Denoise, tmp_path: Path
) -> None:
    target = tmp_path / f"clean{suffix}"
    assert denoise(episode, target).notes == ()
    same(tagged(target), full_tags())
    assert audio.info(target).samples == SAMPLES


def test_what_au_cannot_hold_is_named(tmp_path: Path, make_noisy: Noisy, denoise: Denoise) -> None:
    source = tmp_path / "x.flac"
    audio.write(source, make_noisy(), sample_rate_hz=RATE_HZ, tags={"title": "T", "artist": "A"})
    report = denoise(source, tmp_path / "y.au")
    assert report.notes == ("not kept by AU: artist, title",)
    assert report.to_dict()["notes"] == list(report.notes)


def test_unknown_frames_of_an_mp3_file_stay_as_they_are(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    source, target = tmp_path / "x.mp3", tmp_path / "y.mp3"
    audio.write(source, make_noisy(), sample_rate_hz=RATE_HZ)
    song = mp3.MP3(source)
    song.add_tags()
    song.tags.add(id3.PRIV(owner="someone", data=b"\0\1"))
    song.tags.add(id3.GEOB(encoding=0, mime="a/b", filename="f", desc="d", data=b"x"))
    song.save(v1=2, v2_version=3)
    head = source.read_bytes()[: song.tags.size]
    denoise(source, target)
    written = target.read_bytes()
    assert written.startswith(head)
    assert written[-128:] == source.read_bytes()[-128:]
    assert written[-128:-125] == b"TAG"
    assert audio.info(target).samples == audio.info(source).samples


def test_frames_that_only_mp3_has_are_named_elsewhere(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    source = tmp_path / "x.mp3"
    audio.write(source, make_noisy(), sample_rate_hz=RATE_HZ)
    song = mp3.MP3(source)
    song.add_tags()
    song.tags.add(id3.PRIV(owner="someone", data=b"\0\1"))
    song.save()
    assert denoise(source, tmp_path / "y.flac").notes == ("not kept by FLAC: PRIV",)


def test_blocks_of_a_flac_file_stay(tmp_path: Path, make_noisy: Noisy, denoise: Denoise) -> None:
    source, target = tmp_path / "x.flac", tmp_path / "y.flac"
    audio.write(source, make_noisy(), sample_rate_hz=RATE_HZ)
    song = flac.FLAC(source)
    song.cuesheet = flac.CueSheet(None)
    song.cuesheet.tracks.append(flac.CueSheetTrack(1, 0))
    song.metadata_blocks.append(song.cuesheet)
    song["TITLE"] = ["first", "second"]
    song.save()
    assert denoise(source, target).notes == ()
    found = flac.FLAC(target)
    assert found.cuesheet.write() == song.cuesheet.write()
    assert list(found.tags) == list(song.tags)


def test_damaged_tags_cost_a_note_and_not_the_file(
    tmp_path: Path, make_noisy: Noisy, denoise: Denoise
) -> None:
    source = tmp_path / "x.ogg"
    audio.write(source, make_noisy(), sample_rate_hz=RATE_HZ)
    song = oggvorbis.OggVorbis(source)
    song["metadata_block_picture"] = ["no base64!", "AAAA"]
    song["title"] = "kept"
    song.save()
    denoise(source, tmp_path / "y.flac")
    assert flac.FLAC(tmp_path / "y.flac").tags["title"] == ["kept"]
    tag = b"ID3\4\0\0" + bytes((0, 0, 0, 20)) + b"TIT2" + b"\xff" * 16
    make_wav(tmp_path / "x.wav", make_noisy(), last=chunk(b"id3 ", tag))
    denoise(tmp_path / "x.wav", tmp_path / "z.flac")
    assert audio.info(tmp_path / "z.flac").samples == audio.info(tmp_path / "x.wav").samples


@pytest.mark.parametrize(("version", "flag"), [(3, 0x80), (4, 0x08)])
def test_a_tag_that_unpacks_to_gigabytes_is_refused(version: int, flag: int) -> None:
    packed = zlib.compress(bytes(80 << 20), 9)
    if version == 3:
        packed = struct.pack(">I", 80 << 20) + packed
        size = struct.pack(">I", len(packed))
    else:
        size = bytes(len(packed) >> shift & 0x7F for shift in (21, 14, 7, 0))
    frame = b"TIT2" + size + bytes((0, flag)) + packed
    length = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    tag = b"ID3" + bytes((version, 0, 0)) + length + frame
    with pytest.raises(MutagenError, match="64 MiB"):
        from_id3_bytes(tag)


def test_id3_bytes_are_read_back(tmp_path: Path) -> None:
    same(from_id3_bytes(id3_bytes(full_tags())), full_tags())
    assert id3.ID3(io.BytesIO(id3_bytes(full_tags()))).version == (2, 4, 0)
