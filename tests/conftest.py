"""Small models and signals made on the spot."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

# Workers share the processors: one thread each, in their children too. Before numpy and torch.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

from onset import save_onset_model

pytest_plugins = ["trained_runs"]

# A suite that is started in the background inherits an ignored SIGINT, and so would its children.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Under nohup it inherits an ignored SIGHUP. It still ignores it; children start with the default.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda number, frame: None)

# The programs in benchmarks/ import each other by name: they are run from their own folder.
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

# A loaded machine is slow, not wrong: no test is timed.
settings.register_profile("untimed", parent=settings.default, deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def onset_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a small stateful model file at 16 kHz."""
    return save_onset_model(tmp_path_factory.mktemp("model") / "onset.onnx")


@pytest.fixture
def make_noisy() -> Callable[..., np.ndarray]:
    """Bursts of tones in white noise, float32 (channels, time), peaks below 0.5."""

    def make(*, seconds: float = 1.0, rate_hz: int = 16_000, channels: int = 1) -> np.ndarray:
        rng = np.random.default_rng(7)
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        tone = 0.3 * np.sin(2 * np.pi * 440 * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0)
        noise = rng.normal(0, 0.02, (channels, time_s.size))
        return (tone + noise).astype(np.float32)

    return make
