"""Claims about what is written: whole or not at all, where it belongs, never over an input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tinysignal import audio
from tinysignal.batch import Work, denoise_folder, find_sounds, plan_work
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, ConfigError, DataError, FileError
from tinysignal.files import (
    atomic,
    check_outputs,
    check_writable,
    find_files,
    read_csv,
    write_csv,
    write_json,
)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fail_half_way(target: Path, error: type[BaseException]) -> None:
    with atomic(target) as part:
        part.write_text("half")
        raise error


def test_a_file_appears_whole_and_nothing_else_remains(tmp_path: Path) -> None:
    target = tmp_path / "x.wav"
    target.write_text("old")
    with atomic(target) as part:
        assert part.suffix == ".wav"
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert names_in(tmp_path) == ["x.wav"]


def test_a_name_may_be_as_long_as_the_file_system_takes(tmp_path: Path) -> None:
    target = tmp_path / ("x" * 251 + ".wav")
    with atomic(target) as part:
        part.write_text("new")
    assert target.read_text() == "new"


def test_a_name_longer_than_that_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="File name too long"):
        fail_half_way(tmp_path / ("x" * 252 + ".wav"), ValueError)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_any_failure_the_old_file_stands(error: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "x.wav"
    target.write_text("old")
    with pytest.raises(error):
        fail_half_way(target, error)
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["x.wav"]


def test_a_link_is_followed_and_permissions_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "x.wav", tmp_path / "link.wav"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic(link) as part:
        part.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_places_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    for target, message in [
        (tmp_path, "a folder"),
        (tmp_path / "no" / "x.wav", "there is no folder"),
        (Path("/dev/null"), "not a regular file"),
    ]:
        with pytest.raises(FileError, match=message), atomic(target):
            pytest.fail("the block was entered")


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    program = """
import resource, sys
from pathlib import Path
import numpy as np
from tinysignal.audio.libsndfile import Writer
from tinysignal.audio.formats import AudioFormat
from tinysignal.errors import FileError
from tinysignal.files import atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
kind = AudioFormat(sys.argv[2], sys.argv[3])
try:
    with atomic(sys.argv[1]) as part, Writer(
        part, sample_rate_hz=48000, channels=1, audio_format=kind
    ) as writer:
        for seed in range(20):
            noise = np.random.default_rng(seed).normal(0, 0.1, (1, 48000))
            writer.write(noise.astype(np.float32))
except FileError as error:
    print(error)
"""
    for kind in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")):
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "x.bin", *kind],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith(f"{tmp_path / 'x.bin'}: cannot be written (")
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""
        assert names_in(tmp_path) == []


def test_what_could_not_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.write_text("old")
    check_writable(tmp_path / "new.csv", None, old)
    assert names_in(tmp_path) == ["old.csv"]
    assert old.read_text() == "old"
    for targets, found in (
        ([tmp_path], "a folder, expected the name"),
        ([tmp_path / "none" / "x.csv"], "there is no folder"),
        ([old / "x.csv"], "there is no folder"),
        ([Path("/dev/null")], "not a regular file"),
        ([tmp_path / ("x" * 300)], "File name too long"),
        ([tmp_path / "x.csv", tmp_path / "x.csv"], "written twice"),
    ):
        with pytest.raises(ConfigError, match=found) as raised:
            check_writable(*targets)
        assert len(str(raised.value).splitlines()) == 1


def test_files_of_any_kind_are_found_in_a_fixed_order(tmp_path: Path) -> None:
    names = ["b.PNG", "a/c.jpg", "a/.hidden.png", ".cache/d.png", "e.txt", "png"]
    touch(*(tmp_path / name for name in names))
    found = find_files(tmp_path, {".png", ".jpg"})
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a/c.jpg", "b.PNG"]
    assert find_files(tmp_path, {".wav"}) == []


def test_folders_are_walked_for_known_extensions_in_a_fixed_order(tmp_path: Path) -> None:
    touch(
        tmp_path / "b.WAV",
        tmp_path / "a" / "x.flac",
        tmp_path / "a" / "film.mkv",
        tmp_path / "notes.txt",
        tmp_path / ".hidden.wav",
        tmp_path / ".git" / "y.wav",
        tmp_path / "b.clean.WAV",
        tmp_path / "b.residual.WAV",
        tmp_path / "only.clean.wav",
        tmp_path / "out" / "b.WAV",
    )
    found = find_sounds(tmp_path, leave_out=tmp_path / "out")
    names = [str(path.relative_to(tmp_path)) for path in found]
    assert names == ["a/film.mkv", "a/x.flac", "b.WAV", "only.clean.wav"]


def test_a_folder_without_sounds_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    with pytest.raises(AudioFileError, match="no audio file"):
        find_sounds(tmp_path)


def test_structure_is_kept(tmp_path: Path) -> None:
    touch(tmp_path / "in" / "a" / "x.wav", tmp_path / "in" / "y.flac")
    out = tmp_path / "out"
    pairs = plan_work([tmp_path / "in"], out_folder=out)
    assert [p.target for p in pairs] == [out / "a" / "x.wav", out / "y.flac"]
    (only,) = plan_work([tmp_path / "in" / "y.flac"], out_folder=out, suffix=".wav")
    assert only.target == out / "y.wav"
    (beside,) = plan_work([tmp_path / "in" / "y.flac"])
    assert beside.target == tmp_path / "in" / "y.clean.flac"


def test_two_inputs_for_one_output_are_planned_as_a_clash(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav", tmp_path / "a" / "x.flac")
    touch(tmp_path / "a" / "y.wav")
    work = plan_work([tmp_path / "a", tmp_path / "b"], out_folder=tmp_path / "out")
    clashing = [item.source for item in work if item.clash]
    assert clashing == [tmp_path / "a" / "x.wav", tmp_path / "b" / "x.wav"]
    assert str(tmp_path / "b" / "x.wav") in str(work[1].clash)
    work = plan_work([tmp_path / "a"], out_folder=tmp_path / "out", suffix=".wav")
    assert [item.source.name for item in work if item.clash] == ["x.flac", "x.wav"]
    (twice,) = plan_work([tmp_path / "a" / "y.wav"] * 2)
    assert twice.clash is None


def test_a_plan_refuses_to_overwrite_an_input(tmp_path: Path) -> None:
    touch(tmp_path / "x.wav", tmp_path / "x.clean.wav")
    with pytest.raises(ConfigError, match="the output is the input"):
        plan_work([tmp_path / "x.wav", tmp_path / "x.clean.wav"])


@pytest.mark.parametrize("link", ["none", "symbolic", "hard", "folder"])
def test_an_input_is_never_overwritten(link: str, tmp_path: Path) -> None:
    source, target = tmp_path / "x.wav", tmp_path / "y.wav"
    touch(source)
    if link == "none":
        target = tmp_path / "sub" / ".." / "x.wav"
        (tmp_path / "sub").mkdir()
    elif link == "symbolic":
        target.symlink_to(source)
    elif link == "hard":
        target.hardlink_to(source)
    else:
        (tmp_path / "loop").symlink_to(tmp_path)
        target = tmp_path / "loop" / "x.wav"
    with pytest.raises(ConfigError, match="the output is the input"):
        check_outputs([(source, target)])


def test_done_means_the_output_is_no_older(tmp_path: Path) -> None:
    item = Work(tmp_path / "x.wav", tmp_path / "y.wav")
    touch(item.source)
    assert not item.is_done()
    touch(item.target)
    assert item.is_done()
    os.utime(item.source, (2e9, 2e9))
    assert not item.is_done()


def test_only_sound_that_cannot_be_read_or_written_is_an_audio_file_error(tmp_path: Path) -> None:
    for write in (
        lambda: write_json(tmp_path / "no" / "x.json", {}),
        lambda: write_csv(tmp_path / "no" / "x.csv", [{"a": 1}]),
        lambda: find_files(tmp_path / "no", {".png"}),
    ):
        with pytest.raises(FileError) as raised:
            write()
        assert not isinstance(raised.value, AudioFileError)


def test_a_table_reads_back_and_has_a_column_for_every_key(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    write_csv(path, [{"a": 1, "b": "x,\n"}, {"a": 2.5, "c": None}])
    rows = read_csv(path, ["a"])
    assert rows == [{"a": "1", "b": "x,\n", "c": ""}, {"a": "2.5", "b": "", "c": ""}]
    with pytest.raises(DataError, match=r"x\.csv: columns a, b, c, expected a column 'path'"):
        read_csv(path, ["path"])
    with pytest.raises(DataError, match="cannot be read"):
        read_csv(tmp_path / "none.csv", [])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="not text in UTF-8"):
        read_csv(path, [])


def test_a_folder_is_denoised_and_one_bad_file_does_not_stop_the_others(
    tmp_path: Path, onset_model: Path
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    touch(source / "bad.wav")
    for name in ("a.wav", "deep/b.wav"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(0).normal(0, 0.1, 8000)
        audio.write(source / name, noise, sample_rate_hz=16_000, subtype="FLOAT")
    denoiser = Denoiser.load(onset_model, mix=0.5)
    found = denoise_folder(source, target, denoiser=denoiser, jobs=2)
    assert [outcome.status for outcome in found] == ["done", "failed", "done"]
    assert "bad.wav" in str(found[1].error)
    assert found[1].to_dict().keys() == found[0].to_dict().keys()
    expected = denoiser(audio.read(source / "a.wav")[0], sample_rate_hz=16_000)
    np.testing.assert_allclose(audio.read(target / "deep" / "b.wav")[0], expected, atol=1e-6)
    again = denoise_folder(source, target, denoiser=denoiser)
    assert [outcome.status for outcome in again] == ["skipped", "failed", "skipped"]
