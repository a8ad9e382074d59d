"""Test sets for the benchmark beside other denoisers, made so that their scores are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

import peers_quality
from peers_quality import RATE_HZ, SNRS_DB, Sets

SAMPLES = RATE_HZ // 4
MIXTURES = 2 * len(SNRS_DB)


def write(path: Path, signal: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, signal, RATE_HZ, "FLOAT")


def write_pair(folder: Path, name: str, *, snr_db: float, seed: int) -> None:
    """Noise as clean signal and as noise: at right angles, so that the SI-SDR is the SNR."""
    clean, noise = np.random.default_rng(seed).normal(0, 0.05, (2, SAMPLES))
    clean -= clean.mean()
    noise -= noise.mean()
    noise -= clean * (noise @ clean) / (clean @ clean)
    noise *= np.sqrt((clean @ clean) / (noise @ noise) / 10 ** (snr_db / 10))
    write(folder / "clean" / f"{name}.wav", clean)
    write(folder / "noisy" / f"{name}.wav", clean + noise)


def make_sets(folder: Path) -> Sets:
    """Three recordings at 4, 5 and 6 dB, and mixtures at the SNRs in turn, give or take 1 dB."""
    folders = {name: folder / name for name in ("recordings", "mixtures")}
    for i in range(3):
        write_pair(folders["recordings"], f"p{i}", snr_db=4 + i, seed=i)
    for i in range(MIXTURES):
        off_db = -1 if i < len(SNRS_DB) else 1
        snr_db = SNRS_DB[i % len(SNRS_DB)] + off_db
        write_pair(folders["mixtures"], f"{i:03}", snr_db=snr_db, seed=10 + i)
    groups = {"speech": {"groups": ["speaker"]}, "noise": {"groups": ["fan"]}}
    labels = [f"{SNRS_DB[i % len(SNRS_DB)]:g}" for i in range(MIXTURES)]
    made = {
        "recordings": {"pairs": 3},
        "mixtures": {"mixtures": MIXTURES, "labels": labels, **groups},
    }
    for name, path in folders.items():
        made[name]["digest"] = peers_quality._digest(path)
    facts = {"sets": made}
    return Sets(folders, dict.fromkeys(folders, ("si_sdr",)), facts)


def each(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, Path], None]:
    """A denoiser of folders."""

    def denoise(source: Path, target: Path) -> None:
        for path in source.glob("*.wav"):
            write(target / path.name, change(sf.read(path, dtype="float32")[0]))

    return denoise
