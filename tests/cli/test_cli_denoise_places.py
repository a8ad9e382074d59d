"""Claims about what `tinysignal denoise` may replace, and who may read what it writes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinysignal import audio
from tinysignal.cli.main import run


@pytest.fixture
def talk(tmp_path: Path, make_noisy: Callable[..., np.ndarray]) -> Path:
    path = tmp_path / "talk.wav"
    audio.write(path, make_noisy(seconds=0.5), sample_rate_hz=16_000)
    return path


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_private_stays_private_and_read_only_stays_unless_overwritten(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.chmod(0o600)
    target = tmp_path / "clean.wav"
    arguments = ["denoise", str(talk), "-m", str(onset_model), "-o", str(target)]
    assert run(arguments) == 0
    assert target.stat().st_mode & 0o777 == 0o600
    target.write_bytes(b"old")
    target.chmod(0o444)
    assert run(arguments) == 1
    assert f"error: {target}: read-only." in capsys.readouterr().err
    assert target.read_bytes() == b"old"
    assert run([*arguments, "--overwrite"]) == 0
    assert target.read_bytes() != b"old"


def test_ordinary_files_need_no_temporary_folder(
    talk: Path, onset_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    target = tmp_path / "clean.wav"
    assert run(["denoise", str(talk), "-m", str(onset_model), "-o", str(target)]) == 0
