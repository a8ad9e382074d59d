"""The denoiser: a whole signal, or a stream (feed / flush / reset)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal import gain
from tinysignal.audio.validate import check_block, check_channels, check_rate, check_signal
from tinysignal.errors import SignalError
from tinysignal.gain import DenoiseOptions
from tinysignal.model import (
    DEFAULT_MODEL,
    DenoisingModel,
    bundled_models,
    load_denoising_model,
    model_path,
)
from tinysignal.remote import is_url
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import IstftStream, Signal, Spectrum, StftSize, StftStream
from tinysignal.subsonic import SubsonicStream
from tinysignal.upper_band import UpperBand

# Frames of one run: more take more memory and, out of the cache, more time. Many wide channels
# take fewer, by channels * frames * bins.
_FRAMES_AT_ONCE, _BINS_AT_ONCE = 128, 1 << 18


RULE = 4
"""To be raised when the same model and options give another sound than before."""


class Denoiser:
    """A denoising network, ready to run; made by `Denoiser.load`.

    It may be used from several threads at once, pickled and copied: a copy loads the model's file
    anew.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Denoiser
    >>> denoiser = Denoiser.load()
    >>> denoiser  # doctest: +NORMALIZE_WHITESPACE
    Denoiser(model='default', sample_rate_hz=16000, channel_mode='shared',
             attenuation_limit_db=None, mix=1.0)
    >>> noisy = np.random.default_rng(0).normal(0, 0.1, (1, 16000)).astype(np.float32)
    >>> denoiser(noisy, sample_rate_hz=16000).shape
    (1, 16000)
    """

    def __init__(
        self, network: DenoisingModel, options: DenoiseOptions, *, source: str, threads: int
    ) -> None:
        self._network = network
        self._options = options
        self._source = source
        self._threads = threads

    @classmethod
    def load(cls, model: str | Path = DEFAULT_MODEL, *, threads: int = 1, **options: Any) -> Self:
        """Load a bundled model, a model file, or the model of a run folder.

        Parameters
        ----------
        model : str or Path
            A bundled name, or a path.
        threads : int
            Threads that one run of the network may use.
        **options
            The fields of `DenoiseOptions`, for every call that does not pass its own.

        Raises
        ------
        ModelError
            A missing, damaged or foreign file, or a model for another task.
        ConfigError
            An option that is out of its bounds.
        """
        chosen = DenoiseOptions(**options)
        path = model_path(model)
        network = load_denoising_model(path, threads=threads)
        named = path in bundled_models() or is_url(path)
        source = str(path) if named else str(Path(path).absolute())
        return cls(network, chosen, source=source, threads=threads)

    def with_options(self, **options: Any) -> Self:
        """The same loaded network, with other options for every call that does not pass its own.

        Parameters
        ----------
        **options
            Fields of `DenoiseOptions`, in place of the denoiser's own.

        Raises
        ------
        ConfigError
            An option that is out of its bounds.

        Examples
        --------
        >>> from tinysignal import Denoiser
        >>> Denoiser.load().with_options(mix=0.5).options.mix
        0.5
        """
        chosen = replace(self._options, **options)
        return type(self)(self._network, chosen, source=self._source, threads=self._threads)

    def __reduce__(self) -> tuple[Any, ...]:
        loader = partial(type(self).load, threads=self._threads, **vars(self._options))
        return loader, (self._source,)

    def __repr__(self) -> str:
        return _described(self, {"sample_rate_hz": self.spec.sample_rate_hz})

    @property
    def spec(self) -> DenoiserSpec:
        """What the model expects and promises."""
        return self._network.spec

    @property
    def checksum(self) -> str:
        """SHA-256 of the model's file."""
        return self._network.checksum

    @property
    def options(self) -> DenoiseOptions:
        """How the gain is applied where a call does not say otherwise."""
        return self._options

    def __call__(self, signal: ArrayLike, *, sample_rate_hz: int, **options: Any) -> Signal:
        """Denoise a whole signal.

        Parameters
        ----------
        signal : floating (time,) or (channels, time)
            Full scale at 1.0.
        sample_rate_hz : int
            4000 to 192000.
        **options
            Fields of `DenoiseOptions`, in place of the denoiser's own.

        Returns
        -------
        float32, the shape of ``signal``

        Raises
        ------
        SignalError
            Axes swapped, no samples, NaN, or a rate that is out of bounds.
        ConfigError
            An option that is out of its bounds.
        ModelError
            The network answers with NaN or infinity, or amplifies the sound by more than 120 dB.
        """
        rows = check_signal(signal)
        stream = self.stream(sample_rate_hz=sample_rate_hz, channels=rows.shape[0], **options)
        output = np.concatenate([stream.feed(rows), stream.flush()], axis=1)
        return output.reshape(np.shape(signal))

    def stream(self, *, sample_rate_hz: int, channels: int = 1, **options: Any) -> DenoiserStream:
        """Denoise a signal that arrives in blocks; any block sizes give the whole-signal answer.

        Parameters
        ----------
        sample_rate_hz : int
            4000 to 192000.
        channels : int
            1 to 32.
        **options
            Fields of `DenoiseOptions`, in place of the denoiser's own.

        Raises
        ------
        SignalError
            A rate or a number of channels that is out of bounds.
        ConfigError
            An option that is out of its bounds.
        """
        return DenoiserStream(
            self._network,
            check_rate(sample_rate_hz),
            check_channels(channels),
            replace(self._options, **options),
        )


class DenoiserStream:
    """A signal on its way through a network; made by `Denoiser.stream`.

    The network's STFT is taken at the signal's own rate, with windows of the same duration, so
    nothing is resampled. Bins above the model's highest take the gains of an `UpperBand`.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Denoiser
    >>> blocks = np.random.default_rng(0).normal(0, 0.1, (20, 1, 480))
    >>> stream = Denoiser.load().stream(sample_rate_hz=48000)
    >>> stream.latency_s
    0.032
    >>> sum(clean.shape[1] for clean in stream.process(blocks))
    9600
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
        frames_at_once = min(_FRAMES_AT_ONCE, max(1, _BINS_AT_ONCE // (channels * self._size.bins)))
        self._samples_at_once = frames_at_once * self._size.hop_samples
        self.reset()

    def __repr__(self) -> str:
        facts = {"sample_rate_hz": self._sample_rate_hz, "channels": self._channels}
        return _described(self, {**facts, "latency_ms": round(1000 * self.latency_s, 3)})

    @property
    def spec(self) -> DenoiserSpec:
        """What the model expects and promises."""
        return self._network.spec

    @property
    def options(self) -> DenoiseOptions:
        """How the gain is applied."""
        return self._options

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
        spec = self._network.spec
        size, channels, rate_hz = self._size, self._channels, self._sample_rate_hz
        self._state = self._network.initial_state(channels)
        self._first_above = gain.first_above(spec.bins)
        self._upper = None
        if size.bins > spec.bins:
            self._upper = UpperBand(
                size, rate_hz, self._first_above, channels, spec.lookahead_frames
            )
        self._links = None
        if channels > 1 and self._options.channel_mode == "shared":
            self._links = gain.ChannelLinks(channels, size.bins, rate_hz / size.hop_samples)
        self._kept = gain.kept(self._options)
        self._subsonic = SubsonicStream(size.hop_samples, rate_hz, channels)
        self._analysis = StftStream(size, channels)
        self._synthesis = IstftStream(size, channels)
        self._waiting = np.zeros((channels, 0, size.bins), np.complex64)
        self._to_drop = spec.lookahead_frames  # gains of frames before the first
        self._unreturned = np.zeros((channels, 0), np.float32)  # of the input
        self._samples_in = self._samples_out = 0

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
        pieces = [np.zeros((self._channels, 0), np.float32)]
        for start in range(0, samples.shape[1], self._samples_at_once):
            pieces.append(self._next(samples[:, start : start + self._samples_at_once]))
        return np.concatenate(pieces, axis=1)

    def flush(self) -> Signal:
        """End the signal: return the rest of it and reset.

        Returns
        -------
        float32 (channels, time)
            With what `feed` returned, exactly as many samples as were fed.
        """
        size = self._size
        missing = size.frames(self._samples_in) * size.hop_samples - self._samples_in
        padding = np.zeros((self._channels, missing), np.float32)
        rest = np.concatenate([self._subsonic.flush(), padding], axis=1)
        tail = self._analysis.feed(rest)
        ahead = np.zeros((self._channels, self._network.spec.lookahead_frames, size.bins))
        spectrum = np.concatenate([tail, ahead.astype(np.complex64)], axis=1)
        output = self._blended(self._denoise(spectrum)[:, : self._samples_in - self._samples_out])
        self.reset()
        return output

    def process(self, blocks: Iterable[NDArray[Any]]) -> Iterator[Signal]:
        """Denoise blocks as they come: what `feed` returns for each, then what `flush` returns.

        Parameters
        ----------
        blocks : iterable of floating (channels, time)
            Of any length.

        Yields
        ------
        float32 (channels, time)
            Together exactly as many samples as the blocks hold.

        Raises
        ------
        SignalError
            As `feed`.
        """
        for block in blocks:
            yield self.feed(block)
        yield self.flush()

    def _next(self, samples: Signal) -> Signal:
        self._samples_in += samples.shape[1]
        if self._kept:
            self._unreturned = np.concatenate([self._unreturned, samples], axis=1)
        output = self._denoise(self._analysis.feed(self._subsonic.feed(samples)))
        self._samples_out += output.shape[1]
        return self._blended(output)

    def _blended(self, output: Signal) -> Signal:
        """With the fraction of the input that stays."""
        if not self._kept:
            return output
        given, self._unreturned = np.split(self._unreturned, [output.shape[1]], axis=1)
        return gain.blended(given, output, self._kept)

    def _denoise(self, spectrum: Spectrum) -> Signal:
        if spectrum.shape[1] == 0:
            return np.zeros((self._channels, 0), np.float32)
        factor = self._gain(spectrum)
        dropped = min(self._to_drop, factor.shape[1])
        self._to_drop -= dropped
        factor = factor[:, dropped:]
        waiting = np.concatenate([self._waiting, spectrum], axis=1)
        heard, self._waiting = np.split(waiting, [factor.shape[1]], axis=1)
        if self._links is not None:
            factor = self._links(factor, heard)
        return self._synthesis.feed(gain.applied(factor, heard, model=self._network.spec.name))

    def _gain(self, spectrum: Spectrum) -> NDArray[Any]:
        """Gain of every bin, (channels, frames, bins), ``lookahead_frames`` late.

        Real, or complex where the network changes phases as well.
        """
        spec = self._network.spec
        seen = min(spec.bins, self._size.bins)
        inside = np.zeros((*spectrum.shape[:2], spec.bins), np.complex64)
        # A longer window sums more samples: back to the scale of the model's own.
        scale = np.float32(spec.window_samples / self._size.window_samples)
        np.multiply(spectrum[:, :, :seen], scale, out=inside[:, :, :seen])
        inside_gain, self._state = self._network.run(inside, self._state)
        result = np.empty(spectrum.shape, inside_gain.dtype)
        result[:, :, :seen] = inside_gain[:, :, :seen]
        if self._upper is not None:
            above = spectrum[:, :, self._first_above :]
            kept = gain.guide(inside, inside_gain)
            powers = gain.voice_and_noise(inside, inside_gain) / scale**2
            result[:, :, self._first_above :] = self._upper(above, kept, powers)
        return result


def denoise(
    signal: ArrayLike,
    *,
    sample_rate_hz: int,
    model: str | Path = DEFAULT_MODEL,
    **options: Any,
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
        See `Denoiser.load`.
    **options
        The fields of `DenoiseOptions`.

    Returns
    -------
    float32, the shape of ``signal``

    Raises
    ------
    SignalError, ModelError, ConfigError
        See `Denoiser.load` and `Denoiser.__call__`.

    Examples
    --------
    >>> import numpy as np, tinysignal
    >>> noisy = np.random.default_rng(0).normal(0, 0.1, 48000)
    >>> tinysignal.denoise(noisy, sample_rate_hz=48000, attenuation_limit_db=12).shape
    (48000,)
    """
    return Denoiser.load(model, **options)(signal, sample_rate_hz=sample_rate_hz)


def _described(thing: Denoiser | DenoiserStream, facts: dict[str, Any]) -> str:
    """A ``repr``: the model, what is known of the signal, and the options."""
    values = {"model": thing.spec.name, **facts, **vars(thing.options)}
    inside = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{type(thing).__name__}({inside})"
