"""How many live streams one core holds, what one costs, and what clients that vanish leave.

    python benchmarks/serve.py
    python benchmarks/tables.py

The service runs on one core (the first), its clients on the others. Each client is a live one: it
sends 16 ms of speech-like sound every 16 ms and waits for the answer. Streams are added until half
of the answers come later than the next block. Then, for some minutes, clients come, stay for
a few seconds, and either end properly or vanish; each whole answer is compared with the one that
the library gives for the same sound. Memory is the resident set of the service.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import websockets

from processes import machine
from tinysignal import Denoiser

REPORT = Path(__file__).resolve().parent / "reports" / "serve.json"
RATE_HZ, BLOCK_S = 16_000, 0.016
BLOCK = round(BLOCK_S * RATE_HZ)
SOUNDS = 8
TOLERANCE = 1e-5  # blocks of other sizes are summed in another order


def main() -> None:
    """Measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=int, default=5, help="streams that come at once")
    parser.add_argument("--seconds", type=float, default=15.0, help="for each number of streams")
    parser.add_argument("--churn-streams", type=int, default=200)
    parser.add_argument("--churn-minutes", type=float, default=10.0)
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    sounds = [sound(seed) for seed in range(SOUNDS)]
    denoiser = Denoiser.load()
    expected = [denoiser(x, sample_rate_hz=RATE_HZ) for x in sounds]
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    with Service(cores[0]) as service:
        levels = asyncio.run(held(service, sounds, options.step, options.seconds))
        churn = asyncio.run(
            churned(
                service,
                sounds,
                expected,
                count=options.churn_streams,
                minutes=options.churn_minutes,
            )
        )
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(pinned=True),
        "block_ms": 1000 * BLOCK_S,
        "load": round(os.getloadavg()[1], 1),
        "levels": levels,
        "churn": churn,
    }
    options.output.write_text(json.dumps(report, indent=2) + "\n")


def sound(seed: int) -> np.ndarray:
    """Four seconds of noise whose level comes and goes as that of speech does, float32 (time,)."""
    rng = np.random.default_rng(seed)
    syllables = np.interp(np.arange(4 * RATE_HZ), np.linspace(0, 4 * RATE_HZ, 33), rng.random(33))
    return (0.1 * syllables**2 * rng.normal(size=4 * RATE_HZ)).astype(np.float32)


class Service:
    """``tinysignal serve`` in a process of its own, on one core."""

    def __init__(self, core: int) -> None:
        self._core = core

    def __enter__(self) -> Service:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinysignal", "serve", "--port", "0", "--streams", "1000",
             "--jobs", "1"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip().replace("http", "ws")
        for task in Path(f"/proc/{self._process.pid}/task").iterdir():
            os.sched_setaffinity(int(task.name), {self._core})
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait()

    def mib(self) -> float:
        """Its resident set."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


async def held(
    service: Service, sounds: list[np.ndarray], step: int, seconds: float
) -> list[dict[str, Any]]:
    """Delays by number of streams, until half of them are longer than a block."""
    levels: list[dict[str, Any]] = []
    before = service.mib()
    while not levels or (levels[-1]["p50_ms"] < 1000 * BLOCK_S and levels[-1]["streams"] < 400):
        count = step * (len(levels) + 1)
        delays: list[float] = []
        begin = time.perf_counter() + 1
        async with asyncio.TaskGroup() as tasks:
            for number in range(count):
                apart = begin + number / count * BLOCK_S
                x = sounds[number % SOUNDS]
                tasks.create_task(live(service, x, delays, begin=apart, seconds=seconds))
            await asyncio.sleep(seconds)
            memory = service.mib()
        p50, p99 = np.percentile(delays, [50, 99]) * 1000
        p50, p99 = float(p50), float(p99)
        levels.append(
            {"streams": count, "p50_ms": round(p50, 2), "p99_ms": round(p99, 2),
             "kib_a_stream": round(1024 * (memory - before) / count)}
        )  # fmt: skip
        print(levels[-1], file=sys.stderr)
    return levels


async def live(
    service: Service, x: np.ndarray, delays: list[float], *, begin: float, seconds: float
) -> None:
    """One client in real time; the time from each block to its answer."""
    async with websockets.connect(f"{service.address}/stream?format=f32le") as socket:
        await socket.recv()
        for number in range(round(seconds / BLOCK_S)):
            await asyncio.sleep(begin + number * BLOCK_S - time.perf_counter())
            start = number * BLOCK % (x.size - BLOCK)
            sent = time.perf_counter()
            await socket.send(x[start : start + BLOCK].tobytes())
            await socket.recv()
            delays.append(time.perf_counter() - sent)


async def churned(
    service: Service,
    sounds: list[np.ndarray],
    expected: list[np.ndarray],
    count: int,
    minutes: float,
) -> dict[str, Any]:  # fmt: skip
    """Clients that come and go, some without a word; memory after every minute, wrong answers."""
    tally = {"whole": 0, "vanished": 0, "wrong": 0}
    until = time.monotonic() + 60 * minutes
    mib = [service.mib()]
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            rng = random.Random(number)
            client = comes_and_goes(service, sounds, expected, rng=rng, until=until, tally=tally)
            tasks.create_task(client)
        for minute in range(1, int(minutes) + 1):
            await asyncio.sleep(until - 60 * (minutes - minute) - time.monotonic())
            mib.append(service.mib())
    await asyncio.sleep(2)
    return {"streams": count, "minutes": minutes, **tally, "mib": [*mib, service.mib()]}


async def comes_and_goes(
    service: Service, sounds: list[np.ndarray], expected: list[np.ndarray], *, rng: random.Random,
    until: float, tally: dict[str, int],
) -> None:  # fmt: skip
    """One client after the other: half of them end properly."""
    while time.monotonic() < until:
        which, stays = rng.randrange(SOUNDS), rng.random() < 0.5
        x, out = sounds[which], b""
        last = x.size if stays else rng.randrange(1, x.size)
        socket = await websockets.connect(f"{service.address}/stream?format=f32le")
        await socket.recv()
        for start in range(0, last, 4000):
            await socket.send(x[start : start + 4000].tobytes())
            out += await socket.recv()
            await asyncio.sleep(4000 / RATE_HZ)
        if not stays:
            socket.transport.abort()
            tally["vanished"] += 1
            continue
        await socket.send("end")
        with suppress(websockets.ConnectionClosed):
            while True:
                out += await socket.recv()
        tally["whole"] += 1
        given = np.frombuffer(out, "<f4")
        right = given.size == x.size and np.abs(given - expected[which]).max() < TOLERANCE
        tally["wrong"] += not right


if __name__ == "__main__":
    main()
