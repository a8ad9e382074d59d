"""One sound file denoised into another, block by block, in bounded memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile as sf

from tinysignal import audio
from tinysignal.audio.ffmpeg import SUFFIXES as VIDEO_SUFFIXES
from tinysignal.audio.ffmpeg import TrackReader
from tinysignal.audio.ffmpeg_writer import TrackWriter
from tinysignal.audio.formats import LOSSY, AudioInfo, choose_format
from tinysignal.audio.libsndfile import Writer
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, ConfigError
from tinysignal.files import atomic
from tinysignal.options import Options, option

FILES = "Files"  # heading of these options in --help

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
    subtype : str or None
        libsndfile's name: PCM_16, FLOAT, ...; None for the input's own.

    Raises
    ------
    ConfigError
        An unknown clip mode or subtype.
    """

    clip_mode: Literal["rescale", "clamp", "none"] = option(
        "rescale",
        "Beyond full scale: write all more quietly, saturate, or do nothing.",
        group=FILES,
    )
    subtype: str | None = option(
        None, "Such as PCM_16, PCM_24, FLOAT.", group=FILES, shown="the input's"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.subtype is not None and self.subtype.upper() not in sf.available_subtypes():
            raise ConfigError(
                f"subtype '{self.subtype}', expected one of: {', '.join(sf.available_subtypes())}."
            )


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
        The input cannot be read, or the output's container cannot be written.
    FileError
        The output cannot be written.
    ConfigError
        The container does not take the subtype.
    MissingExtraError
        Only FFmpeg can read the input, and PyAV is not installed.

    Example
    -------
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
    with ExitStack() as stack:
        with audio.open(source) as reader:
            info = reader.info
            film = isinstance(reader, TrackReader)
        if target.suffix.lower() in VIDEO_SUFFIXES and not film:
            raise AudioFileError(
                f"{target}: this container is only written from a film or an FFmpeg audio file. "
                "Choose an extension such as .wav or .flac."
            )
        job = _Job(source, info, denoiser, options, on_block)
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
    return FileReport(
        samples=done.samples,
        sample_rate_hz=info.sample_rate_hz,
        channels=info.channels,
        container=job.container,
        subtype=job.subtype,
        level_in_dbfs=_level_db(done.energy_in, done.samples * info.channels),
        level_out_dbfs=_level_db(done.energy_out, done.samples * info.channels),
        gain_db=20 * math.log10(gain),
        elapsed_s=time.perf_counter() - started,
        notes=tuple(done.notes),
    )


class _Job:
    """The passes over one file."""

    def __init__(
        self,
        source: Path,
        info: AudioInfo,
        denoiser: Denoiser,
        options: FileOptions,
        on_block: Callable[[float], None] | None,
    ) -> None:
        self.source = source
        self.info = info
        self.denoiser = denoiser
        self.options = options
        self.on_block = on_block
        self.container = ""
        self.subtype = ""

    def run(self, outputs: list[Path], gain: float) -> _Pass:
        """Write the denoised signal, and the residual if there are two outputs."""
        done = _Pass()
        with ExitStack() as stack:
            reader = audio.open(self.source)
            stack.push(reader.__exit__)
            done.notes.extend(reader.notes)
            writers = []
            for path in outputs:
                writers.append(self._writer(path, done))
                stack.push(writers[-1].__exit__)
            for before, after in self._denoised(reader):
                scaled = after * np.float32(gain)
                signals = (scaled, (before - after) * np.float32(gain))
                for writer, signal in zip(writers, signals, strict=False):
                    writer.write(signal)
                done.samples += after.shape[1]
                done.energy_in += _energy(before)
                done.energy_out += _energy(scaled)
        done.peak = max(writer.peak for writer in writers)
        done.clipped = sum(writer.clipped for writer in writers)
        self.container = writers[0].audio_format.container
        self.subtype = writers[0].audio_format.subtype
        return done

    def _denoised(self, reader: SoundReader) -> Iterator[tuple[Signal, Signal]]:
        """Blocks of the signal and of the same stretch denoised."""
        info = self.info
        stream = self.denoiser.stream(sample_rate_hz=info.sample_rate_hz, channels=info.channels)
        waiting = np.zeros((info.channels, 0), np.float32)
        for block in reader.blocks():
            waiting = np.concatenate([waiting, block], axis=1)
            after = stream.feed(block)
            yield waiting[:, : after.shape[1]], after
            waiting = waiting[:, after.shape[1] :]
            if self.on_block is not None:
                self.on_block(block.shape[1] / info.sample_rate_hz)
        yield waiting, stream.flush()

    def _writer(self, path: Path, done: _Pass) -> Writer | TrackWriter:
        options, info = self.options, self.info
        clamp = options.clip_mode == "clamp"
        if path.suffix.lower() in VIDEO_SUFFIXES:
            if options.subtype is not None:
                raise ConfigError(f"subtype '{options.subtype}': a sound track keeps its codec.")
            track = TrackWriter(path, source=self.source, clamp=clamp)
            done.notes.extend(track.notes)
            return track
        audio_format, note = choose_format(info, path.suffix, subtype=options.subtype)
        if note is not None and note not in done.notes:
            done.notes.append(note)
        same_codec = audio_format.subtype == info.subtype in LOSSY
        writer = Writer(
            path,
            sample_rate_hz=info.sample_rate_hz,
            channels=info.channels,
            audio_format=audio_format,
            samples=info.samples,
            tags=info.tags,
            bits_per_s=self.source.stat().st_size * 8 / info.duration_s if same_codec else None,
            clamp=clamp,
        )
        if writer.lost_tags:
            lost = f"tags not kept by {audio_format.container}: {', '.join(writer.lost_tags)}"
            if lost not in done.notes:
                done.notes.append(lost)
        return writer


def residual_suffix(target: Path) -> str:
    """The extension for what was removed: the target's own, ``.wav`` beside a film."""
    suffix = target.suffix.lower()
    return ".wav" if suffix in VIDEO_SUFFIXES else target.suffix


def _energy(signal: Signal) -> float:
    return float(np.einsum("ct,ct->", signal, signal, dtype=np.float64))


def _level_db(energy: float, samples: int) -> float:
    return 10 * math.log10(energy / samples) if energy > 0 else -math.inf
