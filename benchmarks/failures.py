"""Where a denoiser fails: of each kind of noise, the validation mixture that gains least, drawn.

    python benchmarks/failures.py --data-dir DATA      # the bundled model: docs/failures.png

Of each kind in `peers_sets.KINDS`, a dozen mixtures of validation speakers with validation noises
at 5 dB, 4 s each. The one whose SI-SDR rises least is drawn: noisy, denoised, clean.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from peers_sets import KINDS
from tinysignal import Denoiser
from tinysignal.errors import TinysignalError
from tinysignal.files import atomic
from tinysignal.metrics.registry import METRICS
from tinysignal.model import DEFAULT_MODEL, model_path
from tinysignal.stft import StftSize, stft
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import load_clips
from validation import RATE_HZ, SECOND_CLIP, SEED, mixed, recordings, second_noises

TARGET = Path(__file__).resolve().parent.parent / "docs" / "failures.png"
COUNT, SNRS_DB = 12, (5.0,)
SIZE, RANGE_DB = StftSize(512, 128), 70.0


@dataclass(frozen=True)
class Failure:
    """A mixture, what became of it, its SI-SDR before and after in dB."""

    kind: str
    pair: SignalPair
    denoised: NDArray[np.float32]
    before: float
    after: float


def main() -> None:
    """Find them, draw them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = os.environ.get("TINYSIGNAL_DATA")
    parser.add_argument("--data-dir", default=named, required=not named)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    try:
        denoiser = Denoiser.load(model_path(options.model))
        found = [
            min((judged(denoiser, kind, pair) for pair in pairs), key=lambda f: f.after - f.before)
            for kind, pairs in mixtures(Path(options.data_dir)).items()
        ]
    except TinysignalError as error:
        sys.exit(str(error))
    draw(found, options.output)


def mixtures(data: Path) -> dict[str, list[SignalPair]]:
    """Of each kind of noise that the validation side has."""
    noise = recordings(data, "noise", "valid") + second_noises(data, "choose")
    clips = load_clips(recordings(data, "speech", "valid"), sample_rate_hz=RATE_HZ)
    found = {}
    for label, kinds in KINDS.items():
        some = [recording for recording in noise if recording.kind in kinds.split()]
        if some:
            noises = load_clips(some, sample_rate_hz=RATE_HZ)
            found[label] = mixed(clips, noises, SECOND_CLIP, COUNT, SNRS_DB, seed=SEED)
    return found


def judged(denoiser: Denoiser, kind: str, pair: SignalPair) -> Failure:
    """A mixture through the denoiser."""
    denoised = denoiser(pair.noisy, sample_rate_hz=RATE_HZ)
    before, after = (
        float(METRICS["si_sdr"].score(x[np.newaxis], pair.clean[np.newaxis], RATE_HZ)[0][0])
        for x in (pair.noisy, denoised)
    )
    print(f"{kind}: {before:.1f} -> {after:.1f} dB, {pair.name}", file=sys.stderr)
    return Failure(kind, pair, denoised, before, after)


def draw(failures: list[Failure], target: Path) -> None:
    """A row of spectrograms for each, on one scale of decibels."""
    figure = Figure(figsize=(12, 1.75 * len(failures)), layout="constrained")
    rows = figure.subplots(len(failures), 3, sharex=True, sharey=True, squeeze=False)
    for row, failure in zip(rows, failures, strict=True):
        signals = (failure.pair.noisy, failure.denoised, failure.pair.clean)
        top_db = spectrogram(failure.pair.noisy).max()
        for axis, signal in zip(row, signals, strict=True):
            picture(axis, signal, float(top_db))
        row[0].set_ylabel(f"{failure.kind}\nkHz")
        row[0].set_title(f"noisy, SI-SDR {failure.before:.1f} dB", fontsize=10)
        row[1].set_title(f"denoised, SI-SDR {failure.after:.1f} dB", fontsize=10)
        row[2].set_title("clean", fontsize=10)
    for axis in rows[-1]:
        axis.set_xlabel("time (s)")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90, format="png")
    with atomic(target) as path:
        Image.open(drawn).quantize(256).save(path, format="png", optimize=True)


def picture(axis: Axes, signal: NDArray[np.float32], top_db: float) -> None:
    """One spectrogram."""
    axis.imshow(
        spectrogram(signal),
        origin="lower",
        aspect="auto",
        extent=(0, signal.size / RATE_HZ, 0, RATE_HZ / 2000),
        vmin=top_db - RANGE_DB,
        vmax=top_db,
        cmap="magma",
    )


def spectrogram(signal: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level in dB, (bins, frames)."""
    power = np.square(np.abs(stft(signal[np.newaxis], SIZE)[0]), dtype=np.float64)
    return np.asarray(10 * np.log10(power.T + 1e-9))


if __name__ == "__main__":
    main()
