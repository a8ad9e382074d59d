"""The options of denoising, and arithmetic on the gains that a network gives to a spectrum's bins.

A gain is a factor for every bin, (channels, frames, bins): real, or complex where the network
changes phases as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, permutations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.options import Options, option
from tinysignal.stft import Signal, Spectrum

ChannelMode = Literal["shared", "independent"]
Values = NDArray[np.float32]

# Fractions of a model's bins at its upper end. Recordings at the model's rate fade out in the last
# 1/32, so the network's gains there hold at that rate only. The band from 5/8 to 1/32 below the top
# tells whether there is speech in the bins above.
_EDGE, _GUIDE = 1 / 32, 5 / 8
_MOST_GAIN = 1e6  # from the largest bin before to the largest after
_SILENCE = 1e-8  # magnitude far below one 24-bit step
_INAUDIBLE = 1e-30  # product of two magnitudes

_LINK_MEMORY_S = 0.1  # of the coherence of two channels, an amplitude from 0 to 1:
_APART, _TOGETHER = 0.9, 0.98  # different sounds, and the same
_PRODUCTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class DenoiseOptions(Options):
    """How a denoiser applies its network's gain.

    `Denoiser.load`, `Denoiser.__call__`, `Denoiser.stream` and `denoise` take these by name.

    Parameters
    ----------
    channel_mode : {"shared", "independent"}
        ``shared``: one gain for the channels that carry the same sound, which keeps the stereo
        image. ``independent``: a gain for every channel, as for speakers who have one each.
    attenuation_limit_db : float or None
        The attenuation of noise alone, 0 or more; None for as much as the model can. The fraction
        ``10 ** (-attenuation_limit_db / 20)`` of the input stays in the output.
    mix : float
        1 for the denoised signal, 0 for the input, a blend in between.

    Raises
    ------
    ConfigError
        A value that is out of its bounds.

    Examples
    --------
    >>> from tinysignal import Denoiser
    >>> gentle = Denoiser.load(attenuation_limit_db=12)
    >>> gentle.options
    DenoiseOptions(channel_mode='shared', attenuation_limit_db=12, mix=1.0)
    >>> gentle.stream(sample_rate_hz=16000, mix=0.8).options.mix
    0.8
    """

    channel_mode: ChannelMode = option(
        "shared",
        "One gain for what channels share, which keeps the stereo image; independent where "
        "every speaker has a channel.",
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


class ChannelLinks:
    """One gain for the channels that carry the same sound, so that its stereo image stays.

    Two channels are linked in the bins where their sounds are coherent, in whatever phase: there,
    both get the mean of their gains, weighted by power. Channels that carry different sounds keep
    their own gains. Blocks of any number of frames give the same.

    Parameters
    ----------
    channels, bins : int
    frames_per_s : float
    """

    def __init__(self, channels: int, bins: int, frames_per_s: float) -> None:
        self._forget = np.float32(np.exp(-1 / (_LINK_MEMORY_S * frames_per_s)))
        self._pairs = list(combinations(range(channels), 2))
        # Sums over time: powers, then real and imaginary parts of the products of two channels.
        self._sums = np.zeros((channels + 2 * len(self._pairs), bins), np.float32)

    def __call__(self, gains: NDArray[Any], spectrum: Spectrum) -> NDArray[Any]:
        """The gains of channels that are linked.

        Parameters
        ----------
        gains : (channels, frames, bins)
        spectrum : complex64 (channels, frames, bins)
            What they are for.
        """
        linked = np.empty_like(gains)
        frames_at_once = max(1, _PRODUCTS_AT_ONCE // self._sums.size)
        for start in range(0, gains.shape[1], frames_at_once):
            piece = slice(start, start + frames_at_once)
            own = gains[:, piece]
            powers, together = self._heard(spectrum[:, piece])
            total, mean = powers.copy(), powers * own
            for pair, share in zip(self._pairs, together, strict=True):
                for one, other in permutations(pair):
                    weight = share * powers[other]
                    total[one] += weight
                    mean[one] += weight * own[other]
            silent = total == 0
            linked[:, piece] = np.where(silent, own, mean / (total + silent))
        return linked

    def _heard(self, spectrum: Spectrum) -> tuple[Values, Values]:
        """Powers (channels, frames, bins), and what is one sound in two channels (pairs, ...)."""
        firsts, seconds = (spectrum[list(which)] for which in zip(*self._pairs, strict=True))
        products = firsts * seconds.conj()
        parts = spectrum.real**2 + spectrum.imag**2, products.real, products.imag
        sums = np.ascontiguousarray(np.concatenate(parts).swapaxes(0, 1))
        for now, before in zip(sums, [self._sums, *sums], strict=False):
            now += self._forget * before  # noqa: PLW2901 - in place
        self._sums = sums[-1].copy()
        powers, real, imaginary = np.split(
            sums.swapaxes(0, 1), np.cumsum([len(spectrum), len(products)])
        )
        level = np.sqrt(powers)
        one, other = (level[list(which)] for which in zip(*self._pairs, strict=True))
        both = one * other
        heard = both > _INAUDIBLE  # below, float32 has no digits left to divide
        coherence = np.divide(np.hypot(real, imaginary), both, out=np.zeros_like(both), where=heard)
        powers = np.where(powers > _INAUDIBLE, powers, np.float32(0))
        return powers, np.clip((coherence - _APART) / (_TOGETHER - _APART), 0, 1)


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
    band = _guiding(gain.shape[2])
    magnitude = np.abs(heard[:, :, band])
    before = magnitude.sum(axis=2) + _SILENCE
    after = (magnitude * np.abs(gain[:, :, band])).sum(axis=2) + _SILENCE
    kept: NDArray[np.float32] = np.minimum(after / before, 1)
    return kept


def voice_and_noise(heard: Spectrum, gain: NDArray[Any]) -> NDArray[np.float32]:
    """Mean power of a bin: what a network leaves in its band, and what it takes where it guides.

    Parameters
    ----------
    heard : complex64 (channels, frames, model's bins)
    gain : (channels, frames, model's bins)

    Returns
    -------
    float32 (channels, frames, 2)
    """
    bins = gain.shape[2]
    left = heard * gain
    parts = left[:, :, : first_above(bins)], (heard - left)[:, :, _guiding(bins)]
    powers = [np.square(np.abs(part)).mean(axis=2) for part in parts]
    return np.stack(powers, axis=2, dtype=np.float32)


def _guiding(bins: int) -> slice:
    """The bins of a network's band next to what lies above it."""
    return slice(round(bins * (1 - _GUIDE)), first_above(bins))


def kept(options: DenoiseOptions) -> float:
    """The fraction of the input that stays in the output, for the attenuation limit and ``mix``.

    A limit of ``L`` dB keeps ``10 ** (-L / 20)``, so that noise alone falls by ``L`` and what
    remains of it sounds as it did.
    """
    limit_db = options.attenuation_limit_db
    limited = 0.0 if limit_db is None else 10 ** (-limit_db / 20)
    return 1 - (1 - limited) * options.mix


def blended(given: Signal, output: Signal, kept: float) -> Signal:
    """A denoised signal with the fraction of the input that stays, see `kept`.

    Parameters
    ----------
    given, output : float32 (channels, time)
        The input, and the same stretch at full strength.
    kept : float
        0 to 1.
    """
    if not kept:
        return output
    return np.float32(kept) * given + np.float32(1 - kept) * output


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
    most = _MOST_GAIN * np.maximum(1, _largest(spectrum))
    if not (_largest(result) <= most).all():  # NaN compares false
        raise ModelError(f"model '{model}' makes the sound louder by more than 120 dB.")
    return result


def _largest(spectrum: Spectrum) -> NDArray[np.float32]:
    """The largest real or imaginary part, (channels,)."""
    largest: NDArray[np.float32] = np.abs(spectrum.view(np.float32)).max(axis=(1, 2), initial=0)
    return largest
