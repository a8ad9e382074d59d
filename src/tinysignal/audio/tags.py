"""Tags, cover pictures and chapters of any kind of file, read and written by mutagen.

Between two kinds they take names that all kinds know: those of Vorbis comments, in lower case.
What a kind has no field for goes to its free fields (``TXXX`` in ID3, ``----`` in MP4).
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import mutagen
from mutagen import apev2, flac, id3, mp4, ogg
from mutagen._vorbis import VComment
from mutagen.easyid3 import EasyID3
from mutagen.easymp4 import EasyMP4Tags

from tinysignal.audio.mp3 import leading_bytes

# What mutagen raises for damaged tags.
UNREADABLE = (
    mutagen.MutagenError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    EOFError,
    struct.error,
    zlib.error,
)
_MOST_BYTES = 64 << 20  # of one compressed frame
# Of the program or the file that was, not of the recording.
_OF_THE_FILE = frozenset({"encoder", "encoded_by", "software", "length", "encodedby"})
_OTHER_NAMES = {
    "album_artist": "albumartist",
    "album artist": "albumartist",
    "track": "tracknumber",
    "disc": "discnumber",
}
_CHAPTER = re.compile(r"chapter(\d{3})(name)?")
_MP4_TEXT = {"composer": "\xa9wrt", "lyrics": "\xa9lyr", "description": "desc"}
_FREE = "----:com.apple.iTunes:"


@dataclass(frozen=True)
class Chapter:
    """A stretch of a recording with a title."""

    start_s: float
    end_s: float
    title: str


@dataclass
class Tags:
    """What is said about a recording.

    Parameters
    ----------
    text : dict of str to list of str
        By Vorbis's names in lower case: ``title``, ``artist``, ``tracknumber``.
    pictures : list of mutagen.flac.Picture
    chapters : list of Chapter
    other : list of str
        What only this kind of file has a place for, by its name there.
    """

    text: dict[str, list[str]] = field(default_factory=dict)
    pictures: list[Any] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """What a message calls all of it."""
        found = sorted(self.text) + ["cover picture"] * bool(self.pictures)
        return found + ["chapters"] * bool(self.chapters)


def common_name(name: str) -> str:
    """The name of a Vorbis comment, in lower case, for a name of libsndfile or FFmpeg."""
    return _OTHER_NAMES.get(name.lower(), name.lower())


def open_tags(path: Path) -> Any:
    """mutagen's object for a file; None for a kind that it does not know.

    Raises
    ------
    mutagen.MutagenError and others of `UNREADABLE`
    """
    with path.open("rb") as file:
        _check_bomb(file)
        file.seek(0)
        head = file.read(12)
    if head[:4] == b"RIFF" and head[8:] != b"WAVE":  # a film
        return None
    if head[4:8] == b"ftyp":  # mutagen goes by the extension, too
        return mp4.MP4(path)
    return mutagen.File(path)


def _check_bomb(file: BinaryIO) -> None:
    """Refuse an ID3 tag with a compressed frame that outgrows all reason."""
    end = leading_bytes(file)
    file.seek(0)
    head = file.read(10)
    version = head[3] if end else 0
    if version not in (3, 4):
        return
    shift = 7 if version == 4 else 8
    compressed = 0x08 if version == 4 else 0x80
    while file.tell() + 10 <= end:
        frame = file.read(10)
        size = 0
        for byte in frame[4:8]:
            size = size << shift | byte
        if not frame[0] or file.tell() + size > end:
            return
        body = file.read(size)
        if frame[9] & compressed:
            skip = 4 if version == 3 or frame[9] & 0x01 else 0
            with suppress(zlib.error):
                if len(zlib.decompressobj().decompress(body[skip:], _MOST_BYTES)) == _MOST_BYTES:
                    raise mutagen.MutagenError("compressed tags of more than 64 MiB")


def from_file(found: Any) -> Tags:
    """The tags of mutagen's object."""
    tags = Tags()
    held = getattr(found, "tags", None)
    if isinstance(held, id3.ID3):
        _read_id3(held, tags)
    elif isinstance(held, VComment):
        _read_vorbis(held, tags, found.info.length)
    elif isinstance(held, mp4.MP4Tags):
        _read_mp4(found, held, tags)
    elif isinstance(held, apev2.APEv2):
        _read_ape(held, tags)
    if isinstance(found, flac.FLAC):
        tags.pictures += found.pictures
        extra = [b for b in found.metadata_blocks if b.code in (2, 5)]
        tags.other += [{2: "application data", 5: "cue sheet"}[b.code] for b in extra]
    return _of_the_recording(tags)


def _of_the_recording(tags: Tags) -> Tags:
    texts = {common_name(name): text for name, text in tags.text.items()}
    tags.text = {name: text for name, text in texts.items() if name not in _OF_THE_FILE}
    return tags


def from_id3_bytes(content: bytes) -> Tags:
    """The tags in the bytes of an ID3 tag."""
    tags = Tags()
    file = BytesIO(content)
    _check_bomb(file)
    file.seek(0)
    _read_id3(id3.ID3(file), tags)
    return _of_the_recording(tags)


def id3_bytes(tags: Tags) -> bytes:
    """The bytes of an ID3 tag."""
    held = id3.ID3()
    _write_id3(held, tags)
    file = BytesIO()
    held.save(file, padding=lambda info: 0)
    return file.getvalue()


def to_file(found: Any, tags: Tags) -> list[str]:
    """Add tags to mutagen's object and save it.

    Returns
    -------
    list of str
        What it cannot hold.
    """
    lost: list[str] = []
    if found is None:
        return tags.names
    if found.tags is None:
        found.add_tags()
    if isinstance(found, mp4.MP4):
        lost = _write_mp4(found.tags, tags)
    elif isinstance(found, flac.FLAC | ogg.OggFileType):
        _write_vorbis(found, tags)
    elif isinstance(found.tags, id3.ID3):
        _write_id3(found.tags, tags)
    else:
        return tags.names
    found.save()
    return lost


def _read_id3(held: Any, tags: Tags) -> None:
    for frame in held.values():
        name = frame.FrameID
        if name == "APIC":
            tags.pictures.append(_picture(frame.data, frame.mime, frame.type, frame.desc))
        elif name == "CHAP":
            title = frame.sub_frames.get("TIT2")
            start_s, end_s = frame.start_time / 1000, frame.end_time / 1000
            tags.chapters.append(Chapter(start_s, end_s, str(title or "")))
        elif name in ("COMM", "USLT"):
            key = "comment" if name == "COMM" else "lyrics"
            texts = frame.text if isinstance(frame.text, list) else [frame.text]
            tags.text.setdefault(key, []).extend(map(str, texts))
        elif name != "CTOC" and not _read_easy(EasyID3, id3.ID3, frame, tags):
            if name == "TXXX":
                tags.text.setdefault(frame.desc.lower(), []).extend(map(str, frame.text))
            elif name not in ("TSSE", "TENC", "TLEN", "TDTG"):
                tags.other.append(name)
    tags.chapters.sort(key=lambda chapter: chapter.start_s)


def _read_easy(easy: Any, kind: Any, frame: Any, tags: Tags) -> bool:
    """Whether one of mutagen's names fits the frame; its texts are added."""
    alone = kind()
    alone.add(frame)
    for key, get in easy.Get.items():
        if "*" in key:
            continue
        try:
            values = list(get(alone, key))
        except (KeyError, AttributeError):
            continue
        if values:
            tags.text.setdefault(key, []).extend(map(str, values))
            return True
    return False


def _write_id3(held: Any, tags: Tags) -> None:
    for key, values in tags.text.items():
        if key == "comment":
            held.add(id3.COMM(encoding=3, lang="eng", desc="", text=values))
        elif key == "lyrics":
            held.add(id3.USLT(encoding=3, lang="eng", desc="", text="\n".join(values)))
        else:
            try:
                EasyID3.Set[key](held, key, values)
            except (KeyError, ValueError):
                held.add(id3.TXXX(encoding=3, desc=key.upper(), text=values))
    for number, picture in enumerate(tags.pictures):
        desc = picture.desc or ("" if number == 0 else str(number))  # it tells frames apart
        held.add(
            id3.APIC(encoding=3, mime=picture.mime, type=picture.type, desc=desc, data=picture.data)
        )
    ids = [f"ch{number}" for number in range(len(tags.chapters))]
    for name, chapter in zip(ids, tags.chapters, strict=True):
        held.add(
            id3.CHAP(
                element_id=name,
                start_time=round(chapter.start_s * 1000),
                end_time=round(chapter.end_s * 1000),
                start_offset=0xFFFFFFFF,
                end_offset=0xFFFFFFFF,
                sub_frames=[id3.TIT2(encoding=3, text=[chapter.title])],
            )
        )
    if ids:
        held.add(id3.CTOC(element_id="toc", flags=3, child_element_ids=ids, sub_frames=[]))


def _read_vorbis(held: Any, tags: Tags, end_s: float) -> None:
    marks: dict[str, dict[str, str]] = {}
    for name, value in held:
        key = name.lower()
        chapter = _CHAPTER.fullmatch(key)
        if key in ("metadata_block_picture", "coverart"):
            with suppress(binascii.Error, *UNREADABLE):
                data = base64.b64decode(value)
                whole = key == "metadata_block_picture"
                picture = flac.Picture(data) if whole else _picture(data, _mime(data), 3, "")
                tags.pictures.append(picture)
        elif chapter is not None:
            marks.setdefault(chapter[1], {})[chapter[2] or "start"] = value
        elif key != "coverartmime":
            tags.text.setdefault(key, []).append(value)
    tags.chapters += _vorbis_chapters(marks, end_s)


def _vorbis_chapters(marks: Mapping[str, Mapping[str, str]], end_s: float) -> Iterator[Chapter]:
    """Chapters that state where they start; each ends where the next does."""
    starts = []
    for number in sorted(marks):
        with suppress(ValueError, KeyError):
            hours, minutes, seconds = marks[number]["start"].split(":")
            at_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            starts.append((at_s, marks[number].get("name", "")))
    starts.append((end_s, ""))
    for (at_s, title), (next_s, _) in pairwise(starts):
        yield Chapter(at_s, next_s, title)


def _write_vorbis(found: Any, tags: Tags) -> None:
    for key, values in tags.text.items():
        found.tags[_vorbis_name(key)] = values
    for picture in tags.pictures:
        if isinstance(found, flac.FLAC):
            found.add_picture(picture)
        else:
            block = base64.b64encode(picture.write()).decode("ascii")
            found.tags.append(("METADATA_BLOCK_PICTURE", block))
    for number, chapter in enumerate(tags.chapters, 1):
        minutes, seconds = divmod(chapter.start_s, 60)
        at = f"{int(minutes) // 60:02d}:{int(minutes) % 60:02d}:{seconds:06.3f}"
        found.tags.append((f"CHAPTER{number:03d}", at))
        found.tags.append((f"CHAPTER{number:03d}NAME", chapter.title))


def _vorbis_name(key: str) -> str:
    """Printable ASCII without the sign that ends a name."""
    return re.sub(r"[^ -<>-}]", "_", key).upper() or "_"


def _read_mp4(found: Any, held: Any, tags: Tags) -> None:
    for atom, values in held.items():
        easy = _easy_mp4_name(atom, values)
        if atom == "covr":
            tags.pictures += [_picture(bytes(data), _mime(data), 3, "") for data in values]
        elif easy is not None:
            tags.text[easy] = [_mp4_text(value) for value in values]
        elif atom.startswith("----:"):
            texts = [bytes(value).decode("utf-8", "replace") for value in values]
            tags.text[atom.split(":", 2)[2].lower()] = texts
        elif atom != "\xa9too":
            tags.other.append(atom.replace("\xa9", "(c)"))
    starts = [(mark.start, mark.title) for mark in found.chapters or ()]
    for (at_s, title), (next_s, _) in pairwise([*starts, (found.info.length, "")]):
        tags.chapters.append(Chapter(at_s, next_s, title))


def _easy_mp4_name(atom: str, values: Any) -> str | None:
    for key, held in _MP4_TEXT.items():
        if held == atom:
            return key
    alone = mp4.MP4Tags()
    alone[atom] = values
    for key, get in EasyMP4Tags.Get.items():
        with suppress(KeyError):
            if get(alone, key):
                return str(key)
    return None


def _mp4_text(value: Any) -> str:
    """A text; a number of how many is given as 3/12."""
    if isinstance(value, tuple):
        return "/".join(str(number) for number in value if number)
    return bytes(value).decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _write_mp4(held: Any, tags: Tags) -> list[str]:
    for key, values in tags.text.items():
        if key in _MP4_TEXT:
            held[_MP4_TEXT[key]] = values
            continue
        try:
            EasyMP4Tags.Set[key](held, key, values)
        except (KeyError, ValueError):
            held[f"{_FREE}{key.upper()}"] = [mp4.MP4FreeForm(v.encode()) for v in values]
    kinds = {"image/jpeg": mp4.MP4Cover.FORMAT_JPEG, "image/png": mp4.MP4Cover.FORMAT_PNG}
    covers = [p for p in tags.pictures if p.mime in kinds]
    if covers:
        held["covr"] = [mp4.MP4Cover(p.data, kinds[p.mime]) for p in covers]
    return ["cover picture"] * (len(covers) < len(tags.pictures))


def _read_ape(held: Any, tags: Tags) -> None:
    for name, value in held.items():
        key = name.lower()
        if key.startswith("cover art"):
            data = bytes(value.value).partition(b"\0")[2]
            tags.pictures.append(_picture(data, _mime(data), 3, ""))
        elif isinstance(value, apev2.APETextValue):
            renamed = {"track": "tracknumber", "disc": "discnumber", "year": "date"}
            tags.text[renamed.get(key, key).replace(" ", "")] = list(value)
        else:
            tags.other.append(name)


def _picture(data: bytes, mime: str, kind: int, desc: str) -> Any:
    picture = flac.Picture()
    picture.data, picture.mime, picture.type, picture.desc = data, mime, int(kind), desc
    return picture


def _mime(data: bytes) -> str:
    return "image/png" if bytes(data[:4]) == b"\x89PNG" else "image/jpeg"
