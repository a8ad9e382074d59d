"""Claims about the notebooks: they run, and what is committed is a full run of their sources."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

for needed in ("torch", "jupytext", "nbclient", "ipykernel", "matplotlib"):
    pytest.importorskip(needed, reason="the notebooks need the 'dev' extra")

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
MOST_BYTES = 1_000_000
MOST_CODE_CELLS = 10


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the repository: the fourth notebook finds the run of the first."""
    folder = tmp_path_factory.mktemp("repository")
    without = shutil.ignore_patterns("runs", "*.ipynb")
    for name in ("notebooks", "demo"):
        shutil.copytree(ROOT / name, folder / name, ignore=without)
    return folder / "notebooks"


def cells_of(notebook: str) -> list[dict[str, Any]]:
    """The cells of a notebook's text."""
    found: list[dict[str, Any]] = json.loads(notebook)["cells"]
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(source: Path, copy: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", "--set-kernel", "python3", "--execute",
         copy / source.name],
        env={**os.environ, "TINYSIGNAL_QUICK": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    cells = cells_of((copy / source.name).with_suffix(".ipynb").read_text("utf-8"))
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output for output in shown if output.get("name") == "stderr"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_is_committed_is_a_full_run_of_the_source(source: Path) -> None:
    notebook = source.with_suffix(".ipynb")
    assert notebook.stat().st_size < MOST_BYTES
    cells = cells_of(notebook.read_text("utf-8"))
    converted = subprocess.run(
        [sys.executable, "-m", "jupytext", "--to", "ipynb", "--output", "-", source],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for committed, written in zip(cells, cells_of(converted), strict=True):
        assert committed["cell_type"] == written["cell_type"]
        assert "".join(committed["source"]) == "".join(written["source"])
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) <= MOST_CODE_CELLS
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert "QUICK" in "".join(code[0]["source"])
