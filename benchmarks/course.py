"""The course's denoising experiment on the course's recordings: both networks, 3000 epochs.

    python benchmarks/course.py --data-dir DATA -o OUT   # hours on two cores; resumes
    python benchmarks/tables.py

``DATA`` holds ``pairs/restricted/course-e533``, which must not be passed on: what is denoised
stays in ``OUT``. Each network is trained twice, on the whole recording and without its last
fifth, in full batches; the figures of the last epoch count, nothing is chosen by them.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tinysignal import Denoiser, audio
from tinysignal.stft import StftSize, stft

BENCHMARKS = Path(__file__).resolve().parent
REPORT = BENCHMARKS / "reports" / "course.json"
RUNS = BENCHMARKS / "runs"
DOCS = BENCHMARKS.parent / "docs"

FOLDER = "pairs/restricted/course-e533"
PAIR = (f"{FOLDER}/train_clean_male.flac", f"{FOLDER}/train_dirty_male.flac")
TESTS = ("test_x_01", "test_x_02")
EPOCHS = 3000
SIZE = StftSize(1024, 512)  # both networks at the course's STFT, so that their errors compare
NETWORKS: dict[str, list[str]] = {
    "linear": ["--arch", "linear"],
    "cnn": ["--arch", "cnn", "--window-samples", "1024", "--hop-samples", "512", "--width", "16"],
}
PARTS = {"": [], "-holdout": ["--valid-fraction", "0.2", "--keep", "last"]}
CURVE_STEP = 10  # rows of the curve that are kept in the repository


def main() -> None:
    """Train what is not trained yet, measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--only-trained", action="store_true", help="report what there is")
    arguments = parser.parse_args()
    report = train_all(arguments.data_dir, arguments.output, arguments.only_trained)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def train_all(data: Path, output: Path, only_trained: bool) -> dict[str, Any]:
    """Four runs, their figures, and the test recordings denoised and pictured."""
    runs = {}
    for network, options in NETWORKS.items():
        for part, more in PARTS.items():
            name = f"course-{network}{part}"
            folder = output / name
            if not (folder / "metrics.json").exists():
                if only_trained:
                    continue
                train(folder, data, [*options, *more])
            runs[name] = figures(folder)
            keep(folder, RUNS / name)
        if f"course-{network}" in runs:
            denoise_tests(network, output, data)
    return {"epochs": EPOCHS, "runs": runs, "torch": torch.__version__}


def train(folder: Path, data: Path, options: list[str]) -> None:
    """One run with the command line, continued if it was cut off."""
    command = [sys.executable, "-m", "tinysignal", "train", "denoiser", "-o", str(folder)]
    if (folder / "last.safetensors").exists():
        command += ["--resume"]
    else:
        command += ["--pair", *PAIR, "--epochs", str(EPOCHS), "--seed", "0"]
        command += ["--precision", "bf16", *options]
    subprocess.run([*command, "--data-dir", str(data)], check=True)


def figures(folder: Path) -> dict[str, Any]:
    """What the table says of a run."""
    metrics = json.loads((folder / "metrics.json").read_text())
    config = tomllib.loads((folder / "config.toml").read_text())
    split = "valid" if "valid" in metrics else "train"
    return {
        "measured_on": "the last fifth, not trained on" if split == "valid" else "the training",
        "training_mse": metrics["loss"],
        "mse": metrics[split]["mse"],
        "snr_in_db": metrics[split]["snr_noisy_db"],
        "snr_out_db": metrics[split]["snr_denoised_db"],
        "si_sdr_out_db": metrics[split]["si_sdr_denoised_db"],
        "epochs": metrics["epochs"],
        "minutes": metrics["minutes"],
        "precision": config["precision"],
        "threads": config["threads"] or torch.get_num_threads(),
        "parameters": metrics["spec"]["parameters"],
    }


def keep(folder: Path, kept: Path) -> None:
    """Configuration, metrics and a thinned curve into the repository."""
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("config.toml", "metrics.json", "curve.png"):
        shutil.copy(folder / name, kept / name)
    with (folder / "curve.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    step = CURVE_STEP if len(rows) > 500 else 1
    with (kept / "curve.csv").open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *rows[step::step]])


def denoise_tests(network: str, output: Path, data: Path) -> None:
    """The two recordings without a reference: denoised into the output, pictured in the docs."""
    from matplotlib.figure import Figure

    denoiser = Denoiser.load(output / f"course-{network}" / "model.onnx")
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, len(TESTS), squeeze=False)
    for column, name in enumerate(TESTS):
        noisy, rate_hz = audio.read(data / FOLDER / f"{name}.flac")
        denoised = denoiser(noisy, sample_rate_hz=rate_hz)
        audio.write(output / f"{name}-{network}.wav", denoised, sample_rate_hz=rate_hz)
        for row, (signal, what) in enumerate(((noisy, "noisy"), (denoised, network))):
            level_db = 20 * np.log10(np.abs(stft(signal, SIZE))[0].T + 1e-3)
            axes[row, column].imshow(
                level_db, origin="lower", aspect="auto", vmin=-40, vmax=30,
                extent=(0, signal.shape[1] / rate_hz, 0, rate_hz / 2000),
            )  # fmt: skip
            axes[row, column].set(title=f"{name}, {what}", xlabel="s", ylabel="kHz")
    DOCS.mkdir(exist_ok=True)
    figure.savefig(DOCS / f"course-{network}.png", dpi=80)


if __name__ == "__main__":
    main()
