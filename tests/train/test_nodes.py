"""One run on two machines of two processes each: killed, continued, and continued elsewhere."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tinysignal.train.checkpoint import load_weights
from tinysignal.train.denoising.config import DenoiserConfig

LONG = 100_000
OPTIONS = ["--arch", "linear", "--batch", "2", "--clip-s", "0.5", "--width", "8", "--device", "cpu",
           "--threads", "1", "--steps-per-epoch", "8", "--validate-every", "1"]  # fmt: skip


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return str(free.getsockname()[1])


def on_nodes(nodes: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """Start ``torchrun`` once for each machine, all of them this one, with two processes each."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
             "--nnodes", str(nodes), "--node-rank", str(node), "--master-addr", "127.0.0.1",
             "--master-port", port, "-m", "tinysignal", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for node in range(nodes)
    ]  # fmt: skip


def finished(started: list[subprocess.Popen[str]]) -> tuple[list[int], str]:
    """Exit statuses, and what all of them said on stderr."""
    with contextlib.ExitStack() as stack:
        for process in started:
            stack.callback(process.kill)
        said = [process.communicate(timeout=300)[1] for process in started]
    return [process.returncode for process in started], "".join(said)


def children(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True,
                            check=True).stdout.split()  # fmt: skip
    numbers = list(map(int, listed))
    return [n for n, above in zip(numbers[::2], numbers[1::2], strict=True) if above == parent]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def steps_of(folder: Path) -> list[int]:
    with (folder / "curve.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def has_equal_weights(one: Path, other: Path) -> bool:
    first, second = (load_weights(folder / "model.safetensors") for folder in (one, other))
    return all(first[name].equal(second[name]) for name in first)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    import soundfile

    from conftest import synthetic_noise, synthetic_speech

    place = tmp_path_factory.mktemp("data")
    for i in range(4):
        for kind, made in (("speech", synthetic_speech(i, 1.5)), ("noise", synthetic_noise(i, 1))):
            (place / kind).mkdir(exist_ok=True)
            soundfile.write(place / kind / f"{i}.wav", made, 16_000)
    data = ["--clean", str(place / "speech"), "--noise", str(place / "noise")]
    return ["train", "denoiser", *data, "--cache", str(place / "cache"), *OPTIONS]


@pytest.fixture(scope="module")
def begun(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs in four processes, which fill a cache together."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    status, said = finished(on_nodes(2, *command, "--epochs", "2", "-o", str(folder)))
    assert status == [0, 0], said
    assert steps_of(folder) == [2, 4]  # eight batches, shared by four
    return folder


def test_a_process_that_is_killed_ends_the_run_in_a_line_and_it_goes_on_bit_for_bit(
    command: list[str], begun: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    resume = [*command, "--resume", "-o", str(folder)]
    agents = on_nodes(2, *resume, "--epochs", str(LONG))

    def goes_on() -> bool:
        return DenoiserConfig.read(folder / "config.toml", {}).epochs == LONG

    wait_until(goes_on, agents[0])
    os.kill(children(agents[1].pid)[0], signal.SIGKILL)
    status, said = finished(agents)
    assert status == [1, 1]
    assert f"{folder}: another process of the run ended" in said
    assert "Continue with --resume" in said
    ours = [line for line in said.splitlines() if "tinysignal/" in line and "File " in line]
    assert not ours  # torchrun's own lines tell of its own
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]

    status, said = finished(on_nodes(2, *resume, "--epochs", "4"))
    assert status == [0, 0], said
    assert steps_of(folder) == [2, 4, 6, 8]
    whole = tmp_path / "whole"
    status, said = finished(on_nodes(2, *command, "--epochs", "4", "-o", str(whole)))
    assert status == [0, 0], said
    assert has_equal_weights(folder, whole)


def test_a_run_goes_on_in_another_number_of_processes_and_says_so(
    command: list[str], begun: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(begun, folder)
    resume = [*command, "--resume", "--epochs", "4", "-o", str(folder)]
    status, said = finished(on_nodes(1, *resume))
    assert status == [0], said
    assert "begun in 4 processes and continued in 2" in said
    assert steps_of(folder) == [2, 4, 8, 12]  # of two epochs as they were, and two longer ones
    assert json.loads((folder / "metrics.json").read_text())["epochs"] == 4


def test_slurm_starts_the_processes_of_a_run(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    slurm = {
        "SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "1", "SLURM_NTASKS": "2",
        "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    tasks = [
        subprocess.Popen(
            [sys.executable, "-m", "tinysignal", *command, "--epochs", "1", "-o", str(folder)],
            env={**os.environ, **slurm, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    status, said = finished(tasks)
    assert status == [0, 0], said
    assert steps_of(folder) == [4]  # eight batches, shared by two
