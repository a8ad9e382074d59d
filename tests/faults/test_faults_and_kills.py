"""Calls that fail and kills at any moment; `make faults` and `make kill` run for longer."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from fault_programs import found_by

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
