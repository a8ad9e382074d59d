"""Nothing leaves the machine, and nothing is left on it but the output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from templates import STRIPES, save_blots, save_blots_model, save_template_model
from tinysignal.privacy import SILENT
from tinysignal.spec import SoundInput
from watched import Watch, compile_trap


@pytest.fixture(scope="module")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_trap(tmp_path_factory.mktemp("trap"))


@pytest.fixture
def watch(trap: Path, tmp_path: Path) -> Watch:
    return Watch(trap, tmp_path / "watched")


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Two seconds of noise."""
    path = tmp_path / "noisy.wav"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32_000), 16_000)
    return path


@pytest.mark.parametrize(
    "program",
    [
        "import socket; socket.getaddrinfo('example.com', 80)",
        "import socket; socket.gethostbyname('example.com')",
        "import socket; socket.create_connection(('192.0.2.1', 80))",
        "import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
    ],
)
def test_the_trap_sees_every_way_out(watch: Watch, program: str) -> None:
    """The other tests here mean nothing unless this holds."""
    seen = watch.python("-c", f"try:\n    {program}\nexcept OSError as error:\n    print(error)")
    assert seen.calls
    assert seen.stdout, "the call went through"


def test_the_trap_lets_the_machine_talk_to_itself(watch: Watch) -> None:
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); "
        "socket.create_connection(('localhost', s.getsockname()[1]))"
    )
    assert watch.python("-c", program).calls == []


def test_the_trap_sees_files(watch: Watch) -> None:
    seen = watch.python("-c", "import tempfile; tempfile.mkstemp()")
    assert [Path(name).parts[0] for name in seen.files] == ["tmp"]


def test_denoise_sends_nothing_and_leaves_nothing(watch: Watch, sound: Path) -> None:
    seen = watch.tinysignal("denoise", sound, "-o", sound.with_name("clean.flac"))
    assert (seen.calls, seen.files) == ([], [])


def test_a_picture_sends_nothing_and_leaves_nothing(watch: Watch, sound: Path) -> None:
    pytest.importorskip("matplotlib")
    seen = watch.tinysignal("denoise", sound, "-o", sound.with_name("clean.flac"), "--plot")
    assert sound.with_name("clean.png").exists()
    assert (seen.calls, seen.files) == ([], [])


def test_classify_sends_nothing_and_leaves_nothing(watch: Watch, sound: Path) -> None:
    patches = np.random.default_rng(0).random((3, 63, 40))
    model = save_template_model(sound.with_name("m.onnx"), patches, STRIPES, expects=SoundInput())
    seen = watch.tinysignal("classify", sound, "--model", model)
    assert (seen.calls, seen.files) == ([], [])


def test_evaluating_a_denoiser_sends_nothing_and_leaves_nothing(watch: Watch, sound: Path) -> None:
    """With all metrics that are installed, DNSMOS and its networks among them."""
    pairs = sound.with_name("pairs.csv")
    pairs.write_text("noisy,clean\nnoisy.wav,noisy.wav\n")
    seen = watch.tinysignal("evaluate", "default", "--pairs", pairs)
    assert (seen.calls, seen.files) == ([], [])


def test_evaluating_a_classifier_sends_nothing_and_leaves_nothing(
    watch: Watch, tmp_path: Path
) -> None:
    save_blots(tmp_path)
    model = save_blots_model(tmp_path / "m.onnx")
    seen = watch.tinysignal("evaluate", model, "--data", "mnist", "--data-dir", tmp_path)
    assert (seen.calls, seen.files) == ([], [])


def import_with(**given: str) -> dict[str, str]:
    """The environment after an import of the package."""
    others = {name: value for name, value in os.environ.items() if name not in SILENT}
    program = "import json, os, tinysignal; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**others, **given},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_reports_are_off_after_the_import() -> None:
    assert import_with().items() >= SILENT.items()


def test_what_the_user_has_set_stays() -> None:
    found = import_with(ORT_DISABLE_TELEMETRY="0", DO_NOT_TRACK="")
    assert (found["ORT_DISABLE_TELEMETRY"], found["DO_NOT_TRACK"]) == ("0", "")


def test_a_font_list_that_the_user_has_stays_in_use(watch: Watch) -> None:
    pytest.importorskip("matplotlib")
    program = (
        "from tinysignal.privacy import leave_no_caches; leave_no_caches(); "
        "import matplotlib; print(matplotlib.get_cachedir())"
    )
    assert str(watch.folder) not in watch.python("-c", program).stdout.replace(
        str(watch.folder / "tmp"), ""
    )
    (watch.folder / "cache" / "matplotlib").mkdir()
    assert watch.python("-c", program).stdout.strip() == str(watch.folder / "cache" / "matplotlib")


def test_a_fork_leaves_the_folder_to_its_parent(watch: Watch) -> None:
    program = (
        "import os, sys; from tinysignal.privacy import leave_no_caches; leave_no_caches()\n"
        "child = os.fork()\n"
        "if not child: sys.exit()\n"
        "os.waitpid(child, 0); print(*os.listdir(os.environ['TMPDIR']))"
    )
    seen = watch.python("-c", program)
    assert seen.stdout.startswith("tinysignal-")
    assert seen.files == []
