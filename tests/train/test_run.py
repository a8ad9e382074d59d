"""A run from a configuration to a folder: learns, resumes, stops, refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from speech import save_m4a, speech_like
from tinysignal import ConfigError, DataError, Denoiser, FileError, ModelError
from tinysignal.train import callbacks
from tinysignal.train.checkpoint import load_state
from tinysignal.train.denoising.build import weights_of
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.task import train_denoiser
from tinysignal.train.module import ValidationMetric

FILES = {
    "config.toml",
    "curve.csv",
    "curve.png",
    "data.json",
    "last.safetensors",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
}


def mixing(data: tuple[Path, Path], **changes: Any) -> dict[str, Any]:
    speech, noise = data
    small = {"width": 4, "batch": 2, "clip_s": 0.5, "steps_per_epoch": 2, "epochs": 4}
    # Two threads wait for each other at every tiny step, all the more beside other jobs.
    fixed = {"device": "cpu", "threads": 1, "validate_every": 2}
    size = {"window_samples": 256, "hop_samples": 128}
    return {"clean": str(speech), "noise": str(noise), **small, **fixed, **size, **changes}


def curve(folder: Path) -> list[dict[str, str]]:
    with (folder / "curve.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("device", ["abacus", "tpu"])
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(
    device: str, speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    config = DenoiserConfig.read(None, mixing(speech_and_noise, device=device))
    with pytest.raises(ConfigError, match=f"device is '{device}'"):
        train_denoiser(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_made_is_refused_by_name(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileError, match="cannot be created"):
        train_denoiser(
            DenoiserConfig.read(None, mixing(speech_and_noise)), tmp_path / "file", quiet=True
        )


def test_a_network_is_trained_on_files_that_only_ffmpeg_reads(tmp_path: Path) -> None:
    data = tmp_path / "speech", tmp_path / "noise"
    for seed, name in enumerate(("ann", "bob")):  # no copies: they would not be split
        save_m4a(data[0] / name / "talk.m4a", speech_like(1.0, seed=seed))
        noise = np.random.default_rng(seed).normal(0, 0.05, (1, 16_000))
        save_m4a(data[1] / f"{name}.m4a", noise)
    config = DenoiserConfig.read(None, mixing(data, epochs=1, validate_every=1))
    result = train_denoiser(config, tmp_path / "run", quiet=True)
    assert result.metrics["data"]["train_speech"]["files"] == 1
    assert Denoiser.load(tmp_path / "run").spec.sample_rate_hz == 16_000


def test_the_linear_network_learns_a_pair(pair_files: tuple[Path, Path], tmp_path: Path) -> None:
    flags = {
        "arch": "linear",
        "width": 64,
        "pair": tuple(map(str, pair_files)),
        "epochs": 150,
        "learning_rate": 0.01,
    }
    result = train_denoiser(DenoiserConfig.read(None, {**flags, "device": "cpu"}), tmp_path / "run")
    assert {p.name for p in (tmp_path / "run").iterdir()} == FILES
    scores = result.metrics["train"]
    assert scores["snr_denoised_db"] > scores["snr_noisy_db"] + 3
    losses = [float(row["loss"]) for row in curve(tmp_path / "run")]
    assert len(losses) == 150
    assert losses[-1] < 0.3 * losses[0]
    # The light runtime reaches the same SNR from the files.
    clean, noisy = (soundfile.read(path, dtype="float32")[0] for path in pair_files)
    denoised = Denoiser.load(tmp_path / "run" / "model.onnx")(noisy, sample_rate_hz=16_000)
    snr_db = 10 * np.log10(np.sum(clean**2) / np.sum((denoised - clean) ** 2))
    assert snr_db == pytest.approx(scores["snr_denoised_db"], abs=0.01)


@pytest.mark.parametrize(
    ("arch", "schedule"), [("cnn", "constant"), ("cnn", "cosine"), ("lstm", "cosine")]
)
def test_a_killed_run_resumes_to_the_same_result(
    speech_and_noise: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arch: str,
    schedule: str,
) -> None:
    monkeypatch.setattr(callbacks, "_SAVE_EVERY_S", 0.0)
    config = DenoiserConfig.read(None, mixing(speech_and_noise, arch=arch, schedule=schedule))
    train_denoiser(config, tmp_path / "whole")

    def die(self: callbacks.RunRecorder, *args: Any) -> dict[str, float]:
        if args[0].current_epoch == 3:
            raise RuntimeError("killed")
        return score(self, *args)

    score = callbacks.RunRecorder._score
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.RunRecorder, "_score", die)
        with pytest.raises(RuntimeError, match="killed"):
            train_denoiser(config, tmp_path / "killed")
    assert not (tmp_path / "killed" / "model.onnx").exists()
    resumed = train_denoiser(config, tmp_path / "killed", resume=True)

    whole, again = (load_file(tmp_path / n / "last.safetensors") for n in ("whole", "killed"))
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    for a, b in zip(curve(tmp_path / "whole"), curve(tmp_path / "killed"), strict=True):
        assert {**a, "minutes": ""} == {**b, "minutes": ""}
    assert resumed.metrics["best"]["epoch"] in (2, 4)


def test_the_exported_network_is_the_averaged_one(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    config = DenoiserConfig.read(
        None, mixing(speech_and_noise, arch="lstm", width=8, keep="last", learning_rate=0.05)
    )
    train_denoiser(config, tmp_path / "run", quiet=True)
    last = load_state(tmp_path / "run" / "last.safetensors")["state_dict"]
    chosen = load_file(tmp_path / "run" / "model.safetensors")
    assert torch.equal(last["averaged.module.encode.weight"], chosen["encode.weight"])
    assert not torch.equal(last["net.encode.weight"], chosen["encode.weight"])


def test_the_recurrent_network_learns_to_denoise(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = mixing(speech_and_noise, arch="lstm", epochs=40, learning_rate=0.01, width=8)
    result = train_denoiser(DenoiserConfig.read(None, flags), tmp_path / "run", quiet=True)
    scores = result.metrics["valid"]
    assert scores["si_sdr_denoised_db"] > scores["si_sdr_noisy_db"] + 1


def test_a_finished_run_resumes_to_itself(pair_files: tuple[Path, Path], tmp_path: Path) -> None:
    flags = {"arch": "linear", "width": 16, "pair": tuple(map(str, pair_files)), "steps": 3}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu"})
    first = train_denoiser(config, tmp_path / "run")
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    again = train_denoiser(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before
    assert again.metrics["steps"] == first.metrics["steps"] == 3


def test_the_best_weights_are_those_of_the_best_validation(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    # A rate this high makes the network worse after the first scoring or two.
    flags = mixing(speech_and_noise, epochs=6, validate_every=1, learning_rate=0.5)
    flags |= {"arch": "linear", "width": 16}
    result = train_denoiser(DenoiserConfig.read(None, flags), tmp_path / "run")
    scored = [float(r["valid_si_sdr_denoised_db"]) for r in curve(tmp_path / "run")]
    assert result.metrics["best"]["epoch"] == scored.index(max(scored)) + 1
    assert result.metrics["weights"] == "best"
    kept, last = (result.metrics[k]["si_sdr_denoised_db"] for k in ("valid", "valid_last"))
    assert kept == pytest.approx(max(scored), abs=1e-3)
    assert kept > last


def test_the_exported_statistics_are_those_of_the_exported_weights(
    pair_files: tuple[Path, Path], tmp_path: Path
) -> None:
    """In full batches the loss in training is then the error of the exported network."""
    flags = {"arch": "cnn", "width": 4, "pair": tuple(map(str, pair_files)), "epochs": 5}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu", "learning_rate": 1e-9})
    metrics = train_denoiser(config, tmp_path / "run").metrics
    assert metrics["train"]["mse"] == pytest.approx(metrics["loss"], rel=1e-3)


def test_a_pair_can_keep_its_end_out(pair_files: tuple[Path, Path], tmp_path: Path) -> None:
    flags = {"arch": "linear", "width": 16, "pair": tuple(map(str, pair_files)), "epochs": 2}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu", "valid_fraction": 0.25})
    result = train_denoiser(config, tmp_path / "run")
    assert result.metrics["data"] == {"train_s": 1.5, "valid_fraction": 0.25}
    assert "valid" in result.metrics


def test_folders_of_pairs_train(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split in ("clean", "noisy"):
        (tmp_path / split).mkdir()
        for i in range(3):
            signal = rng.normal(0, 0.1, 9000)
            soundfile.write(tmp_path / split / f"{i}.wav", signal, 16_000)
    flags = {
        "pairs": (str(tmp_path / "clean"), str(tmp_path / "noisy")),
        "arch": "linear",
        "width": 8,
        "clip_s": 0.25,
        "batch": 2,
        "steps": 2,
        "device": "cpu",
    }
    result = train_denoiser(DenoiserConfig.read(None, flags), tmp_path / "run")
    assert result.metrics["data"] == {"train_pairs": 2, "valid_pairs": 1}


def test_the_curve_goes_to_tensorboard_when_asked(
    pair_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    flags = {"arch": "linear", "width": 16, "pair": tuple(map(str, pair_files)), "epochs": 3}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu", "log": "tensorboard"})
    train_denoiser(config, tmp_path / "run")
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload().Scalars("loss")
    assert [e.value for e in events] == pytest.approx(
        [float(row["loss"]) for row in curve(tmp_path / "run")], rel=1e-5
    )


def test_a_folder_with_a_run_is_not_overwritten(
    pair_files: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = {"arch": "linear", "width": 16, "pair": tuple(map(str, pair_files)), "epochs": 1}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu"})
    train_denoiser(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="holds a run already"):
        train_denoiser(config, tmp_path / "run")
    with pytest.raises(ConfigError, match="nothing to resume"):
        train_denoiser(config, tmp_path / "other", resume=True)


def test_missing_data_leaves_no_run_folder(tmp_path: Path) -> None:
    config = DenoiserConfig.read(None, mixing((tmp_path / "a", tmp_path / "b")))
    with pytest.raises(DataError, match="no such folder"):
        train_denoiser(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("silent", ["speech", "noise"])
def test_silent_data_is_refused_by_name(
    speech_and_noise: tuple[Path, Path], tmp_path: Path, silent: str
) -> None:
    folder = tmp_path / silent
    for path in folder.rglob("*.wav"):
        soundfile.write(path, np.zeros(8000), 16_000)
    config = DenoiserConfig.read(None, mixing(speech_and_noise))
    with pytest.raises(DataError, match=rf"recordings of {silent} in split 'train' are silent"):
        train_denoiser(config, tmp_path / "run")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tinysignal", *map(str, arguments)]


def test_the_commands_of_the_documentation(pair_files: tuple[Path, Path], tmp_path: Path) -> None:
    """Train on a pair below the data folder, then denoise with the exported model."""
    clean, noisy = pair_files
    train = command("train", "denoiser", "--arch", "linear", "--pair", clean.name, noisy.name,
                    "--epochs", 3, "--seed", 0, "-o", tmp_path / "run", "--json")  # fmt: skip
    environment = {**os.environ, "TINYSIGNAL_DATA": str(clean.parent)}
    trained = subprocess.run(train, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(trained.stdout)["epochs"] == 3
    output = tmp_path / "out.wav"
    subprocess.run(
        command("denoise", noisy, "-m", tmp_path / "run" / "model.onnx", "-o", output), check=True
    )
    assert soundfile.info(output).frames == soundfile.info(noisy).frames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epochs", "1"], "Give one of a pair"),
        (["--pair", "absent.wav", "absent.wav", "--epochs", "1"], "absent.wav"),
        (["--config", "absent.toml"], "absent.toml: cannot be read"),
        (["--recipe", "soup"], "--recipe': 'soup' is not one of"),
        (["--arch", "lstm", "--pair", "a.wav", "b.wav"], "arch is lstm, which has a fixed loss"),
        (["--clean", "absent", "--noise", "absent", "--steps", "1"], "absent: no such folder"),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        command("train", "denoiser", "-o", "run", *arguments),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (1, 2)
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("losses", [[1.0, 0.1], [0.2, -0.3]])
def test_a_curve_is_drawn_of_losses_below_zero_too(losses: list[float], tmp_path: Path) -> None:
    """SI-SDR, a part of some losses, goes below it; a logarithmic axis would warn."""
    rows = [{"epoch": i, "loss": loss, "valid_accuracy": 0.5} for i, loss in enumerate(losses)]
    callbacks.plot_curve(
        tmp_path / "curve.png", rows, ValidationMetric("accuracy", "accuracy", "{:.2%}")
    )
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("other", [{}, {"hop_samples": 64}])
def test_a_run_starts_from_the_weights_of_another(
    other: dict[str, int], speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    first = mixing(speech_and_noise, arch="lstm", epochs=1, learning_rate=0.01)
    train_denoiser(DenoiserConfig.read(None, first), tmp_path / "first", quiet=True)
    chosen = load_file(tmp_path / "first" / "model.safetensors")
    still = {"learning_rate": 1e-9, "init_from": str(tmp_path / "first"), "seed": 1}
    train_denoiser(
        DenoiserConfig.read(None, first | still | other), tmp_path / "second", quiet=True
    )
    started = load_file(tmp_path / "second" / "model.safetensors")
    for name, value in chosen.items():
        if "norm" not in name:  # its statistics go on
            torch.testing.assert_close(started[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("trained", "error"),
    [(False, "not readable weights"), (True, "the weights belong to another network")],
)
def test_a_start_that_does_not_fit_is_refused(
    trained: bool, error: str, speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    run = tmp_path / "first"
    flags = mixing(speech_and_noise, arch="lstm", epochs=1)
    if trained:
        train_denoiser(DenoiserConfig.read(None, flags | {"width": 6}), run, quiet=True)
    config = DenoiserConfig.read(None, flags | {"init_from": str(run)})
    with pytest.raises((ConfigError, ModelError), match=error):
        train_denoiser(config, tmp_path / "second", quiet=True)
    assert not (tmp_path / "second").exists()


def test_without_bfloat16_units_training_goes_on_in_32_bits_and_says_so(
    pair_files: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """On such processors oneDNN has no LSTM in bfloat16 and raises."""
    whole = torch.nn.LSTM.forward

    def forward(self: torch.nn.LSTM, *inputs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("could not create a primitive descriptor for an LSTM")
        return whole(self, *inputs)

    monkeypatch.setattr(torch.nn.LSTM, "forward", forward)
    clean, noisy = (str(path) for path in pair_files)
    options = {"arch": "lstm", "width": 8, "clip_s": 0.5, "batch": 2, "steps_per_epoch": 1}
    config = DenoiserConfig.read(
        None,
        {**options, "pair": (clean, noisy), "steps": 1, "precision": "bf16", "device": "cpu"},
    )
    assert np.isfinite(train_denoiser(config, tmp_path / "run", quiet=True).metrics["loss"])
    assert "training in 32 bits" in caplog.text


def test_an_unfinished_run_gives_its_averaged_weights(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = {**mixing(speech_and_noise, arch="lstm", width=8, epochs=2), "keep": "last"}
    config = DenoiserConfig.read(None, flags)
    train_denoiser(config, tmp_path / "run", quiet=True)
    chosen = load_file(tmp_path / "run" / "model.safetensors")
    (tmp_path / "run" / "model.safetensors").unlink()  # as while it trains
    found = weights_of(tmp_path / "run")
    assert found.keys() == chosen.keys()
    assert all(torch.equal(found[name], chosen[name]) for name in chosen)
