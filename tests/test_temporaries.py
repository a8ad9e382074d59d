"""Claims about temporary files: private from the first byte, and gone even after a kill."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tinysignal import temporaries
from tinysignal.errors import ConfigError, FileError
from tinysignal.files import atomic, check_writable
from tinysignal.temporaries import sweep, sync_folder, temporary_folder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")

HOLDS_FOR_EVER = """
import sys, time
from tinysignal.files import atomic
from tinysignal.temporaries import temporary_folder
from pathlib import Path
with atomic(sys.argv[1]) as part, temporary_folder(Path(sys.argv[1])) as folder:
    part.write_text("half")
    (folder / "file").write_text("half")
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def _nothing_swept_yet() -> None:
    sweep.cache_clear()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def held(target: Path) -> subprocess.Popen[str]:
    """A process that is writing the target."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS_FOR_EVER, str(target)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_what_a_kill_leaves_is_removed_by_the_next_that_writes_there(tmp_path: Path) -> None:
    with held(tmp_path / "killed.wav") as process:
        process.send_signal(signal.SIGKILL)
    assert len(names_in(tmp_path)) == 2
    with atomic(tmp_path / "x.txt") as part:
        part.write_text("new")
    assert names_in(tmp_path) == ["x.txt"]


def test_a_folder_that_cannot_be_opened_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(temporaries.os, "open", full)
    with pytest.raises(OSError, match="Too many"), temporary_folder(tmp_path / "x"):
        pass
    assert names_in(tmp_path) == []


def test_a_folder_that_another_process_swept_before_its_lock_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = temporaries._lock, []

    def late(held: int, *, wait: bool) -> bool:
        if wait and not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].rmdir()
        return lock(held, wait=wait)

    monkeypatch.setattr(temporaries, "_lock", late)
    with temporary_folder(tmp_path / "x") as folder:
        assert [folder] == list(tmp_path.iterdir()) != swept


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with held(tmp_path / "x.wav") as process:
        during = names_in(tmp_path)
        sweep(tmp_path)
        assert names_in(tmp_path) == during
        process.kill()


@pytest.mark.parametrize(
    "name",
    [
        ".tinysignal-ffffffff-0123456789ab.part.wav",  # of another machine
        ".0123456789abcdef.part.wav",
        ".tinysignal-notes.part.wav",
        f".tinysignal-{temporaries._machine()}-0123456789ab.wav",
    ],
)
def test_files_that_are_not_certainly_ours_stay(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    sweep(tmp_path)
    assert names_in(tmp_path) == [name]


def test_a_link_with_our_name_is_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "precious").touch()
    link = tmp_path / f".tinysignal-{temporaries._machine()}-0123456789ab.part"
    link.symlink_to(folder)
    sweep(tmp_path)
    assert names_in(folder) == ["precious"]


def test_a_folder_is_searched_once_for_all_files_written_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: searched.append(path) or scandir(path))
    for number in range(3):
        with atomic(tmp_path / f"{number}.txt"):
            pass
    assert searched == [tmp_path]


def test_a_name_that_is_swept_before_it_is_locked_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = temporaries._lock, []

    def sweep_first(descriptor: int | None, *, wait: bool) -> bool:
        if wait and not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(temporaries, "_lock", sweep_first)
    with atomic(tmp_path / "x.txt") as part:
        assert part != swept[0]
        part.write_text("new")
    assert (tmp_path / "x.txt").read_text() == "new"


def test_what_is_made_of_a_private_file_is_private_from_the_first_byte(tmp_path: Path) -> None:
    source = tmp_path / "private.wav"
    source.touch()
    before = os.umask(0o022)
    try:
        for given, expected in ((0o600, 0o600), (0o640, 0o640), (0o777, 0o644), (0o400, 0o600)):
            source.chmod(given)
            target = tmp_path / f"{given:o}.wav"
            with atomic(target, like=source) as part:
                assert mode(part) == expected
            assert mode(target) == expected
        with atomic(tmp_path / "plain") as part:
            assert mode(part) == 0o644
    finally:
        os.umask(before)


def test_a_private_target_stays_private_while_it_is_written(tmp_path: Path) -> None:
    target, source = tmp_path / "x.wav", tmp_path / "public.wav"
    target.touch(mode=0o600)
    source.touch(mode=0o644)
    with atomic(target, like=source) as part:
        assert mode(part) == 0o600
    assert mode(target) == 0o600


def test_a_read_only_file_is_replaced_only_when_that_is_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "x.wav"
    target.write_text("old")
    target.chmod(0o444)
    with pytest.raises(FileError, match=r"x.wav: read-only"), atomic(target):
        pytest.fail("the block was entered")
    with pytest.raises(ConfigError, match=r"x.wav: read-only"):
        check_writable(target)
    with atomic(target, overwrite=True) as part:
        part.write_text("new")
    assert (target.read_text(), mode(target)) == ("new", 0o444)


def test_the_folder_is_synced_after_the_file_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    replace, fsync = Path.replace, os.fsync

    def note_replace(path: Path, target: Path) -> Path:
        done.append("renamed")
        return replace(path, target)

    def note_fsync(descriptor: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(Path, "replace", note_replace)
    monkeypatch.setattr(os, "fsync", note_fsync)
    with atomic(tmp_path / "x.txt"):
        pass
    assert done == ["file", "renamed", "folder"]


def test_a_folder_that_cannot_be_synced_is_no_error_but_a_failing_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(number: int) -> None:
        def fsync(descriptor: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fsync)

    fail(errno.EINVAL)
    sync_folder(tmp_path)
    fail(errno.EIO)
    with pytest.raises(OSError, match="Input/output error"):
        sync_folder(tmp_path)


def test_a_file_that_vanishes_is_called_by_its_own_name(tmp_path: Path) -> None:
    gone = tmp_path / "gone.wav"
    said = r"gone.wav: cannot be used \(No such file"
    with pytest.raises(FileError, match=said), atomic(tmp_path / "x.wav", like=gone):
        pytest.fail("the block was entered")
    with pytest.raises(FileError, match=said), atomic(tmp_path / "x.wav"):
        gone.stat()


def test_a_folder_that_is_removed_meanwhile_is_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    said = r"x.wav: cannot be written \(No such file"
    with pytest.raises(FileError, match=said), atomic(folder / "x.wav"):
        shutil.rmtree(folder)


def test_a_temporary_folder_is_gone_after_the_block(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "run") as folder:
        (folder / "file").touch()
    assert names_in(tmp_path) == []
