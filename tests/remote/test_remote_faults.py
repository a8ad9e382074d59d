"""Whatever a store does: one line, nothing half-written, and a second run does what is missing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from stores import BUCKET, SECRET, Faulty, run_command, wait_until

from tinysignal.batch.record import FOLDER
from tinysignal.cli.main import run
from tinysignal.errors import FileError
from tinysignal.remote import fetched, stored
from tinysignal.remote.store import BLOCK_BYTES

TALKS, CLEAN = f"s3://{BUCKET}/talks", f"s3://{BUCKET}/clean"
Fault = Callable[[str, str], int | str | None]

READ, WRITE, LIST = "reading", "writing", "listing"
WORDS = {403: "access denied", 500: "InternalError", 503: "SlowDown"}


def on(what: str, fault: int | str, *, times: int = 1_000_000) -> Fault:
    """A fault of the requests of one kind, so many times."""
    left = times

    def asked(method: str, path: str) -> int | str | None:
        nonlocal left
        is_file = path.split("?", maxsplit=1)[0].endswith((".wav", ".flac"))
        kind = {
            READ: method == "GET" and is_file,
            WRITE: method == "PUT" and is_file,
            LIST: method == "GET" and "list-type" in path,
        }
        if not kind[what] or left == 0:
            return None
        left -= 1
        return fault

    return asked


def keys(bucket: Any) -> list[str]:
    """The files of the bucket but for the record."""
    return sorted(path for path in bucket.find(BUCKET) if FOLDER not in path)


def uploads(bucket: Any) -> list[Any]:
    """What was begun to be uploaded and is neither complete nor given up."""
    return list(bucket.call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads", []))


@pytest.mark.parametrize("fault", [403, 500, 503, "cut", "drop"])
@pytest.mark.parametrize("what", [READ, WRITE, LIST])
def test_a_fault_ends_in_one_line_for_each_file_and_the_next_run_mends_it(
    what: str,
    fault: int | str,
    talks: Path,
    bucket: Any,
    proxy: Faulty,
    onset: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    if (what, fault) == (WRITE, "cut"):
        pytest.skip("the answer to an upload is empty: there is nothing to cut")
    before = keys(bucket)
    proxy.fault = on(what, fault)
    command = ["denoise", TALKS, "-d", CLEAN, *onset]
    assert run(command) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == (1 if what == LIST else 2)
    for line in told:
        assert line.startswith(f"error: s3://{BUCKET}/"), line
        assert WORDS.get(fault, "cannot be") in line, line  # type: ignore[call-overload]
        assert SECRET not in line
        assert "unexpected" not in line
    assert keys(bucket) == before
    assert uploads(bucket) == []
    proxy.fault = lambda method, path: None
    assert run(command) == 0
    assert run(["denoise", str(talks), "-d", str(talks.parent / "out"), *onset]) == 0
    for name in ("a.wav", "deep/b.flac"):
        local = (talks.parent / "out" / name).read_bytes()
        assert bucket.cat_file(f"{BUCKET}/clean/{name}") == local


@pytest.mark.parametrize("fault", [500, 503, "cut", "drop"])
@pytest.mark.parametrize("what", [READ, WRITE, LIST])
def test_a_fault_that_passes_is_not_noticed(
    what: str, fault: int | str, talks: Path, bucket: Any, proxy: Faulty, onset: tuple[str, str]
) -> None:
    proxy.fault = on(what, fault, times=1)
    assert run(["denoise", TALKS, "-d", CLEAN, *onset]) == 0
    assert run(["denoise", str(talks), "-d", str(talks.parent / "out"), *onset]) == 0
    for name in ("a.wav", "deep/b.flac"):
        local = (talks.parent / "out" / name).read_bytes()
        assert bucket.cat_file(f"{BUCKET}/clean/{name}") == local


@pytest.mark.parametrize("missing", ["read", "write"])
def test_one_file_without_rights_does_not_stop_the_others(
    missing: str,
    talks: Path,
    bucket: Any,
    proxy: Faulty,
    onset: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    method = {"read": "GET", "write": "PUT"}[missing]
    proxy.fault = lambda m, p: 403 if m == method and p.split("?")[0].endswith("a.wav") else None
    assert run(["denoise", TALKS, "-d", CLEAN, *onset]) == 1
    told = capsys.readouterr().err
    assert told.count("error: ") == 1
    assert "a.wav: cannot be" in told
    assert "access denied" in told
    assert [path for path in keys(bucket) if "clean" in path] == [f"{BUCKET}/clean/deep/b.flac"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://there-is-none/x.wav", "there is no such"),
        ("s3://there-is-none/", "there is no such bucket"),
        (f"s3://{BUCKET}/none.wav", "there is no such file"),
        (f"s3://{BUCKET}/empty/", "no audio file in this folder"),
        ("s3://Not_A_Bucket!/x.wav", "cannot be read"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    url: str, words: str, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", url, "-d", CLEAN, *onset]) == 1
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1


def test_a_bucket_that_is_not_there_is_found_out_before_the_work(
    talks: Path, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", str(talks), "-d", "s3://there-is-none/x", *onset]) == 1
    told = capsys.readouterr().err
    assert "s3://there-is-none: there is no such bucket" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://somewhere.invalid"])
def test_a_store_that_nobody_answers_for_is_told_in_one_line(
    endpoint: str,
    bucket: Any,
    onset: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    s3fs.S3FileSystem.clear_instance_cache()
    assert run(["denoise", TALKS, "-d", CLEAN, *onset]) == 1
    told = capsys.readouterr().err
    assert "Could not connect" in told
    assert told.count("\n") == 1


def test_without_credentials_that_is_said(
    talks: Path, env: dict[str, str], onset: tuple[str, str]
) -> None:
    bare = {k: v for k, v in env.items() if "KEY" not in k}
    others = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = run_command("denoise", TALKS, "-d", "out", *onset, env=bare | others)
    assert done.returncode == 1
    assert "no credentials" in done.stderr
    assert done.stderr.count("\n") == 1


def big(path: Path) -> Path:
    """A sound whose output goes up in three parts: of 4 bytes a sample."""
    samples = np.random.default_rng(0).normal(0, 0.1, 5 * BLOCK_BYTES // 4)
    soundfile.write(path, samples, 192_000, subtype="PCM_32")
    return path


@pytest.mark.parametrize("fault", [403, 500, "drop"])
def test_an_upload_in_parts_that_fails_leaves_the_old_file_and_no_part(
    fault: int | str, bucket: Any, proxy: Faulty, tmp_path: Path
) -> None:
    bucket.pipe_file(f"{BUCKET}/x.bin", b"old")
    proxy.fault = lambda method, path: fault if "partNumber=2" in path else None
    with (
        pytest.raises(FileError, match=r"x\.bin: cannot be written"),
        stored(f"s3://{BUCKET}/x.bin") as path,
    ):
        path.write_bytes(os.urandom(5 * BLOCK_BYTES))
    assert bucket.cat_file(f"{BUCKET}/x.bin") == b"old"
    assert uploads(bucket) == []
    proxy.fault = lambda method, path: None
    content = os.urandom(5 * BLOCK_BYTES)
    with stored(f"s3://{BUCKET}/x.bin") as path:
        path.write_bytes(content)
    assert bucket.cat_file(f"{BUCKET}/x.bin") == content
    assert sum("partNumber=" in line for line in proxy.seen) >= 3 + 2


def test_a_file_that_changes_while_it_is_fetched_is_noticed(bucket: Any, proxy: Faulty) -> None:
    bucket.pipe_file(f"{BUCKET}/x.bin", os.urandom(3 * BLOCK_BYTES))

    def meddle() -> None:
        bucket.pipe_file(f"{BUCKET}/x.bin", os.urandom(3 * BLOCK_BYTES))

    with (
        pytest.raises(FileError, match=r"x\.bin: cannot be read"),
        fetched(f"s3://{BUCKET}/x.bin", on_block=meddle),
    ):
        pass


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        (signal.SIGTERM, "download"),
        (signal.SIGTERM, "upload"),
        (signal.SIGINT, "upload"),
        (signal.SIGKILL, "upload"),
    ],
)
def test_a_run_that_is_ended_leaves_nothing_half_done_and_the_next_completes_it(
    number: signal.Signals,
    moment: str,
    bucket: Any,
    proxy: Faulty,
    env: dict[str, str],
    tmp_path: Path,
    onset: tuple[str, str],
) -> None:
    bucket.put_file(str(big(tmp_path / "big.wav")), f"{BUCKET}/talks/big.wav")
    spool = tmp_path / "spool"
    spool.mkdir()
    command = [sys.executable, "-m", "tinysignal", "denoise", TALKS, "-d", CLEAN, *onset]
    everything = {**os.environ, **env, "TMPDIR": str(spool)}
    reached = []

    def hold(method: str, path: str) -> None:
        ranged = method == "GET" and path.endswith("big.wav")
        if ranged if moment == "download" else "partNumber=2" in path:
            reached.append(path)
            time.sleep(0.5)

    proxy.fault = hold
    process = subprocess.Popen(command, env=everything, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: reached or process.poll() is not None)
    process.send_signal(number)
    told = process.communicate()[1]
    assert keys(bucket) == [f"{BUCKET}/talks/big.wav"]
    if number != signal.SIGKILL:
        assert process.returncode == 128 + number
        assert told == "error: interrupted.\n"
        assert uploads(bucket) == []
        assert [*spool.iterdir()] == []
    proxy.fault = lambda method, path: None
    done = subprocess.run(command, env=everything, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert keys(bucket) == [f"{BUCKET}/clean/big.wav", f"{BUCKET}/talks/big.wav"]
    assert uploads(bucket) == []
    assert [*spool.iterdir()] == []
    local = tmp_path / "local.wav"
    assert run(["denoise", str(tmp_path / "big.wav"), "-o", str(local), *onset]) == 0
    assert bucket.cat_file(f"{BUCKET}/clean/big.wav") == local.read_bytes()


@pytest.mark.parametrize("fault", [403, 500, 503, "cut"])
def test_a_web_server_that_fails_is_told_in_one_line(
    fault: int | str,
    talks: Path,
    bucket: Any,
    proxy: Faulty,
    onset: tuple[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    proxy.fault = lambda method, path: fault if method == "GET" else None
    host = proxy.address.removeprefix("http://")
    url = f"http://user:{SECRET}@{host}/{BUCKET}/talks/a.wav?signature={SECRET}"
    out = talks.parent / "out"
    assert run(["denoise", url, "-d", str(out), *onset]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"error: http://{host}/{BUCKET}/talks/a.wav?...: cannot be read" in told
    assert SECRET not in told
    assert "user" not in told
    assert [*out.iterdir()] == []
    if fault != 403:
        asked = sum(line.startswith("GET") for line in proxy.seen)
        assert asked >= 3  # it was tried again
