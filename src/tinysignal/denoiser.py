"""The denoiser: a whole signal at once, or streams."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tinysignal.audio.validate import check_channels, check_rate, check_signal
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
from tinysignal.stft import Signal
from tinysignal.stream import DenoiserStream, described

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
        return described(self, {"sample_rate_hz": self.spec.sample_rate_hz})

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
