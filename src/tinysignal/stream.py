"""A signal on its way through a denoising network: feed, flush, reset; alone, or beside others."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tinysignal import gain
from tinysignal.audio.validate import check_block
from tinysignal.errors import ModelError, SignalError, TinysignalError
from tinysignal.gain import DenoiseOptions
from tinysignal.lanes import beside, taken_back
from tinysignal.model import DenoisingModel
from tinysignal.spec import DenoiserSpec
from tinysignal.stft import IstftStream, Signal, Spectrum, StftSize, StftStream
from tinysignal.subsonic import SubsonicStream
from tinysignal.upper_band import UpperBand

# Frames of one run: more take more memory and, out of the cache, more time. Many wide channels
# take fewer, by channels * frames * bins.
_FRAMES_AT_ONCE, _BINS_AT_ONCE = 128, 1 << 18
_ALONE_FRAMES = 12  # until an 8-bit LSTM has the scales that it stays with


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

    LANES: ClassVar[tuple[str, ...]] = (
        *("_state", "_upper", "_subsonic", "_analysis", "_synthesis", "_waiting", "_unreturned"),
    )

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
        return described(self, {**facts, "latency_ms": round(1000 * self.latency_s, 3)})

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
        samples = self._checked(block)
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

    def _checked(self, block: NDArray[Any]) -> Signal:
        array = np.asarray(block)
        rows = array[np.newaxis] if array.ndim == 1 else array
        if rows.ndim != 2 or rows.shape[0] != self._channels:
            raise SignalError(
                f"block has shape {array.shape}, expected ({self._channels}, time): "
                f"the stream was opened with {self._channels} channels."
            )
        return check_block(rows)

    def _lane(self, samples: int) -> Hashable:
        """Equal for streams whose next samples may go side by side; None for one that goes alone.

        Their networks, rates and options are the same, as are the samples that wait. Who has just
        begun goes alone, and who shares gains among channels.
        """
        settled = self._samples_out >= _ALONE_FRAMES * self._size.hop_samples
        settled = settled and self._subsonic.settled and self._synthesis.settled
        if self._upper is not None:
            settled = settled and self._upper.settled
        if not settled or self._links is not None or samples > self._samples_at_once:
            return None
        same = (id(self._network), self._size, self._channels, self._kept)
        return same, samples, self._subsonic.waiting

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
        if self._size.window_samples == spec.window_samples:  # the model's own rate
            factor, self._state = self._network.run(spectrum, self._state)
            return factor
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


def feed_together(
    streams: Sequence[DenoiserStream], blocks: Sequence[NDArray[Any]]
) -> list[Signal | TinysignalError]:
    """Feed each stream its block, as many of them as can in one run of the network.

    The answers are those of `DenoiserStream.feed` within rounding. Streams of one denoiser at one
    rate go together if their blocks are equally long: short blocks of many cost a quarter of what
    they cost alone.

    Parameters
    ----------
    streams : sequence of DenoiserStream
        Each once.
    blocks : sequence of floating (channels, time), or (time,) for one channel
        One for each stream.

    Returns
    -------
    list of float32 (channels, time), or the error of that stream
        What `DenoiserStream.feed` returns or raises; an error is that of its own stream alone.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import Denoiser
    >>> from tinysignal.stream import feed_together
    >>> denoiser = Denoiser.load()
    >>> streams = [denoiser.stream(sample_rate_hz=16000) for _ in range(20)]
    >>> for _ in range(10):
    ...     clean = feed_together(streams, np.zeros((20, 256)))
    >>> len(clean), clean[0].shape
    (20, (1, 256))
    """
    answers: dict[int, Signal | TinysignalError] = {}
    groups: dict[Hashable, list[tuple[int, Signal]]] = {}
    for index, (stream, block) in enumerate(zip(streams, blocks, strict=True)):
        try:
            samples = stream._checked(block)
        except SignalError as error:
            answers[index] = error
            continue
        lane = stream._lane(samples.shape[1])
        groups.setdefault((index,) if lane is None else lane, []).append((index, samples))
    for group in groups.values():
        for some in _at_once(group, streams[group[0][0]]):
            indices, inputs = zip(*some, strict=True)
            found = _fed_together([streams[i] for i in indices], inputs)
            answers.update(zip(indices, found, strict=True))
    return [answers[index] for index in range(len(streams))]


def _at_once(
    group: list[tuple[int, Signal]], stream: DenoiserStream
) -> Iterator[list[tuple[int, Signal]]]:
    """Pieces of a group that one run takes without getting slower."""
    bins = (group[0][1].shape[1] // stream._size.hop_samples + 1) * stream._size.bins
    most = max(1, _BINS_AT_ONCE // (stream._channels * bins))
    return (group[start : start + most] for start in range(0, len(group), most))


def _fed_together(
    streams: Sequence[DenoiserStream], blocks: Sequence[Signal]
) -> list[Signal | TinysignalError]:
    """The answers of streams that may go side by side."""
    if len(streams) > 1:
        one = beside(streams)
        one._channels = sum(stream._channels for stream in streams)
        try:
            output = one._next(np.concatenate(blocks))
        except ModelError:
            pass  # of one of them, which it will be told when each goes alone
        else:
            channels = [stream._channels for stream in streams]
            taken_back(one, streams, channels)
            for stream in streams:
                stream._samples_in += blocks[0].shape[1]
                stream._samples_out += output.shape[1]
            return list(np.split(output, len(streams)))
    answers: list[Signal | TinysignalError] = []
    for stream, block in zip(streams, blocks, strict=True):
        try:
            answers.append(stream.feed(block))
        except TinysignalError as error:
            answers.append(error)
    return answers


def described(thing: Any, facts: dict[str, Any]) -> str:
    """A ``repr`` of a denoiser or a stream: its model, what is known of the signal, its options."""
    values = {"model": thing.spec.name, **facts, **vars(thing.options)}
    inside = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return f"{type(thing).__name__}({inside})"
