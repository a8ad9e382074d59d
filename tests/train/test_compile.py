"""Networks compiled for training: the same weights, or one line where there is no compiler."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tinysignal import Denoiser
from tinysignal.train.checkpoint import load_weights


def trained(folder: Path, speech_and_noise: tuple[Path, Path], *more: str, **env: str) -> str:
    """What the command says of a run of two steps; each in a process with caches of its own."""
    speech, noise = map(str, speech_and_noise)
    options = ["--arch", "linear", "--width", "8", "--batch", "4", "--clip-s", "0.5", "--steps=2"]
    data = ["--clean", speech, "--noise", noise, "--device", "cpu", "--threads", "1"]
    command = [sys.executable, "-m", "tinysignal", "train", "denoiser", *data, *options, *more]
    done = subprocess.run(
        [*command, "--quiet", "-o", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | env,
    )
    assert done.returncode == (0 if folder.exists() else 2), done.stderr
    return done.stderr


@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="no C++ compiler")
def test_a_compiled_network_learns_the_same_and_is_exported(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    plain, compiled = tmp_path / "plain", tmp_path / "compiled"
    trained(plain, speech_and_noise)
    trained(compiled, speech_and_noise, "--compile", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "code"))
    assert "compile = true" in (compiled / "config.toml").read_text()
    made = [path.read_text() for path in (tmp_path / "code").rglob("*.py")]
    assert any("mm(" in code for code in made)  # of the layers; trying the compiler needs none
    ones, others = (load_weights(folder / "model.safetensors") for folder in (plain, compiled))
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    both = [
        Denoiser.load(f / "model.onnx")(noise, sample_rate_hz=16_000) for f in (plain, compiled)
    ]
    np.testing.assert_allclose(*both, atol=1e-4)


def test_without_a_compiler_it_is_refused_before_anything_is_read(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    told = trained(tmp_path / "run", speech_and_noise, "--compile", CXX="none", PATH="")
    (line,) = told.splitlines()
    assert "compile: torch.compile does not work here" in line
    assert "Leave --compile out" in line
