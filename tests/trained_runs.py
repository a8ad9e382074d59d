"""Run folders of small networks, each trained once for all processes of a session; a pytest plugin.

Tests read them and write elsewhere. What needs torch is imported when a fixture is first asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the session have in common."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made by the first process that asks for it."""
    from filelock import FileLock

    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            part = folder.parent / "making" / folder.name
            part.parent.mkdir(exist_ok=True)
            make(part)
            part.rename(folder)
    return folder


@pytest.fixture(scope="session")
def digits_run(shared_folder: Path) -> Path:
    """A run of a small classifier with batch normalisation and dropout."""
    pytest.importorskip("sklearn")
    from tinysignal.train.classification.config import ClassifierConfig
    from tinysignal.train.classification.task import train_classifier

    config = ClassifierConfig(width=48, depth=3, epochs=6, norm="batch", device="cpu")
    return once(
        shared_folder / "digits-run", lambda folder: train_classifier(config, folder, quiet=True)
    )


@pytest.fixture(scope="session")
def small_run(digits_run: Path) -> Path:
    """The same, cut to rank 8."""
    from tinysignal.budget import Budget
    from tinysignal.runs import report as reports
    from tinysignal.runs.compress import CompressOptions, compress_run

    def make(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reports, "SECONDS", 0.0)
            compress_run(digits_run, folder, CompressOptions(budget=Budget(rank=8)))

    return once(digits_run.with_name("small-run"), make)


@pytest.fixture(scope="session")
def noisy_pair(shared_folder: Path) -> tuple[Path, Path]:
    """A clean and a noisy recording of 2 s."""
    rng = np.random.default_rng(0)
    time_s = np.arange(32_000) / 16_000
    tones = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 12))
    clean = (0.15 * tones * (np.sin(2 * np.pi * 3 * time_s) > -0.2)).astype(np.float32)

    def make(folder: Path) -> None:
        folder.mkdir()
        for name, signal in (("clean", clean), ("noisy", clean + rng.normal(0, 0.05, clean.size))):
            soundfile.write(folder / f"{name}.wav", signal, 16_000, subtype="FLOAT")

    folder = once(shared_folder / "pair", make)
    return folder / "clean.wav", folder / "noisy.wav"


def _trained_on(pair: tuple[Path, Path], name: str, **options: Any) -> Path:
    from tinysignal.train.denoising.config import DenoiserConfig
    from tinysignal.train.denoising.task import train_denoiser

    clean, noisy = map(str, pair)
    options = {"clip_s": 0.0, "learning_rate": 3e-3, "device": "cpu"} | options
    config = DenoiserConfig(pair=(clean, noisy), **options)
    return once(
        pair[0].parent.with_name(name), lambda folder: train_denoiser(config, folder, quiet=True)
    )


@pytest.fixture(scope="session")
def linear_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small frame-wise denoiser on that pair."""
    return _trained_on(noisy_pair, "linear-run", arch="linear", epochs=60, width=48)


@pytest.fixture(scope="session")
def cnn_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small convolutional denoiser, with states, hardly trained."""
    return _trained_on(noisy_pair, "cnn-run", arch="cnn", steps=2, width=8)


@pytest.fixture(scope="session")
def lstm_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small recurrent network of complex masks, with PESQ in its loss.

    Hardly trained, on half-second clips of a short STFT.
    """
    small: dict[str, Any] = {"window_samples": 128, "hop_samples": 64, "clip_s": 0.5, "batch": 4}
    length = {"steps": 4, "steps_per_epoch": 4}
    return _trained_on(
        noisy_pair, "lstm-run", arch="lstm", width=24, pesq_weight=0.1, **small, **length
    )


@pytest.fixture(params=["linear_run", "cnn_run", "lstm_run"])
def denoiser_run(request: pytest.FixtureRequest) -> Path:
    """Each of them."""
    run: Path = request.getfixturevalue(request.param)
    return run
