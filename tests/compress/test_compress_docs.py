"""The programs in the documents run as they stand, and say what is promised."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "compress.md"


def test_the_documents_programs_run(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    programs = re.findall(r"^```python\n(.*?)^```", DOCS.read_text("utf-8"), re.DOTALL | re.M)
    assert len(programs) == 2
    names: dict[str, object] = {}
    said = []
    for program in programs:
        exec(compile(program, str(DOCS), "exec"), names)
        said.append(capsys.readouterr().out)
    pattern = r"(\d+) parameters, \w+ ([\d.]+)"
    (whole, accuracy), (small, kept) = re.findall(pattern, said[0])
    assert int(small) <= 0.5 * int(whole)
    assert float(accuracy) > 80
    assert float(kept) > float(accuracy) - 5
    (whole, loss), (small, kept) = re.findall(pattern, said[1])
    assert int(small) <= 0.6 * int(whole)
    assert float(kept) < float(loss) + 0.5
