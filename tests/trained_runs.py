"""Run folders of small networks, each trained once a session; a pytest plugin.

What needs torch is imported when a fixture is first asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small classifier with batch normalisation and dropout."""
    from tinysignal.train.classification.config import ClassifierConfig
    from tinysignal.train.classification.task import train_classifier

    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("runs") / "digits-run"
    config = ClassifierConfig(width=48, depth=3, epochs=6, norm="batch", device="cpu")
    train_classifier(config, folder, quiet=True)
    return folder


@pytest.fixture(scope="session")
def small_run(digits_run: Path) -> Path:
    """The same, cut to rank 8."""
    from tinysignal.budget import Budget
    from tinysignal.runs import report as reports
    from tinysignal.runs.compress import CompressOptions, compress_run

    folder = digits_run.with_name("small-run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reports, "SECONDS", 0.0)
        compress_run(digits_run, folder, CompressOptions(budget=Budget(rank=8)))
    return folder


@pytest.fixture(scope="session")
def noisy_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A clean and a noisy recording of 2 s."""
    rng = np.random.default_rng(0)
    time_s = np.arange(32_000) / 16_000
    tones = sum(np.sin(2 * np.pi * 150 * k * time_s) / k for k in range(1, 12))
    clean = (0.15 * tones * (np.sin(2 * np.pi * 3 * time_s) > -0.2)).astype(np.float32)
    folder = tmp_path_factory.mktemp("low_rank")
    for name, signal in (("clean", clean), ("noisy", clean + rng.normal(0, 0.05, clean.size))):
        soundfile.write(folder / f"{name}.wav", signal, 16_000, subtype="FLOAT")
    return folder / "clean.wav", folder / "noisy.wav"


def _train_denoiser(pair: tuple[Path, Path], folder: Path, **options: Any) -> Path:
    from tinysignal.train.denoising.config import DenoiserConfig
    from tinysignal.train.denoising.task import train_denoiser

    clean, noisy = map(str, pair)
    options = {"clip_s": 0.0, "learning_rate": 3e-3, "device": "cpu"} | options
    config = DenoiserConfig(pair=(clean, noisy), **options)
    train_denoiser(config, folder, quiet=True)
    return folder


@pytest.fixture(scope="session")
def linear_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small frame-wise denoiser on that pair."""
    folder = noisy_pair[0].with_name("linear-run")
    return _train_denoiser(noisy_pair, folder, arch="linear", epochs=60, width=48)


@pytest.fixture(scope="session")
def cnn_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small convolutional denoiser, with states, hardly trained."""
    folder = noisy_pair[0].with_name("cnn-run")
    return _train_denoiser(noisy_pair, folder, arch="cnn", steps=2, width=8)


def _train_on_signals(pair: tuple[Path, Path], arch: str, **options: Any) -> Path:
    """Hardly trained, on half-second clips of a short STFT."""
    small: dict[str, Any] = {"fft_samples": 128, "hop_samples": 64, "clip_s": 0.5, "batch": 4}
    folder = pair[0].with_name(f"{arch}-run")
    return _train_denoiser(pair, folder, arch=arch, steps=4, steps_per_epoch=4, **small, **options)


@pytest.fixture(scope="session")
def lstm_run(noisy_pair: tuple[Path, Path]) -> Path:
    """A run of a small recurrent network of complex masks, with PESQ in its loss."""
    return _train_on_signals(noisy_pair, "lstm", width=24, pesq_weight=0.1)


@pytest.fixture(params=["linear_run", "cnn_run", "lstm_run"])
def denoiser_run(request: pytest.FixtureRequest) -> Path:
    """Each of them."""
    run: Path = request.getfixturevalue(request.param)
    return run
