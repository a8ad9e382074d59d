"""A recording whose network has run: written at any strength without running it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tinysignal import audio, gain
from tinysignal.audio.formats import AudioInfo
from tinysignal.denoise_file import FileOptions, FileReport, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.gain import DenoiseOptions
from tinysignal.stft import Signal


@dataclass(frozen=True)
class Remembered:
    """A recording and what the network made of it at full strength; made by `remember`.

    Parameters
    ----------
    source : Path
        The recording.
    info : AudioInfo
    wet : Path
        The denoised samples: float32, (time, channels) in the file.
    options : DenoiseOptions
        Those of the denoiser, at full strength.
    sizes : tuple of int
        Samples that the stream returned for each block: an encoder's output may depend on them.
    """

    source: Path
    info: AudioInfo
    wet: Path
    options: DenoiseOptions
    sizes: tuple[int, ...]

    def write(
        self,
        target: str | Path,
        *,
        attenuation_limit_db: float | None = None,
        mix: float = 1.0,
        stored: FileOptions | None = None,
    ) -> FileReport:
        """Write the recording at a strength: the file that `denoise_file` would write.

        Parameters
        ----------
        target : str or Path
        attenuation_limit_db, mix
            See `DenoiseOptions`.
        stored : FileOptions or None
            See `denoise_file`.

        Raises
        ------
        ConfigError, AudioFileError, FileError, MissingExtraError
            As `denoise_file`.
        """
        options = replace(self.options, attenuation_limit_db=attenuation_limit_db, mix=mix)
        denoiser = cast(Denoiser, _Replay(self, options))  # all of one that denoise_file calls
        return denoise_file(self.source, target, denoiser=denoiser, options=stored, overwrite=True)


def remember(
    source: str | Path,
    wet: str | Path,
    *,
    denoiser: Denoiser,
    on_pair: Callable[[Signal, Signal], None] = lambda before, after: None,
) -> Remembered:
    """Run a denoiser over a recording once, at full strength.

    Memory does not grow with the recording's length.

    Parameters
    ----------
    source : str or Path
        A sound file, or a film, of which the default sound track is taken.
    wet : str or Path
        Where the denoised samples go, four bytes each.
    denoiser : Denoiser
    on_pair : callable
        ``on_pair(before, after)`` is called with each stretch of the recording and the same
        denoised, float32 (channels, time). What it raises ends the work.

    Returns
    -------
    Remembered

    Raises
    ------
    AudioFileError, MissingExtraError
        The recording cannot be read.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Denoiser, audio
    >>> from tinysignal.remembered import remember
    >>> noise = np.random.default_rng(0).normal(0, 0.01, 16000)
    >>> audio.write("talk.wav", noise, sample_rate_hz=16000)
    >>> heard = remember("talk.wav", "talk.wet", denoiser=Denoiser.load())
    >>> gentle = heard.write("gentle.wav", attenuation_limit_db=6)
    >>> strong = heard.write("strong.wav")
    >>> strong.level_out_dbfs < gentle.level_out_dbfs
    True
    """
    source, wet = Path(source), Path(wet)
    full = replace(denoiser.options, attenuation_limit_db=None, mix=1.0)
    sizes = []
    with audio.open(source) as reader, wet.open("wb") as file:
        info = reader.info
        stream = denoiser.stream(
            sample_rate_hz=info.sample_rate_hz, channels=info.channels, **vars(full)
        )
        waiting = np.zeros((info.channels, 0), np.float32)

        def keep(after: Signal) -> None:
            nonlocal waiting
            sizes.append(after.shape[1])
            file.write(np.ascontiguousarray(after.T).tobytes())
            on_pair(waiting[:, : after.shape[1]], after)
            waiting = waiting[:, after.shape[1] :]

        for block in reader.blocks():
            waiting = np.concatenate([waiting, block], axis=1)
            keep(stream.feed(block))
        keep(stream.flush())
    return Remembered(source, info, wet, full, tuple(sizes))


@dataclass
class _Replay:
    """A denoiser that has heard the recording before."""

    heard: Remembered
    options: DenoiseOptions

    def stream(self, **signal: Any) -> _ReplayStream:
        return _ReplayStream(self.heard, gain.kept(self.options))


class _ReplayStream:
    def __init__(self, heard: Remembered, kept: float) -> None:
        channels = heard.info.channels
        self._kept = kept
        samples = sum(heard.sizes)
        if samples:
            self._wet = np.memmap(heard.wet, np.float32, "r", shape=(samples, channels))
        self._sizes: Iterator[int] = iter(heard.sizes)
        self._waiting = np.zeros((channels, 0), np.float32)
        self._at = 0

    def feed(self, block: NDArray[np.float32]) -> Signal:
        self._waiting = np.concatenate([self._waiting, block], axis=1)
        return self.flush()

    def flush(self) -> Signal:
        size = next(self._sizes)
        given, self._waiting = np.split(self._waiting, [size], axis=1)
        wet = np.array(self._wet[self._at : self._at + size].T) if size else given
        self._at += size
        return gain.blended(given, wet, self._kept)
