"""Seconds of sound that a processor second trains on, by architecture, and where they go.

    python benchmarks/throughput.py
    python benchmarks/tables.py

One thread takes steps on mixtures of the demo recording and noise. Times are those of the
processor, not of the clock, so that what else the machine does counts little; networks alternate,
and the median of each part counts. ``mixing`` is what `--workers` takes to other processes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from processes import machine
from tinysignal import audio
from tinysignal.files import atomic
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Clip
from tinysignal.train.data.sound import in_memory
from tinysignal.train.denoising.build import build_net, make_module, stft_size
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import _EFFECTS
from tinysignal.train.denoising.modules import WaveformModule
from tinysignal.train.memory import keep_memory

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "throughput.json"
RATE_HZ = 16_000
NETWORKS: dict[str, dict[str, Any]] = {
    "linear": {"arch": "linear"},
    "cnn": {"arch": "cnn"},
    "lstm": {"arch": "lstm"},
    "lstm, --recipe default": {"recipe": "default"},
}
PARTS = ("mixing", "forward", "loss", "backward", "optimiser")


def main() -> None:
    """Measure, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--output", type=Path, default=REPORT)
    options = parser.parse_args()
    keep_memory()
    torch.set_num_threads(1)
    steps = {name: Step(values) for name, values in NETWORKS.items()}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for number in range(options.steps + 1):
        for name, step in steps.items():
            rows[name].append(step.timed(number))
            print(name, rows[name][-1], file=sys.stderr)
    report = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(pinned=False),
        "load": round(os.getloadavg()[1], 1),
        "steps": options.steps,
        "networks": [summary(name, steps[name], found[1:]) for name, found in rows.items()],
    }
    with atomic(options.output) as path:
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


class Step:
    """Steps of one network, timed part by part."""

    def __init__(self, values: dict[str, Any]) -> None:
        data = {"clean": "speech", "noise": "noise", "minutes": 1}
        self.config = DenoiserConfig.read(None, {**data, **values})
        size = stft_size(self.config)
        torch.manual_seed(0)
        self.module = make_module(self.config, build_net(self.config, size), size).train()
        self.optimiser: Any = self.module.configure_optimizers()
        talk = audio.read(REPOSITORY / "demo" / "talk_clean.flac", sample_rate_hz=RATE_HZ)[0][0]
        hiss = np.random.default_rng(0).normal(0, 0.1, 60 * RATE_HZ).astype(np.float32)
        speech, noise = (Clip(in_memory(x, sample_rate_hz=RATE_HZ), "a") for x in (talk, hiss))
        self.source = Mixtures(
            [speech], [noise], MixOptions(**(_EFFECTS if self.config.augment else {})),
            sample_rate_hz=RATE_HZ, clip_samples=round(self.config.clip_s * RATE_HZ),
            batch=self.config.batch, steps_per_epoch=1, seed=0,
        )  # fmt: skip

    def timed(self, number: int) -> dict[str, float]:
        """Processor seconds of the parts of a step."""
        found: dict[str, float] = {}

        def part(name: str, run: Callable[[], Any]) -> Any:
            started = time.process_time()
            result = run()
            found[name] = time.process_time() - started
            return result

        mixed = part("mixing", lambda: self.source.batch(number))
        noisy, clean = (torch.from_numpy(x) for x in mixed)
        low = self.config.precision == "bf16"
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            answer = part("forward", lambda: self._forward(noisy))
            loss = part("loss", lambda: self._loss(answer, clean, noisy))
        part("backward", loss.backward)
        part("optimiser", self._step)
        return found

    def _forward(self, noisy: torch.Tensor) -> torch.Tensor:
        if isinstance(self.module, WaveformModule):
            return self.module._enhanced(self.module.net, noisy)
        answer: torch.Tensor = self.module.net(self.module.magnitudes(noisy))
        return answer

    def _loss(self, answer: torch.Tensor, *signals: torch.Tensor) -> torch.Tensor:
        if isinstance(self.module, WaveformModule):
            return self.module._loss(answer, *signals)
        return self.module.loss(answer, *(self.module.magnitudes(s) for s in signals))

    def _step(self) -> None:
        if isinstance(self.module, WaveformModule):
            torch.nn.utils.clip_grad_norm_(self.module.net.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if isinstance(self.module, WaveformModule):
            self.module.averaged.update_parameters(self.module.net)


def summary(name: str, step: Step, rows: list[dict[str, float]]) -> dict[str, Any]:
    """Medians of one network."""
    parts = {part: round(median(row[part] for row in rows), 3) for part in PARTS}
    heard_s = step.config.batch * step.config.clip_s
    return {
        "name": name,
        "sound_s": heard_s,
        **parts,
        "per_cpu_s": round(heard_s / sum(parts.values()), 1),
    }


if __name__ == "__main__":
    main()
