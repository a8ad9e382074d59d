"""Files of some forty kinds, each with all that its kind can hold beside the sound."""

from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile as sf
import soxr
from mutagen import File, flac, id3, mp4
from PIL import Image

Signal = np.ndarray[Any, np.dtype[np.float32]]
Maker = Callable[[Path, Signal], None]
RATE_HZ = 48_000
TAGS = {"title": "Interview 12", "artist": "Host", "comment": "in the field", "date": "2024-05-06"}
_SUBTITLE_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\n"
    b"Format: Name, Fontname, Fontsize\r\nStyle: Default,Arial,16\r\n\r\n[Events]\r\n"
    b"Format: Layer, Start, End, Style, Text\r\n"
)
CHAPTERS = ((0.0, "Question"), (1.5, "Answer"))


def cover() -> bytes:
    """A small PNG picture."""
    from io import BytesIO

    held = BytesIO()
    Image.new("RGB", (32, 32), (200, 30, 30)).save(held, "PNG")
    return held.getvalue()


def chunk(name: bytes, body: bytes, order: str = "<") -> bytes:
    """A chunk of RIFF or AIFF."""
    return name + struct.pack(f"{order}I", len(body)) + body + bytes(len(body) % 2)


def field_chunks() -> tuple[bytes, bytes]:
    """What a field recorder writes before and after the sound."""
    bext = b"Interview 12".ljust(256, b"\0") + b"Recorder".ljust(32, b"\0") + bytes(32)
    bext += b"2024-05-0610:11:12" + struct.pack("<QH", 123_456_789, 1) + bytes(254)
    marks = ((1, 48_000), (2, 96_000))
    cue = struct.pack("<I", len(marks))
    cue += b"".join(struct.pack("<II4sIII", i, p, b"data", 0, 0, p) for i, p in marks)
    labels = b"adtl" + chunk(b"labl", struct.pack("<I", 1) + b"Question 1\0")
    info = b"INFO" + b"".join(
        chunk(name, text.encode() + b"\0")
        for name, text in zip((b"INAM", b"IART", b"ICMT", b"ICRD"), TAGS.values(), strict=True)
    )
    first = chunk(b"bext", bext) + chunk(b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>!")
    last = chunk(b"cue ", cue) + chunk(b"LIST", labels) + chunk(b"LIST", info)
    return first, last + chunk(b"smpl", bytes(36))


def plain(container: str, subtype: str, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Maker:
    """A file of libsndfile's, with the tags that it knows there."""

    def make(path: Path, signal: Signal) -> None:
        samples = shaped(signal, rate_hz, channels)
        with sf.SoundFile(path, "w", rate_hz, channels, format=container, subtype=subtype) as file:
            for name, text in TAGS.items():
                try:
                    setattr(file, name, text)
                except sf.LibsndfileError:
                    continue
            file.write(samples.T)

    return make


def field_wav(container: str = "WAV", subtype: str = "PCM_24") -> Maker:
    """A broadcast WAV."""

    def make(path: Path, signal: Signal) -> None:
        sf.write(path, signal.T, RATE_HZ, format=container, subtype=subtype)
        content = path.read_bytes()
        first, last = field_chunks()
        at = content.index(b"data")
        content = content[:at] + first + content[at:] + last
        if container == "RF64":
            content = content[:20] + struct.pack("<Q", len(content) - 8) + content[28:]
        else:
            content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
        path.write_bytes(content)

    return make


def surround(path: Path, signal: Signal) -> None:
    """Six channels with their loudspeakers."""
    six = np.concatenate([signal, 0.5 * signal, 0.25 * signal])
    sf.write(path, six.T, RATE_HZ, format="WAVEX", subtype="PCM_24")
    content = bytearray(path.read_bytes())
    at = content.index(b"fmt ") + 8 + 20
    content[at : at + 4] = struct.pack("<I", 0x60F)  # 5.1 with side loudspeakers
    path.write_bytes(content)


def aiff(path: Path, signal: Signal) -> None:
    """Marks and tags in AIFF."""
    plain("AIFF", "PCM_24")(path, signal)
    mark = struct.pack(">HHI", 1, 1, 48_000) + b"\x02Q1\0"
    content = path.read_bytes() + chunk(b"MARK", mark, ">") + chunk(b"INST", bytes(20), ">")
    path.write_bytes(content[:4] + struct.pack(">I", len(content) - 8) + content[8:])


def tagged(make: Maker) -> Maker:
    """The file with tags, a cover and chapters in its kind's own way."""

    def made(path: Path, signal: Signal) -> None:
        make(path, signal)
        song = File(path)
        if song.tags is None:
            song.add_tags()
        if isinstance(song.tags, id3.ID3):
            song.tags.add(id3.TIT2(encoding=3, text=TAGS["title"]))
            song.tags.add(id3.TPE1(encoding=3, text=TAGS["artist"]))
            song.tags.add(id3.TDRC(encoding=3, text=TAGS["date"]))
            song.tags.add(id3.TXXX(encoding=3, desc="podcast_guid", text="abc"))
            song.tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=cover()))
            ids = [f"c{index}" for index, _ in enumerate(CHAPTERS)]
            ends = [*(start for start, _ in CHAPTERS[1:]), signal.shape[1] / RATE_HZ]
            for name, (start, title), end in zip(ids, CHAPTERS, ends, strict=True):
                mark = id3.CHAP(
                    element_id=name,
                    start_time=round(1000 * start),
                    end_time=round(1000 * end),
                    start_offset=0xFFFFFFFF,
                    end_offset=0xFFFFFFFF,
                    sub_frames=[id3.TIT2(encoding=3, text=title)],
                )
                song.tags.add(mark)
            song.tags.add(id3.CTOC(element_id="toc", flags=3, child_element_ids=ids, sub_frames=[]))
        elif isinstance(song, mp4.MP4):
            song.tags["covr"] = [mp4.MP4Cover(cover(), mp4.MP4Cover.FORMAT_PNG)]
            song.tags["----:com.apple.iTunes:podcast_guid"] = [b"abc"]
        else:
            picture = flac.Picture()
            picture.data, picture.mime, picture.type = cover(), "image/png", 3
            for name, text in {**TAGS, "podcast_guid": "abc"}.items():
                song[name] = text
            for number, (start, title) in enumerate(CHAPTERS, 1):
                song[f"CHAPTER{number:03d}"] = f"00:00:{start:06.3f}"
                song[f"CHAPTER{number:03d}NAME"] = title
            if isinstance(song, flac.FLAC):
                song.add_picture(picture)
            else:
                from base64 import b64encode

                song["metadata_block_picture"] = b64encode(picture.write()).decode()
        song.save()

    return made


def encoded(
    codec: str,
    *,
    container: str | None = None,
    kbps: int = 0,
    rate_hz: int = RATE_HZ,
    channels: int = 2,
    pictures: str = "",
    tracks: int = 1,
    subtitles: str = "",
    chapters: bool = False,
    tags: bool = True,
    timecode: bool = False,
    attachment: bool = False,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
) -> Maker:
    """A file of FFmpeg's: sound, and pictures, further tracks, subtitles, chapters, a timecode."""

    def make(path: Path, signal: Signal) -> None:
        samples = shaped(signal, rate_hz, channels)
        with av.open(str(path), "w", format=container, options=options or {}) as file:
            if tags:
                file.metadata.update(TAGS)
            file.metadata.update(metadata or {})
            film = add_film(file, pictures, timecode) if pictures else None
            sounds = [add_sound(file, codec, rate_hz, channels, kbps) for _ in range(tracks)]
            for sound, language in zip(sounds, ("eng", "deu", "fra"), strict=False):
                if pictures:
                    sound.metadata["language"] = language
            words = add_words(file, subtitles) if subtitles else None
            if attachment:
                file.add_attachment("font.ttf", "font/ttf", b"a font" * 10)
            if chapters:
                file.set_chapters(marks(samples.shape[1] / rate_hz))
            for sound in sounds:
                write_sound(file, sound, samples, rate_hz)
            if film is not None:
                write_film(file, film, samples.shape[1] / rate_hz)
            if words is not None:
                write_words(file, words)

    return make


def marks(seconds: float) -> list[dict[str, Any]]:
    """`CHAPTERS` as PyAV takes them."""
    ends = [*(start for start, _ in CHAPTERS[1:]), seconds]
    return [
        {
            "id": number,
            "start": round(start * 1000),
            "end": round(end * 1000),
            "time_base": Fraction(1, 1000),
            "metadata": {"title": title},
        }
        for number, ((start, title), end) in enumerate(zip(CHAPTERS, ends, strict=True), 1)
    ]


def shaped(signal: Signal, rate_hz: int, channels: int) -> Signal:
    """The signal at another rate, with one channel or two."""
    rows = signal if rate_hz == RATE_HZ else soxr.resample(signal.T, RATE_HZ, rate_hz).T
    return np.ascontiguousarray(rows[:channels], np.float32)


def add_sound(file: Any, codec: str, rate_hz: int, channels: int, kbps: int) -> Any:
    """A sound track."""
    sound = file.add_stream(codec, rate=rate_hz, layout="mono" if channels == 1 else "stereo")
    if kbps:
        sound.bit_rate = kbps * 1000
    return sound


def write_sound(file: Any, sound: Any, samples: Signal, rate_hz: int) -> None:
    """All of the samples."""
    layout = "mono" if len(samples) == 1 else "stereo"
    for start in range(0, samples.shape[1], 4800):
        block = np.ascontiguousarray(samples[:, start : start + 4800])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, start, Fraction(1, rate_hz)
        file.mux(sound.encode(frame))
    file.mux(sound.encode(None))


def add_film(file: Any, codec: str, timecode: bool) -> Any:
    """Pictures of 64 by 48 at 10 a second."""
    film = file.add_stream(codec, rate=10)
    film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
    if timecode:
        film.metadata["timecode"] = "01:02:03:04"
    return film


def write_film(file: Any, film: Any, seconds: float) -> None:
    """A grey that grows lighter."""
    for number in range(int(10 * seconds)):
        grey = np.full((48, 64, 3), 5 * number % 256, np.uint8)
        frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
        frame.pts, frame.time_base = number, Fraction(1, 10)
        file.mux(film.encode(frame))
    file.mux(film.encode(None))


def add_words(file: Any, codec: str) -> Any:
    """A track of subtitles."""
    words = file.add_stream(codec)
    words.codec_context.subtitle_header = _SUBTITLE_HEADER
    words.metadata["language"] = "eng"
    return words


def write_words(file: Any, words: Any) -> None:
    """Two lines."""
    for start, text in ((0, "Question"), (1500, "Answer")):
        content = text.encode()
        if words.codec_context.name == "mov_text":
            content = struct.pack(">H", len(content)) + content
        packet = av.Packet(content)
        packet.stream, packet.time_base = words, Fraction(1, 1000)
        packet.pts = packet.dts = start
        packet.duration = 1000
        file.mux(packet)


FILES: dict[str, tuple[str, Maker]] = {
    "WAV, 16 bits": ("plain.wav", plain("WAV", "PCM_16")),
    "WAV, 8 bits, mono, 8 kHz": ("small.wav", plain("WAV", "PCM_U8", rate_hz=8000, channels=1)),
    "WAV, A-law, 8 kHz": ("phone.wav", plain("WAV", "ALAW", rate_hz=8000, channels=1)),
    "WAV, floats, 96 kHz": ("float.wav", plain("WAV", "FLOAT", rate_hz=96_000)),
    "Broadcast WAV, 24 bits": ("field.wav", field_wav()),
    "RF64, field recorder": ("field.rf64", field_wav("RF64")),
    "WAV, 5.1": ("surround.wav", surround),
    "WAV with MP3 inside": ("mp3.wav", encoded("libmp3lame", container="wav", kbps=128)),
    "WAV, IMA ADPCM": ("adpcm.wav", plain("WAV", "IMA_ADPCM")),
    "W64": ("plain.w64", plain("W64", "PCM_24")),
    "AIFF with marks": ("marks.aiff", aiff),
    "CAF": ("plain.caf", plain("CAF", "PCM_24")),
    "CAF, ALAC": ("alac.caf", encoded("alac", container="caf")),
    "AU": ("plain.au", plain("AU", "PCM_16")),
    "FLAC, 16 bits": ("plain.flac", tagged(plain("FLAC", "PCM_16"))),
    "FLAC, 24 bits, 96 kHz": ("high.flac", tagged(plain("FLAC", "PCM_24", rate_hz=96_000))),
    "MP3, 128 kbit/s": ("128.mp3", tagged(encoded("libmp3lame", kbps=128, tags=False))),
    "MP3, 320 kbit/s": ("320.mp3", tagged(encoded("libmp3lame", kbps=320, tags=False))),
    "MP3, 32 kbit/s mono": (
        "32.mp3",
        tagged(encoded("libmp3lame", kbps=32, rate_hz=44_100, channels=1, tags=False)),
    ),
    "MP3, 24 kbit/s, 22.05 kHz": (
        "24.mp3",
        tagged(encoded("libmp3lame", kbps=24, rate_hz=22_050, channels=1, tags=False)),
    ),
    "Ogg Vorbis": ("vorbis.ogg", tagged(plain("OGG", "VORBIS"))),
    "Opus": ("opus.opus", tagged(plain("OGG", "OPUS"))),
    "FLAC in Ogg": ("flac.oga", encoded("flac", container="ogg")),
    "M4A, AAC": ("aac.m4a", tagged(encoded("aac", container="mp4", kbps=128, chapters=True))),
    "M4A, ALAC": ("alac.m4a", encoded("alac", container="ipod")),
    "M4B, audiobook": ("book.m4b", tagged(encoded("aac", container="mp4", kbps=64, chapters=True))),
    "AAC, bare": ("bare.aac", encoded("aac", container="adts", kbps=128, tags=False)),
    "AC-3, bare": ("bare.ac3", encoded("ac3", kbps=192, tags=False)),
    "MP2, bare": ("bare.mp2", encoded("mp2", kbps=192, tags=False)),
    "WMA": ("plain.wma", encoded("wmav2", container="asf", kbps=128)),
    "WavPack": ("plain.wv", encoded("wavpack", container="wv", tags=False)),
    "TTA": ("plain.tta", encoded("tta", container="tta", tags=False)),
    "Matroska audio, FLAC": ("flac.mka", encoded("flac", container="matroska", chapters=True)),
    "WebM audio, Opus": ("opus.weba", encoded("libopus", container="webm", kbps=96)),
    "MP4 film": (
        "film.mp4",
        encoded("aac", kbps=128, pictures="mpeg4", subtitles="mov_text", chapters=True),
    ),
    "MOV film with timecode": (
        "film.mov",
        encoded(
            "pcm_s16le",
            pictures="mpeg4",
            timecode=True,
            options={"movflags": "use_metadata_tags"},
            metadata={"com.apple.quicktime.make": "Camera"},
        ),
    ),
    "Matroska film, two tracks": (
        "film.mkv",
        encoded(
            "libopus", kbps=96, pictures="mpeg4", tracks=2, subtitles="subrip", chapters=True,
            attachment=True,
        ),
    ),
    "WebM film": ("film.webm", encoded("libopus", pictures="libvpx", kbps=112)),
    "AVI film, MP3": ("film.avi", encoded("libmp3lame", pictures="mpeg4", kbps=128)),
    "WMV film": ("film.wmv", encoded("wmav2", container="asf", pictures="wmv2", kbps=128)),
    "MPEG-TS film, AAC": ("film.ts", encoded("aac", pictures="mpeg2video", kbps=128, tags=False)),
    "FLV film": ("film.flv", encoded("aac", pictures="flv1", kbps=128, tags=False)),
}  # fmt: skip
"""By its name: the file's name and what makes it of the signal, float32 (2, time) at 48 kHz."""
