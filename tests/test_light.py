"""The light half runs where no extra is installed.

Tests that need torch live in tests/train, tests/inspect and tests/compress; `make test` runs all
the others a second time where torch is not installed. The programs here refuse the extras to a
fresh interpreter, so that they hold where the extras are installed too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

PACKAGE = Path(__file__).parent.parent / "src" / "tinysignal"
HEAVY_FOLDERS = {"app", "compress", "inspect", "train"}
EXTRAS = ["av", "lightning", "matplotlib", "onnx", "onnxscript", "pesq", "pooch", "pystoi"]
EXTRAS += ["scipy", "sounddevice", "speechmos", "torch", "torchmetrics"]

LIGHT_MODULES = sorted(
    ".".join(["tinysignal", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
    and not (path.parent != PACKAGE and path.relative_to(PACKAGE).parts[0] in HEAVY_FOLDERS)
)

REFUSE_EXTRAS = f"""
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ImportError(f"{{name}} was imported")
sys.meta_path.insert(0, Refuse())
"""


def run_without_extras(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter to which every extra is missing."""
    command = [sys.executable, "-c", REFUSE_EXTRAS + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_command_line(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    program = "from tinysignal.cli.main import main\nsys.argv[0] = 'tinysignal'\nsys.exit(main())"
    return run_without_extras(program, *map(str, arguments))


def test_refusing_extras_works() -> None:
    """The other tests here mean nothing unless this holds."""
    done = run_without_extras("import torch")
    assert "ImportError: torch was imported" in done.stderr


def test_importing_the_package_does_no_work() -> None:
    done = run_without_extras("import tinysignal; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"numpy", "onnxruntime", "soundfile", "soxr", "typer", "rich", *EXTRAS}


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_a_light_module_imports_without_any_extra(module: str) -> None:
    done = run_without_extras(f"import {module}")
    assert done.returncode == 0, done.stderr


def test_the_command_line_denoises_a_file_without_any_extra(
    onset_model: Path, tmp_path: Path
) -> None:
    noisy = np.random.default_rng(0).normal(0, 0.1, (8000, 1))
    soundfile.write(tmp_path / "noisy.wav", noisy, 16_000)
    done = run_command_line(
        "denoise", tmp_path / "noisy.wav", "-o", tmp_path / "out.wav", "--model", onset_model
    )
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == 8000


def test_help_needs_no_extra() -> None:
    done = run_command_line("--help")
    assert done.returncode == 0, done.stderr
    assert "denoise" in done.stdout
