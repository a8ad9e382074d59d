"""A signal encoded for one sound track of a container, to the sample where the codec allows.

A lossy codec delays the sound by its window and works in whole frames. MP4, Matroska and Ogg state
both, so that a player leaves them out. Elsewhere the encoder is primed with as much silence as
fills its delay up to whole frames, and these frames are left out of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from tinysignal.audio.validate import Signal
from tinysignal.errors import AudioFileError

_ENCODER_OF = {
    "opus": "libopus",
    "mp3": "libmp3lame",
    "mp3float": "libmp3lame",
    "amrnb": "libopencore_amrnb",
    "ac3_fixed": "ac3",
}
_NOT_WRITTEN = ("libvorbis", "vorbis", "dca", "truehd", "mlp", "sonic")  # experimental, or none
_LOSSLESS = ("flac", "alac", "pcm_", "wavpack", "tta")
_LOSSLESS_DECODERS = ("ape", "tak", "truehd", "mlp", "wmalossless", "shorten", "mp4als", "dsd_")
# What a container takes where it cannot take the source's codec, the best first.
_ENCODERS_FOR = {
    "mp4": ("aac",),
    "ipod": ("aac",),
    "mov": ("aac",),
    "3gp": ("aac",),
    "3g2": ("aac",),
    "matroska": ("libopus", "flac"),
    "webm": ("libopus",),
    "ogv": ("libopus", "flac"),
    "ogg": ("libopus", "flac"),
    "oga": ("libopus", "flac"),
    "avi": ("libmp3lame", "ac3", "pcm_s16le"),
    "asf": ("wmav2", "libmp3lame"),
    "mpeg": ("mp2", "ac3"),
    "vob": ("ac3", "mp2"),
    "mpegts": ("aac", "mp2"),
    "flv": ("aac", "libmp3lame"),
    "adts": ("aac",),
    "ac3": ("ac3",),
    "eac3": ("eac3",),
    "mp2": ("mp2",),
    "tta": ("tta",),
    "wv": ("wavpack",),
}
# FFmpeg does not know what these cannot take.
_ONLY = {
    "mpeg": ("mp2", "libmp3lame", "ac3"),
    "vob": ("mp2", "libmp3lame", "ac3"),
    "mpegts": ("mp2", "libmp3lame", "ac3", "eac3", "aac", "libopus"),
}
_MOV = ("mp4", "ipod", "mov", "3gp", "3g2")
_STATES_DELAY = (*_MOV, "matroska", "webm", "ogv", "ogg", "oga")
_STATES_END = ("matroska", "webm")  # what of the last frame is to be left out
_KBPS_A_CHANNEL = {"aac": 80, "libopus": 64, "libmp3lame": 80, "mp2": 96, "ac3": 96, "wmav2": 64}
_LEGAL_KBPS = {
    "mp2": (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    "ac3": (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640),
}
_SWALLOWED = {"wmav1": 2, "wmav2": 2}  # packets that the decoder needs before its first sound
_DECODER_DELAY_SAMPLES = {"libopencore_amrnb": 25}
_SKIP_SAMPLES = 11  # AV_PKT_DATA_SKIP_SAMPLES: 10 bytes, the second four the samples at the end


@dataclass(frozen=True)
class TrackFormat:
    """What is known of a sound track before it is encoded.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the decoder, or libsndfile's of the subtype.
    rate_hz, channels : int
    layout : str
        FFmpeg's name of the channels.
    samples : str
        FFmpeg's name of the type of a decoded sample.
    bits_per_s : float
        0 if unknown.
    is_film : bool
        Whether it comes from a container of FFmpeg's, so that its codec shall stay.
    """

    codec: str
    rate_hz: int
    channels: int
    layout: str
    samples: str = "fltp"
    bits_per_s: float = 0.0
    is_film: bool = True


def choose_encoder(
    av: Any, path: Path, output: Any, wanted: TrackFormat
) -> tuple[Any, str, str | None]:
    """A new stream in a container, its encoder's name, and what could not be kept.

    Raises
    ------
    AudioFileError
        The container takes nothing that FFmpeg can encode.
    """
    kind = output.format.name
    own = _ENCODER_OF.get(wanted.codec, wanted.codec)
    names = []
    if wanted.is_film and own not in _NOT_WRITTEN and own in _ONLY.get(kind, (own,)):
        names.append(own)
    if _is_lossless(wanted) and kind in ("matroska", "mov", "ipod"):
        names += ["flac" if kind == "matroska" else "alac"] if wanted.is_film else []
        names += ["flac"] if kind == "matroska" else []
    names += _ENCODERS_FOR.get(kind, (output.default_audio_codec,))
    for name in dict.fromkeys(names):
        for bits_per_s in dict.fromkeys((_bits_per_s(name, own, wanted), 0)):
            settings = _settings(av, name, wanted, bits_per_s)
            if settings is None or not _opens(av, name, settings):
                continue
            try:
                stream = output.add_stream(name, rate=settings["rate"], layout=settings["layout"])
            except (av.error.FFmpegError, ValueError):
                break
            _set_up(stream.codec_context, settings)
            note = None
            if wanted.is_film and name != own:
                note = f"{wanted.codec} cannot be written here; {name} is written instead"
            elif settings["rate"] != wanted.rate_hz:
                note = f"{name} takes no {wanted.rate_hz} Hz; {settings['rate']} Hz are written"
            return stream, name, note
    raise AudioFileError(
        f"{path}: FFmpeg has no encoder for {wanted.codec} with {wanted.channels} channels at "
        f"{wanted.rate_hz} Hz in this container. Write .mkv or .wav instead."
    )


def _is_lossless(wanted: TrackFormat) -> bool:
    known = (*_LOSSLESS, *_LOSSLESS_DECODERS)
    return wanted.codec.lower().startswith((*known, "float", "double"))


_AAC_SHORTFALL = 1.1


def _bits_per_s(name: str, own: str, wanted: TrackFormat) -> int:
    """The source's own bit rate for its own codec, else one at which speech stays clear."""
    if name.startswith(_LOSSLESS):
        return 0
    rate = wanted.bits_per_s if name == own else 0.0
    if name == "aac":  # FFmpeg's own falls short of what it is asked for where sound is sparse
        rate *= _AAC_SHORTFALL
    rate = rate or _KBPS_A_CHANNEL.get(name, 0) * 1000.0 * min(wanted.channels, 5)
    legal = _LEGAL_KBPS.get(name)
    return 1000 * min(legal, key=lambda kbps: abs(kbps - rate / 1000)) if legal else round(rate)


def _settings(av: Any, name: str, wanted: TrackFormat, bits_per_s: int) -> dict[str, Any] | None:
    try:
        codec = av.Codec(name, "w")
    except (av.error.FFmpegError, ValueError):
        return None
    rates = codec.audio_rates
    rate = wanted.rate_hz
    if rates and rate not in rates:
        rate = min((r for r in rates if r > rate), default=max(rates))
    formats = [f.name for f in codec.audio_formats or ()]
    bare = wanted.samples.removesuffix("p")
    deep = "s16" if bare in ("s16", "u8") else "s32"
    choices = [wanted.samples, bare, f"{bare}p", deep, f"{deep}p"]
    sample_format = next((f for f in choices if f in formats), formats[0] if formats else "fltp")
    return {
        "rate": rate,
        "layout": wanted.layout,
        "format": sample_format,
        "bit_rate": bits_per_s,
        "options": {"reservoir": "0"} if name == "libmp3lame" else {},
    }


def _set_up(context: Any, settings: dict[str, Any]) -> None:
    context.format = settings["format"]
    context.options.update(settings["options"])
    if settings["bit_rate"]:
        context.bit_rate = settings["bit_rate"]
    context.open()


def _context(av: Any, name: str, settings: dict[str, Any]) -> Any:
    context = av.CodecContext.create(name, "w")
    context.sample_rate, context.layout = settings["rate"], settings["layout"]
    context.time_base = Fraction(1, settings["rate"])
    _set_up(context, settings)
    return context


def _opens(av: Any, name: str, settings: dict[str, Any]) -> bool:
    """Whether the encoder takes these settings; a stream that failed could not be taken back."""
    try:
        _context(av, name, settings)
    except (av.error.FFmpegError, ValueError):
        return False
    return True


class TrackEncoder:
    """The packets of one sound track.

    Parameters
    ----------
    av : module
    path : Path
        For messages.
    output : container
    wanted : TrackFormat
    start_s : float
        When the sound begins.
    """

    def __init__(
        self, av: Any, path: Path, output: Any, wanted: TrackFormat, *, start_s: float
    ) -> None:
        self._av = av
        self.stream, self.codec, self.note = choose_encoder(av, path, output, wanted)
        context = self.stream.codec_context
        self.rate_hz = context.sample_rate
        self._layout = context.layout.name
        self._start = round(start_s * self.rate_hz)
        self._from_hz = wanted.rate_hz
        self._resampler = None
        if self.rate_hz != wanted.rate_hz:
            self._resampler = soxr.ResampleStream(
                wanted.rate_hz, self.rate_hz, wanted.channels, quality="VHQ"
            )
        kind = output.format.name
        self._lossless = self.codec.startswith(_LOSSLESS)
        self._ends_stated = kind in _STATES_END
        self._frame = 0 if self._lossless else context.frame_size
        self._index = 0  # of the next packet
        self._fed = 0  # samples, those of priming included
        self._primed = 0
        self._delay = self._dropped = 0
        self._early: list[Any] = []  # packets that came of priming
        if self._frame:
            self._delay = self._measured_delay() + _DECODER_DELAY_SAMPLES.get(self.codec, 0)
            self._prime(stated=self._states_delay(kind))
        first = self._start - self._delay
        if kind in _STATES_END and first > 0 and 2000 * first % self.rate_hz == 0:
            self._start -= 1  # their clock ticks in ms: half of one is rounded down, not up

    @property
    def written(self) -> int:
        """Samples of sound so far, at the track's rate."""
        return self._fed - self._primed

    @property
    def reached_s(self) -> float:
        """The end of what was written, on the clock of the file."""
        return float((self._start + self.written) / self.rate_hz)

    def encode(self, block: Signal) -> Iterator[Any]:
        """Packets to write, after float32 (channels, time) more."""
        yield from self._early
        self._early = []
        if self._resampler is not None:
            block = self._resampler.resample_chunk(block.T).T
        yield from self._fed_with(block)

    def finish(self) -> Iterator[Any]:
        """The last packets."""
        channels = self.stream.codec_context.layout.nb_channels
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
            yield from self._fed_with(rest.T)
        samples = self.written
        if not self._frame:
            yield from self.stream.encode(None)
            return
        tail = np.zeros((channels, self._delay + 3 * self._frame), np.float32)
        rest = [*self._fed_with(tail), *self._numbered(self.stream.encode(None))]
        kept = [packet for packet in rest if packet.pts - self._start < samples]
        if kept:
            self._trim(kept[-1], self._start + samples)
        yield from kept

    def _fed_with(self, block: Signal) -> Iterator[Any]:
        if block.shape[1] == 0:
            return
        packets = self.stream.encode(self._as_frame(block, self._start + self.written))
        self._fed += block.shape[1]
        yield from self._numbered(packets) if self._frame else packets

    def _as_frame(self, block: Signal, pts: int) -> Any:
        frame = self._av.AudioFrame.from_ndarray(
            np.ascontiguousarray(block, np.float32), format="fltp", layout=self._layout
        )
        frame.sample_rate, frame.time_base, frame.pts = self.rate_hz, Fraction(1, self.rate_hz), pts
        return frame

    def _numbered(self, packets: list[Any]) -> Iterator[Any]:
        """Packets on the clock of the signal, without those that only hold the delay."""
        for packet in packets:
            if not packet.size:
                continue
            index, self._index = self._index, self._index + 1
            if index < self._dropped:
                continue
            packet.time_base = Fraction(1, self.rate_hz)
            at = self._start + index * self._frame - self._delay - self._primed
            packet.pts = packet.dts = at
            packet.duration = self._frame
            yield packet

    def _trim(self, packet: Any, end: int) -> None:
        """Say how much of the last packet is sound."""
        surplus = packet.pts + self._frame - end
        packet.duration = self._frame - surplus
        if surplus > 0 and self._ends_stated:
            data = self._av.packet.PacketSideData(_SKIP_SAMPLES, 10)
            data.update(struct.pack("<IIBB", 0, surplus, 0, 0))
            packet.set_sidedata(data)

    def _prime(self, *, stated: bool) -> None:
        before = _SWALLOWED.get(self.codec, 0)
        if stated and not before:
            return
        frames = max(-(-self._delay // self._frame), before)
        self._dropped = frames - before
        silence = frames * self._frame - self._delay
        if silence:
            channels = self.stream.codec_context.layout.nb_channels
            zeros = np.zeros((channels, silence), np.float32)
            self._fed = self._primed = silence
            packets = self.stream.encode(self._as_frame(zeros, self._start - silence))
            self._early = list(self._numbered(packets))

    def _states_delay(self, kind: str) -> bool:
        """Whether players leave out the delay by what stands in the container.

        An edit list of MP4, as FFmpeg writes it, says either how much to leave out or how much
        later than the picture the sound begins.
        """
        if kind in _MOV and self._start > 0:
            return self.codec == "libopus"  # its delay stands beside the edit list
        return kind in _STATES_DELAY

    def _measured_delay(self) -> int:
        """Samples by which the first packet begins before the first sample."""
        context = self.stream.codec_context
        settings = {
            "rate": self.rate_hz,
            "layout": self._layout,
            "format": context.format.name,
            "bit_rate": context.bit_rate,
            "options": {},
        }
        probe = _context(self._av, self.codec, settings)
        silence = np.zeros((context.layout.nb_channels, 8 * self._frame), np.float32)
        packets = [*probe.encode(self._as_frame(silence, 0)), *probe.encode(None)]
        return max(0, -int(packets[0].pts or 0))
