"""What is not sound, carried from a recording to the same recording denoised.

Between files of one kind everything is carried as it is, unread: chunks, ID3 tags, FLAC's blocks,
Vorbis comments, MP4's items. Between two kinds `tinysignal.audio.tags` translates; what the new
kind cannot hold is named.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from mutagen import flac, mp4, ogg

from tinysignal.audio.chunks import (
    AIFF,
    RIFF,
    RIFX,
    append_chunk,
    beside_the_sound,
    carry_chunks,
    family_at,
    insert,
)
from tinysignal.audio.formats import AudioInfo
from tinysignal.audio.mp3 import leading_bytes, trailing_bytes
from tinysignal.audio.tags import (
    UNREADABLE,
    Tags,
    common_name,
    from_file,
    from_id3_bytes,
    id3_bytes,
    open_tags,
    to_file,
)

_INFO_NAMES = {
    "INAM": "title",
    "IART": "artist",
    "IPRD": "album",
    "ICMT": "comment",
    "ICRD": "date",
    "IGNR": "genre",
    "ICOP": "copyright",
    "ITRK": "tracknumber",
    "IPRT": "tracknumber",
    "ILNG": "language",
    "ISRC": "source",
    "ISFT": "software",
    "IENG": "engineer",
    "IKEY": "keywords",
    "ISBJ": "subject",
    "ICMS": "commissioned",
    "ITCH": "technician",
    "IMED": "media",
    "IARL": "archive",
    "IWRI": "lyricist",
    "IMUS": "composer",
}
_MOST_INFO_BYTES = 1 << 20
_MOST_ID3_BYTES = 1 << 28
# The names that libsndfile writes into the header of these.
_AIFF_NAMES = frozenset({"title", "copyright", "artist", "comment"})
_WAV_NAMES = _AIFF_NAMES | {"date", "album", "genre", "tracknumber"}
_HEADER_NAMES = {
    **dict.fromkeys(("WAV", "WAVEX", "RF64"), _WAV_NAMES),
    "AIFF": _AIFF_NAMES,
    "CAF": _WAV_NAMES | {"license"},
}


def header_tags(info: AudioInfo, container: str) -> dict[str, str]:
    """The tags that libsndfile is to write: none where `carry` does."""
    if _family(info.container) == _family(container):
        return {}
    names = {common_name(name): text for name, text in info.tags.items()}
    known = _HEADER_NAMES.get(container, frozenset())
    return {name: text for name, text in names.items() if name in known}


def _family(container: str) -> str:
    return "WAV" if container in ("WAVEX", "RF64") else container


def carry(source: Path, target: Path, info: AudioInfo, *, container: str | None) -> list[str]:
    """Carry what is not sound from one file to another of the same length.

    Parameters
    ----------
    source, target : Path
        ``target`` holds sound and what `header_tags` said.
    info : AudioInfo
        The facts of ``source``.
    container : str or None
        Of ``target``, by libsndfile's name; None if FFmpeg wrote it, with the tags that it knows.

    Returns
    -------
    list of str
        What the target's kind cannot hold.

    Raises
    ------
    OSError
        The disk is full.
    """
    family = family_at(source)
    lost = carry_chunks(source, target)
    if family is not None and family_at(target) is family:
        return lost
    if info.container == container == "MP3":
        _carry_around(source, target)
        return lost
    try:
        before = None if family else open_tags(source)
        tags = _chunk_tags(source) if family else from_file(before)
    except UNREADABLE:
        return [*lost, "tags, which are damaged"]
    after = open_tags(target) if family_at(target) is None else None
    if _carry_alike(before, after):
        return lost
    _add_header_tags(source, info, tags)
    by_ffmpeg = container is None and not isinstance(after, mp4.MP4)
    unwritten = [] if by_ffmpeg else _write(target, after, tags)
    known = {} if container is None else header_tags(info, container)
    return lost + tags.other + [name for name in unwritten if name not in known]


def _write(target: Path, after: Any, tags: Tags) -> list[str]:
    """Write tags in the way of the target's kind; the names of what it cannot hold."""
    if not tags.names:
        return []
    family = family_at(target)
    if family in (RIFF, RIFX, AIFF):
        if not tags.text.keys() <= _AIFF_NAMES or tags.pictures or tags.chapters:
            append_chunk(target, b"ID3 " if family is AIFF else b"id3 ", id3_bytes(tags))
        return []
    return to_file(after, tags)


def _chunk_tags(path: Path) -> Tags:
    """The ID3 tags in a chunk of a file."""
    _, chunks = beside_the_sound(path)
    with path.open("rb") as file:
        for chunk in chunks:
            if chunk.name in (b"id3 ", b"ID3 "):
                file.seek(chunk.start)
                return from_id3_bytes(file.read(min(chunk.size, _MOST_ID3_BYTES)))
    return Tags()


def _carry_around(source: Path, target: Path) -> None:
    """What stands before and after the frames of an MP3 file."""
    with source.open("rb") as read, target.open("r+b") as written:
        size = leading_bytes(read)
        read.seek(0)
        insert(written, 0, read.read(size))
        size = trailing_bytes(read)
        read.seek(-size, 2)
        written.seek(0, 2)
        written.write(read.read(size))


def _carry_alike(before: Any, after: Any) -> bool:
    """Whether both files are of one kind; all of it is carried then."""
    if isinstance(before, flac.FLAC) and isinstance(after, flac.FLAC):
        kept = [b for b in before.metadata_blocks if b.code not in (0, 1, 3)]
        after.metadata_blocks = [after.metadata_blocks[0], *kept]
        after.tags = before.tags
    elif isinstance(before, ogg.OggFileType) and isinstance(after, ogg.OggFileType):
        held: Any = after.tags
        held.clear()
        held.extend(before.tags)
    elif isinstance(before, mp4.MP4) and isinstance(after, mp4.MP4):
        if before.tags is None:
            return True
        if after.tags is None:
            after.add_tags()
        after.tags.clear()
        after.tags.update(before.tags)
    else:
        return False
    after.save()
    return True


def _add_header_tags(source: Path, info: AudioInfo, tags: Tags) -> None:
    """What libsndfile or FFmpeg read of a kind that mutagen does not, and a WAV's own list."""
    found = {common_name(name): [text] for name, text in info.tags.items()}
    found |= _riff_info(source)
    for name in ("software", "encoder"):
        found.pop(name, None)
    tags.text = {**found, **tags.text}


def _riff_info(path: Path) -> dict[str, list[str]]:
    """The texts of a WAV file's INFO list, by the names of Vorbis comments."""
    family, chunks = beside_the_sound(path)
    found: dict[str, list[str]] = {}
    if family is None or family.name != "WAV":
        return found
    with path.open("rb") as file:
        for chunk in chunks:
            file.seek(chunk.start)
            if chunk.name != b"LIST" or file.read(4) != b"INFO":
                continue
            body = file.read(min(chunk.size - 4, _MOST_INFO_BYTES))
            at = 0
            while at + 8 <= len(body):
                name = body[at : at + 4].decode("latin-1").strip()
                size = struct.unpack("<I", body[at + 4 : at + 8])[0]
                raw = body[at + 8 : at + 8 + size].partition(b"\0")[0]
                at += 8 + size + size % 2
                if raw:
                    found.setdefault(_INFO_NAMES.get(name, name.lower()), []).append(_text(raw))
    return found


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")
