"""The light half runs where no extra is installed.

Tests that need torch live in tests/train, tests/inspect and tests/compress; `make test` runs all
the others a second time where torch is not installed. The programs here refuse the extras to a
fresh interpreter, so that they hold where the extras are installed too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from templates import STRIPES, save_blots, save_blots_model, save_template_model, stripes
from tinysignal.spec import SoundInput

PACKAGE = Path(__file__).parent.parent / "src" / "tinysignal"
HEAVY_FOLDERS = {"app", "compress", "inspect", "nets", "runs", "serve", "train"}
EXTRAS = ["av", "lightning", "matplotlib", "onnx", "onnxscript", "pesq", "PIL", "pooch", "pystoi"]
EXTRAS += ["scipy", "sklearn", "sounddevice", "speechmos", "torch", "torchmetrics"]
EXTRAS += ["gradio", "prometheus_client", "starlette", "uvicorn", "websockets"]
EXTRAS += ["fsspec", "pyarrow", "ray", "s3fs"]

LIGHT_MODULES = sorted(
    ".".join(["tinysignal", *path.relative_to(PACKAGE).with_suffix("").parts])
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
    and not (path.parent != PACKAGE and path.relative_to(PACKAGE).parts[0] in HEAVY_FOLDERS)
)

REFUSE_EXTRAS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {}:
            raise ImportError(name + " was imported")
sys.meta_path.insert(0, Refuse())
"""


def run_without_extras(
    program: str, *arguments: str, but: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a program in a fresh interpreter to which every extra, but for some, is missing."""
    refused = [name for name in EXTRAS if name not in but]
    command = [sys.executable, "-c", REFUSE_EXTRAS.format(refused) + program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run_command_line(
    *arguments: str | Path, but: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    program = "from tinysignal.cli.main import main\nsys.argv[0] = 'tinysignal'\nsys.exit(main())"
    return run_without_extras(program, *map(str, arguments), but=but)


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


def test_the_light_packages_are_there_without_any_extra() -> None:
    packages = "audio, batch, datasets, evaluation, metrics, Denoiser, Classifier"
    done = run_without_extras(f"from tinysignal import {packages}; print(audio.open.__module__)")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "tinysignal.audio.files"


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


def test_the_command_line_classifies_a_sound_without_any_extra(tmp_path: Path) -> None:
    patches = np.random.default_rng(0).random((2, 63, 40))
    model = save_template_model(tmp_path / "m.onnx", patches, ("a", "b"), expects=SoundInput())
    soundfile.write(tmp_path / "x.wav", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    done = run_command_line("classify", tmp_path / "x.wav", "--model", model, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["class"] in ("a", "b")


def test_the_command_line_evaluates_a_classifier_without_any_extra(tmp_path: Path) -> None:
    save_blots(tmp_path)
    model = save_blots_model(tmp_path / "m.onnx")
    done = run_command_line("evaluate", model, "--data", "mnist", "--data-dir", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["accuracy"] == 0.9


def test_a_picture_is_classified_with_pillow_alone(tmp_path: Path) -> None:
    model = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES)
    (tmp_path / "x.pgm").write_bytes(b"P5 2 1 255 " + bytes([255, 0]))
    arguments = ["classify", tmp_path / "x.pgm", "--model", model, "--json"]
    done = run_command_line(*arguments)
    assert done.returncode == 2
    assert "pip install 'tinysignal[image]'" in done.stderr
    pytest.importorskip("PIL")
    done = run_command_line(*arguments, but=("PIL",))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[0]["class"] == "left"


def test_ray_is_asked_for_by_name(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    soundfile.write(tmp_path / "x.wav", noise, 16_000)
    done = run_command_line(
        "denoise", tmp_path / "x.wav", "-d", tmp_path / "out", "--engine", "ray"
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: --engine ray needs the 'ray' extra: pip install 'tinysignal[ray]'.\n"
    )


def test_help_needs_no_extra() -> None:
    done = run_command_line("--help")
    assert done.returncode == 0, done.stderr
    assert "denoise" in done.stdout
