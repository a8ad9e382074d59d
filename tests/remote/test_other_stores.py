"""Google's and Azure's stores and SFTP, each against a server on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from stores import BUCKET, SECRET, azure_server, gs_server, run_command, sftp_server

from tinysignal.cli.main import run
from tinysignal.errors import FileError
from tinysignal.remote import fetched, place, stored
from tinysignal.remote.store import find_files, state_of

SOUNDS, PART_BYTES = {".wav", ".flac"}, 1 << 20


@pytest.fixture(scope="module", params=["gs", "az", "sftp"])
def store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an empty folder."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "gs":
            pytest.importorskip("gcsfs")
            pytest.importorskip("gcp_storage_emulator", reason="a store like Google's for tests")
            with gs_server() as address:
                patch.setenv("STORAGE_EMULATOR_HOST", address)
                yield f"gs://{BUCKET}/folder"
        elif request.param == "az":
            adlfs = pytest.importorskip("adlfs")
            azurite = shutil.which("azurite-blob") or pytest.skip(
                "no Azurite: a store like Azure's"
            )
            with azure_server(azurite) as leads_there:
                patch.setenv("AZURE_STORAGE_CONNECTION_STRING", leads_there)
                adlfs.AzureBlobFileSystem(connection_string=leads_there).mkdir(BUCKET)
                yield f"az://{BUCKET}/folder"
        else:
            pytest.importorskip("paramiko")
            pytest.importorskip("asyncssh", reason="an SFTP server for tests")
            with sftp_server(tmp_path_factory.mktemp("served")) as address:
                yield f"{address}/folder"


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinysignal.remote.transfer._PART_BYTES", PART_BYTES)


def names(folder: str) -> list[str]:
    """Of the sounds in a folder of a store."""
    url = place(folder)
    return [found.relative_to(url).as_posix() for found in find_files(url, SOUNDS)]


def test_a_folder_gives_the_bytes_of_a_local_folder_and_is_done_once(
    store: str, tmp_path: Path, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    talks, local = tmp_path / "talks", tmp_path / "local"
    for name in ("a.wav", "deep/b ä.flac"):
        (talks / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).normal(0, 0.1, (8000, 1))
        soundfile.write(talks / name, noise, 16_000)
        with stored(f"{store}/talks/{name}") as path:
            shutil.copy(talks / name, path)
    assert run(["denoise", str(talks), "-d", str(local), *onset]) == 0
    assert run(["denoise", f"{store}/talks", "-d", f"{store}/clean", *onset]) == 0
    assert names(f"{store}/clean") == ["a.wav", "deep/b ä.flac"]
    for name in names(f"{store}/clean"):
        with fetched(f"{store}/clean/{name}") as path:
            assert path.read_bytes() == (local / name).read_bytes()
    capsys.readouterr()
    assert run(["denoise", f"{store}/talks", "-d", f"{store}/clean", *onset]) == 0
    assert capsys.readouterr().err.count("skipped") == 2


@pytest.mark.filterwarnings("ignore:Sending a large body directly")  # Azure's library does
def test_a_long_file_goes_in_parts_and_an_upload_that_ends_early_changes_nothing(
    store: str,
) -> None:
    content = np.random.default_rng(0).bytes(2 * PART_BYTES + 1000)
    target = f"{store}/long.wav"
    with stored(target) as path:
        path.write_bytes(content)
    before = state_of(place(target))
    assert before is not None
    assert before.size == len(content)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), stored(target, on_block=interrupt) as path:
        path.write_bytes(content[::-1])
    assert state_of(place(target)) == before
    assert names(store).count("long.wav") == 1
    with fetched(target) as path:
        assert path.read_bytes() == content


def test_what_is_not_there_is_told_in_one_line(store: str, tmp_path: Path) -> None:
    sound = tmp_path / "a.wav"
    soundfile.write(sound, np.zeros(1600), 16_000)
    wrong = (
        store.replace(SECRET, SECRET[::-1]) if "sftp" in store else store.replace(BUCKET, "none")
    )
    for arguments in ((f"{store}/none.wav",), (sound, "-o", f"{wrong}/a.wav"), (f"{wrong}/a.wav",)):
        done = run_command("denoise", *arguments)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert len(line) < 200
        assert SECRET not in line
        assert SECRET[::-1] not in line
        if "gs:" in store and arguments[0] == sound:
            assert "there is no such bucket" in line


def test_a_server_that_is_gone_in_mid_upload_is_told_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("paramiko")
    pytest.importorskip("asyncssh", reason="an SFTP server for tests")
    served = tmp_path / "served"
    served.mkdir()
    server = sftp_server(served)
    target = server.__enter__() + "/a.wav"
    with (
        pytest.raises(FileError, match="cannot be written") as told,
        stored(target, on_block=lambda: server.__exit__(None, None, None)) as path,
    ):
        path.write_bytes(bytes(2 * PART_BYTES))
    assert SECRET not in str(told.value)
    assert not (served / "a.wav").exists()
