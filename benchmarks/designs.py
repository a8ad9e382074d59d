"""Networks for the bundled denoiser beside each other: the same few minutes of one core for each.

    pip install '.[all]'
    python benchmarks/designs.py --data-dir DATA --minutes 6
    python benchmarks/tables.py --write

Every design is trained by ``--recipe default`` and scored on the run's validation mixtures, which
no training reads. Minutes are of processor time: the step count is found by timing a few steps
first, so that other work on the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pesq import PesqError, pesq

from tinysignal import Denoiser
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import load_training_data
from tinysignal.train.denoising.task import stft_size, train_denoiser

REPORT = Path(__file__).resolve().parent / "reports" / "designs.json"
RATE_HZ = 16_000
DESIGNS: dict[str, tuple[str, dict[str, Any]]] = {
    "linear": ("single frames, 2 layers of 1024", {"arch": "linear", "level": "running"}),
    "cnn": ("convolutions, a mask from 0 to 1", {"arch": "cnn"}),
    "bands": ("LSTMs of 32 shared by 33 bands", {"arch": "bands"}),
    "bands-48": ("the same, 48 units", {"arch": "bands", "width": 48}),
    "lstm": ("2 LSTMs of 288 over all bins", {"arch": "lstm", "width": 288}),
    "lstm-192": ("2 LSTMs of 192 over all bins", {"arch": "lstm", "width": 192}),
}
_TIMED_STEPS = 20


def main() -> None:
    """Train and score every design, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6.0, help="of one core, a design")
    parser.add_argument("--designs", nargs="+", default=list(DESIGNS), choices=DESIGNS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {
        name: measured(name, arguments.data_dir, arguments.minutes) for name in arguments.designs
    }
    report = {"minutes": arguments.minutes, "seed": 0, "designs": rows}
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def measured(name: str, data: Path, minutes: float) -> dict[str, Any]:
    """Train one design for so long, and score its model file."""
    what, own = DESIGNS[name]
    flags = {"clean": "speech", "noise": "noise", "test_fraction": 0.5, "threads": 1, **own}
    if own["arch"] in ("linear", "cnn"):
        flags["loss"] = "mixed"
    with tempfile.TemporaryDirectory() as scratch:

        def trained(steps: int) -> tuple[float, Path]:
            config = DenoiserConfig.read(None, {"recipe": "default", "steps": steps, **flags})
            folder, started = Path(scratch) / str(steps), time.process_time()
            train_denoiser(config, folder, data_dir=data, quiet=True)
            return time.process_time() - started, folder

        few_s, few = trained(_TIMED_STEPS)[0], 2 * _TIMED_STEPS
        step_s = (trained(few)[0] - few_s) / (few - _TIMED_STEPS)
        steps = max(few + 1, round(60 * minutes / step_s))
        spent_s, folder = trained(steps)
        metrics = json.loads((folder / "metrics.json").read_text())
        denoiser = Denoiser.load(folder / "model.onnx")
        config = DenoiserConfig.read(folder / "config.toml", {})
        return {
            "what": what,
            "parameters": metrics["spec"]["parameters"],
            "macs_per_s": metrics["spec"]["macs_per_s"],
            "steps": steps,
            "processor_minutes": spent_s / 60,
            "valid": metrics["valid"],
            "pesq": mean_pesq(denoiser, config, data),
            "real_time_factor": real_time_factor(denoiser),
        }


def mean_pesq(denoiser: Denoiser, config: DenoiserConfig, data: Path) -> dict[str, float]:
    """Wideband, of the noisy and the denoised validation mixtures that PESQ finds speech in."""
    rows = []
    for pair in load_training_data(config, stft_size(config), data).score:
        denoised = denoiser(pair.noisy, sample_rate_hz=RATE_HZ)
        try:
            rows.append([pesq(RATE_HZ, pair.clean, x, "wb") for x in (pair.noisy, denoised)])
        except PesqError:
            continue
    noisy, denoised = np.mean(rows, axis=0)
    return {"noisy": float(noisy), "denoised": float(denoised), "mixtures": len(rows)}


def real_time_factor(denoiser: Denoiser) -> float:
    """Processor time of 20 s of noise, the least of three, over 20 s."""
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE_HZ).astype(np.float32)
    taken = []
    for _ in range(3):
        started = time.process_time()
        denoiser(noise, sample_rate_hz=RATE_HZ)
        taken.append(time.process_time() - started)
    return min(taken) / 20


if __name__ == "__main__":
    main()
