"""Films and FFmpeg's audio files with another sound track, all else copied packet by packet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from tinysignal.audio.ffmpeg import BRANDS, import_av, open_track, track_facts
from tinysignal.audio.formats import AudioFormat
from tinysignal.audio.validate import Signal
from tinysignal.errors import AudioFileError

_ENCODERS = {
    "opus": "libopus",
    "vorbis": "libvorbis",
    "mp3": "libmp3lame",
    "mp3float": "libmp3lame",
}
_LOSSLESS = ("flac", "alac", "pcm_", "wavpack")


class TrackWriter:
    """A copy of a film with another sound track; used as `tinysignal.audio.libsndfile.Writer`.

    Parameters
    ----------
    path : str or Path
        The container follows from its suffix.
    source : str or Path
        Where all other streams and the tags come from.
    clamp : bool
        Whether samples saturate at full scale.

    Attributes
    ----------
    notes : list of str
        What could not be kept, one line each.

    Raises
    ------
    AudioFileError, MissingExtraError
    """

    def __init__(self, path: str | Path, *, source: str | Path, clamp: bool = True) -> None:
        self._path = Path(path)
        self._av = import_av(path)
        self._clamp = clamp
        self.peak = 0.0
        self.clipped = 0
        self.written = 0
        self.notes: list[str] = []
        self.lost_tags: list[str] = []
        self._source, track = open_track(self._av, Path(source))
        facts = track_facts(Path(source), self._source, track)
        self._rate_hz = facts.sample_rate_hz
        self._layout = track.codec_context.layout.name
        self._start = round((track.start_time or 0) * track.time_base * self._rate_hz)
        try:
            # FFmpeg's writer of .m4a takes no cover picture, its sibling for .mp4 does.
            pictured = self._path.suffix.lower() in (".m4a", ".m4b") and self._source.streams.video
            self._output = self._av.open(str(path), "w", format="mp4" if pictured else None)
        except (self._av.error.FFmpegError, ValueError) as error:
            raise AudioFileError(f"{path}: FFmpeg cannot write this kind ({error}).") from None
        self._streams: dict[int, Any] = {}
        for stream in self._source.streams:
            if stream.index == track.index:
                self._track = self._add_track(track)
            else:
                self._add_copy(stream)
        self.audio_format = AudioFormat(
            self._path.suffix.lower().lstrip("."), self._track.codec_context.codec.name
        )
        tags = {k: v for k, v in self._source.metadata.items() if k not in BRANDS}
        self._output.metadata.update(tags)
        self._output.set_chapters(self._source.chapters())
        self._packets = self._copied_packets()
        self._next = next(self._packets, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self._source.close()
            if kind is not None:
                self._abandon()

    def write(self, block: Signal) -> None:
        """Append float32 (channels, time).

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
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block), format="fltp", layout=self._layout
        )
        frame.sample_rate = self._rate_hz
        frame.time_base = Fraction(1, self._rate_hz)
        frame.pts = self._start + self.written
        self.written += block.shape[1]
        self._encode(frame)
        self._copy_until((self._start + self.written) / self._rate_hz)

    def close(self) -> None:
        """Finish the file.

        Raises
        ------
        AudioFileError
        """
        self._encode(None)
        self._copy_until(float("inf"))
        try:
            self._output.close()
        except self._av.error.FFmpegError as error:
            raise self._unwritable(error) from None

    def _add_track(self, track: Any) -> Any:
        decoder = track.codec_context.name
        wanted = _ENCODERS.get(decoder, decoder)
        choices = (wanted, self._output.default_audio_codec)
        for name in choices:
            try:
                codec = self._av.Codec(name, "w")
                formats = [f.name for f in codec.audio_formats or ()]
                own = track.codec_context.format.name
                stream = self._output.add_stream(
                    name,
                    rate=self._rate_hz,
                    layout=self._layout,
                    **({"format": own} if own in formats else {}),
                )
                if not name.startswith(_LOSSLESS) and track.codec_context.bit_rate:
                    stream.codec_context.bit_rate = track.codec_context.bit_rate
                stream.codec_context.open()
            except (self._av.error.FFmpegError, ValueError):
                continue
            if name != wanted:
                self.notes.append(f"FFmpeg cannot write {decoder} here; {name} is written instead")
            stream.metadata.update(track.metadata)
            stream.disposition = track.disposition
            return stream
        raise AudioFileError(
            f"{self._path}: FFmpeg has no encoder for {decoder} in this container."
        )

    def _add_copy(self, stream: Any) -> None:
        try:
            copy = self._output.add_stream_from_template(stream)
        except (self._av.error.FFmpegError, ValueError, TypeError):
            self.notes.append(f"stream {stream.index} ({stream.type}) cannot be copied, left out")
            return
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        self._streams[stream.index] = copy
        if stream.type == "audio":
            self.notes.append(f"stream {stream.index}, a further sound track, is copied as it is")

    def _copied_packets(self) -> Iterator[Any]:
        """Packets of the copied streams, each with a decoding time."""
        undated: dict[int, list[Any]] = {index: [] for index in self._streams}
        for packet in self._source.demux():
            index = packet.stream.index
            if index not in self._streams or not packet.size:  # demuxing ends in empty packets
                continue
            if undated.get(index) is not None:
                undated[index].append(packet)
                if packet.dts is None:
                    continue
                yield from self._dated(undated.pop(index))
            else:
                packet.stream = self._streams[index]
                yield packet
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
            packet.stream = self._streams[packet.stream.index]
            yield packet

    def _copy_until(self, time_s: float) -> None:
        while self._next is not None and float(self._next.dts * self._next.time_base) <= time_s:
            self._mux(self._next)
            self._next = next(self._packets, None)

    def _encode(self, frame: Any) -> None:
        for packet in self._track.encode(frame):
            self._mux(packet)

    def _mux(self, packet: Any) -> None:
        try:
            self._output.mux(packet)
        except self._av.error.FFmpegError as error:
            raise self._unwritable(error) from None

    def _abandon(self) -> None:
        with suppress(self._av.error.FFmpegError):  # the file is thrown away
            self._output.close()

    def _unwritable(self, error: Any) -> AudioFileError:
        return AudioFileError(f"{self._path}: cannot be written ({error.strerror}).")
