"""What the system refuses while libsndfile works is an error of ours, never a shorter file."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysignal import audio
from tinysignal.audio import libsndfile
from tinysignal.audio.checked_file import CheckedFile
from tinysignal.audio.formats import AudioFormat
from tinysignal.audio.libsndfile import Writer
from tinysignal.errors import AudioFileError

UNREADABLE, FULL = Path("/proc/self/mem"), Path("/dev/full")


@pytest.mark.skipif(not UNREADABLE.exists(), reason="a file of Linux that cannot be read at 0")
def test_the_first_error_is_remembered() -> None:
    with CheckedFile(UNREADABLE) as file:
        assert file.readinto(bytearray(10)) == 0
        assert file.error is not None
        assert file.error.errno == errno.EIO


@pytest.mark.skipif(not FULL.exists(), reason="a device of Linux that is always full")
@pytest.mark.parametrize("kind", [("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_full_disk_is_called_so(kind: tuple[str, str]) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 50_000)).astype(np.float32)
    with (
        pytest.raises(AudioFileError, match="No space left on device"),
        Writer(FULL, sample_rate_hz=16_000, channels=1, audio_format=AudioFormat(*kind)) as writer,
    ):
        writer.write(noise)


class FailingAt(CheckedFile):
    """A file of which nothing can be read behind a place."""

    place = 0

    def readinto(self, buffer: Any) -> int:
        if self.tell() + len(memoryview(buffer)) > self.place:
            self.error = self.error or OSError(errno.EIO, "Input/output error")
            return 0
        return super().readinto(buffer)


@pytest.mark.parametrize("suffix", [".wav", ".aiff", ".flac", ".ogg", ".opus", ".mp3"])
def test_a_disk_that_fails_half_way_is_an_error_of_the_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"x{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, 160_000)
    audio.write(path, noise, sample_rate_hz=16_000)
    monkeypatch.setattr(libsndfile, "CheckedFile", FailingAt)
    for share in (0.0, 0.5):
        monkeypatch.setattr(FailingAt, "place", share * path.stat().st_size)
        with pytest.raises(AudioFileError, match=r"cannot be read \(Input/output error\)"):
            audio.read(path)
    monkeypatch.setattr(FailingAt, "place", 10**9)
    assert audio.read(path)[0].shape == (1, 160_000)
