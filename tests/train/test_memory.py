"""Claims about the memory that a training run keeps."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import numpy as np
from tinysignal.train.memory import keep_memory
if sys.argv[1] == "keep":
    assert keep_memory()
def step():
    np.ones(1 << 24)  # 128 MiB, which is more than any threshold of its own
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_a_step_asks_the_system_for_no_memory_that_the_last_one_had() -> None:
    assert faults("keep") * 10 < faults("as it is")
