"""One sound file denoised into another, block by block, in bounded memory."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile as sf

from tinysignal import audio
from tinysignal.audio.ffmpeg_source import carries_items
from tinysignal.audio.ffmpeg_tracks import SOUND_ONLY, count_tracks
from tinysignal.audio.ffmpeg_tracks import SUFFIXES as VIDEO_SUFFIXES
from tinysignal.audio.ffmpeg_writer import TrackWriter
from tinysignal.audio.formats import LOSSY, SUFFIXES, AudioInfo, choose_format
from tinysignal.audio.libsndfile import Writer
from tinysignal.audio.metadata import carry, header_tags
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, ConfigError
from tinysignal.files import atomic
from tinysignal.options import Options, option
from tinysignal.remote import Place

FILES = "Files"  # heading of these options in --help

_OGG = (".ogg", ".oga")
_FITS = 1 - 1e-6  # just inside full scale, so that rounding the gain to float32 cannot leave it


@dataclass(frozen=True, kw_only=True)
class FileOptions(Options):
    """How denoised files are stored.

    Parameters
    ----------
    clip_mode : {"rescale", "clamp", "none"}
        What happens when the denoised signal exceeds full scale and the output's subtype is an
        integer or a lossy one. ``rescale``: the whole file is written again, just quiet enough;
        ``clamp``: samples saturate and are counted; ``none``: lossy encoders get them as they are,
        integers saturate.
    keep_times : bool
        Whether the outputs get the input's times of access and of change.
    subtype : str or None
        libsndfile's name: PCM_16, FLOAT, ...; None for the input's own.
    track : str or None
        Which sound track of a film: its number, counted from 1, or ``all``; None for its default
        one. The other tracks are copied.

    Raises
    ------
    ConfigError
        An unknown clip mode, subtype or track.
    """

    clip_mode: Literal["rescale", "clamp", "none"] = option(
        "rescale",
        "Beyond full scale: write all more quietly, saturate, or do nothing.",
        group=FILES,
    )
    keep_times: bool = option(
        False, "Give the output the times of access and change of its input.", group=FILES
    )
    subtype: str | None = option(
        None, "Such as PCM_16, PCM_24, FLOAT.", group=FILES, shown="the input's"
    )
    track: str | None = option(
        None,
        "Sound track of a film to denoise, counted from 1, or all.",
        group=FILES,
        shown="the default one",
        metavar="N|all",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subtype is not None and self.subtype.upper() not in sf.available_subtypes():
            raise ConfigError(
                f"subtype '{self.subtype}', expected one of: {', '.join(sf.available_subtypes())}."
            )
        number = self.track is None or (self.track.isdecimal() and int(self.track) > 0)
        if not number and self.track != "all":
            raise ConfigError(f"track '{self.track}', expected a number from 1 on, or all.")

    def tracks_of(self, source: Path) -> list[int | None]:
        """The sound tracks to denoise, counted from 1; None for the default one.

        Raises
        ------
        AudioFileError, MissingExtraError
            The source has to be looked at, and cannot be read.
        """
        if self.track is None:
            return [None]
        if self.track == "all":
            return [*range(1, count_tracks(source) + 1)]
        return [int(self.track)]


@dataclass(frozen=True, kw_only=True)
class FileReport:
    """What became of one file; levels are RMS over all channels, dB relative to full scale."""

    samples: int
    sample_rate_hz: int
    channels: int
    container: str
    subtype: str
    level_in_dbfs: float
    level_out_dbfs: float
    gain_db: float
    elapsed_s: float
    notes: tuple[str, ...]

    @property
    def duration_s(self) -> float:
        """Length of the sound in seconds."""
        return self.samples / self.sample_rate_hz

    @property
    def speed(self) -> float:
        """Seconds of sound for each second of work."""
        return self.duration_s / self.elapsed_s

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold: all fields, seconds, real-time factor; infinite levels are None."""
        return {
            **{name: getattr(self, name) for name in _FACTS},
            **{name: _finite(getattr(self, name)) for name in _MEASURED},
            "seconds": _finite(self.duration_s),
            "real_time_factor": _finite(1 / self.speed),
            "notes": list(self.notes),
        }

    @staticmethod
    def nothing() -> dict[str, Any]:
        """The keys of `to_dict` for a file without a report."""
        names = (*_FACTS, *_MEASURED, "seconds", "real_time_factor")
        return {**dict.fromkeys(names), "notes": []}


_FACTS = ("sample_rate_hz", "channels", "samples", "container", "subtype")
_MEASURED = ("level_in_dbfs", "level_out_dbfs", "gain_db", "elapsed_s", "speed")


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


@dataclass
class _Pass:
    """Sums of one run over the signal."""

    samples: int = 0
    energy_in: float = 0.0
    energy_out: float = 0.0
    clipped: int = 0
    peak: float = 0.0
    notes: list[str] = field(default_factory=list)


def denoise_file(
    source: str | Path,
    target: str | Path,
    *,
    denoiser: Denoiser | None = None,
    options: FileOptions | None = None,
    residual: str | Path | None = None,
    overwrite: bool = False,
    on_block: Callable[[float], None] | None = None,
) -> FileReport:
    """Denoise a sound file, or the sound track of a film, into a new file.

    Rate, channels, length and tags stay; container and subtype as far as the target's extension
    allows. The target appears when it is complete, and not at all if anything fails. A new target
    has the source's permissions.

    Parameters
    ----------
    source, target : str or Path
        Two different files.
    denoiser : Denoiser or None
        None for the bundled default. It may serve several files at once, from several threads.
    options : FileOptions or None
        How the output is stored; None for as the input is.
    residual : str or Path or None
        Where to write what was removed, input minus output at the output's gain.
    overwrite : bool
        Whether to replace a ``target`` or ``residual`` that is read-only.
    on_block : callable or None
        Called with the seconds of sound done since the last call. What it raises ends the work.

    Returns
    -------
    FileReport

    Raises
    ------
    AudioFileError
        The input cannot be read or changed while it was read, or the output's container cannot be
        written.
    FileError
        The output cannot be written.
    ConfigError
        The container does not take the subtype.
    MissingExtraError
        Only FFmpeg can read the input or write the output, and PyAV is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Denoiser, audio
    >>> from tinysignal.denoise_file import denoise_file
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 16000)
    >>> audio.write("talk.wav", noise, sample_rate_hz=16000)
    >>> report = denoise_file("talk.wav", "clean.flac", denoiser=Denoiser.load(mix=0.9))
    >>> report.duration_s, report.container, report.subtype
    (1.0, 'FLAC', 'PCM_24')
    """
    denoiser = denoiser or Denoiser.load()
    options = options or FileOptions()
    source, target = Path(source), Path(target)
    started = time.perf_counter()
    before = _status(source)
    with ExitStack() as stack:
        tracks = options.tracks_of(source)
        if len(tracks) > 1 and target.suffix.lower() not in VIDEO_SUFFIXES - SOUND_ONLY:
            raise ConfigError("track 'all', but only a film holds several. Pass a number, or .mkv.")
        with audio.open(source, track=tracks[0]) as reader:
            info = reader.info
        job = _Job(
            source,
            info,
            tracks=tracks,
            denoiser=denoiser,
            options=options,
            on_block=on_block,
        )
        places = [target] if residual is None else [target, residual]
        outputs = [
            stack.enter_context(atomic(place, like=source, overwrite=overwrite)) for place in places
        ]
        gain = 1.0
        done = job.run(outputs, gain)
        if options.clip_mode == "rescale" and done.clipped:
            gain = _FITS / done.peak
            done = job.run(outputs, gain)
            done.notes.append(
                f"written {-20 * math.log10(gain):.2f} dB quieter, else it would clip "
                "(--clip-mode clamp keeps the level)"
            )
        elif done.clipped and options.clip_mode == "clamp":
            done.notes.append(f"{done.clipped} samples beyond full scale were clipped")
        if before is None or _changes(_status(source)) != _changes(before):
            raise AudioFileError(
                f"{source}: changed while it was read. Try again when it is whole."
            )
        job.carry_metadata(outputs, done)
    if options.keep_times:
        for made in [target] if residual is None else [target, Path(residual)]:
            os.utime(made, ns=(before.st_atime_ns, before.st_mtime_ns))
    return FileReport(
        samples=done.samples,
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        container=job.containers[0],
        subtype=job.subtype,
        level_in_dbfs=_level_db(done.energy_in, done.samples * info.channels),
        level_out_dbfs=_level_db(done.energy_out, done.samples * info.channels),
        gain_db=20 * math.log10(gain),
        elapsed_s=time.perf_counter() - started,
        notes=tuple(done.notes),
    )


@dataclass
class _Lane:
    """A further sound track of a film: its blocks before and after, and how far it is written."""

    pairs: Iterator[tuple[Signal, Signal]]
    info: AudioInfo
    written_s: float = 0.0


class _Job:
    """The passes over one file."""

    def __init__(
        self,
        source: Path,
        info: AudioInfo,
        *,
        tracks: list[int | None],
        denoiser: Denoiser,
        options: FileOptions,
        on_block: Callable[[float], None] | None,
    ) -> None:
        self.source = source
        self.info = info
        self.tracks = tracks
        self.denoiser = denoiser
        self.options = options
        self.on_block = on_block
        self.containers: list[str] = []
        self.subtype = ""

    def run(self, outputs: list[Path], gain: float) -> _Pass:
        """Write the denoised signal, and the residual if there are two outputs."""
        done = _Pass()
        with ExitStack() as stack:
            readers = []
            for track in self.tracks:
                readers.append(audio.open(self.source, track=track))
                stack.push(readers[-1].__exit__)
            writers = []
            for path in outputs:
                writers.append(self._writer(path, done))
                stack.push(writers[-1].__exit__)
            others = [_Lane(self._denoised(reader), reader.info) for reader in readers[1:]]
            for before, after in self._denoised(readers[0]):
                scaled = after * np.float32(gain)
                signals = (scaled, (before - after) * np.float32(gain))
                for writer, signal in zip(writers, signals, strict=False):
                    writer.write(signal)
                done.samples += after.shape[1]
                done.energy_in += _energy(before)
                done.energy_out += _energy(scaled)
                self._follow(others, writers[0], gain, until_s=done.samples / self._rate_hz)
            self._follow(others, writers[0], gain, until_s=math.inf)
        for part in (*readers, *writers):
            done.notes.extend(note for note in part.notes if note not in done.notes)
        done.peak = max(writer.peak for writer in writers)
        done.clipped = sum(writer.clipped for writer in writers)
        self.containers = [writer.audio_format.container for writer in writers]
        self.subtype = writers[0].audio_format.subtype
        return done

    @property
    def _rate_hz(self) -> int:
        return self.info.sample_rate_hz

    def _follow(
        self, lanes: list[_Lane], writer: Writer | TrackWriter, gain: float, *, until_s: float
    ) -> None:
        """Write the further tracks of a film as far as the first."""
        for number, lane in enumerate(lanes, start=1):
            assert isinstance(writer, TrackWriter)
            while lane.written_s < until_s and (found := next(lane.pairs, None)) is not None:
                writer.write(found[1] * np.float32(gain), lane=number)
                lane.written_s += found[1].shape[1] / lane.info.sample_rate_hz

    def _denoised(self, reader: SoundReader) -> Iterator[tuple[Signal, Signal]]:
        """Blocks of the signal and of the same stretch denoised."""
        info = reader.info
        stream = self.denoiser.stream(sample_rate_hz=info.sample_rate_hz, channels=info.channels)
        waiting = np.zeros((info.channels, 0), np.float32)
        for block in reader.blocks():
            waiting = np.concatenate([waiting, block], axis=1)
            after = stream.feed(block)
            yield waiting[:, : after.shape[1]], after
            waiting = waiting[:, after.shape[1] :]
            if self.on_block is not None:
                self.on_block(block.shape[1] / info.sample_rate_hz / len(self.tracks))
        yield waiting, stream.flush()

    def _writer(self, path: Path, done: _Pass) -> Writer | TrackWriter:
        options, info = self.options, self.info
        clamp = options.clip_mode == "clamp"
        suffix = path.suffix.lower()
        # Ogg with what libsndfile does not know: FLAC, Speex, a picture.
        if suffix in VIDEO_SUFFIXES or (suffix in _OGG and info.container == "ogg"):
            if options.subtype is not None:
                raise ConfigError(f"subtype '{options.subtype}': a sound track keeps its codec.")
            numbers = [n for n in self.tracks if n is not None]
            return TrackWriter(
                path, source=self.source, info=info, tracks=numbers or None, clamp=clamp
            )
        audio_format, note = choose_format(info, path.suffix, subtype=options.subtype)
        if note is not None and note not in done.notes:
            done.notes.append(note)
        same_codec = audio_format.subtype == info.subtype in LOSSY
        return Writer(
            path,
            sample_rate_hz=info.sample_rate_hz,
            channels=info.channels,
            audio_format=audio_format,
            samples=info.samples,
            tags=header_tags(info, audio_format.container),
            bit_rate=info.bit_rate if same_codec else None,
            clamp=clamp,
        )

    def carry_metadata(self, outputs: list[Path], done: _Pass) -> None:
        """Tags, marks and whatever else stands beside the sound, into what was written."""
        for path, container in zip(outputs, self.containers, strict=True):
            suffix = path.suffix.lower()
            if suffix in VIDEO_SUFFIXES and not carries_items(self.source, path):
                continue
            own = container if container in SUFFIXES else None
            lost = carry(self.source, path, self.info, container=own)
            if own is not None and audio.info(path).samples != done.samples:
                raise AudioFileError(
                    f"{self.source}: what stands beside its sound is damaged. Convert it first."
                )
            note = f"not kept by {container}: {', '.join(dict.fromkeys(lost))}"
            if lost and note not in done.notes:
                done.notes.append(note)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None  # the reader says why


def _changes(status: os.stat_result | None) -> tuple[int, int] | None:
    return None if status is None else (status.st_size, status.st_mtime_ns)


def residual_suffix(target: Place) -> str:
    """The extension for what was removed: the target's own, ``.wav`` beside a film."""
    suffix = target.suffix.lower()
    return ".wav" if suffix in VIDEO_SUFFIXES else target.suffix


def _energy(signal: Signal) -> float:
    return float(np.einsum("ct,ct->", signal, signal, dtype=np.float64))


def _level_db(energy: float, samples: int) -> float:
    return 10 * math.log10(energy / samples) if energy > 0 else -math.inf
