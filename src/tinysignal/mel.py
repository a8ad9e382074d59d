"""Mel filters, and log-mel patches as the input of sound classifiers."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal import audio
from tinysignal.errors import SignalError
from tinysignal.spec import SoundInput
from tinysignal.stft import hann

RANGE_DB = 80.0
_FRAMES_AT_ONCE = 4096  # bounds the memory for long sounds


def read_patch(path: str | Path, spec: SoundInput) -> NDArray[np.float32]:
    """Log-mel patch of a sound file, see `log_mel`.

    Parameters
    ----------
    path : str or Path
        Sound file of any format that `tinysignal.audio.open` reads.
    spec : SoundInput

    Returns
    -------
    float32 (frames, mels)

    Raises
    ------
    AudioFileError
        The file is not readable as a sound.
    SignalError
        The sample rate is outside 4000 to 192000 Hz.
    MissingExtraError
        The format needs FFmpeg, and PyAV is not installed.
    """
    signal, rate_hz = audio.read(path)
    try:
        return log_mel(signal, sample_rate_hz=rate_hz, spec=spec)
    except SignalError as error:
        raise SignalError(f"{path}: {error}") from None


def log_mel(signal: ArrayLike, *, sample_rate_hz: int, spec: SoundInput) -> NDArray[np.float32]:
    """Log-mel patch of a sound with values from 0 to 1, independent of its level.

    The mean of the channels is resampled. Mel powers are in dB relative to the largest one of the
    patch: that one is 1, and powers 80 dB or more below it are 0. A silent sound is 0 throughout.
    Frames are centred: a sound of n samples has 1 + n // hop frames. Shorter sounds are placed in
    the middle of the patch; longer ones are cut to the stretch with the most power.

    Parameters
    ----------
    signal : floating (time,) or (channels, time)
    sample_rate_hz : int
        Sample rate of the signal in Hz, 4000 to 192000.
    spec : SoundInput

    Returns
    -------
    float32 (frames, mels)

    Raises
    ------
    SignalError
        The signal holds NaN or no samples, or its axes are swapped.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.mel import log_mel
    >>> from tinysignal.spec import SoundInput
    >>> tone = np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    >>> patch = log_mel(tone, sample_rate_hz=16_000, spec=SoundInput())
    >>> patch.shape, float(patch.max())
    ((63, 40), 1.0)
    """
    rows = audio.check_signal(signal)
    mono = rows.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    mono = audio.resample(mono, from_hz=sample_rate_hz, to_hz=spec.sample_rate_hz)[0]
    power = _loudest_stretch(_mel_power(mono, spec), spec.frames)
    patch = np.zeros(spec.shape, np.float32)
    peak = power.max()
    if peak > 0:
        relative_db = 10 * np.log10(np.maximum(power / peak, 10 ** (-RANGE_DB / 10)))
        start = (spec.frames - len(power)) // 2
        patch[start : start + len(power)] = 1 + relative_db / RANGE_DB
    return patch


def _mel_power(mono: NDArray[np.float32], spec: SoundInput) -> NDArray[np.float64]:
    """Mel powers of all frames, float64 (frames, mels)."""
    size = spec.window_samples
    before = size // 2
    padded = np.pad(mono, (before, size - before))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: spec.hop_samples]
    frames = frames[: 1 + mono.size // spec.hop_samples]
    filters = mel_filters(sample_rate_hz=spec.sample_rate_hz, window_samples=size, mels=spec.mels).T
    parts = [
        np.abs(np.fft.rfft(frames[start : start + _FRAMES_AT_ONCE] * hann(size), axis=1)) ** 2
        @ filters
        for start in range(0, len(frames), _FRAMES_AT_ONCE)
    ]
    return np.concatenate(parts)


def _loudest_stretch(power: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    if len(power) <= frames:
        return power
    sums = np.cumsum(np.concatenate([[0.0], power.sum(axis=1)]))
    start = int(np.argmax(sums[frames:] - sums[:-frames]))
    return power[start : start + frames]


@cache
def mel_filters(*, sample_rate_hz: int, window_samples: int, mels: int) -> NDArray[np.float64]:
    """Mel filters: triangles of equal area on Slaney's scale, from 0 Hz to half the rate.

    Parameters
    ----------
    sample_rate_hz, window_samples : int
        Sample rate in Hz and window length of the spectra.
    mels : int
        Number of bands.

    Returns
    -------
    float64 (mels, freq)
        Read-only, because it is cached. A band narrower than a frequency bin may be 0.

    References
    ----------
    Slaney (1998), "Auditory Toolbox"; librosa's default.
    """
    break_mel, break_hz = 15.0, 1000.0  # linear below, 27 mels per factor 6.4 above
    step = np.log(6.4) / 27
    top_hz = sample_rate_hz / 2
    top_mel = break_mel + np.log(top_hz / break_hz) / step
    scale = np.linspace(0, top_mel, mels + 2)
    linear_hz = scale * break_hz / break_mel
    edges_hz = np.where(scale < break_mel, linear_hz, break_hz * np.exp(step * (scale - break_mel)))
    bins_hz = np.arange(window_samples // 2 + 1) * sample_rate_hz / window_samples
    widths_hz = np.diff(edges_hz)
    rise = (bins_hz - edges_hz[:-2, np.newaxis]) / widths_hz[:-1, np.newaxis]
    fall = (edges_hz[2:, np.newaxis] - bins_hz) / widths_hz[1:, np.newaxis]
    triangles = np.maximum(0, np.minimum(rise, fall))
    filters = np.asarray(triangles * (2 / (edges_hz[2:] - edges_hz[:-2]))[:, np.newaxis])
    filters.setflags(write=False)
    return filters
