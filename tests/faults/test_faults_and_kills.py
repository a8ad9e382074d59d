"""Calls that fail and kills at any moment; `make faults` and `make kill` run for longer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fault_programs import found_by, python

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="the programs need Linux")


def test_a_call_that_fails_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        pytest.skip("fault injection needs a C compiler")
    kinds = ("open", "write", "fsync", "rename")
    report = found_by("inject.py", "--commands", "denoise", "--kinds", *kinds, folder=tmp_path)
    found = report["inject denoise"]
    assert found["failures"] == []
    # Two outputs: each is renamed, and its file and folder are synced.
    assert (found["rename"], found["fsync"]) == (2, 4)
    assert found["open"] > 5
    assert found["write"] > 4


def test_a_kill_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    report = found_by("kill.py", "--count", 5, "--commands", "denoise", "folder", folder=tmp_path)
    for found in report.values():
        assert found == {"kills": 5, "held": 5, "failures": []}


def test_a_killed_training_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    report = found_by("kill.py", "--count", 2, "--commands", "train", folder=tmp_path)
    assert report["kill train"] == {"kills": 2, "held": 2, "failures": []}


LIMITS = """
import os, resource, sys
from pathlib import Path
import corpus, forks
forks.ready()
def limited(kind, most, *arguments):
    def body():
        resource.setrlimit(kind, (most, most))
        return forks.command(*arguments)()
    return body
with forks.scratch() as folder:
    [model, _] = corpus.models(folder / "models")
    sound, out = corpus.pair(folder)[1], folder / "out"
    out.mkdir()
    arguments = ("denoise", sound, "-o", out / "x.wav", "-m", model, "--residual")
    held = len(os.listdir("/proc/self/fd"))
    data = int(Path("/proc/self/statm").read_text().split()[5]) * os.sysconf("SC_PAGE_SIZE")
    limits = [(resource.RLIMIT_NOFILE, held + more) for more in range(12)]
    limits += [(resource.RLIMIT_DATA, data + (more << 18)) for more in (2, 4, 8, 16, 64, 1024)]
    for kind, most in limits:
        ended = forks.run(limited(kind, most, *arguments))
        left = {path.name for path in out.iterdir()}
        assert ended.fault is None, (kind, most, ended.fault)
        assert left == ({"x.wav", "x.residual.wav"} if ended.status == 0 else set()), left
        print(kind == resource.RLIMIT_NOFILE, ended.status)
        for path in out.iterdir():
            path.unlink()
"""


def test_too_few_open_files_or_too_little_memory_is_one_line_and_no_file() -> None:
    # Of each limit, the lowest is too low and the highest is enough.
    statuses = python("-c", LIMITS).splitlines()
    for kind in ("True", "False"):
        mine = [line.split()[1] for line in statuses if line.startswith(kind)]
        assert (mine[0], mine[-1]) == ("1", "0")
