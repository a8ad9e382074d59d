"""Claims about sound files: what is written is what is read, and what is damaged is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutagen import flac, oggvorbis

from tinysignal import audio
from tinysignal.audio.bitrate import BitRate
from tinysignal.audio.formats import AudioFormat, AudioInfo, choose_format, wide_enough
from tinysignal.audio.libsndfile import Reader, Writer
from tinysignal.audio.tags import Tags, id3_bytes
from tinysignal.errors import AudioFileError, ConfigError, SignalError

# Bits that survive a round trip; None for floating point.
EXACT = {
    ("WAV", "PCM_U8"): 8,
    ("WAV", "PCM_16"): 16,
    ("WAV", "PCM_24"): 24,
    ("WAV", "FLOAT"): None,
    ("WAVEX", "PCM_24"): 24,
    ("RF64", "PCM_24"): 24,
    ("W64", "PCM_16"): 16,
    ("AIFF", "PCM_24"): 24,
    ("AIFF", "FLOAT"): None,
    ("AU", "PCM_16"): 16,
    ("CAF", "PCM_24"): 24,
    ("CAF", "ALAC_16"): 16,
    ("FLAC", "PCM_16"): 16,
    ("FLAC", "PCM_24"): 24,
}
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
TRUNCATABLE = [
    ("WAV", "PCM_16"),
    ("WAV", "IMA_ADPCM"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
]
CONTAINERS = ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3"]


def noise(samples: int, channels: int = 1, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-0.9, 0.9, (channels, samples)).astype(np.float32)


def write_as(path: Path, signal: np.ndarray, rate_hz: int, kind: tuple[str, str]) -> Path:
    with Writer(
        path,
        sample_rate_hz=rate_hz,
        channels=signal.shape[0],
        audio_format=AudioFormat(*kind),
        samples=signal.shape[1],
    ) as writer:
        writer.write(signal)
    return path


@pytest.mark.parametrize("kind", EXACT)
def test_integers_come_back_rounded_to_their_nearest_step(
    kind: tuple[str, str], tmp_path: Path
) -> None:
    signal = noise(1237, 2)
    bits = EXACT[kind]
    expected = signal if bits is None else np.rint(signal * 2.0 ** (bits - 1)) / 2.0 ** (bits - 1)
    back, rate_hz = audio.read(write_as(tmp_path / "x", signal, 44_100, kind))
    assert rate_hz == 44_100
    np.testing.assert_array_equal(back, expected.astype(np.float32))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    samples=st.integers(1, 9000),
    channels=st.integers(1, 2),
    rate_hz=st.sampled_from([8000, 16_000, 24_000, 48_000]),
    kind=st.sampled_from([*EXACT, *LOSSY]),
)
def test_every_format_keeps_the_length_to_the_sample(
    samples: int, channels: int, rate_hz: int, kind: tuple[str, str], tmp_path: Path
) -> None:
    path = write_as(tmp_path / "x", noise(samples, channels) / 4, rate_hz, kind)
    found = audio.info(path)
    assert (found.samples, found.channels, found.sample_rate_hz) == (samples, channels, rate_hz)
    assert (found.container, found.subtype) == kind
    assert audio.read(path)[0].shape == (channels, samples)


@pytest.mark.parametrize(("rate_hz", "channels"), [(4000, 1), (192_000, 32), (96_000, 6)])
def test_the_bounds_of_rate_and_channels_work(rate_hz: int, channels: int, tmp_path: Path) -> None:
    signal = noise(300, channels)
    audio.write(tmp_path / "x.wav", signal, sample_rate_hz=rate_hz, subtype="FLOAT")
    back, found_hz = audio.read(tmp_path / "x.wav")
    assert found_hz == rate_hz
    np.testing.assert_array_equal(back, signal)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(size=st.integers(1, 700))
def test_any_block_size_reads_the_same_signal(size: int, tmp_path: Path) -> None:
    signal = noise(1500, 3)
    path = tmp_path / "x.wav"
    audio.write(path, signal, sample_rate_hz=16_000, subtype="FLOAT")
    with Reader(path) as reader:
        np.testing.assert_array_equal(np.concatenate([*reader.blocks(size)], axis=1), signal)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".aiff", ".ogg", ".caf", ".mp3"])
def test_tags_survive(suffix: str, tmp_path: Path) -> None:
    tags = {"title": "Zwölf", "artist": "A"}
    path = tmp_path / f"x{suffix}"
    audio.write(path, noise(5000), sample_rate_hz=48_000, tags=tags)
    assert audio.info(path).tags == tags


def test_what_exceeds_full_scale_saturates_and_is_counted(tmp_path: Path) -> None:
    loud = np.array([[1.5, -1.5, 0.5, -1.0]], np.float32)
    with Writer(
        tmp_path / "x.wav",
        sample_rate_hz=8000,
        channels=1,
        audio_format=AudioFormat("WAV", "PCM_16"),
    ) as writer:
        writer.write(loud)
    assert (writer.clipped, writer.peak) == (2, 1.5)
    back, _ = audio.read(tmp_path / "x.wav")
    np.testing.assert_array_equal(back, np.array([[32767 / 32768, -1, 0.5, -1]], np.float32))


@pytest.mark.parametrize("kind", TRUNCATABLE)
def test_a_truncated_file_is_refused(
    kind: tuple[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    sf.write(whole, noise(30_000, 2).T / 4, 48_000, format=kind[0], subtype=kind[1])
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    with pytest.raises(AudioFileError, match=r"part: .*(truncated|malformed)"):
        audio.read(part)


@pytest.mark.parametrize("riff_size", [0, 36])
@pytest.mark.parametrize(("subtype", "bytes_each"), [("PCM_16", 2), ("PCM_24", 3)])
def test_a_recording_that_lost_power_is_read_to_its_end(
    riff_size: int, subtype: str, bytes_each: int, tmp_path: Path
) -> None:
    """Its header states 0 bytes, as it was written before the first sample."""
    path, signal = tmp_path / "x.wav", noise(300_000, 2) / 4
    sf.write(path, signal.T, 48_000, subtype=subtype)
    whole, _ = audio.read(path)
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[4:8], content[at + 4 : at + 8] = riff_size.to_bytes(4, "little"), bytes(4)
    path.write_bytes(content[:-bytes_each])  # in the middle of a frame
    with audio.open(path) as reader:
        assert reader.notes == ("the input's header states no samples; it was read to its end",)
        assert reader.info.samples == 299_999
    back, _ = audio.read(path)
    np.testing.assert_array_equal(back, whole[:, :-1])


def test_an_empty_recording_with_tags_after_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    chunk = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    sf.write(path, np.zeros(0), 48_000)
    content = bytearray(path.read_bytes()) + chunk
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(AudioFileError, match="there are no samples in it"):
        audio.read(path)


@pytest.mark.parametrize("size", [5000, 5900, 5990])
def test_a_truncated_caf_is_refused_wherever_it_ends(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x.caf"
    sf.write(path, noise(1000)[0], 48_000, subtype="PCM_16")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 6000 + size])
    with pytest.raises(AudioFileError, match="truncated"):
        audio.read(path)


@pytest.mark.parametrize("kind", CONTAINERS)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_damaged_header_is_refused_by_name_or_read(
    kind: str, data: st.DataObject, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    sf.write(path, noise(1000)[0], 8000, format=kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(4, 90))] = data.draw(st.sampled_from([0, 1, 127, 128, 255]))
    path.write_bytes(content[: data.draw(st.sampled_from([4, 6, 12, 16, 24, 40, 60, None]))])
    with suppress(AudioFileError), Reader(path) as reader:
        next(reader.blocks(), None)


@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_written_into_a_pipe_is_read_whole(length: int, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    audio.write(path, noise(777), sample_rate_hz=8000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = struct.pack("<I", length)
    path.write_bytes(content)
    assert audio.read(path)[0].shape == (1, 777)


def test_a_flac_written_into_a_pipe_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    signal = noise(200_001)
    audio.write(path, signal, sample_rate_hz=48_000)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # STREAMINFO: 36 bits for the number of samples, 0 for unknown
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert audio.info(path).samples == 200_001
    np.testing.assert_allclose(audio.read(path)[0], signal, atol=2**-23)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_the_time_of_a_bad_sample_is_said(bad: float, tmp_path: Path) -> None:
    signal = noise(16_000, 2)
    signal[1, 8000] = bad
    sf.write(tmp_path / "x.wav", signal.T, 16_000, subtype="FLOAT")
    with pytest.raises(AudioFileError, match=r"at 0\.500 s, channel 2"):
        audio.read(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (b"", "empty file"), (b"#!/bin/sh\n" * 50, "not a readable audio")],
)
def test_what_is_not_audio_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioFileError, match=message):
        audio.info(path)
    with pytest.raises(AudioFileError, match="a folder"):
        audio.info(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_named_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.wav")
    with pytest.raises(AudioFileError, match="not a regular file"):
        audio.info(tmp_path / "x.wav")


@pytest.mark.parametrize(
    ("rate_hz", "channels", "samples", "message"),
    [
        (2000, 1, 10, "2000 Hz"),
        (400_000, 1, 10, "400000 Hz"),
        (8000, 33, 10, "33 channels"),
        (8000, 1, 0, "no samples"),
    ],
)
def test_absurd_facts_are_refused(
    rate_hz: int, channels: int, samples: int, message: str, tmp_path: Path
) -> None:
    sf.write(tmp_path / "x.wav", np.zeros((samples, channels)), rate_hz)
    with pytest.raises(AudioFileError, match=message):
        audio.info(tmp_path / "x.wav")


def facts(container: str, subtype: str, *, samples: int = 100, channels: int = 1) -> AudioInfo:
    return AudioInfo(
        sample_rate_hz=48_000,
        channels=channels,
        samples=samples,
        container=container,
        subtype=subtype,
    )


@pytest.mark.parametrize(
    ("source", "suffix", "expected"),
    [
        (("WAV", "PCM_24"), ".wav", ("WAV", "PCM_24")),
        (("RF64", "PCM_24"), ".wav", ("RF64", "PCM_24")),
        (("WAVEX", "FLOAT"), ".WAV", ("WAVEX", "FLOAT")),
        (("W64", "PCM_16"), ".wav", ("WAV", "PCM_16")),
        (("WAV", "FLOAT"), ".flac", ("FLAC", "PCM_24")),
        (("MP3", "MPEG_LAYER_III"), ".wav", ("WAV", "PCM_16")),
        (("WAV", "PCM_16"), ".mp3", ("MP3", "MPEG_LAYER_III")),
        (("OGG", "OPUS"), ".ogg", ("OGG", "OPUS")),
        (("OGG", "VORBIS"), ".opus", ("OGG", "OPUS")),
        (("FLAC", "PCM_24"), ".ogg", ("OGG", "VORBIS")),
        (("WAV", "PCM_U8"), ".aiff", ("AIFF", "PCM_U8")),
        (("FLAC", "PCM_16"), "", ("FLAC", "PCM_16")),
    ],
)
def test_the_format_follows_the_input_as_far_as_the_name_allows(
    source: tuple[str, str], suffix: str, expected: tuple[str, str]
) -> None:
    chosen, note = choose_format(facts(*source), suffix)
    assert (chosen.container, chosen.subtype) == expected
    assert note is None


@pytest.mark.parametrize(
    ("container", "subtype", "samples"),
    [
        ("WAV", "IMA_ADPCM", 100),
        ("WAV", "GSM610", 100),
        ("CAF", "ALAC_24", 100),
        ("AIFF", "PCM_S8", 101),
    ],
)
def test_what_cannot_be_written_to_the_sample_becomes_pcm_and_says_so(
    container: str, subtype: str, samples: int
) -> None:
    chosen, note = choose_format(facts(container, subtype, samples=samples), "")
    assert chosen == AudioFormat(container, "PCM_24" if subtype == "ALAC_24" else "PCM_16")
    assert note is not None
    assert subtype in note


def test_a_subtype_that_the_container_lacks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"FLAC takes one of: PCM_S8, PCM_16, PCM_24"):
        choose_format(facts("WAV", "PCM_16"), ".flac", subtype="float")
    with pytest.raises(AudioFileError, match=r"'\.xyz' is not the extension of an audio file"):
        choose_format(facts("mov", "aac"), ".xyz")


def test_a_wav_that_would_outgrow_4_gib_becomes_rf64() -> None:
    stereo_4_gib = 2**32 // 4
    kind = AudioFormat("WAV", "PCM_16")
    assert wide_enough(kind, channels=2, samples=stereo_4_gib // 2) == kind
    wide = wide_enough(kind, channels=2, samples=stereo_4_gib)
    assert wide == AudioFormat("RF64", "PCM_16")
    assert wide_enough(AudioFormat("W64", "PCM_16"), channels=2, samples=stereo_4_gib) != wide
    with pytest.raises(AudioFileError, match="at most 4 GiB"):
        wide_enough(AudioFormat("AIFF", "PCM_24"), channels=2, samples=stereo_4_gib)


def test_a_format_that_changes_the_rate_is_refused_not_written(tmp_path: Path) -> None:
    with pytest.raises(AudioFileError, match="reads back as"):
        write_as(tmp_path / "x.voc", noise(1001), 44_100, ("VOC", "PCM_U8"))
    with pytest.raises(AudioFileError, match="Opus only supports"):
        write_as(tmp_path / "x.opus", noise(1001), 44_100, ("OGG", "OPUS"))


def test_resampling_keeps_a_tone() -> None:
    time_s = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 1000 * time_s)
    out = audio.resample(tone, from_hz=44_100, to_hz=16_000)
    assert out.shape == (1, 16_000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(out[0, 1000:-1000], expected[1000:-1000], atol=1e-5)
    with pytest.raises(SignalError, match="1000 Hz"):
        audio.resample(tone, from_hz=44_100, to_hz=1000)


def test_a_ragged_list_is_refused_and_half_precision_taken() -> None:
    with pytest.raises(SignalError, match="ragged"):
        audio.check_signal([[0.1, 0.2], [0.3]])
    assert audio.check_signal(np.zeros(9, np.float16)).dtype == np.float32


STATED = {
    "AVR": "PCM_16",
    "MAT4": "PCM_16",
    "MAT5": "PCM_16",
    "MPC2K": "PCM_16",
    "NIST": "PCM_16",
    "SDS": "PCM_16",
    "SVX": "PCM_16",
    "VOC": "PCM_16",
    "WVE": "ALAW",
}


@pytest.mark.parametrize("container", STATED)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_a_container_that_states_its_length_is_refused_when_cut(
    container: str, kept: float, tmp_path: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    noisy = make_noisy(seconds=2, rate_hz=8000)[0]
    sf.write(whole, noisy, 8000, format=container, subtype=STATED[container])
    assert audio.read(whole)[0].shape == (1, 16_000)
    content = whole.read_bytes()
    cut.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioFileError, match="truncated"):
        audio.read(cut)


def bits_per_s(path: Path) -> float:
    found = audio.info(path).bit_rate
    assert found is not None
    return found.bits_per_s


@pytest.mark.parametrize(
    ("rate_hz", "channels", "kbps"),
    [(48_000, 2, (32, 48, 64, 128, 320)), (44_100, 1, (32, 40, 56, 192)), (32_000, 2, (32, 96)),
     (24_000, 2, (8, 24, 80, 160)), (22_050, 1, (16, 64)), (16_000, 1, (8, 16, 48)),
     (11_025, 1, (8, 24, 64)), (8000, 2, (16, 32))],
)  # fmt: skip
@pytest.mark.parametrize("constant", [True, False])
def test_mp3_is_written_at_the_bit_rate_that_it_had(
    rate_hz: int, channels: int, kbps: tuple[int, ...], constant: bool, tmp_path: Path
) -> None:
    time = np.arange(4 * rate_hz + 77) / rate_hz
    noise = np.random.default_rng(0).normal(0, 0.03, (channels, len(time)))
    signal = (0.2 * np.sin(2 * np.pi * 300 * time) * np.sin(2 * np.pi * 1.3 * time) + noise).astype(
        np.float32
    )
    for wanted in kbps:
        path = tmp_path / f"{wanted}.mp3"
        with Writer(
            path,
            sample_rate_hz=rate_hz,
            channels=channels,
            audio_format=AudioFormat("MP3", "MPEG_LAYER_III"),
            bit_rate=BitRate(wanted * 1000, constant),
        ) as writer:
            writer.write(signal)
        tolerance = 0.15 if constant or wanted >= 16 else 0.5  # LAME has a floor
        assert bits_per_s(path) == pytest.approx(wanted * 1000, rel=tolerance)
        found, _ = audio.read(path)
        assert found.shape == signal.shape
        centre = slice(rate_hz, 2 * rate_hz)
        shifts = [
            float(np.sum(found[0, centre] * np.roll(signal[0], k)[centre])) for k in (-9, 0, 9)
        ]
        assert max(shifts) == shifts[1]


def test_a_cover_does_not_count_as_bit_rate(
    tmp_path: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    path = tmp_path / "x.mp3"
    audio.write(path, make_noisy(seconds=5), sample_rate_hz=16_000)
    before = bits_per_s(path)
    cover = flac.Picture()
    cover.data, cover.mime = bytes(1_000_000), "image/png"
    path.write_bytes(id3_bytes(Tags(pictures=[cover])) + path.read_bytes())
    assert bits_per_s(path) == before
    song = tmp_path / "x.ogg"
    audio.write(song, make_noisy(seconds=5), sample_rate_hz=16_000)
    before = bits_per_s(song)
    tagged = oggvorbis.OggVorbis(song)
    tagged["metadata_block_picture"] = "A" * 1_000_000
    tagged.save()
    assert bits_per_s(song) == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize("level", [0.1, 0.4, 0.7])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_vorbis_is_written_at_the_quality_that_it_had(
    level: float, rate_hz: int, tmp_path: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    source, target = tmp_path / "x.ogg", tmp_path / "y.ogg"
    noisy = make_noisy(seconds=4, rate_hz=rate_hz, channels=2)
    sf.write(source, noisy.T, rate_hz, format="OGG", subtype="VORBIS", compression_level=level)
    found = audio.info(source)
    with Writer(
        target,
        sample_rate_hz=rate_hz,
        channels=2,
        audio_format=AudioFormat("OGG", "VORBIS"),
        bit_rate=found.bit_rate,
    ) as writer:
        writer.write(audio.read(source)[0])
    assert bits_per_s(target) == pytest.approx(bits_per_s(source), rel=0.15)
