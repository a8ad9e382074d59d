"""STFT and its inverse in numpy: the definition that everything else is held to.

Frame ``t`` covers the samples ``[t*hop - (window - hop), t*hop + hop)``; what lies outside the
signal counts as zero, so every sample is covered by exactly ``window / hop`` frames. Analysis
uses the periodic Hann window; synthesis the same window divided by the sum of the overlapping
squared windows, the least-squares inverse (Griffin and Lim, 1984, eq. 6). That sum repeats with
the hop, so a stream and a whole signal are treated alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]  # (channels, time)
Spectrum = NDArray[np.complex64]  # (channels, frames, freq)


@dataclass(frozen=True)
class StftSize:
    """Window length and hop in samples; the window is an even multiple of the hop."""

    window_samples: int
    hop_samples: int

    @classmethod
    def at_rate(
        cls, *, window_samples: int, hop_samples: int, model_rate_hz: int, sample_rate_hz: int
    ) -> StftSize:
        """The size whose window lasts at ``sample_rate_hz`` what the model's lasts at its own.

        Bin ``k`` then stands for the same frequency at every rate (to the rounding of the hop to
        whole samples: exact at 8, 16, 24, 32, 48 kHz, within 0.06 % at 22.05 and 44.1 kHz), so a
        network trained at 16 kHz runs on a 48 kHz recording without resampling it, and what lies
        above 8 kHz is simply further bins.
        """
        hop = max(1, round(hop_samples * sample_rate_hz / model_rate_hz))
        return cls(window_samples // hop_samples * hop, hop)

    @property
    def bins(self) -> int:
        """Frequency bins of a frame."""
        return self.window_samples // 2 + 1

    @property
    def overlap_samples(self) -> int:
        """What neighbouring frames share."""
        return self.window_samples - self.hop_samples

    def frames(self, samples: int) -> int:
        """Frames of a signal of that many samples."""
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
        Length of the signal that was transformed.

    Returns
    -------
    float32 (channels, samples)
    """
    padded = _synthesise(spectrum, size)
    return padded[:, size.overlap_samples : size.overlap_samples + samples]


def _analyse(padded: Signal, size: StftSize) -> Spectrum:
    """Spectra of the frames that lie wholly inside ``padded``."""
    frames = np.lib.stride_tricks.sliding_window_view(padded, size.window_samples, axis=1)
    windowed = frames[:, :: size.hop_samples] * size.analysis_window
    return np.asarray(np.fft.rfft(windowed, axis=2), np.complex64)


def _synthesise(spectrum: Spectrum, size: StftSize) -> Signal:
    """Overlap-add of the frames: (channels, frames * hop + overlap)."""
    channels, frames, _ = spectrum.shape
    pieces = np.fft.irfft(spectrum, size.window_samples, axis=2) * size.synthesis_window
    overlap = size.window_samples // size.hop_samples
    # (channels, frames, overlap, hop): piece k of frame t falls on hop t + k.
    pieces = pieces.reshape(channels, frames, overlap, size.hop_samples)
    total = np.zeros((channels, frames + overlap - 1, size.hop_samples), np.float32)
    for k in range(overlap):
        total[:, k : k + frames] += pieces[:, :, k]
    return total.reshape(channels, -1)


class StftStream:
    """Analysis of a signal that arrives in blocks: the frames of `stft`, as they complete."""

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
    """Synthesis of frames that arrive in blocks: the samples of `istft`, as they are final."""

    def __init__(self, size: StftSize, channels: int) -> None:
        self.size = size
        self._tail = np.zeros((channels, size.overlap_samples), np.float32)
        self._skip = size.overlap_samples  # the zeros that `stft` put in front

    def feed(self, spectrum: Spectrum) -> Signal:
        """Samples that no later frame changes, float32 (channels, time)."""
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
