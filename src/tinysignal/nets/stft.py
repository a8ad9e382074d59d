"""Differentiable STFT in torch, equal to `tinysignal.stft`."""

from __future__ import annotations

import torch
from torch import Tensor

from tinysignal.stft import StftSize


def stft(signal: Tensor, size: StftSize) -> Tensor:
    """Short-time Fourier transform with the frames of `tinysignal.stft.stft`.

    Parameters
    ----------
    signal : float (batch, time)
    size : StftSize

    Returns
    -------
    complex (batch, frames, freq)
    """
    samples = signal.shape[1]
    after = size.frames(samples) * size.hop_samples - samples
    padded = torch.nn.functional.pad(signal, (size.overlap_samples, after))
    window = torch.from_numpy(size.analysis_window).to(signal)
    frames = padded.unfold(1, size.window_samples, size.hop_samples)
    spectrum: Tensor = torch.fft.rfft(frames * window)
    return spectrum


def istft(spectrum: Tensor, size: StftSize, samples: int) -> Tensor:
    """Inverse of `stft`.

    Parameters
    ----------
    spectrum : complex (batch, frames, freq)
    size : StftSize
    samples : int
        Length of the transformed signal.

    Returns
    -------
    float (batch, samples)
    """
    pieces = torch.fft.irfft(spectrum, size.window_samples)
    window = torch.from_numpy(size.synthesis_window).to(pieces)
    length = (spectrum.shape[1] - 1) * size.hop_samples + size.window_samples
    total = torch.nn.functional.fold(
        (pieces * window).transpose(1, 2),
        output_size=(1, length),
        kernel_size=(1, size.window_samples),
        stride=(1, size.hop_samples),
    )
    return total[:, 0, 0, size.overlap_samples : size.overlap_samples + samples]
