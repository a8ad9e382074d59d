"""Examples in docstrings run and print what they say."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import tinysignal
from templates import blots, save_blots, save_template_model
from tinysignal.model import DEFAULT_MODEL, bundled_models

PACKAGE = Path(tinysignal.__file__).parent
# Modules that the examples of a package or a module need beside the light half.
NEEDS = {
    **dict.fromkeys(("compress", "inspect", "nets", "runs", "train"), ("torch",)),
    "datasets": ("sklearn",),
    "serve": ("uvicorn", "websockets", "prometheus_client"),
    "remote": ("fsspec",),
    "batch.classifying": ("PIL",),
    "classifier": ("PIL",),
    "train.opinion": ("speechmos",),
    "metrics.audio": ("pystoi", "pesq"),
}


def with_examples() -> list[str]:
    """Names of the modules whose source holds an example."""
    return sorted(
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples run in, with the files that they name."""
    for name in ("run", "data"):
        (tmp_path / name).mkdir()
    save_blots(tmp_path / "data")
    digits = tuple("0123456789")
    save_template_model(tmp_path / "run" / "model.onnx", blots() / 255, digits, sharpness=0.02)
    (tmp_path / "seven.png").write_bytes(b"P5 28 28 255 " + blots()[7].tobytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(DEFAULT_MODEL not in bundled_models(), reason="no default model is bundled")
@pytest.mark.parametrize("name", with_examples())
def test_examples_print_what_they_say(name: str, workplace: Path) -> None:
    for needed in (*NEEDS.get(name.split(".", maxsplit=1)[0], ()), *NEEDS.get(name, ())):
        pytest.importorskip(needed, reason=f"{needed} is not installed")
    assert doctest.testmod(import_module(f"tinysignal.{name}")).failed == 0
