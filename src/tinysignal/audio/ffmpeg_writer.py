"""Films and FFmpeg's sound files with cleaned sound tracks, all else as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tinysignal.audio.ffmpeg_copies import Copies
from tinysignal.audio.ffmpeg_encoder import TrackEncoder, TrackFormat
from tinysignal.audio.ffmpeg_source import (
    begins_with_index,
    carries_items,
    has_data,
    has_film,
    has_foreign_keys,
    is_plain,
    is_sound,
    layout,
    measured,
    source_of_streams,
    usual_layout,
)
from tinysignal.audio.ffmpeg_tracks import (
    ONLY_READ,
    choose_track,
    import_av,
    kept_tags,
    open_source,
)
from tinysignal.audio.formats import AudioFormat, AudioInfo
from tinysignal.audio.mp4_tracks import UnmovableError, move_tracks
from tinysignal.audio.validate import Signal
from tinysignal.errors import AudioFileError

_MUXER_OF = {
    ".aac": "adts",
    ".asf": "asf",
    ".m2ts": "mpegts",
    ".m4a": "ipod",
    ".m4b": "ipod",
    ".m4v": "mp4",
    ".mka": "matroska",
    ".mkv": "matroska",
    ".mpg": "mpeg",
    ".mts": "mpegts",
    ".oga": "oga",
    ".ogg": "ogg",
    ".ogv": "ogv",
    ".ts": "mpegts",
    ".weba": "webm",
    ".wma": "asf",
    ".wmv": "asf",
}
_BRANDS = {".m4a": "M4A ", ".m4b": "M4B "}
_OLD = ("BPS", "DURATION", "NUMBER_OF", "_STATISTICS", "encoder")  # of the track as it was


class TrackWriter:
    """A copy of a film with cleaned sound tracks; used as `tinysignal.audio.libsndfile.Writer`.

    Parameters
    ----------
    path : str or Path
        The container follows from its suffix.
    source : str or Path
        Where all other streams and the tags come from: a film or a sound file.
    info : AudioInfo
        The facts of the sound, which say how to encode it.
    tracks : sequence of int or None
        Which sound tracks are written anew, counted from 1; None for the default one.
    clamp : bool
        Whether samples saturate at full scale.

    Attributes
    ----------
    notes : list of str
        What could not be kept, one line each; complete after `close`.

    Raises
    ------
    AudioFileError
        The container cannot be written, or cannot hold a picture, a track or subtitles.
    MissingExtraError
    """

    def __init__(
        self,
        path: str | Path,
        *,
        source: str | Path,
        info: AudioInfo,
        tracks: Sequence[int] | None = None,
        clamp: bool = True,
    ) -> None:
        self._path, source = Path(path), Path(source)
        self._from = source
        suffix = self._path.suffix.lower()
        if suffix in ONLY_READ:
            raise AudioFileError(
                f"{path}: {suffix} can be read but not written. Pass --format wav, or -o with "
                "another extension."
            )
        self._av = import_av(path)
        self._clamp = clamp
        self.peak = 0.0
        self.clipped = 0
        self.notes: list[str] = []
        self._source = source_of_streams(self._av, source)
        chosen = []
        if self._source is not None:
            chosen = [choose_track(source, self._source, n) for n in tracks or (None,)]
        sound_only = is_sound(self._path) and not (is_sound(source) and has_film(self._source))
        try:
            self._output = self._open(source, sound_only, info.sample_rate_hz)
        except (self._av.error.FFmpegError, ValueError) as error:
            raise AudioFileError(f"{path}: FFmpeg cannot write this kind ({error}).") from None
        self._shift_s = self._shift()
        try:
            self._add_streams(source, info, chosen, sound_only)
        except BaseException:
            self._abandon()
            raise
        self.audio_format = AudioFormat(
            self._path.suffix.lower().lstrip("."), self._lanes[0].stream.codec_context.codec.name
        )
        self._tags()
        self._next = next(self._packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, block: Signal, *, lane: int = 0) -> None:
        """Append float32 (channels, time) to one of the tracks.

        Raises
        ------
        AudioFileError
        """
        if block.shape[1] == 0:
            return
        self.peak = max(self.peak, float(np.abs(block).max()))
        self.clipped += int(np.count_nonzero(np.abs(block) > 1))
        if self._clamp:
            block = np.clip(block, -1, 1)
        for packet in self._lanes[lane].encode(block):
            self._mux(self._lanes[lane].stream, packet)
        self._copy_until(min(lane.reached_s for lane in self._lanes))

    def close(self) -> None:
        """Finish the file and hold it to what was to be in it.

        Raises
        ------
        AudioFileError
        """
        for lane in self._lanes:
            for packet in lane.finish():
                self._mux(lane.stream, packet)
        self._copy_until(float("inf"))
        expected = [stream.type for stream in self._output.streams]
        try:
            self._output.close()
        except self._av.error.FFmpegError as error:
            raise self._unwritable(error) from None
        self._move_tracks()
        self._verify(expected)
        if self._source is not None:
            self._source.close()

    def _move_tracks(self) -> None:
        """Add the tracks that FFmpeg cannot write."""
        if self._copies is None:
            return
        moved = self._copies.moved
        if moved:
            try:
                numbers = [stream.id for stream in moved]
                move_tracks(self._from, self._path, numbers, self._copies.numbers)
            except UnmovableError:
                for stream in moved:
                    self._copies.leave_out(stream)
        self.notes.extend(self._copies.notes)

    def _open(self, source: Path, sound_only: bool, rate_hz: int) -> Any:
        suffix = self._path.suffix.lower()
        muxer = _MUXER_OF.get(suffix)
        streams = [] if self._source is None else self._source.streams.video
        if muxer == "ipod" and (streams or not sound_only):
            muxer = "mp4"  # its twin takes no pictures
        flags: list[str] = []
        if self._source is not None and has_foreign_keys(self._source, source, self._path):
            flags.append("use_metadata_tags")
        if begins_with_index(source) and not has_data(self._source):
            flags.append("faststart")
        options: dict[str, str] = {}
        if suffix in (".mp4", ".m4a", ".m4b", ".m4v", ".mov", ".3gp", ".3g2"):
            options["movie_timescale"] = str(rate_hz)  # of when the sound begins
            if suffix in _BRANDS:
                options["brand"] = _BRANDS[suffix]
            if flags:
                options["movflags"] = "+".join(flags)
        return self._av.open(f"file:{self._path}", "w", format=muxer, container_options=options)

    def _shift(self) -> float:
        """What to take off all times: MPEG counts from anywhere, other films from 0."""
        if self._source is None or not self._source.start_time:
            return 0.0
        theirs, ours = self._source.format.name, self._output.format.name
        same = ours in theirs or theirs.startswith("mpeg") == ours.startswith(("mpeg", "vob"))
        return 0.0 if same else self._source.start_time / 1e6

    def _add_streams(
        self, source: Path, info: AudioInfo, chosen: list[Any], sound_only: bool
    ) -> None:
        self._lanes: list[TrackEncoder] = []
        self._packets: Iterator[Any] = iter(())
        self._copies: Copies | None = None
        if self._source is None:
            wanted = TrackFormat(
                info.subtype.lower(),
                info.sample_rate_hz,
                info.channels,
                usual_layout(info.channels),
                is_film=False,
            )
            self._add_lane(wanted, 0.0)
            return
        indexes = [track.index for track in chosen]
        copies = Copies(
            self._av,
            self._path,
            self._source,
            self._output,
            without=indexes,
            sound_only=sound_only,
        )
        order = chosen if sound_only else list(self._source.streams)
        for stream in order:
            if stream.index in indexes:
                self._add_track(source, stream)
            else:
                copies.add(stream)
        if sound_only:
            for stream in self._source.streams:
                if stream.index not in indexes:
                    copies.add(stream)
        self._copies = copies
        # In the order in which they were asked for.
        self._lanes = [self._lanes[sorted(indexes).index(index)] for index in indexes]
        for lane, index in zip(self._lanes, indexes, strict=True):
            copies.numbers[self._source.streams[index].id] = lane.stream.index + 1
        self._packets = copies.packets()

    def _add_track(self, source: Path, track: Any) -> None:
        start_s, bits_per_s = measured(self._av, source, track.index)
        context, plain = track.codec_context, is_plain(self._source)
        wanted = TrackFormat(
            codec=context.name,
            rate_hz=context.sample_rate,
            channels=context.channels,
            layout=layout(context),
            samples=context.format.name,
            bits_per_s=bits_per_s,
            is_film=not plain,
        )
        lane = self._add_lane(wanted, 0.0 if plain else start_s - self._shift_s)
        metadata = {k: v for k, v in track.metadata.items() if not k.startswith(_OLD)}
        lane.stream.metadata.update(metadata)
        lane.stream.disposition = track.disposition

    def _add_lane(self, wanted: TrackFormat, start_s: float) -> TrackEncoder:
        lane = TrackEncoder(self._av, self._path, self._output, wanted, start_s=start_s)
        if lane.note is not None:
            self.notes.append(lane.note)
        self._lanes.append(lane)
        return lane

    def _tags(self) -> None:
        if self._source is None:
            return
        tags = kept_tags(self._source.metadata)
        self._output.metadata.update(tags)
        shift = round(self._shift_s * 1e6)
        chapters = self._source.chapters()
        for chapter in chapters:
            moved = round(shift / 1e6 / (chapter["time_base"] or 1))
            chapter["start"] -= moved
            chapter["end"] -= moved
        self._output.set_chapters(chapters)

    def _copy_until(self, time_s: float) -> None:
        while self._next is not None:
            packet = self._next
            if float(packet.dts * packet.time_base) - self._shift_s > time_s:
                return
            if self._shift_s:
                moved = round(self._shift_s / packet.time_base)
                packet.dts -= moved
                packet.pts = None if packet.pts is None else packet.pts - moved
            self._mux(packet.stream, packet)
            self._next = next(self._packets, None)

    def _mux(self, stream: Any, packet: Any) -> None:
        packet.stream = stream
        try:
            self._output.mux(packet)
        except self._av.error.FFmpegError as error:
            raise self._unwritable(error) from None

    def _abandon(self) -> None:
        with suppress(self._av.error.FFmpegError):  # the file is thrown away
            self._output.close()
        if self._source is not None:
            self._source.close()

    def _unwritable(self, error: Any) -> AudioFileError:
        return AudioFileError(f"{self._path}: cannot be written ({error.strerror}).")

    def _verify(self, expected: list[str]) -> None:
        """Read the head of the file again: some containers drop what they do not know."""
        try:
            with open_source(self._av, self._path) as found:
                kinds = [stream.type for stream in found.streams]
                chapters, tags = len(found.chapters()), set(found.metadata)
                decodable = all(s.codec_context is not None for s in found.streams.audio)
        except AudioFileError as error:
            raise AudioFileError(f"{self._path}: cannot be written ({error}).") from None
        lost = [
            kind
            for kind in ("video", "audio", "subtitle")
            if kinds.count(kind) < expected.count(kind)
        ]
        if lost or not decodable:
            raise AudioFileError(
                f"{self._path}: this container does not hold every {' and '.join(lost) or 'sound'} "
                "track of the source. Use -o NAME.mkv."
            )
        if self._source is None:
            return
        if chapters < len(self._source.chapters()):
            self.notes.append(f"chapters are not kept: {self._output.format.name} holds none")
        if not carries_items(self._from, self._path):
            theirs = {name.lower() for name in tags}
            wanted = set(kept_tags(self._source.metadata)) - {"creation_time", "timecode"}
            lost = sorted(name for name in wanted if name.lower() not in theirs)
            if lost:
                kind = self._output.format.name
                self.notes.append(f"tags not kept by {kind}: {', '.join(lost)}")
