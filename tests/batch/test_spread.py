"""A cluster of three nodes: workers and machines may die; what a reader finds is whole."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from templates import STRIPES, save_template_model
from tinysignal import audio
from tinysignal.batch import Outcome, denoise_many
from tinysignal.batch.record import NAME as RECORD
from tinysignal.batch.spread import _Denoising
from tinysignal.cli.main import run
from tinysignal.cluster import Check, Engine, Fault, joined
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, FileError, MissingExtraError
from tinysignal.spec import SoundInput

STORE_BYTES = 80 << 20
COMMAND = [sys.executable, "-c", "from tinysignal.cli.main import main; main()"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Three nodes of one processor each, on this machine's loopback."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray, as it is imported and started
        patch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        if "ray" not in sys.modules:  # which reads this once
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv("RAY_AUTH_TOKEN", "ab" * 32)
        here = Path(__file__).parent  # workers have to find the functions of this file
        old = os.environ.get("PYTHONPATH", "")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(here.parent), old]).strip(":"))
        pytest.importorskip("ray.data", reason="a cluster needs the 'ray' extra")
        from ray.cluster_utils import Cluster

        place = Path(tempfile.mkdtemp(prefix="ts-", dir="/tmp"))  # sockets need short names
        (place / "ray").mkdir()
        patch.setenv("RAY_TMPDIR", str(place))
        node = {"num_cpus": 1, "object_store_memory": STORE_BYTES}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        cluster.add_node(**node)
        cluster.add_node(**node)
        try:
            yield cluster
        finally:
            cluster.shutdown()
            shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def on_nodes(nodes: Any) -> dict[str, Any]:
    return {"engine": "ray", "address": nodes.address}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty recordings, one of them damaged."""
    for i in range(20):
        path = tmp_path / "in" / ("deep" if i % 3 else ".") / f"{i}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(i).normal(0, 0.1, 40_000)
        audio.write(path, noise, sample_rate_hz=16_000)
    (tmp_path / "in" / "bad.wav").write_bytes(b"RIFF")
    return tmp_path / "in"


def outputs(folder: Path) -> dict[str, bytes]:
    """Every sound below a folder, what is half written too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.wav"))}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_a_cluster_gives_what_this_process_gives_and_a_second_run_skips(
    folder: Path, onset_model: Path, tmp_path: Path, on_nodes: dict[str, Any]
) -> None:
    denoiser = Denoiser.load(onset_model)
    here = denoise_many(folder, tmp_path / "here", denoiser=denoiser, jobs=2)
    there = denoise_many(folder, tmp_path / "there", denoiser=denoiser, **on_nodes)
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    assert len(outputs(tmp_path / "there")) == 20
    assert [(o.work.source, o.status) for o in there] == [(o.work.source, o.status) for o in here]
    assert [o.error for o in there] == [o.error for o in here]
    report = lines(tmp_path / "there" / "report.jsonl")
    assert sorted(line["input"] for line in report) == sorted(str(o.work.source) for o in there)
    assert not (tmp_path / "here" / "report.jsonl").exists()
    again = denoise_many(folder, tmp_path / "there", denoiser=denoiser, **on_nodes)
    assert sorted(o.status for o in again) == ["failed", *["skipped"] * 20]
    assert (tmp_path / "there" / RECORD).exists()


def workers_of(node: Any) -> list[int]:
    """Processes of a node that hold a model."""
    raylet = node.all_processes["raylet"][0].process.pid
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [line.split(None, 2) for line in listed]
    return [int(pid) for pid, parent, name in rows if int(parent) == raylet and "MapWorker" in name]


def test_workers_and_nodes_may_go_and_come_in_mid_run(
    folder: Path, onset_model: Path, tmp_path: Path, nodes: Any, on_nodes: dict[str, Any]
) -> None:
    denoiser = Denoiser.load(onset_model)
    for i in range(20, 40):
        (folder / f"{i}.wav").write_bytes((folder / "0.wav").read_bytes())
    denoise_many(folder, tmp_path / "here", denoiser=denoiser)
    seen: list[Outcome] = []
    killed: list[int] = []

    def disturb(outcome: Outcome) -> None:
        seen.append(outcome)
        if len(seen) == 3:
            killed.extend(workers_of(nodes.head_node))
            for pid in killed:
                os.kill(pid, signal.SIGKILL)
        if len(seen) == 6:
            nodes.remove_node(nodes.worker_nodes.copy().pop(), allow_graceful=False)
        if len(seen) == 9:
            nodes.add_node(num_cpus=1, object_store_memory=STORE_BYTES)

    found = denoise_many(
        folder, tmp_path / "there", denoiser=denoiser, on_outcome=disturb, **on_nodes
    )
    assert killed, "no worker was there to be killed"
    assert [o.work.source.name for o in found if o.status != "done"] == ["bad.wav"]
    assert outputs(tmp_path / "there") == outputs(tmp_path / "here")
    report = lines(tmp_path / "there" / "report.jsonl")
    assert sorted(line["input"] for line in report) == sorted(str(o.work.source) for o in found)


class Disturbed:
    """Doubles numbers; kills its process at 3, and fails at 5 for as long as a file is missing."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __call__(self, item: int, check: Check) -> int | Fault | None:
        check()
        if item == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == 5 and not self._mark.exists():
            self._mark.touch()
            return None
        if item == 7:
            raise ValueError("seven\nis wrong")
        return 2 * item


def test_an_item_that_kills_its_workers_fails_alone_and_one_is_tried_again(
    tmp_path: Path, on_nodes: dict[str, Any]
) -> None:
    with joined(Engine(**on_nodes, retries=1)) as cluster:
        made = dict(
            cluster.map(
                partial(Disturbed, tmp_path / "mark"),
                list(range(40)),
                again=lambda result: result is None,
            )
        )
    assert made.pop(3) == Fault("its worker died 2 times, for lack of memory?")
    assert made.pop(7) == Fault("ValueError: seven is wrong")
    assert made == {i: 2 * i for i in range(40) if i not in (3, 7)}


def test_workers_without_this_package_are_one_error(
    tmp_path: Path, on_nodes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def prepare():\n    return None\n")
    monkeypatch.syspath_prepend(tmp_path)
    prepare = importlib.import_module("only_here").prepare
    with joined(Engine(**on_nodes)) as cluster, pytest.raises(ConfigError, match="on all its"):
        list(cluster.map(prepare, [1, 2]))


def test_evaluate_and_classify_give_the_same_on_a_cluster(
    folder: Path,
    onset_model: Path,
    tmp_path: Path,
    on_nodes: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # names are relative, and workers are elsewhere
    there = ["--engine", "ray", "--address", on_nodes["address"]]
    patches = np.random.default_rng(0).random((3, 63, 40))
    save_template_model(tmp_path / "m.onnx", patches, STRIPES, expects=SoundInput())
    pairs = "noisy,clean\n" + "".join(f"in/{i}.wav,in/{i}.wav\n" for i in (0, 3, 6))
    Path("pairs.csv").write_text(pairs + "in/bad.wav,in/0.wav\n")
    commands = (
        ["classify", "in", "-m", "m.onnx", "--json"],
        ["evaluate", str(onset_model), "--pairs", "pairs.csv", "--metrics", "snr", "--json"],
    )
    for command in commands:
        assert run(command) == 1
        here = capsys.readouterr()
        assert run([*command, *there]) == 1
        assert capsys.readouterr() == here


def test_an_address_without_a_cluster_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("ray", reason="to join a cluster needs the 'ray' extra")
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    for address in ("nonsense", f"127.0.0.1:{closed}", "127.0.0.1:x", "127.0.0.1:99999", ":1"):
        arguments = ["denoise", str(folder), "-d", str(tmp_path / "out"), "--engine", "ray"]
        assert run([*arguments, "--address", address]) == 2
        said = capsys.readouterr().err
        assert said.startswith(f"error: --address {address}")
        assert said.count("\n") == 1
    assert outputs(tmp_path / "out") == {}


@pytest.mark.parametrize(
    "arguments",
    [
        ["-d", "out", "--address", "auto"],
        ["-d", "out", "--retries", "3"],
        ["-d", "out", "--engine", "foo"],
        ["-d", "out", "--report", "report.txt"],
        ["-o", "-", "--engine", "ray"],
    ],
)
def test_what_does_not_go_together_is_refused(
    arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", str(folder / "0.wav"), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_worker_does_not_see_is_named(onset_model: Path, tmp_path: Path) -> None:
    missing = tmp_path / "talk.wav"
    fault = Fault.of("talk.wav: cannot be read.", missing)
    assert fault.seen_from_here() is fault  # it is nowhere
    missing.touch()  # "here", but not where the fault was made
    assert "a worker does not find it" in fault.seen_from_here().message
    denoiser = Denoiser.load(onset_model)
    how: dict[str, Any] = {"options": None, "replace_read_only": False, "new_records": True}
    with pytest.raises(FileError, match="another folder"):
        _Denoising(denoiser, denoiser.checksum, sign=tmp_path / "sign", **how)
    with pytest.raises(FileError, match="another model"):
        _Denoising(denoiser, "0", sign=None, **how)


def test_a_fault_of_the_system_is_told_from_a_damaged_file(
    folder: Path, onset_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denoiser = Denoiser.load(onset_model)
    (damaged,) = denoise_many(folder / "bad.wav", tmp_path, denoiser=denoiser)
    assert (damaged.status, damaged.passing) == ("failed", False)
    real = os.fsync

    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    (failed,) = denoise_many(folder / "0.wav", tmp_path, denoiser=denoiser)
    assert (failed.status, failed.passing) == ("failed", True)
    monkeypatch.setattr(os, "fsync", real)
    (done,) = denoise_many(folder / "0.wav", tmp_path, denoiser=denoiser)
    assert done.status == "done"


@pytest.mark.parametrize("name", ["new/report.jsonl", "new/report.parquet"])
def test_a_report_has_a_line_for_each_file(
    name: str, folder: Path, onset_model: Path, tmp_path: Path
) -> None:
    denoiser = Denoiser.load(onset_model)
    place = tmp_path / name
    if place.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet needs the 'ray' extra")
    found = denoise_many(folder, tmp_path / "out", denoiser=denoiser, report=place)
    rows = lines(place) if place.suffix == ".jsonl" else parquet.read_table(place).to_pylist()
    assert rows == [outcome.to_dict() for outcome in found]


def test_a_report_keeps_what_is_known_when_the_run_is_broken_off(
    folder: Path, onset_model: Path, tmp_path: Path
) -> None:
    place = tmp_path / "report.jsonl"

    def stop(outcome: Outcome) -> None:
        if len(lines(place)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        denoise_many(
            folder,
            tmp_path / "out",
            denoiser=Denoiser.load(onset_model),
            report=place,
            on_outcome=stop,
        )
    assert len(lines(place)) == 2


def test_without_ray_the_extra_is_named(
    folder: Path, onset_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"tinysignal\[ray\]"):
        denoise_many(folder, tmp_path, denoiser=Denoiser.load(onset_model), engine="ray")
    with pytest.raises(ConfigError, match="address is for Ray"):
        denoise_many(folder, tmp_path, address="auto")


def without_a_cluster() -> dict[str, str]:
    """The environment, without what leads to the nodes above."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}


def children_of(group: int) -> list[str]:
    """Names of the living processes of a process group's session."""
    listed = subprocess.run(
        ["ps", "-eww", "-o", "sid,stat,args"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [line.split(None, 2) for line in listed]
    return [name for sid, state, name in rows if int(sid) == group and state[0] != "Z"]


def test_an_interrupt_ends_the_run_and_its_cluster_and_leaves_nothing_half_done(
    folder: Path, tmp_path: Path, make_noisy: Callable[..., np.ndarray]
) -> None:
    pytest.importorskip("ray", reason="a cluster needs the 'ray' extra")
    long = make_noisy(seconds=60)
    for i in range(10):
        audio.write(folder / f"long{i}.wav", long, sample_rate_hz=16_000)
    out = tmp_path / "out"
    arguments = ["denoise", str(folder), "-d", str(out), "--engine", "ray", "--jobs", "1"]
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=without_a_cluster(),
    ) as running:
        assert running.stderr is not None
        said = running.stderr.readline()
        assert any("raylet" in name for name in children_of(running.pid)), said
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        said += running.stderr.read()
        assert running.wait() == 130
    assert said.splitlines()[-1] == "error: interrupted."
    assert all(" -> " in line or line.startswith("error: ") for line in said.splitlines()), said
    assert all(audio.info(out / name).samples for name in outputs(out))
    assert children_of(running.pid) == []


def test_a_cluster_of_ones_own_is_reached_from_this_machine_only(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a cluster needs the 'ray' extra")
    program = (
        "import os; from pathlib import Path\n"
        "from tinysignal.cluster import Engine, joined\n"
        "if __name__ == '__main__':\n"
        "    with joined(Engine(engine='ray'), workers=1):\n"
        "        import ray\n"
        "        print(ray.nodes()[0]['NodeManagerAddress'])\n"
        "        print(os.environ['RAY_USAGE_STATS_ENABLED'])\n"
        "        place = Path(ray._private.worker._global_node.get_session_dir_path()).parent\n"
        "    print(place.exists(), (Path.home() / '.ray').exists())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={**without_a_cluster(), "HOME": str(tmp_path)},
    )
    assert done.stdout.splitlines() == ["127.0.0.1", "0", "False False"]
