"""Files that FFmpeg opens: which endings, which sound track, and its facts."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from tinysignal.audio.formats import AudioInfo
from tinysignal.errors import AudioFileError, ConfigError, MissingExtraError

_FILMS = "3g2 3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm wmv"
_SOUNDS = "aac ac3 eac3 m4a m4b mka mp2 tta weba wma wv"
_READ = "ac4 amr ape awb dff dsf dts dv f4v mlp mpc mxf nut qcp rm rmvb shn spx tak thd wtv"


def _endings(names: str) -> frozenset[str]:
    return frozenset(f".{name}" for name in names.split(" "))


SOUND_ONLY = _endings(_SOUNDS)
"""Endings of files that hold a sound track and at most a cover picture."""
WRITTEN = _endings(_FILMS) | SOUND_ONLY
ONLY_READ = _endings(_READ)
SUFFIXES = WRITTEN | ONLY_READ
BRANDS = ("major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER")

# Headerless samples and texts, which FFmpeg takes by their ending alone, at a rate of its own.
_RAW_NAMES = (
    "act adp alaw apc aptx aptx_hd bin bitpacked bit codec2raw data daud dfpwm f32be f32le f64be "
    "f64le g722 g723_1 g726 g726le g728 g729 gsm mulaw s16be s16le s24be s24le s32be s32le s8 sbc "
    "sln spdif tty u16be u16le u24be u24le u32be u32le u8 vidc"
)
_GUESSED = frozenset(_RAW_NAMES.split(" "))
_REMOTE = frozenset(("concat", "dash", "hls", "lavfi", "rtsp", "sap", "sdp", "ffmetadata", "imf"))


def import_av(path: str | Path) -> Any:
    """PyAV, needed for that file; FFmpeg's own lines stay off the screen.

    Raises
    ------
    MissingExtraError
    """
    try:
        import av  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError(f"{path}: reading or writing this kind of file", "video") from None
    av.logging.set_level(None)
    return av


def open_source(av: Any, path: Path) -> Any:
    """The opened container of a file whose content says what it is.

    Raises
    ------
    AudioFileError
    """
    try:
        # A path such as 'concat:x' is a file here, and a file may not name further ones.
        container = av.open(
            f"file:{path}",
            metadata_errors="replace",
            options={"protocol_whitelist": "file"},
        )
    except (av.error.FFmpegError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        found = what_it_is(path)
        raise AudioFileError(
            f"{path}: not a readable audio or video file ({found or what})."
        ) from None
    name = container.format.name
    if name in _GUESSED or name in _REMOTE:
        container.close()
        found = what_it_is(path) or "it has no header that states a rate and a number of channels"
        raise AudioFileError(f"{path}: not a readable audio or video file ({found}).")
    return container


def demuxed(container: Any, *streams: Any) -> Iterator[Any]:
    """Packets of these streams or all, an empty one of each last."""
    try:
        yield from container.demux(*streams)
    except IndexError:
        return  # PyAV stumbles at its end over streams that appear on the way, as in MPEG-TS


def what_it_is(path: Path) -> str | None:
    """What a file holds that is no sound; None for what may be.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tinysignal.audio.ffmpeg_tracks import what_it_is
    >>> page = Path("talk.mp3")
    >>> _ = page.write_text("<html>404</html>")
    >>> what_it_is(page)
    'it is a web page: download the recording itself'
    """
    with path.open("rb") as file:
        head = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "it is a web page: download the recording itself"
    if head.startswith((b"<?xml", b"{", b"#extm3u", b"[playlist]")):
        return "it is a text, such as a playlist or a message, expected a recording"
    kinds = {b"\x89png": "a picture", b"\xff\xd8\xff": "a picture", b"gif8": "a picture"}
    kinds |= {b"%pdf": "a PDF document", b"pk\x03\x04": "a zip archive", b"\x1f\x8b": "gzip"}
    for start, kind in kinds.items():
        if head.startswith(start):
            return f"it is {kind}"
    return None


def sound_tracks(path: Path, container: Any) -> list[Any]:
    """The sound tracks that FFmpeg can decode, in the order of the file.

    Raises
    ------
    AudioFileError
        There is none.
    """
    tracks = list(container.streams.audio)
    if not tracks:
        raise AudioFileError(f"{path}: there is no sound track in it.")
    return tracks


def count_tracks(path: Path) -> int:
    """Number of sound tracks; 1 for a file of libsndfile's kinds.

    Raises
    ------
    AudioFileError
        A film without one.
    """
    try:
        with open_source(import_av(path), path) as container:
            return len(sound_tracks(path, container))
    except MissingExtraError:
        return 1
    except AudioFileError:
        if path.suffix.lower() in SUFFIXES:
            raise
        return 1


def choose_track(path: Path, container: Any, number: int | None) -> Any:
    """The sound track of that number, counted from 1; for None the default one, else the first.

    Raises
    ------
    AudioFileError
        There is no sound track, or it cannot be decoded.
    ConfigError
        There are fewer.
    """
    tracks = sound_tracks(path, container)
    if number is None:
        defaults = [track for track in tracks if track.disposition & 1]
        track = (defaults or tracks)[0]
    elif number <= len(tracks):
        track = tracks[number - 1]
    else:
        raise ConfigError(f"track {number}, but {path} has {len(tracks)} sound track(s).")
    if track.codec_context is None or not track.codec_context.sample_rate:
        raise AudioFileError(f"{path}: FFmpeg has no decoder for its sound track.")
    return track


def track_facts(path: Path, container: Any, track: Any) -> AudioInfo:
    """The facts of a sound track; the length is what the container says."""
    rate_hz = track.codec_context.sample_rate
    if track.duration is not None and container.format.name != "avi":  # there in strange units
        duration_s = float(track.duration * track.time_base)
    else:
        duration_s = (container.duration or 0) / 1e6  # AV_TIME_BASE
    names = container.format.name.split(",")
    suffix = path.suffix.lower().lstrip(".")
    return AudioInfo(
        sample_rate_hz=rate_hz,
        channels=track.codec_context.channels,
        samples=max(1, round(duration_s * rate_hz)),  # 0 stands for unknown
        container=suffix if suffix in names else names[0],
        subtype=track.codec_context.codec.name,
        tags=kept_tags(container.metadata),
    )


def kept_tags(metadata: dict[str, str], *, but: Collection[str] = BRANDS) -> dict[str, str]:
    """Tags without those that describe the old file's making."""
    return {name: text for name, text in metadata.items() if name not in but}
