"""The denoiser: a whole signal, or a stream (feed / flush / reset)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.audio.validate import check_block, check_channels, check_rate, check_signal
from tinysignal.errors import ModelError, SignalError
from tinysignal.model import DEFAULT_MODEL, DenoisingModel, load_denoising_model
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import IstftStream, Signal, Spectrum, StftSize, StftStream
from tinysignal.upper_band import UpperBand

ChannelMode = Literal["shared", "independent"]

# Frames of one run: more take more memory and, out of the cache, more time. Many wide channels
# take fewer, by channels * frames * bins.
_FRAMES_AT_ONCE, _BINS_AT_ONCE = 128, 1 << 18
# Shares of the model's bins at its upper end: recordings at the model's rate fade out in the last
# of them, so what the network says there counts only at that rate; those before say whether there
# is speech in what lies above.
_EDGE, _GUIDE = 1 / 32, 5 / 8
_MOST_GAIN = 1e6  # from the loudest to the loudest; what is more is no denoiser
_SILENCE = 1e-8  # magnitude far below one 24-bit step


@dataclass(frozen=True, kw_only=True)
class DenoiseOptions:
    """How the network's gain is applied.

    Parameters
    ----------
    channel_mode : {"shared", "independent"}
        ``shared``: one gain, from the channels' mean power, for all channels, so that the stereo
        image stays where it is. ``independent``: every channel on its own.
    attenuation_limit_db : float or None
        The most by which anything is attenuated; None for no limit.
    mix : float
        1 for the denoised signal, 0 for the input, in between a blend.
    """

    channel_mode: ChannelMode = "shared"
    attenuation_limit_db: float | None = None
    mix: float = 1.0

    def __post_init__(self) -> None:
        if self.channel_mode not in ("shared", "independent"):
            raise SignalError(
                f"channel_mode '{self.channel_mode}', expected 'shared' or 'independent'."
            )
        limit = self.attenuation_limit_db
        if limit is not None and not limit >= 0:
            raise SignalError(f"attenuation_limit_db is {limit}, expected 0 or more.")
        if not 0 <= self.mix <= 1:
            raise SignalError(f"mix is {self.mix}, expected 0 to 1.")


class Denoiser:
    """A denoising network, ready to run.

    Example
    -------
    >>> import numpy as np
    >>> from tinysignal import Denoiser
    >>> denoiser = Denoiser.load()
    >>> noisy = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
    >>> denoiser(noisy, sample_rate_hz=16000).shape
    (1, 16000)
    """

    def __init__(self, network: DenoisingModel) -> None:
        self._network = network

    @classmethod
    def load(cls, model: str | Path = DEFAULT_MODEL, *, threads: int = 1) -> Denoiser:
        """Load a bundled model by name or a model file by path.

        Parameters
        ----------
        model : str or Path
        threads : int
            Threads that one run of the network may use.

        Raises
        ------
        ModelError
            Missing, damaged or foreign file.
        """
        return cls(load_denoising_model(model, threads=threads))

    @property
    def spec(self) -> DenoiserSpec:
        """What the model expects and promises."""
        return self._network.spec

    def __call__(
        self,
        signal: ArrayLike,
        *,
        sample_rate_hz: int,
        channel_mode: ChannelMode = "shared",
        attenuation_limit_db: float | None = None,
        mix: float = 1.0,
    ) -> Signal:
        """Denoise a whole signal.

        Parameters
        ----------
        signal : floating (time,) or (channels, time)
            Full scale at 1.0.
        sample_rate_hz : int
            4000 to 192000.
        channel_mode, attenuation_limit_db, mix
            See `DenoiseOptions`.

        Returns
        -------
        float32, the shape of ``signal``

        Raises
        ------
        SignalError
            Axes swapped, no samples, NaN, a rate or an option out of bounds.
        """
        rows = check_signal(signal)
        stream = self.stream(
            sample_rate_hz=sample_rate_hz,
            channels=rows.shape[0],
            channel_mode=channel_mode,
            attenuation_limit_db=attenuation_limit_db,
            mix=mix,
        )
        output = np.concatenate([stream.feed(rows), stream.flush()], axis=1)
        return output.reshape(np.shape(signal))

    def stream(
        self,
        *,
        sample_rate_hz: int,
        channels: int = 1,
        channel_mode: ChannelMode = "shared",
        attenuation_limit_db: float | None = None,
        mix: float = 1.0,
    ) -> DenoiserStream:
        """Denoise a signal that arrives in blocks; any block sizes give the whole-signal answer.

        Parameters
        ----------
        sample_rate_hz, channels : int
            Of every block to come: 4000 to 192000, 1 to 32.
        channel_mode, attenuation_limit_db, mix
            See `DenoiseOptions`.

        Raises
        ------
        SignalError
        """
        options = DenoiseOptions(
            channel_mode=channel_mode, attenuation_limit_db=attenuation_limit_db, mix=mix
        )
        return DenoiserStream(
            self._network, check_rate(sample_rate_hz), check_channels(channels), options
        )


class DenoiserStream:
    """A signal on its way through a network; made by `Denoiser.stream`.

    The network's STFT is taken at the signal's own rate, with windows of the same duration, so
    nothing is resampled. Bins above the model's highest take the gains of an `UpperBand`.
    """

    def __init__(
        self, network: DenoisingModel, sample_rate_hz: int, channels: int, options: DenoiseOptions
    ) -> None:
        spec = network.spec
        self._network = network
        self._options = options
        self._channels = channels
        self._size = StftSize.at_rate(
            window_samples=spec.window_samples,
            hop_samples=spec.hop_samples,
            model_rate_hz=spec.sample_rate_hz,
            sample_rate_hz=sample_rate_hz,
        )
        self._sample_rate_hz = sample_rate_hz
        fitting = max(1, _BINS_AT_ONCE // (channels * self._size.bins))
        frames_at_once = min(_FRAMES_AT_ONCE, fitting)
        self._samples_at_once = frames_at_once * self._size.hop_samples
        self.reset()

    @property
    def hop_samples(self) -> int:
        """Samples after which the next frame is complete: blocks of this many cost the least."""
        return self._size.hop_samples

    @property
    def latency_samples(self) -> int:
        """The most samples that an output sample waits for, at the signal's rate."""
        size = self._size
        return size.window_samples + self._network.spec.lookahead_frames * size.hop_samples

    @property
    def latency_s(self) -> float:
        """`latency_samples` in seconds."""
        return self.latency_samples / self._sample_rate_hz

    def reset(self) -> None:
        """Forget the signal so far; the next block starts a new one."""
        independent = self._options.channel_mode == "independent"
        gains = self._channels if independent else 1
        self._state = self._network.initial_state(gains)
        spec = self._network.spec
        self._first_above = round(spec.bins * (1 - _EDGE))
        self._upper = None
        if self._size.bins > spec.bins:
            self._upper = UpperBand(
                self._size, self._sample_rate_hz, self._first_above, gains, spec.lookahead_frames
            )
        self._analysis = StftStream(self._size, self._channels)
        self._synthesis = IstftStream(self._size, self._channels)
        self._waiting = np.zeros((self._channels, 0, self._size.bins), np.complex64)
        self._to_drop = self._network.spec.lookahead_frames  # gains of frames before the first
        self._samples_in = 0
        self._samples_out = 0

    def feed(self, block: NDArray[Any]) -> Signal:
        """Take the next samples, return those that are ready.

        Parameters
        ----------
        block : floating (channels, time), or (time,) for one channel
            Any length, zero included.

        Returns
        -------
        float32 (channels, time)
            Between nothing and everything that was still waiting.

        Raises
        ------
        SignalError
            Another number of channels, NaN or infinite samples. The stream is unchanged.
        """
        array = np.asarray(block)
        rows = array[np.newaxis] if array.ndim == 1 else array
        if rows.ndim != 2 or rows.shape[0] != self._channels:
            raise SignalError(
                f"block has shape {array.shape}, expected ({self._channels}, time): "
                f"the stream was opened with {self._channels} channels."
            )
        samples = check_block(rows)
        self._samples_in += samples.shape[1]
        pieces = [np.zeros((self._channels, 0), np.float32)]
        for start in range(0, samples.shape[1], self._samples_at_once):
            piece = samples[:, start : start + self._samples_at_once]
            pieces.append(self._denoise(self._analysis.feed(piece)))
        output = np.concatenate(pieces, axis=1)
        self._samples_out += output.shape[1]
        return output

    def flush(self) -> Signal:
        """End the signal: return the rest of it and reset.

        Returns
        -------
        float32 (channels, time)
            With what `feed` returned, exactly as many samples as were fed.
        """
        size = self._size
        missing = size.frames(self._samples_in) * size.hop_samples - self._samples_in
        tail = self._analysis.feed(np.zeros((self._channels, missing), np.float32))
        ahead = np.zeros((self._channels, self._network.spec.lookahead_frames, size.bins))
        spectrum = np.concatenate([tail, ahead.astype(np.complex64)], axis=1)
        output = self._denoise(spectrum)[:, : self._samples_in - self._samples_out]
        self.reset()
        return output

    def _denoise(self, spectrum: Spectrum) -> Signal:
        if spectrum.shape[1] == 0:
            return np.zeros((self._channels, 0), np.float32)
        gain = self._gain(spectrum)
        dropped = min(self._to_drop, gain.shape[1])
        self._to_drop -= dropped
        gain = gain[:, dropped:]
        waiting = np.concatenate([self._waiting, spectrum], axis=1)
        self._waiting = waiting[:, gain.shape[1] :]
        heard = waiting[:, : gain.shape[1]]
        with np.errstate(over="ignore", invalid="ignore"):
            denoised: Spectrum = np.multiply(heard, gain, dtype=np.complex64)
        # A gain alone may be any: where it is quiet, it says nothing.
        if not _largest(denoised) <= _MOST_GAIN * max(1.0, _largest(heard)):  # nor NaN
            raise ModelError(
                f"model '{self._network.spec.name}' makes the sound louder by more than 120 dB."
            )
        return self._synthesis.feed(denoised)

    def _gain(self, spectrum: Spectrum) -> NDArray[Any]:
        """Gain of every bin, (channels or 1, frames, bins), ``lookahead_frames`` late.

        Real, or complex where the network changes phases as well.
        """
        spec, options = self._network.spec, self._options
        seen = min(spec.bins, self._size.bins)
        heard = spectrum[:, :, :seen]
        if options.channel_mode == "shared" and self._channels > 1:
            heard = _shared(heard)
        inside = np.zeros((*heard.shape[:2], spec.bins), np.complex64)
        # A longer window sums more samples: back to the scale of the model's own.
        scale = np.float32(spec.window_samples / self._size.window_samples)
        np.multiply(heard, scale, out=inside[:, :, :seen])
        inside_gain, self._state = self._network.run(inside, self._state)
        gain = np.empty((*heard.shape[:2], self._size.bins), inside_gain.dtype)
        gain[:, :, :seen] = inside_gain[:, :, :seen]
        if self._upper is not None:
            guide = slice(round(spec.bins * (1 - _GUIDE)), self._first_above)
            kept = _kept_share(np.abs(inside[:, :, guide]), np.abs(inside_gain[:, :, guide]))
            above = spectrum[:, :, self._first_above :]
            if len(kept) < len(above):
                above = _shared(above)
            gain[:, :, self._first_above :] = self._upper(above, kept)
        if options.attenuation_limit_db is not None:
            gain = _at_least(gain, 10 ** (-options.attenuation_limit_db / 20))
        if options.mix < 1:
            gain = np.float32(1 - options.mix) + np.float32(options.mix) * gain
        return gain


def _largest(spectrum: Spectrum) -> float:
    """The largest real or imaginary part."""
    return float(np.abs(spectrum.view(np.float32)).max(initial=0))


def _shared(spectrum: Spectrum) -> Spectrum:
    """One spectrum for all channels: their mean power, the phase of their sum."""
    magnitude = np.sqrt(np.mean(np.abs(spectrum) ** 2, axis=0, keepdims=True))
    total = spectrum.sum(axis=0, keepdims=True)
    size = np.abs(total)
    # Channels that cancel each other have no common phase.
    direction = np.divide(total, size, out=np.ones_like(total), where=size > 0)
    shared: Spectrum = magnitude * direction
    return shared


def _at_least(gain: NDArray[Any], floor: float) -> NDArray[Any]:
    """The gain, its magnitude raised to the floor where it is less."""
    magnitude = np.abs(gain)
    raised = np.divide(floor, magnitude, out=np.ones_like(magnitude), where=magnitude > 0)
    limited = gain * np.maximum(raised, np.float32(1))
    limited[magnitude == 0] = floor
    return np.asarray(limited, gain.dtype)


def _kept_share(magnitude: NDArray[np.float32], gain: NDArray[np.float32]) -> NDArray[np.float32]:
    """What remains of a band's magnitude, at most 1: (channels, frames)."""
    before = magnitude.sum(axis=2) + _SILENCE
    after = (magnitude * gain).sum(axis=2) + _SILENCE
    share: NDArray[np.float32] = np.minimum(after / before, 1)
    return share


def denoise(
    signal: ArrayLike,
    *,
    sample_rate_hz: int,
    model: str | Path = DEFAULT_MODEL,
    channel_mode: ChannelMode = "shared",
    attenuation_limit_db: float | None = None,
    mix: float = 1.0,
) -> Signal:
    """Denoise a whole signal with a bundled model or a model file.

    Loads the model anew at every call; for more than one signal make a `Denoiser`.

    Parameters
    ----------
    signal : floating (time,) or (channels, time)
        Full scale at 1.0.
    sample_rate_hz : int
        4000 to 192000.
    model : str or Path
        A bundled name or the path of a model file.
    channel_mode, attenuation_limit_db, mix
        See `DenoiseOptions`.

    Returns
    -------
    float32, the shape of ``signal``

    Raises
    ------
    SignalError, ModelError

    Example
    -------
    >>> import numpy as np, tinysignal
    >>> noisy = np.random.default_rng(0).normal(0, 0.1, 48000)
    >>> tinysignal.denoise(noisy, sample_rate_hz=48000).shape
    (48000,)
    """
    return Denoiser.load(model)(
        signal,
        sample_rate_hz=sample_rate_hz,
        channel_mode=channel_mode,
        attenuation_limit_db=attenuation_limit_db,
        mix=mix,
    )
