"""One S3 server for the tests of a file, with an empty bucket for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from stores import BUCKET, Faulty, s3_server, surroundings

s3fs = pytest.importorskip("s3fs", reason="the 'remote' extra")
pytest.importorskip("moto", reason="an S3 server for tests")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def proxy(server: str) -> Iterator[Faulty]:
    """What the commands talk to; it passes everything on until it is told to fail."""
    made = Faulty(server)
    yield made
    made.close()


@pytest.fixture
def env(proxy: Faulty, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What leads commands to the store, set for this process as well."""
    made = surroundings(proxy.address)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    return made


@pytest.fixture
def bucket(server: str, env: dict[str, str]) -> Any:
    """An s3fs file system that asks the server itself; the bucket is empty."""
    fs = s3fs.S3FileSystem(endpoint_url=server, use_listings_cache=False, skip_instance_cache=True)
    if not fs.exists(BUCKET):
        fs.mkdir(BUCKET)
    for path in fs.find(BUCKET):
        fs.rm_file(path)
    return fs


@pytest.fixture
def talks(tmp_path: Path, bucket: Any) -> Path:
    """Two short sounds in a folder, and the same in s3://bucket/talks."""
    folder = tmp_path / "talks"
    for name in ("a.wav", "deep/b.flac"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).normal(0, 0.1, (8000, 1))
        soundfile.write(path, noise, 16_000)
        bucket.put_file(str(path), f"{BUCKET}/talks/{name}")
    return folder


@pytest.fixture
def onset(onset_model: Path) -> tuple[str, str]:
    """The options of a small model."""
    return ("--model", str(onset_model))
