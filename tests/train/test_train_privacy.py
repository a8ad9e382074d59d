"""Training, inspecting and compressing send nothing and leave nothing but their output."""

from __future__ import annotations

from pathlib import Path

import pytest

from watched import Watch, compile_trap


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_trap(tmp_path_factory.mktemp("trap"))


def test_a_run_and_what_is_made_of_it_send_nothing_and_leave_nothing(
    trap: Path, tmp_path: Path
) -> None:
    pytest.importorskip("sklearn")
    run = tmp_path / "run"
    for number, arguments in enumerate(
        [
            [
                "train",
                "classifier",
                "--width",
                8,
                "--depth",
                1,
                "--epochs",
                1,
                "--device",
                "cpu",
                "-o",
                run,
            ],
            ["inspect", run, "--methods", "pca", "--points", 50, "--jobs", 1],
            ["compress", run, "--rank", 4, "-o", tmp_path / "small"],
        ]
    ):
        seen = Watch(trap, tmp_path / str(number)).tinysignal(*map(str, arguments))
        assert (seen.calls, seen.files) == ([], []), arguments[0]
