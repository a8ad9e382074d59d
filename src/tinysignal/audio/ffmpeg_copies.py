"""Everything of a film but the sound that is cleaned: pictures, subtitles, data, attachments."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

from tinysignal.audio.ffmpeg_tracks import demuxed
from tinysignal.errors import AudioFileError

_MOV = ("mp4", "ipod", "mov", "3gp", "3g2")
_TEXTS = ("subrip", "srt", "ass", "ssa", "webvtt", "text", "mov_text")
_TEXT_OF = {"matroska": "subrip", "webm": "webvtt", **dict.fromkeys(_MOV, "mov_text")}
_IMAGES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png"), "bmp": ("bmp", "image/bmp")}
_NOT_IN_AVI = ("h264", "hevc")  # stored there in another way
_ATTACHED = 1 << 10  # disposition of a cover picture
_NAMES = {"video": "picture", "audio": "sound track", "subtitle": "subtitles", "data": "data track"}


def moves_tracks(source: Any, kind: str) -> bool:
    """Whether tracks can go from one film to the other as they are."""
    return kind in ("mp4", "mov") and bool(source.format.name.startswith("mov"))


def is_cover(stream: Any) -> bool:
    """Whether a stream is the one picture of a sound file."""
    return stream.type == "video" and bool(stream.disposition & _ATTACHED)


class Copies:
    """The streams that are copied into a film, packet by packet, or as another kind of subtitles.

    Parameters
    ----------
    av : module
    path : Path
        The film to write, for messages.
    source, output : container
    without : collection of int
        Streams that are encoded anew.
    sound_only : bool
        Whether the output is a sound file: of pictures it takes the cover.

    Attributes
    ----------
    notes : list of str
        What could not be kept.
    moved : list of stream
        Tracks from MP4 or MOV to MP4 or MOV that FFmpeg cannot write: `mp4_tracks.move_tracks`.
    numbers : dict of int to int
        Numbers of the copied tracks in the source, with those in the output.

    Raises
    ------
    AudioFileError
        The container cannot hold a picture, a sound track or subtitles.
    """

    def __init__(
        self,
        av: Any,
        path: Path,
        source: Any,
        output: Any,
        *,
        without: Collection[int],
        sound_only: bool,
    ) -> None:
        self._av = av
        self._path = path
        self._source = source
        self._output = output
        self._kind = output.format.name
        self._without = without
        self._sound_only = sound_only
        self.notes: list[str] = []
        self.moved: list[Any] = []
        self.numbers: dict[int, int] = {}
        self._moves = moves_tracks(source, self._kind)
        self._makers: dict[int, Callable[[Any], Iterator[Any]]] = {}
        self._last: dict[int, int] = {}  # decoding times

    def add(self, stream: Any) -> None:
        """Make room for a stream of the source in the output.

        Raises
        ------
        AudioFileError
            See above.
        """
        if stream.type == "audio" and self._sound_only:
            self.notes.append(f"stream {stream.index}, a further sound track, is left out")
        elif stream.type == "attachment":
            self._add_attachment(stream)
        elif is_cover(stream):
            self._add_cover(stream)
        elif stream.type == "data":
            self._add_data(stream)
        elif stream.type == "audio" or not self._sound_only:
            self._add(stream)

    def packets(self) -> Iterator[Any]:
        """Packets to write, in the order of the source, each with a decoding time."""
        undated: dict[int, list[Any]] = {index: [] for index in self._makers}
        for packet in demuxed(self._source):
            index = packet.stream.index
            if index not in self._makers or not packet.size:  # demuxing ends in empty packets
                continue
            if undated.get(index) is not None:
                undated[index].append(packet)
                if packet.dts is None:
                    continue
                yield from self._dated(undated.pop(index))
            else:
                yield from self._makers[index](packet)
        for packets in undated.values():
            yield from self._dated(packets)

    def _dated(self, packets: list[Any]) -> Iterator[Any]:
        """Packets of one stream before and with the first that has a decoding time.

        Matroska stores none; FFmpeg leaves those of the first reordered pictures open. A cover
        picture has no time at all.
        """
        following = None
        for packet in reversed(packets):
            if packet.dts is None:
                shown = packet.pts or 0
                step = max(1, packet.duration or 1)
                packet.dts = shown if following is None else min(shown, following - step)
                packet.pts = shown
            following = packet.dts
        for packet in packets:
            yield from self._makers[packet.stream.index](packet)

    def _add(self, stream: Any) -> None:
        """A picture, a sound track or subtitles: kept, or the file is not written."""
        if not self._takes(stream):
            if stream.type == "subtitle" and self._converts(stream):
                return
            if stream.type == "subtitle" and self._moves:
                self.moved.append(stream)
                return
            name = stream.codec_context.name if stream.codec_context else "of unknown kind"
            what = _NAMES.get(stream.type, stream.type)
            raise AudioFileError(
                f"{self._path}: {self._kind} cannot hold stream {stream.index}, {what} ({name}). "
                "Use -o NAME.mkv, or a sound format such as .wav for the sound alone."
            )
        self._copy(stream)
        if stream.type == "audio":
            self.notes.append(
                f"stream {stream.index}, a further sound track, is copied as it is "
                "(--track all cleans every one)"
            )

    def _copy(self, stream: Any) -> None:
        copy = self._like(self._output, stream, tagged=self._takes(stream, tagged=True))
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self.numbers[stream.id] = copy.index + 1

        def copied(packet: Any) -> Iterator[Any]:
            if packet.dts is None:  # after the first: one more than the last
                packet.dts = self._last.get(stream.index, packet.pts or 0) + 1
            self._last[stream.index] = packet.dts
            packet.stream = copy
            yield packet

        self._makers[stream.index] = copied

    def _takes(self, stream: Any, *, tagged: bool = False) -> bool:
        """Whether the container can be begun with such a stream."""
        name = stream.codec_context.name if stream.codec_context else ""
        if self._kind == "avi" and name in _NOT_IN_AVI and self._source.format.name != "avi":
            return False
        attempt = self._av.open(io.BytesIO(), "w", format=self._kind)
        try:
            self._like(attempt, stream, tagged=tagged)
            attempt.start_encoding()
        except (self._av.error.FFmpegError, ValueError, TypeError, NotImplementedError):
            return False
        finally:
            with suppress(self._av.error.FFmpegError):
                attempt.close()
        return True

    def _like(self, output: Any, stream: Any, *, tagged: bool) -> Any:
        """A stream as the decoder sees it, since FFmpeg has no encoder for many pictures.

        Apple's players know H.265 by one of its two tags only.
        """
        copy = output.add_stream_from_template(stream, opaque=True)
        same = self._kind in _MOV and self._source.format.name.startswith("mov")
        if tagged and same and stream.codec_context is not None:
            copy.codec_context.codec_tag = stream.codec_context.codec_tag
        return copy

    def _converts(self, stream: Any) -> bool:
        """Subtitles that are text, as the container's own kind of it."""
        name = _TEXT_OF.get(self._kind)
        if stream.codec_context is None or stream.codec_context.name not in _TEXTS or name is None:
            return False
        decoder = stream.codec_context
        decoder.open(strict=False)
        copy = self._output.add_stream(name)
        encoder = copy.codec_context
        encoder.time_base = Fraction(1, 1000)
        encoder.subtitle_header = decoder.subtitle_header
        encoder.open()
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition

        def converted(packet: Any) -> Iterator[Any]:
            found = stream.codec_context.decode2(packet)
            if found is None or not len(found):
                return
            text = encoder.encode_subtitle(found)
            text.stream, text.time_base = copy, packet.time_base
            text.pts = text.dts = packet.pts
            text.duration = packet.duration
            yield text

        self._makers[stream.index] = converted
        self.notes.append(f"subtitles are written as {name} instead of {decoder.name}")
        return True

    def _add_data(self, stream: Any) -> None:
        """Timecode and chapters are written anew; other data is copied where FFmpeg can."""
        code = stream.metadata.get("timecode")
        if code is not None:  # a track of MP4 and MOV; the muxer makes it from the tag
            if not any("timecode" in film.metadata for film in self._source.streams.video):
                self._output.metadata.setdefault("timecode", code)
            return
        if self._sound_only or self._is_chapters(stream):
            return
        if self._moves:
            self.moved.append(stream)
        elif self._takes(stream):
            self._copy(stream)
        else:
            self.leave_out(stream)

    def leave_out(self, stream: Any) -> None:
        """Say that a data track is lost."""
        name = stream.metadata.get("handler_name", "").strip("\0 ") or stream.name or "unknown"
        self.notes.append(
            f"stream {stream.index}, a data track ({name}), is left out: "
            f"FFmpeg cannot write it into {self._kind}"
        )

    def _is_chapters(self, stream: Any) -> bool:
        """Whether a data track holds the titles that FFmpeg reads as chapters: it skips those."""
        return bool(self._source.chapters()) and stream.discard == self._av.stream.Discard.all

    def _add_attachment(self, stream: Any) -> None:
        name = stream.metadata.get("filename", f"attachment {stream.index}")
        if self._kind == "matroska":
            kind = stream.mimetype or "application/octet-stream"
            copy = self._output.add_attachment(name, kind, stream.data)
            copy.metadata.update(stream.metadata)
        else:
            self.notes.append(f"the attachment {name} is left out: {self._kind} holds none")

    def _add_cover(self, stream: Any) -> None:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        if self._kind == "matroska" and name in _IMAGES:
            suffix, kind = _IMAGES[name]
            picture = _first_packet(self._av, self._source.name, stream.index)
            title = stream.metadata.get("filename", f"cover.{suffix}")
            self._output.add_attachment(title, kind, picture)
        elif self._kind in ("mp4", "mov", "ipod") and self._takes(stream):
            self._copy(stream)
        else:
            self.notes.append(f"the cover picture ({name}) is left out: {self._kind} holds none")


def _first_packet(av: Any, name: str, index: int) -> bytes:
    with av.open(name) as container:
        for packet in demuxed(container, container.streams[index]):
            if packet.size:
                return bytes(packet)
    return b""
