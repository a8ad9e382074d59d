"""Examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import tinysignal

PACKAGE = Path(tinysignal.__file__).parent
# What the examples of a package need beside the light half.
NEEDS = {
    "datasets": "sklearn",
    **dict.fromkeys(("compress", "inspect", "nets", "runs", "train"), "torch"),
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def with_examples() -> list[str]:
    """Names of the modules whose source holds a doctest."""
    return sorted(
        ".".join(("tinysignal", *path.relative_to(PACKAGE).with_suffix("").parts))
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.mark.parametrize("name", with_examples())
def test_examples_print_what_they_say(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if needed := NEEDS.get(name.split(".")[1]):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    monkeypatch.chdir(tmp_path)
    module = import_module(name.removesuffix(".__init__"))
    assert doctest.testmod(module, optionflags=OPTIONS).failed == 0
