"""The options of denoising, and arithmetic on the gains that a network gives to a spectrum's bins.

A gain is a factor for every bin, (channels, frames, bins): real, or complex where the network
changes phases as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.options import Options, option
from tinysignal.stft import Spectrum

ChannelMode = Literal["shared", "independent"]

# Fractions of a model's bins at its upper end. Recordings at the model's rate fade out in the last
# 1/32, so the network's gains there hold at that rate only. The band from 5/8 to 1/32 below the top
# tells whether there is speech in the bins above.
_EDGE, _GUIDE = 1 / 32, 5 / 8
_MOST_GAIN = 1e6  # from the largest bin before to the largest after
_SILENCE = 1e-8  # magnitude far below one 24-bit step


@dataclass(frozen=True, kw_only=True)
class DenoiseOptions(Options):
    """How a denoiser applies its network's gain.

    `Denoiser.load`, `Denoiser.__call__`, `Denoiser.stream` and `denoise` take these by name.

    Parameters
    ----------
    channel_mode : {"shared", "independent"}
        ``shared``: one gain for all channels, from their mean power, which keeps the stereo image.
        ``independent``: a gain for every channel.
    attenuation_limit_db : float or None
        The attenuation of noise alone, 0 or more; None for as much as the model can. The fraction
        ``10 ** (-attenuation_limit_db / 20)`` of the input stays in the output.
    mix : float
        1 for the denoised signal, 0 for the input, a blend in between.

    Raises
    ------
    ConfigError
        A value that is out of its bounds.

    Example
    -------
    >>> from tinysignal import Denoiser
    >>> gentle = Denoiser.load(attenuation_limit_db=12)
    >>> gentle.options
    DenoiseOptions(channel_mode='shared', attenuation_limit_db=12, mix=1.0)
    >>> gentle.stream(sample_rate_hz=16000, mix=0.8).options.mix
    0.8
    """

    channel_mode: ChannelMode = option(
        "shared",
        "One gain for all channels, which keeps the stereo image, or one for each.",
        group="Sound",
    )
    attenuation_limit_db: float | None = option(
        None,
        "Attenuate noise by this, speech by nothing: part of the input stays in the output.",
        group="Sound",
        metavar="DB",
        shown="no limit",
        at_least=0,
    )
    mix: float = option(
        1.0, "1 for the denoised signal, 0 for the input.", group="Sound", at_least=0, at_most=1
    )


def shared_spectrum(spectrum: Spectrum) -> Spectrum:
    """One spectrum for all channels: the root of their mean power, the phase of their sum.

    Parameters
    ----------
    spectrum : complex64 (channels, frames, bins)

    Returns
    -------
    complex64 (1, frames, bins)
        Real and positive where the channels cancel, as they have no common phase there.
    """
    magnitude = np.sqrt(np.mean(np.abs(spectrum) ** 2, axis=0, keepdims=True))
    total = spectrum.sum(axis=0, keepdims=True)
    size = np.abs(total)
    direction = np.divide(total, size, out=np.ones_like(total), where=size > 0)
    shared: Spectrum = magnitude * direction
    return shared


def first_above(bins: int) -> int:
    """The first of a model's bins that, at a higher rate, belongs to the band above the model."""
    return round(bins * (1 - _EDGE))


def guide(heard: Spectrum, gain: NDArray[Any]) -> NDArray[np.float32]:
    """Fraction of the magnitude that a network leaves in the upper part of its band, at most 1.

    Parameters
    ----------
    heard : complex64 (channels, frames, model's bins)
        The spectrum that the network was given.
    gain : (channels, frames, model's bins)

    Returns
    -------
    float32 (channels, frames)
    """
    bins = gain.shape[2]
    band = slice(round(bins * (1 - _GUIDE)), first_above(bins))
    magnitude = np.abs(heard[:, :, band])
    before = magnitude.sum(axis=2) + _SILENCE
    after = (magnitude * np.abs(gain[:, :, band])).sum(axis=2) + _SILENCE
    kept: NDArray[np.float32] = np.minimum(after / before, 1)
    return kept


def adjusted(gain: NDArray[Any], options: DenoiseOptions) -> NDArray[Any]:
    """The gain blended with that of the input, 1, for the attenuation limit and ``mix``.

    A limit of ``L`` dB keeps the fraction ``10 ** (-L / 20)`` of the input, so that noise alone
    falls by ``L`` and what remains of it sounds as it did.
    """
    for denoised in (1 - _kept(options.attenuation_limit_db), options.mix):
        if denoised < 1:
            gain = np.float32(1 - denoised) + np.float32(denoised) * gain
    return gain


def applied(gain: NDArray[Any], spectrum: Spectrum, *, model: str) -> Spectrum:
    """The spectrum times the gain.

    Raises
    ------
    ModelError
        NaN, or a result that is larger than the spectrum by more than 120 dB. The product is
        judged, not the gain: where the spectrum is quiet, any gain may be right.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        result: Spectrum = np.multiply(spectrum, gain, dtype=np.complex64)
    if not _largest(result) <= _MOST_GAIN * max(1.0, _largest(spectrum)):  # NaN compares false
        raise ModelError(f"model '{model}' makes the sound louder by more than 120 dB.")
    return result


def _largest(spectrum: Spectrum) -> float:
    """The largest real or imaginary part."""
    return float(np.abs(spectrum.view(np.float32)).max(initial=0))


def _kept(limit_db: float | None) -> float:
    """The fraction of the input that an attenuation limit keeps."""
    return 0.0 if limit_db is None else 10 ** (-limit_db / 20)
