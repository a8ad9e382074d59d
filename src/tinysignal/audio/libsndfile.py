"""Sound files in blocks: `Reader` and `Writer`, over libsndfile."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from tinysignal.audio import mp3
from tinysignal.audio.bitrate import BitRate, bit_rate, encoder_settings
from tinysignal.audio.checked_file import CheckedFile
from tinysignal.audio.formats import (
    BITS,
    LOSSY,
    STORED_BYTES,
    AudioFormat,
    AudioInfo,
    wide_enough,
)
from tinysignal.audio.headers import PatchedFile, check_complete, size_patches, w64_bytes
from tinysignal.audio.reader import SoundReader, check_facts, check_finite, check_readable
from tinysignal.audio.validate import Signal, check_channels, check_rate
from tinysignal.errors import AudioFileError

_BLOCK_SAMPLES = 1 << 17  # of all channels together: half a MiB
_UNKNOWN_LENGTH = 1 << 62
_MP3_SLACK = 4 * 1152  # the encoder's delay and padding, and the estimate's rounding


class ForeignFileError(AudioFileError):
    """Not for libsndfile, but FFmpeg may read it."""


class _Sequential(sf.SoundFile):  # type: ignore[misc]  # soundfile carries no types
    """A sound file read or written front to back.

    soundfile seeks after every block otherwise, which fails at the end of a FLAC file that was
    written into a pipe.
    """

    def seekable(self) -> bool:
        return False


def _bare(path: Path) -> str | bytes:
    """The path as libsndfile gets it: where names are bytes, they need not be text."""
    return os.fsencode(path) if os.name == "posix" else str(path)


class Reader(SoundReader):
    """A sound file of libsndfile's kinds, read in blocks.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    AudioFileError
        Missing, unreadable, empty, truncated, not audio, no samples; rate or number of channels
        out of bounds.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        check_readable(self._path)
        check_complete(self._path)
        patches, note = size_patches(self._path)
        self._raw = PatchedFile(self._path, patches) if patches else CheckedFile(self._path)
        self.notes = () if note is None else (note,)
        self._file = self._open()
        if self._file.frames >= _UNKNOWN_LENGTH:  # a FLAC file written into a pipe
            samples = sum(len(block) for block in self._raw_blocks(_BLOCK_SAMPLES))
            self._file.close()
            self._file = self._open()
        else:
            samples = self._file.frames
        if self._file.format == "W64":
            samples = min(samples, self._stated_samples())
        facts = mp3.read_facts(self._path) if self._file.format == "MP3" else None
        self.info = AudioInfo(
            sample_rate_hz=self._file.samplerate,
            channels=self._file.channels,
            samples=samples,
            container=self._file.format,
            subtype=self._file.subtype,
            tags={k: v for k, v in self._file.copy_metadata().items() if v},
            endian=self._file.endian,
            bit_rate=bit_rate(
                self._path, duration_s=max(1, samples) / self._file.samplerate, facts=facts
            ),
        )
        try:
            check_facts(self._path, self.info)
            self._check_length(None if facts is None else facts.samples)
        except AudioFileError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def blocks(self, samples: int | None = None) -> Iterator[Signal]:
        """The signal from its start, float32 (channels, up to ``samples``) at a time.

        Raises
        ------
        AudioFileError
            Damaged or truncated; NaN or infinite samples.
        """
        size = samples or max(1024, _BLOCK_SAMPLES // self.info.channels)
        position = 0
        for raw in self._raw_blocks(size):
            block = np.ascontiguousarray(raw[: self.info.samples - position].T)
            if block.shape[1] == 0:
                return
            check_finite(self._path, block, start=position, info=self.info)
            position += block.shape[1]
            yield block
        if position < self.info.samples:
            raise AudioFileError(
                f"{self._path}: truncated: its header promises {self.info.duration_s:.3f} s, it "
                f"ends at {position / self.info.sample_rate_hz:.3f} s. Copy it again."
            )

    def _stated_samples(self) -> int:
        stored = STORED_BYTES.get(self._file.subtype, BITS.get(self._file.subtype, 32) // 8)
        stated = w64_bytes(self._path)
        return _UNKNOWN_LENGTH if stated is None else stated // (stored * self._file.channels)

    def _check_length(self, frames: int | None) -> None:
        """Samples in the frames of an MP3 file against what libsndfile makes of them."""
        if frames is not None and frames > self.info.samples + _MP3_SLACK:
            raise ForeignFileError(
                f"{self._path}: an MP3 file of varying bit rate without a Xing header: only "
                f"{self.info.duration_s:.1f} s of {frames / self.info.sample_rate_hz:.1f} s "
                "would be read. Install the 'video' extra, pip install 'tinysignal[video]', or "
                "convert it to .wav first."
            )

    def _open(self) -> _Sequential:
        self._raw.seek(0)
        try:
            file = _Sequential(self._raw)
            self._check_read()
        except AudioFileError:
            self._raw.close()
            raise
        except (sf.LibsndfileError, TypeError) as error:
            self._raw.close()
            self._check_read()
            found = mp3.samples_of(self._path)
            if found is not None and found.held < (found.stated or 0):
                raise AudioFileError(
                    f"{self._path}: truncated: its header promises {found.stated} samples, it "
                    f"holds {found.held}. Copy it again."
                ) from None
            raise ForeignFileError(
                f"{self._path}: not a readable audio file ({_said(error)})."
            ) from None
        return file

    def _check_read(self) -> None:
        if self._raw.error is not None:
            raise AudioFileError(f"{self._path}: cannot be read ({self._raw.error.strerror}).")

    def _raw_blocks(self, samples: int) -> Iterator[Signal]:
        """Float32 (time, channels)."""
        position = 0
        while True:
            try:
                block: Signal = self._file.read(samples, dtype="float32", always_2d=True)
            except sf.LibsndfileError as error:
                raise AudioFileError(
                    f"{self._path}: damaged or truncated after "
                    f"{position / self._file.samplerate:.3f} s ({_said(error)}). Copy it again."
                ) from None
            self._check_read()
            if len(block) == 0:
                return
            position += len(block)
            yield block


def _said(error: Exception) -> str:
    """What libsndfile said, if it said something; soundfile's word for samples without a header."""
    text = str(getattr(error, "error_string", "headerless samples")).rstrip(". ")
    return "the encoder refused" if text.startswith("(Garbled") else text


class Writer:
    """A sound file, written in blocks.

    Integers are rounded to the nearest step and saturate at full scale. `close` reads the file's
    header back and refuses a length or rate that came out different, so a ``with`` block that
    ends well has written what it was given.

    Parameters
    ----------
    path : str or Path
        Overwritten if it exists.
    sample_rate_hz, channels : int
    audio_format : AudioFormat
        A WAV that would outgrow 4 GiB becomes RF64 when ``samples`` says so.
    samples : int
        The length to come; 0 if unknown.
    tags : mapping of str to str or None
        libsndfile's names: title, artist, album, comment, date, ...
    bit_rate : BitRate or None
        About what a lossy encoder shall use; None for its own choice.
    clamp : bool
        Whether lossy formats saturate at full scale as well.

    Attributes
    ----------
    peak : float
        The largest magnitude given so far.
    clipped : int
        Samples beyond full scale, 1.0; always 0 for floating-point formats.
    lost_tags : list of str
        Tags that the container does not take.
    notes : list of str
        What else could not be kept.

    Raises
    ------
    AudioFileError
    """

    def __init__(
        self,
        path: str | Path,
        *,
        sample_rate_hz: int,
        channels: int,
        audio_format: AudioFormat,
        samples: int = 0,
        tags: Mapping[str, str] | None = None,
        bit_rate: BitRate | None = None,
        clamp: bool = True,
    ) -> None:
        self._path = Path(path)
        self.audio_format = wide_enough(audio_format, channels=channels, samples=samples)
        self._clamp = clamp
        self.peak = 0.0
        self.clipped = 0
        self.written = 0
        self.lost_tags: list[str] = []
        self.notes: list[str] = []
        kind = self.audio_format
        rate_hz, channels = check_rate(sample_rate_hz), check_channels(channels)
        settings = {}
        if bit_rate is not None:
            settings = encoder_settings(kind.subtype, bit_rate, rate_hz=rate_hz, channels=channels)
        self._file = self._open(rate_hz, channels, settings)
        for name, text in (tags or {}).items():
            try:
                setattr(self._file, name, text)
            except sf.LibsndfileError:
                self.lost_tags.append(name)

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
            else:
                self._file.close()
        finally:
            self._raw.close()

    def write(self, block: Signal) -> None:
        """Append float32 (channels, time).

        Raises
        ------
        AudioFileError
            The disk is full.
        """
        if block.shape[1] == 0:
            return
        self.peak = max(self.peak, float(np.abs(block).max()))
        if not self.audio_format.is_float:
            self.clipped += int(np.count_nonzero(np.abs(block) > 1))
        try:
            self._file.write(self._encode(block).T)
        except (sf.LibsndfileError, AssertionError):  # soundfile asserts that all is written
            raise self._unwritable() from None
        if self._raw.error is not None:
            raise self._unwritable()
        self.written += block.shape[1]

    def close(self) -> None:
        """Finish the file and hold it to what was written.

        Raises
        ------
        AudioFileError
        """
        rate, channels = self._file.samplerate, self._file.channels
        self._file.close()
        if self._raw.error is not None:
            raise self._unwritable()
        self._raw.close()
        if self.written == 0:
            return
        if self.audio_format.container == "MP3":
            mp3.state_length(self._path, samples=self.written)
        try:
            found = sf.info(_bare(self._path))
        except sf.LibsndfileError:
            raise self._unwritable() from None
        if (found.samplerate, found.channels, found.frames) != (rate, channels, self.written):
            raise AudioFileError(
                f"{self._path}: {self.audio_format.container} {self.audio_format.subtype} reads "
                f"back as {found.frames} samples at {found.samplerate} Hz instead of "
                f"{self.written} at {rate} Hz. Write another format, such as .wav."
            )

    def _open(self, rate_hz: int, channels: int, settings: dict[str, Any]) -> _Sequential:
        """Encoders refuse some rates together: then they get their own choice."""
        kind = self.audio_format
        self._raw = CheckedFile(self._path, "w")
        try:
            return _Sequential(
                self._raw,
                "w",
                samplerate=rate_hz,
                channels=channels,
                format=kind.container,
                subtype=kind.subtype,
                endian=kind.endian,
                **settings,
            )
        except (sf.LibsndfileError, ValueError) as error:
            self._raw.close()
            if settings:
                return self._open(rate_hz, channels, {})
            what = getattr(error, "error_string", str(error)).rstrip(". ")
            raise AudioFileError(
                f"{self._path}: {kind.container} {kind.subtype} cannot be written with "
                f"{channels} channels at {rate_hz} Hz ({what})."
            ) from None

    def _encode(self, block: Signal) -> NDArray[Any]:
        bits = BITS.get(self.audio_format.subtype)
        if bits is None:
            clamped = self._clamp and self.audio_format.subtype in LOSSY
            return np.clip(block, -1, 1) if clamped else block
        top = 2 ** (bits - 1) - 1
        steps = np.rint(block.astype(np.float64) * (top + 1))
        held = np.int16 if bits <= 16 else np.int32
        scale = 2 ** (np.iinfo(held).bits - bits)  # libsndfile takes the upper bits
        whole: NDArray[Any] = np.clip(steps, -top - 1, top).astype(held) * held(scale)
        return whole

    def _unwritable(self) -> AudioFileError:
        error = self._raw.error
        what = "libsndfile refused" if error is None else error.strerror
        return AudioFileError(f"{self._path}: cannot be written ({what}).")
