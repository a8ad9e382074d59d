"""Memory and time to the first step of a training, by hours of sound, with and without a cache.

    python benchmarks/cache.py
    python benchmarks/tables.py

Files of a minute, 8 bits at 16 kHz, are made of one recording, each another part of it at another
level, four fifths of them speech and the rest noise. A training is started three times: without a
cache, with an empty one, and with the one that the second has filled. The first step is done when
the run folder has its ``config.toml``. Memory is the most that the process had until its end.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import soundfile

from processes import machine
from tinysignal import audio
from tinysignal.files import atomic

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "cache.json"
TALK = REPOSITORY / "demo" / "talk_clean.flac"
RATE_HZ, FILE_S = 16_000, 60
HOURS = (1.0, 10.0, 100.0)
MOST_IN_MEMORY_H = 10.0
OPTIONS = ["--arch", "linear", "--width", "64", "--steps", "20", "--steps-per-epoch", "20",
           "--device", "cpu", "--threads", "1", "--quiet"]  # fmt: skip


def main() -> None:
    """Measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, nargs="+", default=HOURS)
    parser.add_argument("--folder", type=Path, help="where there is room for the files")
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        for hours in sorted(options.hours):
            rows.append(measured(Path(place), hours))
            print(rows[-1], file=sys.stderr)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(pinned=False),
        "load": round(os.getloadavg()[1], 1),  # what else the machine did
        "file_s": FILE_S,
        "corpora": rows,
    }
    with atomic(options.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measured(place: Path, hours: float) -> dict[str, object]:
    """Three runs on a corpus; earlier files stay."""
    count = round(3600 * hours / FILE_S)
    make_files(place, count)
    cache = place / "cache"
    row: dict[str, object] = {"hours": hours, "files": count}
    if hours <= MOST_IN_MEMORY_H:
        row["in memory"] = run(place, [])
    row["first"] = run(place, ["--cache", str(cache)])
    row["second"] = run(place, ["--cache", str(cache)])
    held = [path.stat().st_size for path in cache.iterdir()]
    row["cache_mib"] = round(sum(held) / 2**20)
    shutil.rmtree(cache)
    return row


def make_files(place: Path, count: int) -> None:
    """Recordings up to a number, no two alike."""
    talk = audio.read(TALK, sample_rate_hz=RATE_HZ)[0][0]
    rng = np.random.default_rng(0)
    samples = FILE_S * RATE_HZ
    longer = np.resize(talk, samples + talk.size)
    for i in range(count):
        start, level = int(rng.integers(talk.size)), rng.uniform(0.3, 0.9)
        path = place / ("noise" if i % 5 == 0 else "speech") / f"{i}.wav"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = level * longer[start : start + samples]
            soundfile.write(path, part, RATE_HZ, subtype="PCM_U8")


def cpu_s(process: int) -> float:
    """Processor time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(place: Path, options: list[str]) -> dict[str, float]:
    """Seconds to the first step, on the clock and of the processor, and MiB, of one training."""
    folder = place / "run"
    data = ["--clean", str(place / "speech"), "--noise", str(place / "noise")]
    command = [sys.executable, "-m", "tinysignal", "train", "denoiser", *data, *OPTIONS, *options]
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, "-o", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    first_s = first_cpu_s = 0.0
    while True:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if not first_s and (folder / "config.toml").exists():
            first_s, first_cpu_s = time.perf_counter() - started, cpu_s(process.pid)
        if ended:
            break
        time.sleep(0.02)
    if status:
        assert process.stderr is not None
        sys.exit(process.stderr.read().decode())
    shutil.rmtree(folder)
    return {
        "first_step_s": round(first_s, 1),
        "first_step_cpu_s": round(first_cpu_s, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


if __name__ == "__main__":
    main()
