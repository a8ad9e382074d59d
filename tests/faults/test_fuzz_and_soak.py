"""A few hundred mutated files, and a short soak; `make fuzz` and `make soak` run for longer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from fault_programs import found_by, python

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the programs need Linux")


def is_clean(report: dict[str, Any], **inputs: int) -> bool:
    """Whether all were tried and none failed, some of them refused and some done."""
    for kind, count in inputs.items():
        found = report[f"fuzz {kind}"]
        assert found["failures"] == []
        assert found["inputs"] == count == found["done"] + found["refused"]
        assert found["done"]
        assert found["refused"]
    return True


def test_mutated_sounds_models_and_pictures_are_done_or_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    report = found_by(
        "fuzz.py", "--sounds", 100, "--models", 60, "--pictures", 60, "--seed", 3, folder=tmp_path
    )
    assert is_clean(report, sounds=100, models=60, pictures=60)


def test_mutated_run_folders_are_read_or_refused_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    report = found_by("fuzz.py", "--runs", 50, "--seed", 3, folder=tmp_path)
    assert is_clean(report, runs=50)


def test_streams_loads_files_threads_and_processes_do_not_wear_out(
    onset_model: Path, tmp_path: Path
) -> None:
    short = ("--hours", 0.2, "--loads", 100, "--file-hours", 0.02, "--files", 60)
    report = found_by("soak.py", *short, "--model", onset_model, folder=tmp_path)
    assert [found["failures"] for found in report.values()] == [[], [], [], [], []]
    assert report["soak stream"]["hours"] == 0.2
    assert report["soak long file"]["hours"] == 0.02
    assert report["soak many files"]["files"] == 60


GUIDED = """
import random
from pathlib import Path
import corpus, forks, guided
with forks.scratch() as folder:
    for name, target in guided.TARGETS.items():
        (own := folder / name).mkdir()
        tried = guided.tried(target(own), own / "input")
        rng = random.Random(1)
        for seed in guided.seeds(name, own):
            for content in (seed, *(corpus.mutated(rng, seed) for _ in range(10))):
                tried(content)
    def broken(path):
        raise IndexError
    try:
        guided.tried(broken, folder / "input")(b"")
    except IndexError:
        print("all read, all but our own errors seen")
"""


def test_what_coverage_guides_reads_mutations_without_it() -> None:
    assert python("-c", GUIDED) == "all read, all but our own errors seen\n"


FAULTS = """
import os, sys, time
import forks
forks.HANG_S, forks.MOST_BYTES = 4.0, 200 << 20
def says(text, status):
    def body():
        print(text, file=sys.stderr)
        return status
    return body
for body in (
    lambda: 1 / 0,
    os.abort,
    lambda: time.sleep(60),
    lambda: len(bytearray(300 << 20)) * 0,
    says("what?", 1),
    says("error: \\x1b[31m", 1),
    says("error: x", 1),
    says("", 0),
):
    print((forks.run(body).fault or "fine").split(":")[0])
"""


def test_the_programs_notice_every_kind_of_fault() -> None:
    assert python("-c", FAULTS).splitlines() == [
        "traceback",
        "crash",
        "hang",
        "memory",
        "status 1 without an error",
        "control characters",
        "fine",
        "fine",
    ]
