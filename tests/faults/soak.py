"""Hours of sound, thousands of loads and files, many threads and processes: memory stays flat.

    python tests/faults/soak.py --hours 24 --loads 10000 --file-hours 6 --files 20000

One stream is fed that many hours as fast as it goes, with a spell of silence in the middle: its
memory stays flat, the level after the silence is that of a fresh stream, and after a reset it
answers as a fresh one does, bit for bit. Then models are loaded and dropped, and the same sound is
denoised in 16 threads and in 4 spawned and 4 forked processes at once. The command gets one stereo
file of hours, and a folder of thousands of files, twice.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import corpus
import forks
import numpy as np
import soak_files

from tinysignal.denoiser import Denoiser

_BLOCK_S = 10.0
_RATE_HZ = corpus.RATE_HZ
_FLAT_BYTES = 32 << 20


def resident_bytes() -> int:
    """Memory of this process that is in use now."""
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def talk(seconds: float) -> np.ndarray:
    """Speech in noise, float32 (1, time)."""
    noise = np.random.default_rng(1).normal(0, 0.02, (1, round(seconds * _RATE_HZ)))
    return (corpus.speech_like(seconds, rate_hz=_RATE_HZ, seed=1) + noise).astype(np.float32)


def one_stream(model: str | Path, hours: float) -> dict[str, Any]:
    """Feed one stream for hours; half of the time is silence, in one piece in the middle."""
    denoiser = Denoiser.load(model)
    sound, silence = talk(_BLOCK_S), np.zeros((1, round(_BLOCK_S * _RATE_HZ)), np.float32)
    fresh = denoiser.stream(sample_rate_hz=_RATE_HZ, channels=1)
    first = np.concatenate([fresh.feed(sound) for _ in range(6)], axis=1)
    stream = denoiser.stream(sample_rate_hz=_RATE_HZ, channels=1)
    blocks = max(24, round(hours * 3600 / _BLOCK_S))
    memory, begun, after = [], time.monotonic(), []
    for number in range(blocks):
        is_silent = blocks // 4 <= number < 3 * blocks // 4
        given = stream.feed(silence if is_silent else sound)
        assert np.isfinite(given).all()
        if 3 * blocks // 4 + 3 <= number < 3 * blocks // 4 + 6:
            after.append(given)
        if number >= 12:
            memory.append(resident_bytes())
    seconds = time.monotonic() - begun
    stream.reset()
    again = np.concatenate([stream.feed(sound) for _ in range(6)], axis=1)
    level_db = 10 * np.log10(
        _power(np.concatenate(after, axis=1)) / _power(first[:, -3 * 160_000 :])
    )
    growth = max(memory) - memory[0]
    return {
        "model": Path(model).stem,
        "hours": round(blocks * _BLOCK_S / 3600, 2),
        "speed": round(blocks * _BLOCK_S / seconds),
        "growth_mib": round(growth / 2**20, 1),
        "level_after_silence_db": round(float(level_db), 3),
        "failures": [
            what
            for what, is_so in {
                f"memory grew by {growth >> 20} MiB": growth > _FLAT_BYTES,
                f"{level_db:.2f} dB after silence": abs(level_db) > 0.1,
                "after reset it answers otherwise": not np.array_equal(first, again),
            }.items()
            if is_so
        ],
    }


def _power(signal: np.ndarray) -> float:
    return float(np.square(signal, dtype=np.float64).mean())


def many_loads(model: str | Path, count: int) -> dict[str, Any]:
    """Load a model, run it and drop it, again and again."""
    sound, files, memory = talk(0.1), [], []
    for number in range(count):
        Denoiser.load(model)(sound, sample_rate_hz=_RATE_HZ)
        if number >= min(50, count // 2):
            if number % 10 == 0:
                gc.collect()
            memory.append(resident_bytes())
            files.append(len(list(Path("/proc/self/fd").iterdir())))
    growth = max(memory) - memory[0]
    return {
        "loads": count,
        "growth_mib": round(growth / 2**20, 1),
        "failures": [
            what
            for what, is_so in {
                f"memory grew by {growth >> 20} MiB": growth > _FLAT_BYTES,
                f"{files[0]} to {max(files)} open files": max(files) > files[0],
            }.items()
            if is_so
        ],
    }


def _denoised(model: str) -> bytes:
    return Denoiser.load(model)(talk(2.0), sample_rate_hz=_RATE_HZ).tobytes()


def side_by_side(model: str | Path) -> dict[str, Any]:
    """The same in threads that share a denoiser, and in processes."""
    expected = _denoised(str(model))
    failures = []
    for method in ("spawn", "fork"):
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(4, mp_context=context) as pool:
            answers = list(pool.map(_denoised, [str(model)] * 4))
        if any(answer != expected for answer in answers):
            failures.append(f"{method}: other answers")
    denoiser, sound = Denoiser.load(model), talk(2.0)
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: denoiser(sound, sample_rate_hz=_RATE_HZ).tobytes(), range(32))
        )
    if any(answer != expected for answer in answers):
        failures.append("threads: other answers")
    return {"threads": 16, "spawned": 4, "forked": 4, "failures": failures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--model", default="default")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--loads", type=int, default=10_000)
    parser.add_argument("--file-hours", type=float, default=6.0)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    failed = False
    for name, found in {
        # Processes first: a fork does not take the threads of sessions with it.
        "side by side": lambda: side_by_side(given.model),
        "stream": lambda: one_stream(given.model, given.hours),
        "loads": lambda: many_loads(given.model, given.loads),
        "long file": lambda: soak_files.long_file(given.model, given.file_hours),
        "many files": lambda: soak_files.many_files(given.model, given.files),
    }.items():
        result = found()
        forks.add_to_report(given.report, f"soak {name}", result)
        failed |= bool(result["failures"])
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
