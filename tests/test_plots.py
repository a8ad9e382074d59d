"""Claims about the before-and-after picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinysignal import audio
from tinysignal.plots import mean_spectrogram


@pytest.mark.parametrize("rate_hz", [8000, 44_100])
@pytest.mark.parametrize("seconds", [0.2, 40.0])
def test_a_tone_lies_at_its_frequency_and_level_throughout(
    rate_hz: int, seconds: float, tmp_path: Path
) -> None:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    tone = 0.1 * np.sin(2 * np.pi * 1000 * time_s)
    audio.write(tmp_path / "x.wav", [tone, tone], sample_rate_hz=rate_hz)
    level_db, duration_s, top_hz = mean_spectrogram(tmp_path / "x.wav", columns=50)
    assert duration_s == pytest.approx(seconds)
    assert top_hz == rate_hz / 2
    assert level_db.shape[1] <= 50
    inner = level_db[:, 2:]  # the first window reaches over the tone's start
    found_hz = inner.argmax(axis=0) * top_hz / (level_db.shape[0] - 1)
    np.testing.assert_allclose(found_hz, 1000, atol=32)
    np.testing.assert_allclose(inner.max(axis=0), -20, atol=0.5)
