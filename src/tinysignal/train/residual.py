"""Losses of residual noise and of removed speech in frequency bands.

Signals are compared by their power in bands of half an ERB over several window lengths: long
windows resolve harmonics, short ones syllables.
"""

from __future__ import annotations

import math
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, relu

Number = TypeVar("Number", Tensor, float)

_WINDOWS_S = (0.016, 0.064)  # in addition to the 32 ms of `tinysignal.train.losses.spectral`
_BANDS_PER_ERB = 2.0
_DEEPEST = 10**-4.5  # floor relative to the power of the noise: a reduction of 45 dB is enough
_QUIETEST_NOISE, _QUIETEST_SPEECH = 1e-8, 1e-5  # floors relative to the mean power of a clip
_TINY = 1e-12
_SPEECH_WEIGHT = 10.0  # speech 10 dB below the noise halves the weight of the noise
_NEAR_S = 0.032  # noise near speech has less weight, because a gain has to rise before an onset
_EXPONENT = 0.15  # exponent of power: 0.3 of magnitude


class Terms(NamedTuple, Generic[Number]):
    """Terms of the loss, or their weights.

    Parameters
    ----------
    magnitude : Tensor () or float
        Mean squared error of compressed magnitudes at a noisy power of 1.
    residual_db : Tensor () or float
        Mean level of the residual noise in dB above the clean signal in pauses; 0 for 45 dB below
        the noise.
    removed_db : Tensor () or float
        Mean attenuation of speech in dB where speech is louder than the noise.
    """

    magnitude: Number
    residual_db: Number
    removed_db: Number


UNUSED = Terms(0.0, 0.0, 0.0)


class ResidualLoss(nn.Module):
    """Loss of residual noise, removed speech and compressed magnitudes in bands.

    Parameters
    ----------
    sample_rate_hz : int
        Sample rate of the signals in Hz.

    References
    ----------
    Yamamoto, Song and Kim (2020), "Parallel WaveGAN", section 3.2, for several resolutions;
    Eskimez et al. (2021), "Human listening and live captioning: multi-task training for speech
    enhancement", eq. 4, for the penalty on removed speech; Glasberg and Moore (1990),
    "Derivation of auditory filter shapes from notched-noise data", eq. 4, for the bands.

    Examples
    --------
    >>> import torch
    >>> from tinysignal.train.residual import ResidualLoss
    >>> noise = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    >>> lost = ResidualLoss(sample_rate_hz=16000)
    >>> loud, soft = (lost(gain * noise, 0 * noise, noise).residual_db for gain in (0.1, 0.01))
    >>> bool(loud - soft > 18)
    True
    """

    def __init__(self, *, sample_rate_hz: int) -> None:
        super().__init__()
        self._windows: list[tuple[int, int]] = []  # window in samples, `_NEAR_S` in frames
        for i, window_s in enumerate(_WINDOWS_S):
            samples = 2 * round(window_s * sample_rate_hz / 2)
            near = round(_NEAR_S * sample_rate_hz / (samples // 2))
            self._windows.append((samples, near))
            self.register_buffer(f"window_{i}", torch.hann_window(samples), persistent=False)
            self.register_buffer(
                f"bands_{i}", half_erb_bands(samples, sample_rate_hz), persistent=False
            )

    def forward(self, estimate: Tensor, clean: Tensor, noisy: Tensor) -> Terms[Tensor]:
        """Terms of a batch.

        Parameters
        ----------
        estimate, clean, noisy : float (batch, time)
            Time-aligned signals; the computation is in float32 also under autocast.
        """
        with torch.autocast(estimate.device.type, enabled=False):
            scale = torch.rsqrt(noisy.float().square().mean(dim=1, keepdim=True) + 1e-10)
            signals = [s.float() * scale for s in (estimate, clean, noisy - clean)]
            terms = [self._terms(signals, i) for i in range(len(self._windows))]
            return Terms(*(torch.stack(term).mean() for term in zip(*terms, strict=True)))

    def _terms(self, signals: list[Tensor], index: int) -> Terms[Tensor]:
        found, true, noise = (self._in_bands(signal, index) for signal in signals)
        near = self._windows[index][1]
        compressed = (found + _QUIETEST_SPEECH) ** _EXPONENT - (
            true + _QUIETEST_SPEECH
        ) ** _EXPONENT
        spoken = _nearby_max(true, near)
        only_noise = noise / (noise + _SPEECH_WEIGHT * spoken + _QUIETEST_NOISE)
        floor = _DEEPEST * noise + _QUIETEST_NOISE
        left = relu(_level_db(found + floor) - _level_db(true + floor))
        mostly_speech = true / (true + noise + _QUIETEST_SPEECH)
        gone = relu(_level_db(true + _QUIETEST_SPEECH) - _level_db(found + _QUIETEST_SPEECH))
        return Terms(
            compressed.square().mean(),
            (only_noise * left).sum() / (only_noise.sum() + _TINY),
            (mostly_speech * gone).sum() / (mostly_speech.sum() + _TINY),
        )

    def _in_bands(self, signal: Tensor, index: int) -> Tensor:
        """Powers in bands, (batch, frames, bands), for a noisy signal of mean power 1."""
        samples = self._windows[index][0]
        window, bands = self.get_buffer(f"window_{index}"), self.get_buffer(f"bands_{index}")
        frames = signal.unfold(1, samples, samples // 2) * window
        real, imaginary = torch.view_as_real(torch.fft.rfft(frames)).unbind(dim=3)
        return (real * real + imaginary * imaginary) @ (bands / window.square().sum())


def _nearby_max(power: Tensor, near: int) -> Tensor:
    """Maximum over the ``near`` frames before and after each frame, along axis 1."""
    widest, width = pad(power, (0, 0, near, near)), 1
    while width <= 2 * near:  # doubling the window is faster than pooling
        step = min(width, 2 * near + 1 - width)
        widest = torch.maximum(widest[:, :-step], widest[:, step:])
        width += step
    return widest


def _level_db(power: Tensor) -> Tensor:
    return 10 / math.log(10) * power.log()


def half_erb_bands(window_samples: int, sample_rate_hz: int) -> Tensor:
    """Matrix from bins to mean powers of bands of half an ERB or one bin, (bins, bands)."""
    freq_hz = torch.fft.rfftfreq(window_samples, 1 / sample_rate_hz)
    rate = 21.4 * torch.log10(1 + 0.00437 * freq_hz)  # in ERB
    band = torch.unique((_BANDS_PER_ERB * rate).floor(), return_inverse=True)[1]
    members = nn.functional.one_hot(band).float()
    return members / members.sum(dim=0)
