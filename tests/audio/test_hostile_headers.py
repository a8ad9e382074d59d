"""Headers made to waste time: a million empty chunks before the samples."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tinysignal import audio
from tinysignal.audio import headers, mp3
from tinysignal.errors import TinysignalError

MANY = 1_000_000
FORMAT = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
HEADERS = {
    "wav": b"RIFF" + bytes(4) + b"WAVE" + FORMAT + (b"junk" + bytes(4)) * MANY,
    "aiff": b"FORM" + bytes(4) + b"AIFF" + (b"ANNO" + bytes(4)) * MANY,
    "caf": b"caff\0\1\0\0" + (b"free" + bytes(8)) * MANY,
    "w64": b"riff" + bytes(36) + (b"junk" + bytes(12) + struct.pack("<Q", 24)) * MANY,
}


class CountingFile(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


@pytest.mark.parametrize("kind", HEADERS)
def test_a_million_empty_chunks_are_not_all_read(kind: str) -> None:
    file = CountingFile(HEADERS[kind])
    assert headers._promise(file) is None
    assert file.reads <= 1_001


@pytest.mark.parametrize("kind", HEADERS)
def test_a_file_of_a_million_empty_chunks_is_an_error_of_ours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(HEADERS[kind])
    with pytest.raises(TinysignalError) as raised, audio.open(path):
        pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["wav", "w64", "caf", "aiff"])
@pytest.mark.parametrize("size", [0xFF, 0x7F, 0x80])
def test_chunks_beyond_any_file_are_not_sought(kind: str, size: int, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    audio.write(path, np.zeros(99), sample_rate_hz=16_000)
    content = path.read_bytes()
    for at in range(4, 80, 4):
        path.write_bytes(content[:at] + bytes([size]) * 8 + content[at + 8 :])
        with suppress(TinysignalError), audio.open(path) as reader:
            list(reader.blocks())


def test_a_file_that_is_cut_short_while_its_frames_are_counted_kills_nobody(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    frame = b"\xff\xfb\x90\x00" + bytes(413)  # 128 kbit/s at 44.1 kHz
    path.write_bytes(frame * 20_000)
    program = f"""
from pathlib import Path
from tinysignal.audio import mp3
frame = mp3._parsed
def cut(header):
    open({str(path)!r}, "r+b").truncate(1000)
    return frame(header)
mp3._parsed = cut
print(mp3.samples_of(Path({str(path)!r})).held)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, "killed"
    assert 0 < int(done.stdout) < 20_000 * 1152


def test_frames_are_counted_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    frame = b"\xff\xfb\x90\x00" + bytes(413)
    path.write_bytes(b"ID3\4\0\0\0\0\2\0" + bytes(256) + frame * 3000)
    assert mp3.samples_of(path) == (None, 3000 * 1152)


def test_an_mp3_file_that_is_cut_after_its_first_frames_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    noise = np.random.default_rng(0).normal(0, 0.1, 32_000)
    soundfile.write(path, noise, 16_000)
    whole = path.read_bytes()
    assert audio.read(path)[0].shape == (1, 32_000)
    for size in (500, 800, 2_000, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(TinysignalError) as raised:
            audio.read(path)
        assert "\n" not in str(raised.value)
