"""The programs in the documents run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "inspect.md"


def test_the_documents_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    programs = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.M)
    assert programs
    for program in programs:
        exec(compile(program, str(DOCS), "exec"), {})
    printed = capsys.readouterr().out.split()
    assert {"input", "output"} <= set(printed)
