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
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "cost.json"
PROGRAMS = REPOSITORY / "benchmarks" / "cost_programs.py"
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA")
}
INSTALLS = {"tinysignal": [str(REPOSITORY)], "noisereduce": ["noisereduce", "soundfile"]}
VERSIONS = ("tinysignal", "noisereduce", "numpy", "scipy", "onnxruntime", "soundfile", "torch")


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


@dataclass(frozen=True)
class Run:
    """One finished process."""

    wall_s: float
    peak_bytes: int


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
    core = _pin_to_one_core()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.model)
        report = {
            "date": datetime.now(UTC).date().isoformat(),
            "quick": options.quick,
            "machine": _machine(pinned=core is not None),
            "model": Path(options.model).name,
            "speed": bench.speed(plan),
            "start": bench.start(plan),
            "memory": bench.memory(plan),
            "install": None if options.skip_install else _installs(Path(folder)),
        }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    _say(f"wrote {options.output}")


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
        _run([sys.executable, str(PROGRAMS), "make-file", str(path), *numbers])
        return path

    def speed(self, plan: Plan) -> list[dict[str, Any]]:
        """Whole commands and library calls on files of two kinds."""
        rows = []
        for channels, rate_hz in SPEED_FILES:
            facts = {"seconds": plan.speed_s, "channels": channels, "sample_rate_hz": rate_hz}
            source = self.make_file(plan.speed_s, channels, rate_hz)
            _say(f"speed: {channels} channels at {rate_hz} Hz")
            commands = self._alternate(source, plan.runs)
            rows.append({"level": "command", **facts, **commands})
            arguments = [str(source), self.model, str(plan.runs)]
            printed = _output([sys.executable, str(PROGRAMS), "library-times", *arguments])
            calls = {name: _spread(times) for name, times in json.loads(printed).items()}
            rows.append({"level": "library", **facts, **calls})
            source.unlink()
        return rows

    def start(self, plan: Plan) -> dict[str, Any]:
        """Whole commands on a file of one second: little but the start."""
        source = self.make_file(1, 1, 16_000)
        _say("start")
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
                    _say(f"memory: {name}, {minutes:g} min")
                    row[name] = asdict(_run(self.command(name, source)))
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
                wall_s = _run(self.command(name, source)).wall_s
                if number:
                    times[name].append(wall_s)
        return {name: _spread(measured) for name, measured in times.items()}


def _run(command: list[str]) -> Run:
    """Run a command to its end, alone; its output is shown only if it fails."""
    with tempfile.TemporaryFile() as output:
        start_s = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=os.environ | ONE_THREAD
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(command)}\n{output.read().decode(errors='replace')}")
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return Run(wall_s, usage.ru_maxrss * unit_bytes)


def _output(command: list[str]) -> str:
    environment = os.environ | ONE_THREAD
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if run.returncode:
        sys.exit(f"{' '.join(command)}\n{run.stderr}")
    return run.stdout


def _spread(times_s: list[float]) -> dict[str, float]:
    return {
        "runs": len(times_s),
        "median_s": statistics.median(times_s),
        "min_s": min(times_s),
        "max_s": max(times_s),
    }


def _pin_to_one_core() -> int | None:
    """Stay on one core, with all children; None where the system cannot."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return core


def _machine(*, pinned: bool) -> dict[str, Any]:
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": 1,
        "pinned_to_one_core": pinned,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: found for name in VERSIONS if (found := _version(name))},
    }


def _cpu_model() -> str:
    listing = Path("/proc/cpuinfo")
    if listing.exists():
        for line in listing.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _installs(folder: Path) -> dict[str, Any]:
    """Bytes and packages that pip adds to a fresh virtual environment, bytecode included."""
    sizes = {}
    for name, packages in INSTALLS.items():
        _say(f"install: {name}")
        environment = folder / f"venv-{name}"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        site = next(environment.glob("lib/python*/site-packages"))
        before = _contents(site)
        pip = [
            str(environment / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, *packages], check=True)
        after = _contents(site)
        added = {path: after[path] - before.get(path, 0) for path in after}
        metadata = {path.name for path in site.glob("*.dist-info")}
        present = {Path(path).parts[0] for path in before}
        sizes[name] = {"bytes": sum(added.values()), "packages": len(metadata - present)}
    return sizes


def _contents(site: Path) -> dict[str, int]:
    files = (path for path in site.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(site).as_posix(): path.stat().st_size for path in files}


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
