"""What a writer has to know of the file that its film comes from."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

from tinysignal.audio.ffmpeg_copies import is_cover
from tinysignal.audio.ffmpeg_tracks import SOUND_ONLY, demuxed, kept_tags, open_source
from tinysignal.audio.mp4_tracks import has_quicktime_keys
from tinysignal.errors import AudioFileError

# Tags that Apple's own list of a sound file holds; others need QuickTime's list of keys.
_ITUNES_NAMES = (
    "title artist album_artist composer album date comment genre copyright grouping lyrics "
    "description synopsis show episode_id network keywords track disc tmpo compilation hd_video "
    "gapless_playback media_type rating sort_name sort_artist sort_album sort_album_artist "
    "sort_composer sort_show season_number episode_sort creation_time timecode encoder"
)
_ITUNES = frozenset(_ITUNES_NAMES.split(" "))
_APPLE = (".mp4", ".m4v", ".m4a", ".m4b")
_MEASURED_PACKETS = 2_000  # from which the bit rate of a track is taken
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}


def layout(context: Any) -> str:
    """The name of the channels; files that only state their number get the usual ones."""
    name, channels = str(context.layout.name), int(context.channels)
    return usual_layout(channels) if "channels" in name else name


def usual_layout(channels: int) -> str:
    """FFmpeg's name of the speakers that so many channels mostly stand for."""
    return _LAYOUTS.get(channels, f"{channels}c")


def is_sound(path: Path) -> bool:
    """Whether a name is that of a sound file of FFmpeg's."""
    return path.suffix.lower() in SOUND_ONLY


def has_film(source: Any) -> bool:
    """Whether there is a picture that is no cover."""
    return source is not None and any(not is_cover(s) for s in source.streams.video)


def carries_items(source: Path, target: Path) -> bool:
    """Whether `tinysignal.audio.metadata.carry` completes the tags that FFmpeg wrote.

    It knows Apple's list of items, not QuickTime's list of keys.
    """
    suffix = target.suffix.lower()
    if has_quicktime_keys(source):
        return False
    return suffix in (".m4a", ".m4b") or (suffix in _APPLE and source.suffix.lower() in _APPLE)


# Kinds without a header: FFmpeg takes the bit rate of AAC from one frame, which may be silent.
_OF_ONE_FRAME = ("aac", "loas", "mpegts", "mpeg")


def has_data(source: Any | None) -> bool:
    """Whether there are tracks that may have to be moved behind the index."""
    return source is not None and any(
        stream.type == "data"
        and "timecode" not in stream.metadata
        and stream.discard.name != "all"  # the titles of chapters
        for stream in source.streams
    )


def is_plain(source: Any) -> bool:
    """Whether libsndfile would have read it, so that nobody expects its codec elsewhere."""
    names = ("wav", "w64", "aiff", "au", "caf", "flac", "mp3", "rf64", "nistsphere", "voc")
    codecs = {track.codec_context.name for track in source.streams.audio if track.codec_context}
    known = source.format.name in names or (
        source.format.name == "ogg" and codecs <= {"vorbis", "opus", "libopus"}
    )
    return known and not has_film(source)


def source_of_streams(av: Any, path: Path) -> Any | None:
    """The container of the source; None if only libsndfile reads it."""
    try:
        container = open_source(av, path)
    except AudioFileError:
        return None
    if not container.streams.audio:
        container.close()
        return None
    return container


def measured(av: Any, path: Path, index: int) -> tuple[float, float]:
    """When the sound of a track begins, in seconds, and its bit rate."""
    with open_source(av, path) as container:
        track = container.streams[index]
        start_s = None
        size, seconds = 0, 0.0
        for count, packet in enumerate(demuxed(container, track)):
            if start_s is None:
                with suppress(av.error.FFmpegError):
                    for frame in packet.decode():
                        if start_s is None and frame.pts is not None:
                            start_s = float(frame.pts * frame.time_base)
            size += packet.size
            seconds += float((packet.duration or 0) * (packet.time_base or 0))
            if count > _MEASURED_PACKETS:
                break
        found = 8 * size / seconds if seconds else 0.0
        stated = track.codec_context.bit_rate or 0
        if found and container.format.name in _OF_ONE_FRAME:
            stated = 0
        bits_per_s = stated or found
        return start_s or 0.0, float(bits_per_s)


def begins_with_index(path: Path) -> bool:
    """Whether an MP4 or MOV file has its index before its samples, so that it can be streamed."""
    with path.open("rb") as file:
        for _ in range(8):
            head = file.read(8)
            if len(head) < 8:
                return False
            size, name = struct.unpack(">I4s", head)
            if name == b"moov":
                return True
            if name not in (b"ftyp", b"free", b"wide", b"skip", b"uuid") or size < 8:
                return False
            file.seek(size - 8, 1)
    return False


def has_foreign_keys(source: Any, path: Path, target: Path) -> bool:
    """Whether tags need QuickTime's list of keys: a phone's, and those of no Apple name.

    Sound files, and films that had it, keep Apple's own list, which players read.
    """
    if is_sound(target):
        return False
    if source.format.name.startswith("mov"):
        return has_quicktime_keys(path)
    return bool(set(kept_tags(source.metadata)) - _ITUNES)
