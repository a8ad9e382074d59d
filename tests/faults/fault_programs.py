"""Runs the programs of this folder, each in an interpreter of its own: they fork."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def python(*arguments: object) -> str:
    """What the interpreter prints; an exit status that is not 0 fails the test."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        errors="backslashreplace",
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def found_by(program: str, *arguments: object, folder: Path) -> dict[str, Any]:
    """The report of a program."""
    report = folder / "report.json"
    python(program, *arguments, "--report", report)
    found: dict[str, Any] = json.loads(report.read_text())
    return found
