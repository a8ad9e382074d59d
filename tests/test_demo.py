"""The demo: its recording is what the script makes, its measurement is right, it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from demo import make_recording, run
from tinysignal.model import DEFAULT_MODEL, bundled_models

DEMO = Path(__file__).parent.parent / "demo"


def test_the_recording_is_small_and_fits_its_clean_voice() -> None:
    infos = [soundfile.info(DEMO / name) for name in ("talk.flac", "talk_clean.flac")]
    assert sum(Path(info.name).stat().st_size for info in infos) <= 500_000
    for info in infos:
        assert (info.channels, info.subtype) == (1, "PCM_16")
        assert 8 <= info.duration <= 10.5
    assert infos[0].frames == infos[1].frames
    assert np.abs(soundfile.read(DEMO / "talk.flac")[0]).max() < 0.99


def test_the_noise_in_the_recording_is_what_the_script_makes() -> None:
    """Speech differs between releases of espeak-ng; the noise comes from the seed alone."""
    noisy, rate_hz = soundfile.read(DEMO / "talk.flac")
    clean, _ = soundfile.read(DEMO / "talk_clean.flac")
    noise = make_recording.noise_behind(clean, rate_hz)
    np.testing.assert_allclose(noisy - clean, noise, atol=3 / 32_768)  # two roundings to 16 bits


def test_levels_and_ratio_are_those_of_a_signal_made_to_measure() -> None:
    rate_hz = 16_000
    rng = np.random.default_rng(3)
    clean = np.zeros(4 * rate_hz)
    clean[:rate_hz] = 0.1 * np.sign(rng.normal(size=rate_hz))  # -20 dBFS for a quarter
    recording = clean + 0.01 * np.sign(rng.normal(size=clean.size))  # -40 dBFS throughout
    levels = run.measure(recording, clean, rate_hz)
    assert levels.pauses_dbfs == pytest.approx(-40, abs=0.01)
    assert levels.speech_dbfs == pytest.approx(-20, abs=0.1)
    assert levels.snr_db == pytest.approx(20 - 10 * np.log10(4), abs=0.01)


def run_demo(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("matplotlib", reason="the picture needs the 'plot' extra")
    command = [sys.executable, str(DEMO / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_demo_runs_twice_and_says_where_its_files_are(
    tmp_path: Path, onset_model: Path
) -> None:
    for _ in range(2):
        done = run_demo("--out", tmp_path, "--model", onset_model)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "talk.clean.png").stat().st_size > 10_000
    for words in ("level in the pauses", "talk.clean.flac", "talk.clean.png", "tinysignal app"):
        assert words in done.stdout


def test_the_demo_fails_with_the_command_line(tmp_path: Path) -> None:
    done = run_demo("--out", tmp_path, "--model", tmp_path / "none.onnx")
    assert done.returncode != 0
    assert "none.onnx" in done.stderr


@pytest.mark.skipif(DEFAULT_MODEL not in bundled_models(), reason="no default model is bundled yet")
def test_the_default_model_takes_the_noise_away_and_leaves_the_voice(tmp_path: Path) -> None:
    done = run_demo("--out", tmp_path)
    assert done.returncode == 0, done.stderr
    clean, rate_hz = soundfile.read(DEMO / "talk_clean.flac")
    before = run.measure(soundfile.read(DEMO / "talk.flac")[0], clean, rate_hz)
    after = run.measure(soundfile.read(tmp_path / "talk.clean.flac")[0], clean, rate_hz)
    assert after.pauses_dbfs < before.pauses_dbfs - 6
    assert after.snr_db > before.snr_db
    assert abs(after.speech_dbfs - before.speech_dbfs) < 3
