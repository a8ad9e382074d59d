"""Sound tracks of films and of audio files that only FFmpeg reads: the ``video`` extra (PyAV).

The sound track is decoded, cleaned and encoded anew, in the same codec where FFmpeg has an encoder
for it; pictures, subtitles and chapters are copied packet by packet. Timestamps are kept. A codec
works in frames, so the length is exact where the container notes what is left of the last frame
(MP4, M4A, MOV), and for lossless codecs and Opus anywhere. AAC in Matroska ends on a whole frame of
1024 samples; bare ADTS (.aac) has no place for the encoder's delay and comes out one frame later
and longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tinysignal.audio.formats import AudioInfo
from tinysignal.audio.libsndfile import check_facts, check_finite
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal
from tinysignal.errors import AudioFileError, MissingExtraError

_NAMES = (
    "3gp aac ac3 ape avi eac3 flv m2ts m4a m4b m4v mka mkv mov mp2 mp4 mpeg mpg ts webm wma wmv"
)
SUFFIXES = frozenset(f".{name}" for name in _NAMES.split(" "))
BRANDS = ("major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER")
_GAP_S = 0.05  # a hole in the timestamps that is heard; Matroska's are rounded to 1 ms
_MISSING_S = 1.0  # streams end apart from one another; more is a truncated file
_BLOCK_SAMPLES = 1 << 16  # of all channels together


def import_av(path: str | Path) -> Any:
    """PyAV, needed for that file.

    Raises
    ------
    MissingExtraError
    """
    try:
        import av  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError(f"{path}: reading this kind of file", "video") from None
    return av


class TrackReader(SoundReader):
    """The first sound track of a file, read in blocks.

    ``info.samples`` is the length that the container states, within one tick of its time base.

    Parameters
    ----------
    path : str or Path
        Of any file that FFmpeg reads.

    Raises
    ------
    AudioFileError
        Not readable, or without a sound track.
    MissingExtraError
        PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._av = import_av(path)
        self._container, self._stream = open_track(self._av, self._path)
        self.info = track_facts(self._path, self._container, self._stream)
        check_facts(self._path, self.info)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def blocks(self) -> Iterator[Signal]:
        """The sound track, float32 (channels, time) in blocks; holes are silence.

        Raises
        ------
        AudioFileError
            Damaged or truncated; NaN or infinite samples; rate or channels change on the way.
        """
        position = 0
        for block in self._merged():
            check_finite(self._path, block, start=position, info=self.info)
            position += block.shape[1]
            yield block
        if position == 0:
            raise AudioFileError(f"{self._path}: there are no samples in its sound track.")

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
        reached_s = 0.0
        for packet in self._container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                reached_s = max(reached_s, end_s)
            if packet.stream.index == self._stream.index:
                for frame in packet.decode():
                    self._check_constant(frame, reached_s)
                    for converted in converter.resample(frame):
                        yield converted, _kept_samples(frame)
        self._check_end(reached_s)

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
            while gap > _GAP_S * rate_hz:
                silence = min(gap, rate_hz)
                yield np.zeros((channels, silence), np.float32)
                gap -= silence
        yield signal

    def _check_end(self, reached_s: float) -> None:
        # Elsewhere (bare AAC, MPEG) FFmpeg only estimates the duration.
        if not self._container.format.name.startswith(("mov", "matroska")):
            return
        if self._container.duration is None:
            return
        start_s = (self._container.start_time or 0) / self._av.time_base
        promised_s = start_s + self._container.duration / self._av.time_base
        if reached_s < promised_s - _MISSING_S:
            raise AudioFileError(
                f"{self._path}: truncated: its header promises {promised_s:.3f} s, it ends at "
                f"{reached_s:.3f} s. Copy it again."
            )


def open_track(av: Any, path: Path) -> tuple[Any, Any]:
    """The opened container and its first sound track.

    Raises
    ------
    AudioFileError
    """
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise AudioFileError(f"{path}: not a readable audio or video file ({what}).") from None
    if not container.streams.audio:
        container.close()
        raise AudioFileError(f"{path}: there is no sound track in it.")
    return container, container.streams.audio[0]


def track_facts(path: Path, container: Any, track: Any) -> AudioInfo:
    """The facts of a sound track; the length is what the container says."""
    rate_hz = track.codec_context.sample_rate
    if track.duration is not None:
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
        tags={k: v for k, v in container.metadata.items() if k not in BRANDS},
    )


def _kept_samples(frame: Any) -> int:
    """What remains without the encoder's padding, where the container's clock is exact."""
    exact = frame.time_base == Fraction(1, frame.sample_rate)
    return int(min(frame.duration or frame.samples, frame.samples) if exact else frame.samples)
