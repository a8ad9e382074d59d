"""What the package says of itself holds: exports, version, errors, wheel, cards, pins."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import tinysignal
from public_names import PAGE, packages, public_names
from tinysignal import errors
from tinysignal.model import bundled_models

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "tinysignal"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

# The export list


@pytest.mark.parametrize("name", tinysignal.__all__)
def test_every_exported_name_resolves_to_what_is_defined_under_it(name: str) -> None:
    if name == "compress":  # its functions are named as its modules, so it imports them at once
        pytest.importorskip("torch", reason="the 'train' extra")
    thing = getattr(tinysignal, name)
    assert thing.__name__.removeprefix("tinysignal.") == name


def test_what_people_look_for_is_offered() -> None:
    offered = set(dir(tinysignal))
    assert offered == set(tinysignal.__all__)
    assert {"denoise", "Denoiser", "DenoiserStream", "Classifier"} <= offered
    assert {"audio", "metrics", "train", "compress", "inspect", "runs", "evaluation"} <= offered


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No tinysignal attribute Denoyser"):
        _ = tinysignal.Denoyser  # type: ignore[attr-defined]


def test_the_reference_page_lists_every_public_name_with_what_it_is() -> None:
    """`python tests/public_names.py` writes the page."""
    sections = PAGE.read_text("utf-8").split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == packages()
    for package, section in zip(packages(), sections, strict=True):
        rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE))
        names = public_names(package)
        assert list(rows) == list(names)
        assert all(rows.values()), package
        assert all(names.values()), package


# Errors


def test_the_tree_of_errors_is_the_one_drawn() -> None:
    assert errors.__doc__ is not None
    drawn = {"TinysignalError": "Exception"}
    above = ["TinysignalError"]
    for branch, name in re.findall(r"^    ([ │]*[├└]── )(\w+)", errors.__doc__, re.MULTILINE):
        depth = len(branch) // 4
        drawn[name] = above[depth - 1]
        above[depth:] = [name]
    classes = dict(inspect.getmembers(errors, inspect.isclass))
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in classes.items()}


def test_every_error_is_exported() -> None:
    classes = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    assert classes <= set(tinysignal.__all__)


# The distribution


def test_the_version_is_the_same_everywhere() -> None:
    assert tinysignal.__version__ == metadata.version("tinysignal") == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Names of the files in the wheel that hatchling builds."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_the_package_its_types_and_its_models(wheel_names: list[str]) -> None:
    for name in ("py.typed", "__init__.pyi"):  # the latter is read as the package is imported
        assert f"tinysignal/{name}" in wheel_names
    for name in bundled_models():
        assert f"tinysignal/models/{name}.onnx" in wheel_names
        assert f"tinysignal/models/{name}.onnx.sha256" in wheel_names
        assert f"tinysignal/models/{name}.md" in wheel_names
    for name in ("page.css", "page.js", "listen.html"):
        assert f"tinysignal/app/web/{name}" in wheel_names
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_the_wheel_holds_nothing_else(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"tinysignal", f"tinysignal-{tinysignal.__version__}.dist-info"}
    assert not [name for name in wheel_names if "__pycache__" in name]


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_has_a_card(name: str) -> None:
    card = (PACKAGE / "models" / f"{name}.md").read_text("utf-8")
    assert name in card


def test_every_direct_dependency_is_pinned() -> None:
    pinned = set()
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert re.fullmatch(r"[0-9][0-9a-z.]*", version), line
            pinned.add(name.lower().replace("_", "-"))
    wanted = PROJECT["dependencies"] + [
        need for extra in PROJECT["optional-dependencies"].values() for need in extra
    ]
    names = {re.split(r"[\[>=<]", need)[0].lower() for need in wanted} - {"tinysignal"}
    assert names <= pinned


def test_the_extra_all_holds_every_other_extra() -> None:
    extras = PROJECT["optional-dependencies"]
    [everything] = extras["all"]
    listed = re.search(r"\[(.*)\]", everything)
    assert listed
    assert set(listed[1].split(",")) == set(extras) - {"all", "dev"}
