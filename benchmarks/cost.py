"""What denoising costs: time, start, memory and installed size, side by side with noisereduce.

    python -m venv cost-env && cost-env/bin/pip install . noisereduce
    cost-env/bin/python benchmarks/cost.py      # --quick for a trial of a minute
    cost-env/bin/python benchmarks/tables.py

Both run on one core with one thread, in alternating order, on the same files. Every command is a
process of its own, with its peak memory from the kernel. This process imports nothing large: a
child's peak memory is never below that of the process that starts it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from processes import ProcessError, contents, finish, machine, pin_to_one_core, say

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "cost.json"
PROGRAMS = REPOSITORY / "benchmarks" / "cost_programs.py"
INSTALLS = {"tinysignal": [str(REPOSITORY)], "noisereduce": ["noisereduce", "soundfile"]}


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    speed_s: int
    runs: int
    start_runs: int
    tinysignal_minutes: tuple[float, ...]
    noisereduce_minutes: tuple[float, ...]


FULL = Plan(60, 7, 15, (1, 10, 60, 180), (1, 10))
QUICK = Plan(5, 2, 2, (0.1, 0.5), (0.1,))
SPEED_FILES = ((1, 16_000), (2, 48_000))  # channels, rate


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="default", help="bundled name or path of a model.onnx")
    parser.add_argument("--quick", action="store_true", help="short files, few runs: a trial")
    parser.add_argument("--skip-install", action="store_true", help="leave installed sizes out")
    parser.add_argument("--output", type=Path, default=REPORT, help="report file to write")
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    if importlib.util.find_spec("torch") is not None and not options.quick:
        # Measured: a second of start and 180 MB more, which noisereduce has no use for here.
        sys.exit("torch is installed here and noisereduce would import it: use a fresh environment")
    core = pin_to_one_core()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.model)
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "quick": options.quick,
            "machine": machine(pinned=core is not None),
            "model": Path(options.model).name,
            "speed": bench.speed(plan),
            "start": bench.start(plan),
            "memory": bench.memory(plan),
            "install": None if options.skip_install else _installs(Path(folder)),
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    say(f"wrote {options.output}")


@dataclass(frozen=True)
class Bench:
    """The measurements, with their files in ``folder``."""

    folder: Path
    model: str

    def command(self, name: str, source: Path) -> list[str]:
        """The command that denoises ``source`` with one of the two."""
        target = self.folder / f"{name}.wav"
        if name == "tinysignal":
            script = Path(sys.executable).with_name("tinysignal")
            return [str(script), "denoise", str(source), "-o", str(target), "--model", self.model]
        return [sys.executable, str(PROGRAMS), "noisereduce", str(source), str(target)]

    def make_file(self, seconds: float, channels: int, rate_hz: int) -> Path:
        """Noise with bursts of tone, 16 bits."""
        path = self.folder / f"{seconds:g}s-{channels}ch-{rate_hz}.wav"
        numbers = [str(seconds), str(channels), str(rate_hz)]
        finish([sys.executable, str(PROGRAMS), "make-file", str(path), *numbers])
        return path

    def speed(self, plan: Plan) -> list[dict[str, Any]]:
        """Whole commands and library calls on files of two kinds."""
        rows = []
        for channels, rate_hz in SPEED_FILES:
            facts = {"seconds": plan.speed_s, "channels": channels, "sample_rate_hz": rate_hz}
            source = self.make_file(plan.speed_s, channels, rate_hz)
            say(f"speed: {channels} channels at {rate_hz} Hz")
            commands = self._alternate(source, plan.runs)
            rows.append({"level": "command", **facts, **commands})
            arguments = [str(source), self.model, str(plan.runs)]
            command = [sys.executable, str(PROGRAMS), "library-times", *arguments]
            printed = finish(command).printed
            calls = {name: _spread(times) for name, times in json.loads(printed).items()}
            rows.append({"level": "library", **facts, **calls})
            source.unlink()
        return rows

    def start(self, plan: Plan) -> dict[str, Any]:
        """Whole commands on a file of one second: little but the start."""
        source = self.make_file(1, 1, 16_000)
        say("start")
        return self._alternate(source, plan.start_runs)

    def memory(self, plan: Plan) -> list[dict[str, Any]]:
        """Peak memory and time of whole commands against the length of the file."""
        wanted = {"tinysignal": plan.tinysignal_minutes, "noisereduce": plan.noisereduce_minutes}
        rows = []
        for minutes in sorted({m for listed in wanted.values() for m in listed}):
            source = self.make_file(60 * minutes, 2, 48_000)
            row: dict[str, Any] = {"minutes": minutes, "channels": 2, "sample_rate_hz": 48_000}
            for name, listed in wanted.items():
                if minutes in listed:
                    say(f"memory: {name}, {minutes:g} min")
                    row[name] = _measured(self.command(name, source))
                    (self.folder / f"{name}.wav").unlink()
            source.unlink()
            rows.append(row)
        return rows

    def _alternate(self, source: Path, runs: int) -> dict[str, Any]:
        """Both commands in turn, the order swapped every time, after one run each to warm up."""
        names = ["tinysignal", "noisereduce"]
        times: dict[str, list[float]] = {name: [] for name in names}
        for number in range(runs + 1):
            for name in names if number % 2 else reversed(names):
                wall_s = finish(self.command(name, source)).wall_s
                if number:
                    times[name].append(wall_s)
        return {name: _spread(measured) for name, measured in times.items()}


def _measured(command: list[str]) -> dict[str, float]:
    done = finish(command)
    return {"wall_s": done.wall_s, "peak_bytes": done.peak_bytes}


def _spread(times_s: list[float]) -> dict[str, float]:
    return {
        "runs": len(times_s),
        "median_s": statistics.median(times_s),
        "min_s": min(times_s),
        "max_s": max(times_s),
    }


def _installs(folder: Path) -> dict[str, Any]:
    """Bytes and packages that pip adds to a fresh virtual environment, bytecode included."""
    sizes = {}
    for name, packages in INSTALLS.items():
        say(f"install: {name}")
        environment = folder / f"venv-{name}"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        site = next(environment.glob("lib/python*/site-packages"))
        before = contents(site)
        pip = [
            str(environment / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, *packages], check=True)
        after = contents(site)
        added = {path: after[path] - before.get(path, 0) for path in after}
        metadata = {path.name for path in site.glob("*.dist-info")}
        present = {Path(path).parts[0] for path in before}
        sizes[name] = {"bytes": sum(added.values()), "packages": len(metadata - present)}
    return sizes


if __name__ == "__main__":
    try:
        main()
    except ProcessError as error:
        sys.exit(str(error))
