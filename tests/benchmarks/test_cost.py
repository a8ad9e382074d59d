"""The cost benchmark measures the processes it starts, not itself."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from benchmarks import cost, cost_programs, processes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="wait4 is not on Windows")


def test_peak_memory_is_that_of_the_started_process() -> None:
    """In a process of its own: a child's peak is never below that of the one that starts it."""
    mib = 150
    program = (
        "import sys; from benchmarks import processes\n"
        f"for size in (0, {mib}):\n"
        "    child = f'held = bytes(range(256)) * ({size} * 4096)'\n"
        "    print(processes.finish([sys.executable, '-c', child]).peak_bytes)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=cost.REPOSITORY,
    )
    idle, held = (int(line) / 2**20 for line in run.stdout.split())
    assert idle < 40
    assert mib <= held < mib + 40


def test_a_command_that_fails_stops_the_benchmark_with_its_message() -> None:
    with pytest.raises(processes.ProcessError, match="broken on purpose"):
        processes.finish([sys.executable, "-c", "raise SystemExit('broken on purpose')"])


def test_files_have_the_length_and_kind_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "noise.wav"
    cost_programs.make_file(str(path), "2.5", "2", "48000")
    signal, rate_hz = sf.read(path)
    assert (rate_hz, signal.shape) == (48_000, (120_000, 2))
    assert 0.03 < np.abs(signal[-48_000:]).mean() < 0.2


def test_a_full_run_is_refused_where_torch_would_slow_the_other_side(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(sys, "argv", ["cost.py", "--output", str(tmp_path / "cost.json")])
    with pytest.raises(SystemExit, match="fresh environment"):
        cost.main()
