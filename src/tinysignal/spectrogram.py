"""The before-and-after picture: the ``plot`` extra (matplotlib)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import MissingExtraError
from tinysignal.files import atomic
from tinysignal.stft import StftSize, StftStream
from tinysignal.video import open_sound

_COLUMNS = 1000
_RANGE_DB = 90.0
_FLOOR = 1e-12


def mean_spectrogram(
    path: str | Path, *, columns: int = _COLUMNS
) -> tuple[NDArray[np.float64], float, float]:
    """Power over time and frequency, averaged over channels and down to a picture's width.

    Reads in blocks: memory does not grow with the length.

    Parameters
    ----------
    path : str or Path
        Of any sound file.
    columns : int
        The most columns of the result.

    Returns
    -------
    float64 (freq, columns), dB relative to a full-scale sine
    float
        Duration in seconds.
    float
        Frequency of the last row in Hz.

    Raises
    ------
    AudioFileError, MissingExtraError
    """
    with open_sound(path) as reader:
        info = reader.info
        size = StftSize.at_rate(
            fft_samples=512,
            hop_samples=256,
            model_rate_hz=16_000,
            sample_rate_hz=info.sample_rate_hz,
        )
        expected = max(1, info.samples // size.hop_samples)
        width = min(columns, expected)
        power = np.zeros((width, size.bins))
        counts = np.zeros(width)
        stream = StftStream(size, info.channels)
        frame = 0
        for block in reader.blocks():
            spectrum = stream.feed(block)
            values = (np.abs(spectrum) ** 2).mean(axis=0, dtype=np.float64)  # (frames, freq)
            frames = frame + np.arange(spectrum.shape[1])
            at = np.minimum(frames * width // expected, width - 1)
            np.add.at(power, at, values)
            np.add.at(counts, at, 1)
            frame += spectrum.shape[1]
    seen = counts > 0  # a film's length is only known to its container's clock
    full_scale = (size.analysis_window.sum() / 2) ** 2  # of a sine
    mean = power[seen] / counts[seen, np.newaxis] / full_scale
    return 10 * np.log10(mean.T + _FLOOR), info.duration_s, info.sample_rate_hz / 2


def save_before_after(before: str | Path, after: str | Path, target: str | Path) -> None:
    """Draw two sound files' spectrograms, one above the other on one scale, as a PNG file.

    Parameters
    ----------
    before, after : str or Path
        Sound files.
    target : str or Path
        Written whole or not at all.

    Raises
    ------
    AudioFileError
    MissingExtraError
        Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("The spectrogram picture", "plot") from None
    pictures = [("before", mean_spectrogram(before)), ("after", mean_spectrogram(after))]
    top_db = float(pictures[0][1][0].max())
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True, sharey=True)
    for axis, (name, (power_db, duration_s, top_hz)) in zip(axes, pictures, strict=True):
        image = axis.imshow(
            power_db,
            origin="lower",
            aspect="auto",
            extent=(0, duration_s, 0, top_hz / 1000),
            vmin=top_db - _RANGE_DB,
            vmax=top_db,
            cmap="magma",
        )
        axis.set_title(name)
        axis.set_ylabel("frequency (kHz)")
    axes[1].set_xlabel("time (s)")
    figure.colorbar(image, ax=axes, label="level (dBFS)")
    with atomic(target) as part:
        figure.savefig(part, dpi=100, format="png")
