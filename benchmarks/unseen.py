"""Unseen speakers and unseen noise: the course's networks and noisereduce on held-out mixtures.

    pip install '.[all]' noisereduce
    python benchmarks/unseen.py --data-dir DATA --linear RUN --cnn RUN
    python benchmarks/tables.py --write

``DATA`` holds ``speech`` and ``noise`` with their manifests. The mixtures are made of the half of
the manifests' validation speakers and noise recordings that training with ``test_fraction = 0.5``
never reads: neither for its weights nor for its choice among them. Run once, at the end.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from course import RUNS, keep
from tinysignal import audio
from tinysignal.evaluation import ModelProcess, evaluate_pairs, match_folders
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import list_recordings, load_clips
from tinysignal.train.folder import CONFIG

REPORT = Path(__file__).resolve().parent / "reports" / "unseen.json"
RATE_HZ = 16_000
SNRS_DB = (0.0, 2.5, 5.0, 7.5, 10.0)
CLIP_S = 6.0
SEED = 2026
READINGS = (
    "The test set was read twice: after the first time (linear: 7.02 dB SI-SDR) the linear "
    "network was trained anew and bounded by the noisy magnitude, both chosen on validation data; "
    "the convolutional one is unchanged."
)


def main() -> None:
    """Make the mixtures, score all denoisers on them, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--linear", type=Path, required=True, help="run folder")
    parser.add_argument("--cnn", type=Path, required=True, help="run folder")
    parser.add_argument("--count", type=int, default=100, help="mixtures")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    report: dict[str, Any] = {
        "readings": READINGS,
        "seed": SEED,
        "snrs_db": SNRS_DB,
        "clip_s": CLIP_S,
        "scores": {},
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report["data"] = make_mixtures(arguments.data_dir, folder, arguments.count)
        pairs, failures = match_folders(folder / "noisy", folder / "clean")
        for arch in ("linear", "cnn"):
            run: Path = getattr(arguments, arch)
            process = ModelProcess(str(run / "model.onnx"))
            evaluation = evaluate_pairs(process, pairs, jobs=arguments.jobs, failures=failures)
            report["scores"][arch] = _means(evaluation.to_dict())
            report[f"{arch}_metrics"] = json.loads((run / "metrics.json").read_text())
            report[f"{arch}_config"] = (run / CONFIG).read_text()
            keep(run, RUNS / run.name)
        evaluation = evaluate_pairs(noisereduce, pairs, jobs=arguments.jobs, failures=failures)
        report["scores"]["noisereduce"] = _means(evaluation.to_dict())
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def make_mixtures(
    data: Path,
    folder: Path,
    count: int,
    *,
    snrs_db: tuple[float, ...] = SNRS_DB,
    seed: int = SEED,
) -> dict[str, Any]:
    """Write noisy and clean files of the test groups; say what they are made of."""
    clips, summary = {}, {}
    for kind in ("speech", "noise"):
        listed = list_recordings(data / kind, valid_fraction=0.1, seed=0, test_fraction=0.5)
        chosen = [r for r in listed if r.split == "test"]
        clips[kind] = load_clips(chosen, sample_rate_hz=RATE_HZ)
        summary[kind] = {"files": len(chosen), "groups": sorted({r.group for r in chosen})}
    options = MixOptions(
        level_dbfs=(-35.0, -18.0), filter_db=0, low_pass_share=0, second_noise_share=0
    )
    mixtures = Mixtures(
        clips["speech"],
        clips["noise"],
        options,
        sample_rate_hz=RATE_HZ,
        clip_samples=round(CLIP_S * RATE_HZ),
        batch=1,
        steps_per_epoch=1,
        seed=seed,
    )
    for side in ("noisy", "clean"):
        (folder / side).mkdir()
    for i, pair in enumerate(mixtures.fixed_pairs(count, snrs_db)):
        for side, signal in (("noisy", pair.noisy), ("clean", pair.clean)):
            path = folder / side / f"{i:03}.wav"
            audio.write(path, signal[np.newaxis], sample_rate_hz=RATE_HZ, subtype="FLOAT")
    return {"mixtures": count, **summary, "options": asdict(options)}


def noisereduce(signal: audio.Signal, sample_rate_hz: int) -> audio.Signal:
    """The peer with its defaults: spectral gating, stationary=False."""
    from noisereduce import reduce_noise

    return np.asarray(reduce_noise(y=signal, sr=sample_rate_hz), np.float32)


def _means(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Without the rows of single files."""
    return {key: value for key, value in evaluation.items() if key != "per_file"}


if __name__ == "__main__":
    main()
