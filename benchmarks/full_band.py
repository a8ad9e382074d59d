"""What a denoiser does above 8 kHz: by band, on mixtures at 48 kHz.

    python benchmarks/full_band.py --data-dir DATA --envs ENVIRONMENTS    # the bundled model
    python benchmarks/tables.py

``DATA/fullband`` holds speech and noise at 48 kHz with a manifest. Every recording of speech meets
one of noise of its split at 0, 5 or 10 dB. In each band: the SNR of the noisy and of the denoised
signal against the clean one, the change of the SNR, its worst file, the change of the level where
nobody speaks, and the log-spectral distance (Gray & Markel, 1976) to the clean signal, all in dB.
With ``--envs``, the same of peers that take 48 kHz, in the environments that `peers.py` made.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from processes import ProcessError, finish
from tinysignal import Denoiser, audio
from tinysignal.errors import TinysignalError
from tinysignal.files import atomic
from tinysignal.model import DEFAULT_MODEL, model_path
from tinysignal.stft import StftSize, stft
from transparency import active_rms, frames, rms, scaled

REPORT = Path(__file__).resolve().parent / "reports" / "full_band.json"
RATE_HZ, LEVEL_DBFS, SNRS_DB = 48_000, -26.0, (0.0, 5.0, 10.0)
BANDS_HZ = ((0, 4_000), (4_000, 8_000), (8_000, 12_000), (12_000, 16_000), (16_000, 22_000))
FRAME = RATE_HZ // 50
SIZE, FLOOR_DB = StftSize(2048, 1024), -80.0  # of the distance; below the loudest point
OURS, PEERS = "tinysignal", ("loudness", "deepfilternet")

Signal = NDArray[np.float32]


def main() -> None:
    """Measure one model, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = os.environ.get("TINYSIGNAL_DATA")
    parser.add_argument("--data-dir", default=named, required=not named)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--output", type=Path, default=REPORT)
    parser.add_argument("--envs", type=Path, help="folder of environments with the peers in it")
    options = parser.parse_args()
    try:
        denoiser = Denoiser.load(model_path(options.model))
        report: dict[str, Any] = {"model": denoiser.spec.name, "splits": {}}
        for split in ("valid", "train"):
            pairs = mixtures(Path(options.data_dir) / "fullband", split)
            made = {OURS: [denoiser(noisy, sample_rate_hz=RATE_HZ) for noisy, _ in pairs]}
            for peer in PEERS if options.envs else ():
                made[peer] = by_peer(options.envs / peer, [noisy for noisy, _ in pairs])
            report["splits"][split] = {
                "mixtures": len(pairs),
                "bands": {
                    name: summary([by_band(*p, s) for p, s in zip(pairs, signals, strict=True)])
                    for name, signals in made.items()
                },
            }
    except (TinysignalError, ProcessError) as error:
        sys.exit(str(error))
    with atomic(options.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def mixtures(folder: Path, split: str) -> list[tuple[Signal, Signal]]:
    """Noisy and clean signals of a split, float32 (samples,)."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        listed = [row for row in csv.DictReader(file) if row["split"] == split]
    speech, noise = (
        [audio.read(folder.parent / r["path"])[0][0] for r in listed if r["kind"] == kind]
        for kind in ("speech", "noise")
    )
    pairs = []
    for i, spoken in enumerate(speech):
        clean = scaled(spoken, active_rms(spoken), LEVEL_DBFS)
        around = np.resize(noise[i % len(noise)], clean.size)
        snr_db = SNRS_DB[i // len(noise) % len(SNRS_DB)]
        pairs.append((clean + scaled(around, rms(around), LEVEL_DBFS - snr_db), clean))
    return pairs


def by_peer(env: Path, noisy: list[Signal]) -> list[Signal]:
    """What a peer makes of signals, by our program in its environment."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "noisy", Path(scratch) / "denoised"
        source.mkdir()
        target.mkdir()
        names = [f"{i:03}.wav" for i in range(len(noisy))]
        for name, signal in zip(names, noisy, strict=True):
            audio.write(source / name, signal[np.newaxis], sample_rate_hz=RATE_HZ, subtype="FLOAT")
        programs = str(Path(__file__).with_name("peers_programs.py"))
        python = str(env / "bin" / "python")
        finish([python, programs, env.name, "denoise", str(source), str(target), ""])
        return [audio.read(target / name)[0][0] for name in names]


def by_band(noisy: Signal, clean: Signal, denoised: Signal) -> dict[str, dict[str, float]]:
    """SNR and distance before and after, and the change in pauses, of every band of one file."""
    power = frames(clean)[0]
    paused = np.repeat(power < power.max() * 1e-5, clean.size // power.size + 1)[: clean.size]
    levels = [decibels(s, decibels(clean).max() + FLOOR_DB) for s in (noisy, clean, denoised)]
    found = {}
    for low, high in BANDS_HZ:
        bins = slice(*(round(hz * SIZE.window_samples / RATE_HZ) for hz in (low, high)))
        at_first, aim, at_last = (level[:, bins] for level in levels)
        before, wanted, after = (only(s, low, high) for s in (noisy, clean, denoised))
        found[f"{low / 1000:g}-{high / 1000:g} kHz"] = {
            "noisy": _ratio_db(wanted, before - wanted),
            "denoised": _ratio_db(wanted, after - wanted),
            "pauses": _ratio_db(after[paused], before[paused]) if paused.any() else np.nan,
            "noisy_distance": distance_db(at_first, aim),
            "distance": distance_db(at_last, aim),
        }
    return found


def decibels(signal: Signal, least: float = -200.0) -> NDArray[np.float64]:
    """Of a signal's short-time powers, (frames, bins)."""
    power = np.square(np.abs(stft(signal[np.newaxis], SIZE)[0]).astype(np.float64))
    return np.maximum(10 * np.log10(power + 1e-20), least)


def distance_db(levels: NDArray[np.float64], aim: NDArray[np.float64]) -> float:
    """Root of the mean square over bins, mean over frames."""
    return float(np.sqrt(np.square(levels - aim).mean(axis=1)).mean())


def only(signal: Signal, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """One band of a signal."""
    spectrum = np.fft.rfft(signal.astype(np.float64))
    freq_hz = np.fft.rfftfreq(signal.size, 1 / RATE_HZ)
    spectrum[(freq_hz < low_hz) | (freq_hz >= high_hz)] = 0
    return np.fft.irfft(spectrum, signal.size)


def summary(rows: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Means over files; the lowest change of the SNR; the median of the pauses."""
    found: dict[str, dict[str, float]] = {}
    for band in rows[0]:
        of = {key: np.array([row[band][key] for row in rows]) for key in rows[0][band]}
        change = of["denoised"] - of["noisy"]
        values: dict[str, Any] = {
            "noisy": of["noisy"].mean(),
            "denoised": of["denoised"].mean(),
            "change": change.mean(),
            "worst": change.min(),
            "pauses": np.nanmedian(of["pauses"]),
            "noisy_distance": of["noisy_distance"].mean(),
            "distance": of["distance"].mean(),
        }
        found[band] = {key: round(float(value), 2) for key, value in values.items()}
    return found


def _ratio_db(wanted: NDArray[np.float64], rest: NDArray[np.float64]) -> float:
    return float(10 * np.log10((np.square(wanted).sum() + 1e-12) / (np.square(rest).sum() + 1e-12)))


if __name__ == "__main__":
    main()
