"""The before-and-after picture: the ``plot`` extra (matplotlib)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal import audio
from tinysignal.errors import MissingExtraError
from tinysignal.files import atomic
from tinysignal.metrics.classification_report import ClassificationReport, Mistake
from tinysignal.privacy import leave_no_caches
from tinysignal.remote import Place
from tinysignal.stft import StftSize, StftStream

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
    with audio.open(path) as reader:
        info = reader.info
        size = StftSize.at_rate(
            window_samples=512,
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
    FileError
    MissingExtraError
        Matplotlib is not installed.
    """
    leave_no_caches()
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


_MISTAKE_COLUMNS, _MISTAKE_ROWS = 5, 4  # of pictured mistakes
_COUNTED = 20  # classes up to which the matrix shows its numbers
_INK = ("black", "white")  # on light and on dark cells


def save_mistakes(
    report: ClassificationReport, values: NDArray[Any], target: str | Place, *, title: str
) -> None:
    """Draw the most confident mistakes and, beside them, the confusion matrix, as a PNG file.

    Parameters
    ----------
    report : ClassificationReport
    values : uint8 or float32 (examples, rows, columns)
        The examples that it is about, as pictures: 0 to 255, or 0 to 1.
    target : str, Path or Url
        Written whole or not at all.
    title : str

    Raises
    ------
    FileError
    MissingExtraError
        Matplotlib is not installed.
    """
    leave_no_caches()
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("The picture of mistakes", "plot") from None
    figure = Figure(figsize=(16, 8), layout="constrained")
    figure.suptitle(f"{title}: {report.accuracy:.2%} right", parse_math=False)
    sides: Any = figure.subfigures(1, 2)
    left, right = sides
    _draw_mistakes(left, report, values)
    _draw_confusion(right, report)
    with atomic(target) as part, warnings.catch_warnings():
        # Classes have names in any script; what the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(part, dpi=100, format="png")


def _draw_mistakes(figure: Any, report: ClassificationReport, values: NDArray[Any]) -> None:
    shown = report.worst[: _MISTAKE_COLUMNS * _MISTAKE_ROWS]
    if not shown:
        figure.suptitle("No mistakes")
        return
    figure.suptitle(
        f"The {len(shown)} most confident of {report.errors} mistakes: "
        "true \u2192 predicted, its probability"
    )
    axes = list(figure.subplots(_MISTAKE_ROWS, _MISTAKE_COLUMNS).flat)
    top = 255 if values.dtype == np.uint8 else 1
    for axis, mistake in zip(axes, shown, strict=False):
        axis.imshow(values[mistake.index], cmap="gray", vmin=0, vmax=top)
        axis.set_title(_caption(mistake), fontsize=10, parse_math=False)
    for axis in axes:
        axis.axis("off")


def _caption(mistake: Mistake) -> str:
    place = mistake.name or f"#{mistake.index}"
    verdict = f"{mistake.true} \u2192 {mistake.predicted}, {mistake.probability:.1%}"
    return f"{verdict}\n{place[-24:]}"


def _draw_confusion(figure: Any, report: ClassificationReport) -> None:
    """Shares of each true class as colours, numbers of examples as text."""
    figure.suptitle("Confusion matrix: examples, coloured by their share of the true class")
    axis = figure.subplots()
    totals = np.maximum(report.confusion.sum(axis=1, keepdims=True), 1)
    shares = report.confusion / totals
    # The square root of the share: one mistake in a hundred is seen beside 99 that are right.
    axis.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    count = len(report.classes)
    if count > _COUNTED:
        return
    names = [name[:16] for name in report.classes]
    turned = 0 if max(map(len, names)) <= 3 else 45
    axis.set_xticks(range(count), names, rotation=turned, parse_math=False)
    axis.set_yticks(range(count), names, parse_math=False)
    largest = {(true, guess) for true, guess, _ in report.confusions(5)}
    for true, guess in np.argwhere(report.confusion):
        marked = (true, guess) in largest
        axis.text(
            guess,
            true,
            str(report.confusion[true, guess]),
            ha="center",
            va="center",
            color="crimson" if marked else _INK[int(shares[true, guess] > 0.3)],
            weight="bold" if marked else "normal",
        )
