"""Many files by Ray beside this process: scaling, overhead, memory, and a corpus on paper.

    python benchmarks/engines.py
    python benchmarks/tables.py

Each run is a process of its own, and runs alternate. A run of N files and one of 2 N files are
taken; their difference is what N files cost, and the rest of the first is the start. Medians over
the runs count. Memory is that of all processes of a run together (proportional shares, so that
what they share counts once), while 20,000 files of a tenth of a second go through it; the first
quarter of the time, in which Ray starts, is left out.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from processes import ONE_THREAD, machine
from tinysignal import audio
from tinysignal.files import write_json

REPORT = Path(__file__).resolve().parent / "reports" / "engines.json"
RATE_HZ = 16_000
WAYS = {
    "local": ("local", 1),
    "local_2": ("local", 2),  # what the machine itself gains by its second core
    "ray_1": ("ray", 1),
    "ray_2": ("ray", 2),
}
PROGRAM = """
import sys, time
from tinysignal.batch import denoise_many
if __name__ == "__main__":
    engine, jobs, source, target = sys.argv[1:]
    started = time.perf_counter()
    found = denoise_many(source, target, engine=engine, jobs=int(jobs))
    assert all(outcome.status == "done" for outcome in found), found
    print(time.perf_counter() - started)
"""
# Assumed, not measured.
CORPUS = {
    "files": 200_000,
    "minutes": 30,
    "nodes": 50,
    "cores_a_node": 8,
    "usd_a_core_hour": 0.04,
    "bytes_a_second_of_sound": 2 * RATE_HZ,
    "node_gbit_a_second": 1.0,
    "store_gbit_a_second": 10.0,
}


def main() -> None:
    """Measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=100, help="N, each of a minute")
    parser.add_argument("--small", type=int, default=20_000, help="files of a tenth of a second")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        scaling = scaled(Path(place), options.files, options.runs)
        memory = memory_over(Path(place) / "small", options.small)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(pinned=False),
        "load": round(os.getloadavg()[1], 1),  # what else the machine did
        "runs": options.runs,
        "files": options.files,
        "scaling": scaling,
        "memory": memory,
        "corpus": on_paper(scaling["ray_1"]["file_s"], scaling["ray_1"]["start_s"]),
    }
    write_json(options.output, report)


def scaled(place: Path, files: int, runs: int) -> dict[str, Any]:
    """Seconds of a start and of a file of a minute, by every way."""
    folders = [sounds(place / f"in{n}", n, 60.0) for n in (files, 2 * files)]
    taken: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for _ in range(runs):
        for way, (engine, jobs) in WAYS.items():
            taken[way].append([seconds(folder, engine, jobs) for folder in folders])
            print(way, taken[way][-1], file=sys.stderr)
    found: dict[str, Any] = {}
    for way, pairs in taken.items():
        one, two = (statistics.median(column) for column in zip(*pairs, strict=True))
        found[way] = {
            "seconds": [round(one, 2), round(two, 2)],
            "file_s": round((two - one) / files, 4),
            "start_s": round(max(0.0, 2 * one - two), 2),
        }
    for name, one, two in (("speed_up", "ray_1", "ray_2"), ("local_speed_up", "local", "local_2")):
        found[name] = round(found[one]["file_s"] / found[two]["file_s"], 2)
    found["overhead"] = round(found["ray_1"]["file_s"] / found["local"]["file_s"] - 1, 3)
    return found


def sounds(folder: Path, count: int, length_s: float) -> Path:
    """Equal files of noise."""
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, round(length_s * RATE_HZ))
    first = folder / "0.wav"
    audio.write(first, noise, sample_rate_hz=RATE_HZ, subtype="PCM_16")
    for i in range(1, count):
        (folder / f"{i}.wav").write_bytes(first.read_bytes())
    return folder


def seconds(source: Path, engine: str, jobs: int) -> float:
    """Of one run in a process of its own."""
    with tempfile.TemporaryDirectory() as target:
        done = subprocess.run(
            command(source, engine, jobs, target),
            env=os.environ | ONE_THREAD,
            capture_output=True,
            text=True,
            check=True,
        )
    return float(done.stdout)


def command(source: Path, engine: str, jobs: int, target: str) -> list[str]:
    """A run."""
    return [sys.executable, "-c", PROGRAM, engine, str(jobs), str(source), target]


def memory_over(folder: Path, files: int) -> dict[str, Any]:
    """MiB of all processes, after a quarter of the time and at the end."""
    sounds(folder, files, 0.1)
    samples = []
    with tempfile.TemporaryDirectory() as target:
        started = time.perf_counter()
        run = subprocess.Popen(
            command(folder, "ray", 2, target),
            env=os.environ | ONE_THREAD,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while run.poll() is None:
            samples.append(session_mib(run.pid))
            time.sleep(1)
        elapsed_s = time.perf_counter() - started
    if run.returncode:
        sys.exit("the run over small files failed.")
    quarter = max(1, len(samples) // 4)
    return {
        "files": files,
        "seconds": round(elapsed_s, 1),
        "second_quarter_mib": round(statistics.median(samples[quarter : 2 * quarter])),
        "last_quarter_mib": round(statistics.median(samples[-quarter - 2 : -2])),
        "most_mib": round(max(samples)),
    }


def session_mib(leader: int) -> float:
    """Memory of the processes that a session leader and its children have started."""
    total = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            session = int((place / "stat").read_text().rpartition(")")[2].split()[3])
            if session == leader:
                lines = (place / "smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        except (OSError, IndexError):  # it has just ended
            continue
    return total / 1024


def on_paper(file_s: float, start_s: float) -> dict[str, Any]:
    """Hours, money and bottleneck of `CORPUS`, from the cost of a minute on one core."""
    cores = CORPUS["nodes"] * CORPUS["cores_a_node"]
    core_hours = CORPUS["files"] * CORPUS["minutes"] * file_s / 3600
    sound_bytes = CORPUS["files"] * CORPUS["minutes"] * 60 * CORPUS["bytes_a_second_of_sound"]
    bits = 2 * 8 * sound_bytes  # in and out
    hours = {
        "compute": core_hours / cores + start_s / 3600,
        "network of the nodes": bits / (CORPUS["nodes"] * CORPUS["node_gbit_a_second"] * 3.6e12),
        "store": bits / (CORPUS["store_gbit_a_second"] * 3.6e12),
    }
    slowest = max(hours, key=lambda name: hours[name])
    return {
        **CORPUS,
        "core_hours": round(core_hours),
        "terabytes_each_way": round(sound_bytes / 1e12, 1),
        "hours": {name: round(value, 2) for name, value in hours.items()},
        "bottleneck": slowest,
        "usd": round(hours[slowest] * cores * CORPUS["usd_a_core_hour"], 2),
    }


if __name__ == "__main__":
    main()
