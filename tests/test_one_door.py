"""Every sound file that can be read at all is read by everything that reads sound."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speech import save_m4a, speech_like
from templates import save_template_model
from tinysignal import audio
from tinysignal.batch import denoise_folder
from tinysignal.cli.main import run
from tinysignal.denoiser import Denoiser
from tinysignal.evaluation import evaluate_denoiser
from tinysignal.mel import log_mel
from tinysignal.spec import SoundInput

pytest.importorskip("av", reason="the 'video' extra")

RATE_HZ = 16_000


def test_an_m4a_is_read_whole_and_its_facts_are_known(tmp_path: Path) -> None:
    path = save_m4a(tmp_path / "talk.m4a", speech_like(1.5))
    signal, rate_hz = audio.read(path)
    assert (rate_hz, signal.shape) == (RATE_HZ, (1, 24_000))
    np.testing.assert_allclose(signal, speech_like(1.5), atol=2**-15)
    facts = audio.info(path)
    assert (facts.sample_rate_hz, facts.channels, facts.samples) == (RATE_HZ, 1, 24_000)
    assert audio.read(path, sample_rate_hz=8_000)[0].shape == (1, 12_000)


def test_an_m4a_in_a_folder_is_denoised(tmp_path: Path, onset_model: Path) -> None:
    save_m4a(tmp_path / "in" / "talk.m4a", speech_like(1.0))
    (outcome,) = denoise_folder(
        tmp_path / "in", tmp_path / "out", denoiser=Denoiser.load(onset_model), suffix=".wav"
    )
    assert outcome.status == "done"
    assert audio.info(tmp_path / "out" / "talk.wav").samples == RATE_HZ


def test_an_m4a_is_evaluated_against_its_clean_wav(tmp_path: Path, onset_model: Path) -> None:
    clean = speech_like(1.0)
    noisy = clean + np.random.default_rng(0).normal(0, 0.01, clean.shape).astype(np.float32)
    (tmp_path / "clean").mkdir()
    soundfile.write(tmp_path / "clean" / "talk.wav", clean.T, RATE_HZ, subtype="FLOAT")
    save_m4a(tmp_path / "noisy" / "talk.m4a", noisy)
    found = evaluate_denoiser(
        onset_model, noisy=tmp_path / "noisy", clean=tmp_path / "clean", metrics=["snr"]
    )
    assert found.failures == ()
    assert [file.name for file in found.files] == ["talk"]
    expected = 10 * np.log10((clean**2).sum() / ((noisy - clean) ** 2).sum())
    assert found.files[0].input_snr_db == pytest.approx(expected, abs=0.1)


def test_an_m4a_is_classified_as_the_wav_of_the_same_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tones = {
        name: 0.3 * np.sin(2 * np.pi * hz * np.arange(RATE_HZ) / RATE_HZ)[np.newaxis]
        for name, hz in (("low", 300), ("high", 3000))
    }
    spec = SoundInput()
    patches = [log_mel(tone, sample_rate_hz=RATE_HZ, spec=spec) for tone in tones.values()]
    model = save_template_model(tmp_path / "m.onnx", patches, tuple(tones), expects=spec)
    for name, tone in tones.items():
        save_m4a(tmp_path / "sounds" / f"{name}.m4a", tone)
    assert run(["classify", str(tmp_path / "sounds"), "-m", str(model), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(entry["file"]).stem for entry in found] == ["high", "low"]
    assert [entry["class"] for entry in found] == ["high", "low"]
