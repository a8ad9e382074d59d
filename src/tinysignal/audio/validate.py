"""What a signal, its rate and its number of channels must be: the one audio validator."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.errors import SignalError

Signal = NDArray[np.float32]
"""Type of a signal in memory: float32 (channels, time), full scale at 1.0."""

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 32
MAX_AMPLITUDE = 1e9  # beyond it the power of a spectrum leaves float32


def check_rate(sample_rate_hz: int) -> int:
    """The rate, if it is a whole number of Hz from 4 to 192 kHz.

    Raises
    ------
    SignalError
    """
    if (
        isinstance(sample_rate_hz, bool)
        or not isinstance(sample_rate_hz, (int, float, np.integer, np.floating))
        or sample_rate_hz % 1 != 0  # NaN and infinity included
        or not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ
    ):
        raise SignalError(
            f"sample rate {sample_rate_hz} Hz, expected a whole number "
            f"from {MIN_RATE_HZ} to {MAX_RATE_HZ}."
        )
    return int(sample_rate_hz)


def check_channels(channels: int) -> int:
    """The number of channels, if it is from 1 to 32.

    Raises
    ------
    SignalError
    """
    if isinstance(channels, bool) or channels % 1 != 0 or not 1 <= channels <= MAX_CHANNELS:
        raise SignalError(f"{channels} channels, expected 1 to {MAX_CHANNELS}.")
    return int(channels)


def check_signal(
    signal: ArrayLike, *, name: str = "signal", max_channels: int | None = MAX_CHANNELS
) -> Signal:
    """A whole signal as float32 (channels, time).

    Parameters
    ----------
    signal : floating (time,) or (channels, time)
        More channels than samples is taken for a swapped axis order and refused.
    name : str
        What the error message calls it.
    max_channels : int or None
        More are refused as well; None for any number, such as a batch of examples.

    Returns
    -------
    float32 (channels, time)

    Raises
    ------
    SignalError
        Not floating point, not one or two axes, axes swapped, no samples, NaN, infinite, or
        beyond 1e9.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal import audio
    >>> audio.check_signal(np.zeros(480)).shape
    (1, 480)
    """
    try:
        array: NDArray[Any] = np.asarray(signal)
    except ValueError:
        raise SignalError(f"{name} is ragged, expected channels of one length.") from None
    if array.ndim not in (1, 2):
        raise SignalError(f"{name} has shape {array.shape}, expected (time,) or (channels, time).")
    rows = array[np.newaxis] if array.ndim == 1 else array
    if rows.shape[1] == 0 or rows.shape[0] == 0:
        raise SignalError(f"{name} has shape {array.shape}: there are no samples in it.")
    most = rows.shape[1] if max_channels is None else min(rows.shape[1], max_channels)
    if rows.shape[0] > most:
        raise SignalError(
            f"{name} has shape {array.shape}, read as (channels, time) that is "
            f"{rows.shape[0]} channels. Pass (channels, time), at most {most} channels: "
            "transpose with array.T."
        )
    return check_block(rows, name=name)


def check_block(block: NDArray[Any], *, name: str = "block") -> Signal:
    """Samples (channels, time) as float32, if they are finite floating-point numbers.

    Raises
    ------
    SignalError
    """
    if not np.issubdtype(block.dtype, np.floating):
        raise SignalError(
            f"{name} holds {block.dtype}, expected floating point with full scale at 1.0. "
            "Divide integers by their full scale, 32768 for int16."
        )
    peak = float(np.abs(block).max(initial=0.0))  # float16 does not reach the bound
    if not peak <= MAX_AMPLITUDE:  # NaN compares false
        what = "NaN or infinite samples" if not np.isfinite(peak) else f"a sample of {peak:.3g}"
        raise SignalError(f"{name} holds {what}, expected finite numbers with full scale at 1.0.")
    return block.astype(np.float32, copy=False)
