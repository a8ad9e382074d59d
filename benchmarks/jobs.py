"""Several files at once: threads, as `tinysignal denoise --jobs` has them, beside processes.

    python benchmarks/jobs.py
    python benchmarks/tables.py

Folders of noise in files of several kinds are denoised by one thread, by several threads, and by as
many processes that each load the model and take their share of the files. Runs alternate, and the
fastest counts: what else the machine does only adds. The seconds of processes hold their start, as
those of a command would. ``beyond`` is what a file costs in one thread beyond the denoiser's call:
open, read, write, move in place.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from processes import machine
from tinysignal import Denoiser, audio
from tinysignal.batch import Outcome, Work, plan_work, run_batch
from tinysignal.files import atomic

REPORT = Path(__file__).resolve().parent / "reports" / "jobs.json"
# Name, files, seconds, channels, rate.
FOLDERS = (
    ("100 WAV files of 0.1 s", 100, 0.1, 1, 16_000, ".wav"),
    ("10 WAV files of 10 s", 10, 10.0, 1, 16_000, ".wav"),
)


def main() -> None:
    """Measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    rows = []
    for folder in FOLDERS:
        with tempfile.TemporaryDirectory() as place:
            rows.append(measured(Path(place), folder, options.jobs, options.runs))
        print(rows[-1], file=sys.stderr)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(pinned=False),
        "jobs": options.jobs,
        "runs": options.runs,
        "load": round(os.getloadavg()[1], 1),  # what else the machine did
        "folders": rows,
    }
    with atomic(options.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measured(
    place: Path, folder: tuple[str, int, float, int, int, str], jobs: int, runs: int
) -> dict[str, object]:
    """Seconds of each way."""
    name, files, seconds, channels, rate_hz, suffix = folder
    noise = np.random.default_rng(0).normal(0, 0.1, (channels, round(seconds * rate_hz)))
    first = place / "in" / f"0{suffix}"
    first.parent.mkdir()
    audio.write(first, noise, sample_rate_hz=rate_hz)
    for i in range(1, files):
        first.with_stem(str(i)).write_bytes(first.read_bytes())
    work = plan_work([place / "in"], out_folder=place / "out")
    denoiser = Denoiser.load()

    def threads(count: int) -> None:
        checked(run_batch(work, denoiser, jobs=count, overwrite=True, make_folders=True))

    def processes() -> None:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, mp_context=spawn) as pool:
            list(pool.map(share, [work[i::jobs] for i in range(jobs)]))

    def network() -> None:
        signal = noise.astype(np.float32)
        for _ in range(files):
            denoiser(signal, sample_rate_hz=rate_hz)

    ways: dict[str, Callable[[], None]] = {
        "one": lambda: threads(1),
        "threads": lambda: threads(jobs),
        "processes": processes,
        "network": network,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(runs):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            times[way].append(time.perf_counter() - started)
    best = {way: round(min(values), 3) for way, values in times.items()}
    beyond_ms = 1000 * (best["one"] - best["network"]) / files
    return {"name": name, "files": files, **best, "beyond_ms": round(beyond_ms, 2)}


def share(work: list[Work]) -> None:
    """What one process does."""
    checked(run_batch(work, Denoiser.load(), overwrite=True))


def checked(outcomes: list[Outcome]) -> None:
    """Nothing may fail."""
    for outcome in outcomes:
        if outcome.error is not None:
            sys.exit(outcome.error)


if __name__ == "__main__":
    main()
