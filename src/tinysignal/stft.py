"""STFT and its inverse in numpy: the reference definition.

Frame ``t`` covers the samples ``[t*hop - (window - hop), t*hop + hop)``. Samples outside the
signal count as zero, and every sample is covered by exactly ``window / hop`` frames. Analysis
uses the periodic Hann window; synthesis uses the same window divided by the sum of the overlapping
squared windows, the least-squares inverse (Griffin and Lim, 1984, eq. 6). That sum is periodic in
the hop: streams and whole signals give the same samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]  # (channels, time)
Spectrum = NDArray[np.complex64]  # (channels, frames, freq)


@dataclass(frozen=True)
class StftSize:
    """Window length and hop of an STFT.

    Parameters
    ----------
    window_samples, hop_samples : int
        Lengths in samples; the window is an even multiple of the hop.

    Examples
    --------
    >>> from tinysignal.stft import StftSize
    >>> size = StftSize(512, 256)
    >>> size.bins, size.frames(16_000)
    (257, 64)
    """

    window_samples: int
    hop_samples: int

    @classmethod
    def at_rate(
        cls, *, window_samples: int, hop_samples: int, model_rate_hz: int, sample_rate_hz: int
    ) -> StftSize:
        """STFT size of the same duration at another sample rate.

        Bin ``k`` has the same frequency at every rate, apart from the rounding of the hop to whole
        samples: exact at 8, 16, 24, 32 and 48 kHz, within 0.06 % at 22.05 and 44.1 kHz. A network
        trained at 16 kHz therefore runs on a 48 kHz recording without resampling; frequencies
        above 8 kHz are additional bins.

        Parameters
        ----------
        window_samples, hop_samples : int
            Lengths in samples at ``model_rate_hz``.
        model_rate_hz, sample_rate_hz : int
            Rates of the given and of the wanted size in Hz.
        """
        hop = max(1, round(hop_samples * sample_rate_hz / model_rate_hz))
        return cls(window_samples // hop_samples * hop, hop)

    @property
    def bins(self) -> int:
        """Frequency bins of a frame."""
        return self.window_samples // 2 + 1

    @property
    def overlap_samples(self) -> int:
        """Number of samples that neighbouring frames share."""
        return self.window_samples - self.hop_samples

    def frames(self, samples: int) -> int:
        """Number of frames of a signal of so many samples."""
        if samples == 0:
            return 0
        return -(-(samples + self.overlap_samples) // self.hop_samples)

    @cached_property
    def analysis_window(self) -> NDArray[np.float32]:
        """Periodic Hann window, (window_samples,)."""
        return hann(self.window_samples).astype(np.float32)

    @cached_property
    def synthesis_window(self) -> NDArray[np.float32]:
        """Dual of the analysis window, (window_samples,)."""
        window = self.analysis_window.astype(np.float64)
        power = (window**2).reshape(-1, self.hop_samples).sum(axis=0)
        dual = window / np.tile(power, self.window_samples // self.hop_samples)
        return np.asarray(dual, np.float32)


def hann(samples: int) -> NDArray[np.float64]:
    """The periodic Hann window, (samples,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def stft(signal: Signal, size: StftSize) -> Spectrum:
    """Short-time Fourier transform.

    Parameters
    ----------
    signal : float32 (channels, time)
    size : StftSize

    Returns
    -------
    complex64 (channels, size.frames(time), size.bins)

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.stft import StftSize, istft, stft
    >>> signal = np.random.default_rng(0).normal(size=(1, 1000)).astype(np.float32)
    >>> spectrum = stft(signal, StftSize(512, 256))
    >>> spectrum.shape
    (1, 5, 257)
    >>> bool(np.allclose(istft(spectrum, StftSize(512, 256), 1000), signal, atol=1e-5))
    True
    """
    channels, samples = signal.shape
    frames = size.frames(samples)
    if frames == 0:
        return np.zeros((channels, 0, size.bins), np.complex64)
    padded = np.zeros((channels, frames * size.hop_samples + size.overlap_samples), np.float32)
    padded[:, size.overlap_samples : size.overlap_samples + samples] = signal
    return _analyse(padded, size)


def istft(spectrum: Spectrum, size: StftSize, samples: int) -> Signal:
    """Inverse of `stft`.

    Parameters
    ----------
    spectrum : complex64 (channels, frames, freq)
    size : StftSize
    samples : int
        Length of the transformed signal.

    Returns
    -------
    float32 (channels, samples)

    References
    ----------
    Griffin and Lim (1984), "Signal estimation from modified short-time Fourier transform", eq. 6.
    """
    padded = _synthesise(spectrum, size)
    return padded[:, size.overlap_samples : size.overlap_samples + samples]


def _analyse(padded: Signal, size: StftSize) -> Spectrum:
    """Spectra of all complete frames in ``padded``."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, size.window_samples, axis=1)
    windowed = frames[:, :: size.hop_samples] * size.analysis_window
    return np.asarray(np.fft.rfft(windowed, axis=2), np.complex64)


def _synthesise(spectrum: Spectrum, size: StftSize) -> Signal:
    """Overlap-add of the frames, float32 (channels, frames * hop + overlap)."""
    channels, frames, _ = spectrum.shape
    pieces = np.fft.irfft(spectrum, size.window_samples, axis=2) * size.synthesis_window
    overlap = size.window_samples // size.hop_samples
    # (channels, frames, overlap, hop): piece k of frame t is added at hop t + k.
    pieces = pieces.reshape(channels, frames, overlap, size.hop_samples)
    total = np.zeros((channels, frames + overlap - 1, size.hop_samples), np.float32)
    for k in range(overlap):
        total[:, k : k + frames] += pieces[:, :, k]
    return total.reshape(channels, -1)


class StftStream:
    """STFT of a signal that arrives in blocks.

    The frames of all blocks are the first frames of `stft` of the whole signal.

    Parameters
    ----------
    size : StftSize
    channels : int
        Number of channels of the signal.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.stft import StftSize, StftStream
    >>> stream = StftStream(StftSize(512, 256), channels=1)
    >>> [stream.feed(np.zeros((1, 400), np.float32)).shape[1] for _ in range(3)]
    [1, 2, 1]
    """

    LANES: ClassVar[tuple[str, ...]] = ("_pending",)

    def __init__(self, size: StftSize, channels: int) -> None:
        self.size = size
        self._pending = np.zeros((channels, size.overlap_samples), np.float32)

    def feed(self, block: Signal) -> Spectrum:
        """Frames completed by ``block``, complex64 (channels, frames, freq)."""
        size = self.size
        padded = np.concatenate([self._pending, block], axis=1)
        frames = max(0, (padded.shape[1] - size.overlap_samples) // size.hop_samples)
        self._pending = padded[:, frames * size.hop_samples :].copy()
        if frames == 0:
            return np.zeros((padded.shape[0], 0, size.bins), np.complex64)
        return _analyse(padded[:, : frames * size.hop_samples + size.overlap_samples], size)


class IstftStream:
    """Inverse STFT of frames that arrive in blocks.

    The samples of all blocks are the first samples of `istft` of all frames.

    Parameters
    ----------
    size : StftSize
    channels : int
        Number of channels of the spectra.
    """

    LANES: ClassVar[tuple[str, ...]] = ("_tail",)

    def __init__(self, size: StftSize, channels: int) -> None:
        self.size = size
        self._tail = np.zeros((channels, size.overlap_samples), np.float32)
        self._skip = size.overlap_samples  # zeros that `stft` added at the start

    @property
    def settled(self) -> bool:
        """Whether how long it has run changes nothing any more."""
        return self._skip == 0

    def feed(self, spectrum: Spectrum) -> Signal:
        """Completed samples, which no later frame changes, float32 (channels, time)."""
        size = self.size
        frames = spectrum.shape[1]
        if frames == 0:
            return np.zeros((spectrum.shape[0], 0), np.float32)
        total = _synthesise(spectrum, size)
        total[:, : size.overlap_samples] += self._tail
        final = frames * size.hop_samples
        self._tail = total[:, final:].copy()
        skipped = min(self._skip, final)
        self._skip -= skipped
        return total[:, skipped:final]
