"""One run in two processes."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import lightning as pl
import pytest
import torch

from tinysignal import ConfigError, Denoiser
from tinysignal.nets.stft import stft
from tinysignal.train.checkpoint import load_state
from tinysignal.train.data.batches import EpochSampler
from tinysignal.train.denoising.build import build_net, stft_size
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import load_training_data
from tinysignal.train.denoising.task import train_denoiser

SMALL = ["--batch", "2", "--clip-s", "0.5", "--width", "8", "--device", "cpu", "--threads", "1"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in two processes on this machine."""
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    return subprocess.run(
        [
            sys.executable,
            *launcher,
            "--rdzv-endpoint",
            "localhost:0",
            "-m",
            "tinysignal",
            *arguments,
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


def started_by_hand(processes: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start what ``torchrun`` would, without it: an interrupt of it goes to all at once."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "TORCHELASTIC_RUN_ID": "by hand",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
    }
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tinysignal", *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]


@pytest.fixture
def options(speech_and_noise: tuple[Path, Path]) -> list[str]:
    speech, noise = map(str, speech_and_noise)
    return ["train", "denoiser", "--clean", speech, "--noise", noise, *SMALL]


def test_two_processes_take_the_step_of_both_their_batches(
    options: list[str], speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    ran = torchrun(
        *options, "--arch", "linear", "--steps", "1", "--steps-per-epoch", "2", "-o", str(folder)
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("model: ") == 1  # one process speaks
    trained = load_state(folder / "last.safetensors")["state_dict"]

    config = DenoiserConfig.read(folder / "config.toml", {})
    pl.seed_everything(config.seed, verbose=False)
    size = stft_size(config)
    net = build_net(config, size)
    source = load_training_data(config, size, None).source
    optimiser = torch.optim.Adam(net.parameters(), config.learning_rate)
    for number in (0, 1):
        noisy, clean = (stft(torch.from_numpy(x), size).abs() for x in source.batch(number))
        (torch.nn.functional.mse_loss(net(noisy), clean) / 2).backward()
    optimiser.step()
    for name, value in net.state_dict().items():
        torch.testing.assert_close(trained[f"net.{name}"], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("length", [("--epochs", "3"), ("--minutes", "0.05")])
def test_two_processes_make_one_run(
    options: list[str], tmp_path: Path, length: tuple[str, str]
) -> None:
    folder = tmp_path / "run"
    small = ["--arch", "lstm", "--width", "8", "--steps-per-epoch", "4", "--validate-every", "2"]
    ran = torchrun(*options, *small, *length, "-o", str(folder))
    assert ran.returncode == 0, ran.stderr
    with (folder / "curve.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps[:-1] == [2 * i for i in range(1, len(rows))]  # four batches, shared by two
    if length[0] == "--epochs":
        assert steps[-1] == 6
    assert json.loads((folder / "metrics.json").read_text())["steps"] == steps[-1]
    assert Denoiser.load(folder / "model.onnx").spec.arch == "lstm"

    again = torchrun(*options, *small, *length, "-o", str(folder))
    assert again.returncode == 1
    assert "holds a run already" in again.stderr


def test_an_interrupt_of_one_process_ends_all(options: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    length = ["--steps-per-epoch", "4", "--validate-every", "1", "--minutes", "10"]
    with contextlib.ExitStack() as stack:
        both = [
            stack.enter_context(process)
            for process in started_by_hand(2, *options, *length, "-o", str(folder))
        ]
        try:
            deadline = time.monotonic() + 120
            while not (folder / "last.safetensors").exists() and time.monotonic() < deadline:
                time.sleep(0.2)
            both[1].send_signal(signal.SIGINT)
            messages = [process.communicate(timeout=120)[1] for process in both]
        finally:
            for process in both:
                process.kill()
    assert [process.returncode for process in both] == [0, 0], messages
    assert "Stopped early" in messages[0]
    assert json.loads((folder / "metrics.json").read_text())["interrupted"] is True
    assert Denoiser.load(folder / "model.onnx").spec.arch == "cnn"


def test_processes_share_every_batch() -> None:
    shares = [EpochSampler(5, rank=rank, processes=2) for rank in (0, 1)]
    assert [list(share) for share in shares] == [[0, 2], [1, 3]]
    for share in shares:
        share.set_epoch(2)
    assert [list(share) for share in shares] == [[10, 12], [11, 13]]


def test_too_few_batches_for_the_devices_are_refused(
    pair_files: tuple[Path, Path], tmp_path: Path
) -> None:
    flags = {"arch": "linear", "pair": tuple(map(str, pair_files)), "epochs": 3, "devices": 2}
    config = DenoiserConfig.read(None, {**flags, "device": "cpu"})
    with pytest.raises(ConfigError, match=r"epoch of 1 batch.*each of 2 devices"):
        train_denoiser(config, tmp_path / "run", quiet=True)
