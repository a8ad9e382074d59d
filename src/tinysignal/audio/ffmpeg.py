"""Sound tracks of films and of audio files that only FFmpeg reads: the ``video`` extra (PyAV)."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tinysignal.audio.ffmpeg_structure import first_damage
from tinysignal.audio.ffmpeg_tracks import (
    choose_track,
    demuxed,
    import_av,
    open_source,
    track_facts,
)
from tinysignal.audio.headers import check_complete
from tinysignal.audio.reader import SoundReader, check_facts, check_finite
from tinysignal.audio.validate import Signal
from tinysignal.errors import AudioFileError, TinysignalError

_GAP_S = 0.05  # a hole in the timestamps that is heard; Matroska's are rounded to 1 ms
_MISSING_S = 1.0  # streams end apart from one another; more is a truncated file
_MOST_SILENCE_S = 3600.0  # in all holes together; beyond it, a timestamp is wrong
_NAMED_HOLES, _MANY_HOLES = 3, 10
_BLOCK_SAMPLES = 1 << 16  # of all channels together
# FFmpeg only estimates the duration of the others, such as bare streams and MPEG.
_STATED = ("mov", "matroska", "asf", "flv", "tta", "wv", "ape", "caf", "aiff", "flac")
# Streams whose frames follow each other without anything between.
_BARE = ("aac", "ac3", "eac3", "amr", "mp3", "dts", "truehd", "mlp")
_CHECKED = ("wavpack", "flac", "tta")  # their frames carry checksums
_LATE_DECODERS = ("wmav1", "wmav2")  # what they give after the end is half a window: aliased


class TrackReader(SoundReader):
    """One sound track of a file, read in blocks.

    ``info.samples`` is the length that the container states, within one tick of its time base.

    Parameters
    ----------
    path : str or Path
        Of any file that FFmpeg reads.
    track : int or None
        Which sound track, counted from 1; None for the default one.

    Attributes
    ----------
    container_name : str
        FFmpeg's name of the container.
    has_picture : bool
        Whether there is a film or a cover beside the sound.

    Raises
    ------
    AudioFileError
        Not readable, or without a sound track.
    ConfigError
        There is no track of that number.
    MissingExtraError
        PyAV is not installed.
    """

    def __init__(self, path: str | Path, *, track: int | None = None) -> None:
        self._path = Path(path)
        self._av = import_av(path)
        check_complete(self._path)
        try:
            self._container, self._stream = self._opened(track)
        except AudioFileError:
            self._check_structure(duration_s=None)  # it may say why
            raise
        self.info = track_facts(self._path, self._container, self._stream)
        try:
            check_facts(self._path, self.info)
        except AudioFileError:
            self._container.close()
            raise
        if self.info.subtype in _CHECKED:
            self._stream.codec_context.options = {"err_detect": "crccheck+explode"}
        self.container_name = name = self._container.format.name
        self.has_picture = bool(self._container.streams.video)
        self._states_length = name.startswith(_STATED)
        self._bare = name in _BARE
        self._late = self.info.subtype in _LATE_DECODERS
        self._packets_end_s: float | None = None
        self._pauses = self._timed = False
        self._silence_s = 0.0
        self._holes = 0

    def _opened(self, track: int | None) -> tuple[Any, Any]:
        container = open_source(self._av, self._path)
        try:
            return container, choose_track(self._path, container, track)
        except TinysignalError:
            container.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def blocks(self) -> Iterator[Signal]:
        """The sound track, float32 (channels, time) in blocks; holes are silence and a note.

        Raises
        ------
        AudioFileError
            Damaged or truncated; NaN or infinite samples; rate or channels change on the way.
        """
        self._check_structure(duration_s=(self._container.duration or 0) / 1e6)
        position = 0
        for block in self._merged():
            check_finite(self._path, block, start=position, info=self.info)
            position += block.shape[1]
            yield block
        if position == 0:
            raise AudioFileError(f"{self._path}: there are no samples in its sound track.")

    def _check_structure(self, *, duration_s: float | None) -> None:
        damage = first_damage(self._path)
        if damage is None:
            return
        if damage.missing:
            raise AudioFileError(
                f"{self._path}: truncated: at least {damage.size} bytes are missing after "
                f"byte {damage.start}. Copy it again."
            )
        about = ""
        if duration_s:
            about = f", at about {duration_s * damage.start / self._path.stat().st_size:.1f} s"
        raise AudioFileError(
            f"{self._path}: damaged: {damage.size} bytes from byte {damage.start} on{about}, are "
            "not as the file's structure or checksum says. Copy it again."
        )

    def _merged(self) -> Iterator[Signal]:
        """Codec frames are short: as many at once as make a network's run worth its while."""
        pieces: list[Signal] = []
        position = merged = 0
        try:
            for frame, kept in self._frames():
                for piece in self._with_gap(frame, kept, position):
                    position += piece.shape[1]
                    pieces.append(piece)
                    if position - merged >= max(1024, _BLOCK_SAMPLES // self.info.channels):
                        yield np.concatenate(pieces, axis=1)
                        merged, pieces = position, []
        except self._av.error.FFmpegError as error:
            raise AudioFileError(
                f"{self._path}: damaged after {position / self.info.sample_rate_hz:.3f} s "
                f"({error.strerror})."
            ) from None
        if pieces:
            yield np.concatenate(pieces, axis=1)

    def _frames(self) -> Iterator[tuple[Any, int]]:
        """Decoded frames as planar floats and the samples to keep of each.

        All streams are watched for a file that ends early.
        """
        converter = self._av.AudioResampler(format="fltp")
        reached_s, chain = 0.0, _Chain(self._path)
        self._packets_end_s = None
        for packet in demuxed(self._container):
            if packet.pts is not None and packet.time_base is not None:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                reached_s = max(reached_s, end_s)
            if packet.stream.index != self._stream.index or (self._late and not packet.size):
                continue
            if self._bare:
                chain.follow(packet, reached_s)
            elif packet.is_corrupt and reached_s > _MISSING_S:  # a capture may begin anywhere
                raise AudioFileError(f"{self._path}: damaged at {reached_s:.3f} s. Copy it again.")
            self._note_packet(packet)
            for frame in packet.decode():
                self._check_constant(frame, reached_s)
                for converted in converter.resample(frame):
                    yield converted, _kept_samples(frame)
        if self._bare:
            chain.end()
        self._check_end(reached_s)

    def _note_packet(self, packet: Any) -> None:
        """Remember where the file itself has no sound, for `_check_gap`."""
        if packet.pts is None or not packet.size:
            return
        start_s = float(packet.pts * packet.time_base)
        end_s = self._packets_end_s
        self._pauses = self._pauses or (end_s is not None and start_s > end_s + _GAP_S / 2)
        self._packets_end_s = start_s + float((packet.duration or 0) * packet.time_base)
        self._timed = self._timed or bool(packet.duration)

    def _check_constant(self, frame: Any, at_s: float) -> None:
        found = (frame.sample_rate, frame.layout.nb_channels)
        if found != (self.info.sample_rate_hz, self.info.channels):
            raise AudioFileError(
                f"{self._path}: rate or number of channels changes at {at_s:.1f} s, to "
                f"{found[0]} Hz and {found[1]}; expected the same throughout."
            )

    def _with_gap(self, frame: Any, kept: int, position: int) -> Iterator[Signal]:
        """The frame's samples, after as much silence as its timestamp leaves free."""
        signal: Signal = frame.to_ndarray()[:, :kept]
        rate_hz, channels = self.info.sample_rate_hz, self.info.channels
        if frame.pts is not None:
            at = round(frame.pts * frame.time_base * rate_hz)
            if position == 0:
                self._start = at
            gap = at - self._start - position
            if gap > _GAP_S * rate_hz:
                self._check_gap(position / rate_hz, gap / rate_hz)
            elif gap < -_GAP_S * rate_hz and self._silence_s:
                raise AudioFileError(
                    f"{self._path}: damaged at {position / rate_hz:.3f} s: timestamps jump ahead "
                    f"and {-gap / rate_hz:.3f} s back. Copy it again."
                )
            while gap > _GAP_S * rate_hz:
                silence = min(gap, rate_hz)
                yield np.zeros((channels, silence), np.float32)
                gap -= silence
        yield signal

    def _check_gap(self, at_s: float, gap_s: float) -> None:
        """Name a hole; refuse one that reaches beyond the length that the file states."""
        if self._timed and not self._pauses:
            raise AudioFileError(
                f"{self._path}: damaged at {at_s:.3f} s: {gap_s:.3f} s cannot be decoded. "
                "Copy it again."
            )
        self._pauses = False
        self._holes += 1
        if self._holes > _MANY_HOLES and self._silence_s > at_s / 2:
            raise AudioFileError(
                f"{self._path}: damaged: of the first {at_s:.3f} s, {self._silence_s:.3f} s are "
                f"{self._holes} holes between timestamps. Copy it again."
            )
        left_s = _MOST_SILENCE_S - self._silence_s
        if self._states_length and self._container.duration is not None:
            left_s = min(left_s, self._container.duration / 1e6 + _MISSING_S - at_s)
        if gap_s > left_s:
            raise AudioFileError(
                f"{self._path}: damaged at {at_s:.3f} s: the next timestamp is {gap_s:.1f} s "
                f"later, expected at most {max(0.0, left_s):.1f} s. Copy it again."
            )
        self._silence_s += gap_s
        if self._holes <= _NAMED_HOLES:
            note = f"no sound for {gap_s:.3f} s at {at_s:.3f} s: silence there"
            self.notes = (*self.notes, note)
        else:
            more = self._holes - _NAMED_HOLES
            note = f"{more} more such holes, {self._silence_s:.3f} s in all"
            self.notes = (*self.notes[:_NAMED_HOLES], note)

    def _check_end(self, reached_s: float) -> None:
        if not self._states_length or self._container.duration is None:
            return
        start_s = (self._container.start_time or 0) / self._av.time_base
        promised_s = start_s + self._container.duration / self._av.time_base
        if reached_s < promised_s - _MISSING_S:
            raise AudioFileError(
                f"{self._path}: truncated: its header promises {promised_s:.3f} s, it ends at "
                f"{reached_s:.3f} s. Copy it again."
            )


class _Chain:
    """The frames of a bare stream, each of which begins where the one before ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next: int | None = None

    def follow(self, packet: Any, at_s: float) -> None:
        """Refuse a packet that begins later."""
        if not packet.size or packet.pos is None or packet.pos < 0:
            return
        if self._next is not None and packet.pos > self._next:
            raise AudioFileError(
                f"{self._path}: damaged at {at_s:.3f} s: {packet.pos - self._next} bytes from byte "
                f"{self._next} on are no sound. Copy it again."
            )
        self._next = packet.pos + packet.size

    def end(self) -> None:
        """Refuse a file that goes on after the last frame, but for tags."""
        if self._next is None:
            return
        with self._path.open("rb") as file:
            file.seek(self._next)
            rest = file.read()
        if rest.strip(b"\0") and not rest.startswith((b"TAG", b"APETAGEX", b"LYRICS", b"ID3")):
            raise AudioFileError(
                f"{self._path}: truncated or damaged: the last {len(rest)} bytes, from byte "
                f"{self._next} on, are no whole frame of sound. Copy it again."
            )


def _kept_samples(frame: Any) -> int:
    """What remains without the encoder's padding, where the container's clock is exact."""
    exact = frame.time_base == Fraction(1, frame.sample_rate)
    return int(min(frame.duration or frame.samples, frame.samples) if exact else frame.samples)
