"""Claims about pipes that are never closed: sound comes out while more goes in."""

from __future__ import annotations

import io
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from tinysignal.audio.pcm import PcmFormat, PcmKind, read_wav_head
from tinysignal.denoiser import Denoiser

COMMAND = [sys.executable, "-c", "from tinysignal.cli.main import main; main()", "denoise"]
RATE_HZ = 16_000


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


def read_exactly(process: subprocess.Popen[bytes], count: int) -> bytes:
    assert process.stdout is not None
    data = b""
    while len(data) < count:
        piece = process.stdout.read(count - len(data))
        if not piece:
            break
        data += piece
    return data


def feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(data)


def ended(process: subprocess.Popen[bytes]) -> tuple[bytes, str, int]:
    out, said = process.communicate(timeout=60)
    return out, said.decode(), process.returncode


def noisy(channels: int = 1, seconds: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(0, 0.1, (channels, round(seconds * RATE_HZ))).astype(np.float32)


def wav(signal: np.ndarray, subtype: str, kind: str = "WAV") -> bytes:
    file = io.BytesIO()
    sf.write(file, signal.T, RATE_HZ, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize(("kind", "channels"), [("s16le", 1), ("f32le", 2)])
def test_bare_samples_come_out_block_by_block_within_the_latency(
    kind: PcmKind, channels: int, onset_model: Path
) -> None:
    pcm = PcmFormat(RATE_HZ, channels, kind)
    given = pcm.encode(noisy(channels))
    denoiser = Denoiser.load(onset_model)
    stream = denoiser.stream(sample_rate_hz=RATE_HZ, channels=channels)
    expected = pcm.encode(denoiser(pcm.decode(given), sample_rate_hz=RATE_HZ))
    asked = ["--raw", str(RATE_HZ), "--raw-channels", str(channels), "--raw-format", kind]
    with started(*asked, "-", "-m", str(onset_model)) as process:
        got = b""
        block = stream.hop_samples * pcm.frame_bytes
        latency = stream.latency_samples * pcm.frame_bytes
        for start in range(0, 20 * block, block):
            feed(process, given[start : start + block])
            due = max(0, start + block - latency)
            got += read_exactly(process, due - len(got))  # stdin is open
            assert len(got) >= due
        feed(process, given[20 * block :])
        rest, said, status = ended(process)
    assert status == 0, said
    found = pcm.decode(got + rest)
    np.testing.assert_allclose(found, pcm.decode(expected), atol=2**-14)
    assert f"{1000 * stream.latency_s:.0f} ms" in said
    assert "- -> -: 1.0 s" in said


def test_odd_bytes_at_the_end_are_noted(onset_model: Path) -> None:
    given = PcmFormat(RATE_HZ, 1, "s16le").encode(noisy()) + b"x"
    with started("--raw", str(RATE_HZ), "-", "-m", str(onset_model)) as process:
        feed(process, given)
        out, said, status = ended(process)
    assert (len(out), status) == (len(given) - 1, 0)
    assert "1 bytes at the end" in said


def test_nan_in_bare_samples_is_counted_and_not_fatal(onset_model: Path) -> None:
    signal = noisy()
    signal[0, 100] = np.nan
    asked = ("--raw", str(RATE_HZ), "--raw-format", "f32le", "-", "-m", str(onset_model))
    with started(*asked) as process:
        feed(process, signal.T.tobytes())
        out, said, status = ended(process)
    assert status == 0
    assert np.isfinite(np.frombuffer(out, "<f4")).all()
    assert "blocks with NaN" in said


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is not sent to one process there")
def test_ctrl_c_ends_bare_samples_as_the_end_of_the_input_does(onset_model: Path) -> None:
    given = PcmFormat(RATE_HZ, 1, "s16le").encode(noisy())
    with started("--raw", str(RATE_HZ), "-", "-m", str(onset_model)) as process:
        feed(process, given)
        got = read_exactly(process, len(given) - 2048)
        process.send_signal(signal.SIGINT)
        rest, said, status = ended(process)
    assert (status, len(got) + len(rest)) == (0, len(given))
    assert "rror" not in said


def test_a_reader_that_leaves_ends_bare_samples(onset_model: Path) -> None:
    with started("--raw", str(RATE_HZ), "-", "-m", str(onset_model), "-q") as process:
        assert process.stdout is not None
        process.stdout.close()
        given = PcmFormat(RATE_HZ, 1, "s16le").encode(noisy())
        try:
            for _ in range(50):
                feed(process, given)
        except BrokenPipeError:
            pass
        assert process.stdin is not None
        assert process.stderr is not None
        said = process.stderr.read()
        assert process.wait(timeout=60) == 1
    assert said == b""


@pytest.mark.parametrize(
    ("size", "subtype", "kind"),
    [
        (None, "PCM_16", "WAV"),
        (0, "PCM_U8", "WAV"),
        (0xFFFFFFFF, "PCM_24", "WAVEX"),
        (0x7FFFF000, "FLOAT", "WAV"),
        (0x80000000, "PCM_32", "WAV"),
        (None, "PCM_16", "RF64"),
    ],
)
def test_a_wav_flows_whatever_its_header_says_of_its_length(
    size: int | None, subtype: str, kind: str, onset_model: Path
) -> None:
    signal = noisy(2)
    whole = wav(signal, subtype, kind)
    start = whole.index(b"data") + 8
    if size is not None:
        whole = whole[: start - 4] + struct.pack("<I", size) + whole[start:]
    with started("-", "-m", str(onset_model)) as process:
        feed(process, whole[: start + 40_000])
        got = read_exactly(process, start + 20_000)  # stdin is open
        assert len(got) == start + 20_000
        feed(process, whole[start + 40_000 :])
        rest, said, status = ended(process)
    assert status == 0, said
    out = got + rest
    assert (out[:start], len(out)) == (whole[:start], len(whole))
    given, _ = sf.read(io.BytesIO(wav(signal, subtype, kind)), dtype="float32")
    expected = Denoiser.load(onset_model)(given.T.copy(), sample_rate_hz=RATE_HZ)
    head = read_wav_head(io.BytesIO(out).read)
    assert head.pcm is not None
    samples = head.pcm.decode(out[start : start + signal.size * head.pcm.frame_bytes // 2])
    np.testing.assert_allclose(samples, expected, atol=2**-7 if subtype == "PCM_U8" else 2**-14)


def test_what_stands_around_the_samples_of_a_flowing_wav_stays(onset_model: Path) -> None:
    whole = wav(noisy(), "PCM_16")
    start = whole.index(b"data")
    before = b"LIST" + struct.pack("<I", 16) + b"INFOINAM" + struct.pack("<I", 4) + b"abc\0"
    after = b"cue " + struct.pack("<I", 4) + bytes(4)
    whole = whole[:start] + before + whole[start:] + after
    with started("-", "-m", str(onset_model)) as process:
        feed(process, whole)
        out, _, status = ended(process)
    assert status == 0
    data = start + len(before) + 8
    assert (out[:data], out[-len(after) :]) == (whole[:data], after)
    assert len(out) == len(whole)
    assert out != whole


def test_a_wav_that_breaks_off_in_a_pipe_fails_after_what_came(onset_model: Path) -> None:
    whole = wav(noisy(), "PCM_16")
    with started("-", "-m", str(onset_model)) as process:
        feed(process, whole[:20_000])
        out, said, status = ended(process)
    assert (status, len(out)) == (1, 20_000)
    assert "truncated" in said


@pytest.mark.parametrize("kind", ["FLAC", "IMA_ADPCM"])
def test_other_sounds_go_through_a_pipe_by_way_of_a_file(kind: str, onset_model: Path) -> None:
    given = wav(noisy(), "PCM_16", kind) if kind == "FLAC" else wav(noisy(), kind)
    with started("-", "-m", str(onset_model)) as process:
        feed(process, given)
        out, said, status = ended(process)
    assert status == 0, said
    assert sf.info(io.BytesIO(out)).frames >= RATE_HZ


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--raw", "16000", "x.raw"], "stdin to stdout"),
        (["--raw", "16000", "-", "-o", "x.raw"], "stdin to stdout"),
        (["--raw", "16000", "-", "--json"], "takes no option"),
        (["--raw", "16000", "-", "--subtype", "FLOAT"], "takes no option"),
        (["--raw", "16000", "-", "--format", "flac"], "takes neither"),
        (["--raw", "16000", "-", "-d", "out"], "a pipe takes neither"),
        (["--raw", "16000", "-", "--raw-format", "mulaw"], "mulaw"),
        (["--raw", "16000", "-", "--raw-channels", "0"], "raw-channels"),
        (["--raw", "16000", "-", "--raw-channels", "33"], "raw-channels"),
        (["--raw", "16", "-"], "--raw: sample rate 16 Hz"),
    ],
)
def test_bare_samples_take_only_what_makes_sense(arguments: list[str], found: str) -> None:
    with started(*arguments) as process:
        out, said, status = ended(process)
    assert (out, status) == (b"", 2)
    assert found in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("kind", ["u8", "s16le", "s24le", "s32le", "f32le", "f64le"])
def test_samples_are_the_same_after_a_round_trip(kind: PcmKind) -> None:
    pcm = PcmFormat(RATE_HZ, 3, kind)
    data = pcm.encode(np.clip(noisy(3), -1, 1))
    assert len(data) == RATE_HZ * pcm.frame_bytes
    again = pcm.encode(pcm.decode(data))
    if kind != "s32le":  # more bits than float32 has
        assert again == data
    np.testing.assert_allclose(pcm.decode(data), noisy(3), atol=2**-7 if kind == "u8" else 2**-15)
    assert np.abs(pcm.decode(pcm.encode(np.full((3, 4), 9, np.float32)))).max() in (
        pytest.approx(1, abs=2**-6),
        9,
    )
