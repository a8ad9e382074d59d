"""Commands on files in stores give what they give on local files, and leave nothing else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fsspec.implementations.memory import MemoryFileSystem
from stores import BUCKET, Faulty, run_command, web_server

from templates import STRIPES, save_template_model, stripes
from tinysignal.batch import FileOptions, denoise_folder, denoise_many, plan_work, run_batch
from tinysignal.batch.record import FOLDER
from tinysignal.cli.main import run
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, FileError
from tinysignal.evaluation import evaluate_denoiser
from tinysignal.files import check_outputs, find_files
from tinysignal.remote import Url, fetched, is_url, place, state_of, stored, write_bytes
from tinysignal.remote.store import find_files as find_in_store

TALKS, CLEAN = f"s3://{BUCKET}/talks", f"s3://{BUCKET}/clean"


def contents(bucket: Any, folder: str) -> dict[str, bytes]:
    """The files below a folder of the bucket, without the record."""
    above = f"{BUCKET}/{folder}/"
    found = bucket.find(above)
    return {p.removeprefix(above): bucket.cat_file(p) for p in found if f"/{FOLDER}/" not in p}


def local_contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    folder = tmp_path / "spool"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


@pytest.mark.parametrize("options", [[], ["--residual"], ["--format", "flac", "--jobs", "2"]])
def test_a_folder_in_a_store_gives_the_bytes_of_a_local_folder(
    options: list[str], talks: Path, bucket: Any, onset: tuple[str, str], spool: Path
) -> None:
    local = talks.parent / "local"
    assert run(["denoise", str(talks), "-d", str(local), *options, *onset]) == 0
    assert run(["denoise", TALKS, "-d", CLEAN, *options, *onset]) == 0
    assert contents(bucket, "clean") == local_contents(local)
    assert [*spool.iterdir()] == []


def test_from_python_many_files_go_from_a_store_into_one(
    talks: Path, bucket: Any, onset_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    local = talks.parent / "local"
    for source, target in ((talks, local), (TALKS, CLEAN)):
        done = denoise_many(source, target, denoiser=Denoiser.load(onset_model))
        assert [outcome.status for outcome in done] == ["done", "done"]
    assert contents(bucket, "clean") == local_contents(local)
    assert not (tmp_path / "s3:").exists()


def test_workers_of_ray_read_and_write_a_store(
    talks: Path, bucket: Any, env: dict[str, str], onset: tuple[str, str], spool: Path
) -> None:
    if find_spec("ray") is None:  # not imported here: Ray reads its settings once in a process
        pytest.skip("a cluster needs the 'ray' extra")
    local = talks.parent / "local"
    assert run(["denoise", str(talks), "-d", str(local), *onset]) == 0
    command = ("denoise", TALKS, "-d", CLEAN, "--engine", "ray", "--jobs", "1", "--json", *onset)
    first = run_command(*command, env=env)
    assert first.returncode == 0, first.stderr
    assert contents(bucket, "clean") == local_contents(local)
    assert json.loads(first.stdout)["done"] == 2
    # The record of the store, which the workers leave to the process that started them.
    assert [path for path in bucket.find(f"{BUCKET}/clean") if path.endswith(".jsonl")]
    assert json.loads(run_command(*command, env=env).stdout)["skipped"] == 2


def test_a_picture_of_a_sound_in_a_store_is_drawn_beside_its_output(
    talks: Path, bucket: Any, onset: tuple[str, str]
) -> None:
    pytest.importorskip("matplotlib")
    output = f"{CLEAN}/a.wav"
    assert run(["denoise", f"{TALKS}/a.wav", "-o", output, "--plot", *onset]) == 0
    assert sorted(contents(bucket, "clean")) == ["a.png", "a.wav"]


@pytest.mark.parametrize("direction", ["up", "down"])
def test_one_side_may_be_local(
    direction: str, talks: Path, bucket: Any, onset: tuple[str, str]
) -> None:
    local, there = talks.parent / "local", talks.parent / "there"
    assert run(["denoise", str(talks), "-d", str(local), *onset]) == 0
    if direction == "up":
        assert run(["denoise", str(talks), "-d", CLEAN, *onset]) == 0
        assert contents(bucket, "clean") == local_contents(local)
    else:
        assert run(["denoise", TALKS, "-d", str(there), *onset]) == 0
        assert local_contents(there) == local_contents(local)
        umask = os.umask(0)
        os.umask(umask)
        assert (there / "a.wav").stat().st_mode & 0o777 == 0o666 & ~umask


def test_a_pipe_goes_into_a_store_and_comes_out_of_one(
    talks: Path, bucket: Any, onset: tuple[str, str], env: dict[str, str]
) -> None:
    local = talks.parent / "a.wav"
    assert run(["denoise", str(talks / "a.wav"), "-o", str(local), *onset]) == 0
    command = [sys.executable, "-m", "tinysignal", "denoise", *onset]
    sound = (talks / "a.wav").read_bytes()
    subprocess.run([*command, "-", "-o", f"{CLEAN}/a.wav"], input=sound, check=True)
    assert contents(bucket, "clean") == {"a.wav": local.read_bytes()}
    done = subprocess.run([*command, f"{TALKS}/a.wav", "-o", "-"], capture_output=True, check=True)
    assert done.stdout == local.read_bytes()


def test_a_second_run_does_only_what_is_missing(
    talks: Path, bucket: Any, onset_model: Path, proxy: Faulty
) -> None:
    denoiser = Denoiser.load(onset_model)

    def again(**options: Any) -> list[str]:
        return [o.status for o in denoise_folder(TALKS, CLEAN, **{"denoiser": denoiser} | options)]

    assert again() == ["done", "done"]
    proxy.seen.clear()
    assert again() == ["skipped", "skipped"]
    # Lists and the record are read: no sound is asked for, and nothing is written.
    assert not [line for line in proxy.seen if line.startswith("PUT") or ".wav" in line]
    bucket.rm_file(f"{BUCKET}/clean/a.wav")
    assert again() == ["done", "skipped"]
    assert again(denoiser=Denoiser.load(onset_model, mix=0.5)) == ["done", "done"]
    assert again(denoiser=Denoiser.load(onset_model, mix=0.5)) == ["skipped", "skipped"]
    assert again(options=FileOptions(subtype="PCM_24")) == ["done", "done"]
    soundfile.write(talks / "a.wav", np.zeros(9000), 16_000)
    bucket.put_file(str(talks / "a.wav"), f"{BUCKET}/talks/a.wav")
    assert again(options=FileOptions(subtype="PCM_24")) == ["done", "skipped"]


def test_without_a_record_times_decide(talks: Path, bucket: Any, onset_model: Path) -> None:
    """As after a run that was killed before it stored its record."""
    denoiser = Denoiser.load(onset_model)
    denoise_folder(TALKS, CLEAN, denoiser=denoiser)
    for path in bucket.find(f"{BUCKET}/clean"):
        if FOLDER in path:
            bucket.rm_file(path)
    found = denoise_folder(TALKS, CLEAN, denoiser=denoiser)
    assert [outcome.status for outcome in found] == ["skipped", "skipped"]


def test_a_folder_of_more_than_a_thousand_files_is_listed_in_pages(
    bucket: Any, proxy: Faulty
) -> None:
    for number in range(1100):
        bucket.pipe_file(f"{BUCKET}/many/{number:04d}.wav", b"x")
    proxy.seen.clear()
    found = find_in_store(_url(f"s3://{BUCKET}/many"), {".wav"})
    assert [url.name for url in found] == [f"{number:04d}.wav" for number in range(1100)]
    pages = [line for line in proxy.seen if "list-type" in line]
    assert len(pages) == 2
    assert all(state_of(url) is not None for url in found)
    assert len(proxy.seen) == 2  # sizes and times came with the list


def test_a_listing_finds_what_a_local_folder_would(tmp_path: Path, bucket: Any) -> None:
    names = [
        "b.WAV",
        "a/c.wav",
        "a-b/c.wav",
        "a/d.txt",
        ".h/e.wav",
        "a/.f.wav",
        "out/g.wav",
        "none",
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
        bucket.pipe_file(f"{BUCKET}/tree/{name}", b"x")
    here, there = Counter[str](), Counter[str]()
    root = _url(f"s3://{BUCKET}/tree")
    local = find_files(tmp_path, {".wav"}, leave_out=tmp_path / "out", passed_over=here)
    found = find_in_store(root, {".wav"}, leave_out=_url(f"{root}/out"), passed_over=there)
    assert [str(url.relative_to(root)) for url in found] == [
        path.relative_to(tmp_path).as_posix() for path in local
    ]
    assert here == there


def test_keys_that_lead_out_of_a_folder_are_not_followed(
    talks: Path, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    sound = (talks / "a.wav").read_bytes()
    for key in ("../up.wav", "a/../../up.wav", "/etc/up.wav", "a//up.wav", "good.wav"):
        bucket.pipe_file(f"{BUCKET}/hostile/{key}", sound)
    out = talks.parent / "x" / "y" / "out"
    assert run(["denoise", f"s3://{BUCKET}/hostile", "-d", str(out), *onset]) == 0
    assert [p.name for p in (talks.parent / "x").rglob("*.wav")] == ["good.wav"]
    assert "2 files passed over: .wav (2)" in capsys.readouterr().err


def test_outputs_that_clash_are_refused_in_a_store_too(
    talks: Path, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", f"{TALKS}/a.wav", "-o", f"{TALKS}/a.wav", *onset]) == 2
    assert "the output is the input" in capsys.readouterr().err
    bucket.copy(f"{BUCKET}/talks/a.wav", f"{BUCKET}/more/a.wav")
    inputs = [f"{TALKS}/a.wav", f"s3://{BUCKET}/more/a.wav"]
    assert run(["denoise", *inputs, "-d", CLEAN, *onset]) == 1
    assert capsys.readouterr().err.count("would be written for") == 2
    url = _url(f"{CLEAN}/x.csv")
    with pytest.raises(ConfigError, match="written twice"):
        check_outputs([], also_written=[url, _url(str(url))])
    with pytest.raises(ConfigError, match="cannot be written over http"):
        plan_work(["a.wav"], out_folder="http://127.0.0.1/out")


def test_outputs_beside_their_inputs_are_not_denoised_again(
    talks: Path, bucket: Any, onset: tuple[str, str]
) -> None:
    assert run(["denoise", TALKS, *onset]) == 0
    names = ["a.clean.wav", "a.wav", "deep/b.clean.flac", "deep/b.flac"]
    assert sorted(contents(bucket, "talks")) == names
    assert run(["denoise", TALKS, *onset]) == 0
    assert sorted(contents(bucket, "talks")) == names


def test_times_are_kept_where_there_are_any(
    talks: Path, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = talks.parent / "out.wav"
    assert run(["denoise", f"{TALKS}/a.wav", "-o", str(out), "--keep-times", *onset]) == 0
    modified = bucket.info(f"{BUCKET}/talks/a.wav")["LastModified"]
    assert out.stat().st_mtime == int(modified.timestamp())
    assert run(["denoise", str(talks), "-d", CLEAN, "--keep-times", *onset]) == 1
    assert "sets the times of files itself" in capsys.readouterr().err
    assert contents(bucket, "clean") == {}


def test_a_model_lies_in_a_store(talks: Path, bucket: Any, onset: tuple[str, str]) -> None:
    bucket.put_file(onset[1], f"{BUCKET}/run/model.onnx")
    outputs = []
    for number, model in enumerate(
        [onset[1], f"s3://{BUCKET}/run/model.onnx", f"s3://{BUCKET}/run"]
    ):
        out = talks.parent / f"{number}.wav"
        assert run(["denoise", str(talks / "a.wav"), "-o", str(out), "-m", model]) == 0
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_info_and_evaluate_read_from_stores(
    talks: Path, bucket: Any, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", str(talks / "a.wav"), "--json"]) == 0
    local = json.loads(capsys.readouterr().out)
    assert run(["info", f"{TALKS}/a.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {**local, "file": f"{TALKS}/a.wav"}
    assert run(["denoise", TALKS, "-d", CLEAN, *onset]) == 0
    options = {"metrics": ["snr"], "model": onset[1]}
    there = evaluate_denoiser(noisy=CLEAN, clean=TALKS, save_dir=f"s3://{BUCKET}/kept", **options)
    assert run(["denoise", str(talks), "-d", str(talks.parent / "out"), *onset]) == 0
    here = evaluate_denoiser(noisy=talks.parent / "out", clean=talks, **options)
    assert there.to_dict() == here.to_dict()
    assert sorted(contents(bucket, "kept")) == ["a.wav", "deep/b.wav"]
    bucket.pipe_file(f"{BUCKET}/pairs.csv", f"noisy,clean\nclean/a.wav,{TALKS}/a.wav\n".encode())
    command = ["evaluate", onset[1], "--pairs", f"s3://{BUCKET}/pairs.csv", "--metrics", "snr"]
    assert run([*command, "--csv", f"s3://{BUCKET}/scores.csv"]) == 0
    assert b"clean/a" in bucket.cat_file(f"{BUCKET}/scores.csv")


def test_pictures_in_a_store_are_classified_and_scored(
    tmp_path: Path, bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("PIL")
    model = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES)
    for number, split in enumerate(("train", "test")):
        for index, name in enumerate(STRIPES):
            picture = b"P5 2 1 255 " + bytes([255, 30 * number + 10 * index])
            bucket.pipe_file(f"{BUCKET}/photos/{split}/{name}/1.pgm", picture)
    photos = f"s3://{BUCKET}/photos"
    assert run(["classify", photos, "-m", str(model), "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert {answer["class"] for answer in answers} == {"left"}
    assert answers[0]["file"].startswith(f"{photos}/")
    assert run(["evaluate", str(model), "--data", photos, "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["accuracy"] < 1
    bucket.pipe_file(f"{BUCKET}/photos/test/left/bad.pgm", b"no picture")
    assert run(["evaluate", str(model), "--data", photos, "--json"]) == 1
    assert f"{photos}/test/left/bad.pgm" in capsys.readouterr().err


def test_a_web_server_is_read(
    talks: Path, onset: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (talks / "my talk.wav").write_bytes((talks / "a.wav").read_bytes())
    out = talks.parent / "out"
    with web_server(talks) as address:
        one = [f"{address}/my%20talk.wav?token=SECRET", "-d", str(out)]
        assert run(["denoise", *one, *onset]) == 0
        assert "SECRET" not in capsys.readouterr().err
        assert [path.name for path in out.glob("*.wav")] == ["my talk.wav"]
        assert run(["denoise", f"{address}/", "-d", str(out), *onset]) == 0
        assert sorted(local_contents(out)) == ["a.wav", "deep/b.flac", "my talk.wav"]
        assert run(["denoise", f"{address}/none.wav", "-d", str(out), *onset]) == 1
        assert "none.wav: cannot be read (there is no such file" in capsys.readouterr().err
        assert run(["denoise", f"{address}/a.wav", *onset]) == 2
        assert "cannot be written over http" in capsys.readouterr().err


def test_memory_is_a_store_as_well(make_noisy: Any, onset_model: Path) -> None:
    MemoryFileSystem.store.clear()
    file = io.BytesIO()
    soundfile.write(file, make_noisy().T, 16_000, format="WAV")
    write_bytes(_url("memory://bucket/in/a.wav"), file.getvalue())
    denoiser = Denoiser.load(onset_model)
    for status in ("done", "skipped"):
        found = denoise_folder("memory://bucket/in", "memory://bucket/out", denoiser=denoiser)
        assert [outcome.status for outcome in found] == [status]


def test_files_by_url_are_local_files(talks: Path, onset: tuple[str, str]) -> None:
    out = talks.parent / "out of it"
    assert run(["denoise", (talks / "a.wav").as_uri(), "-d", out.as_uri(), *onset]) == 0
    assert (out / "a.wav").exists()


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("https:///x", "names no server"),
        ("s3:/x", "expected s3:// with two slashes"),
        ("s3:x", "expected s3:// with two slashes"),
        ("foo://x", "'foo' is no kind of store"),
        ("file://elsewhere/x", "expected file:///"),
    ],
)
def test_a_url_that_names_nothing_is_a_usage_error(
    given: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["denoise", given, "-d", "out"]) == 2
    told = capsys.readouterr().err
    assert complaint in told
    assert told.count("\n") == 1
    assert run(["denoise", "absent.wav", "-d", given]) == 2


@pytest.mark.parametrize(
    "command",
    [
        "train denoiser --clean a --noise b -o s3://bucket/run",
        "train classifier --output=s3://bucket/run",
        "inspect s3://bucket/run",
        "compress run -o s3://bucket/small",
        "play s3://bucket/x.wav",
        "evaluate run --data-dir s3://bucket/data",
    ],
)
def test_no_folder_called_s3_is_made_where_paths_are_local(
    command: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(command.split()) == 2
    told = capsys.readouterr().err
    assert "s3://bucket/" in told
    assert "expected a local path" in told
    assert [*tmp_path.iterdir()] == []


def test_paths_are_no_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("talk.wav", "a/b://c", "C:/x.wav", "c://x.wav", "-", "a::b.wav", "x:y.wav"):
        assert not is_url(path)
        assert place(path) == Path(path)
    monkeypatch.chdir(tmp_path)
    Path("s3:").mkdir()
    assert place("s3:/x") == Path("s3:/x")


def test_what_people_see_of_a_url_holds_no_secret() -> None:
    url = _url("https://user:pass@word@host/a/b.wav?X-Amz-Signature=abc&x=1")
    assert str(url) == "https://host/a/b.wav?..."
    assert "abc" not in repr([str(url)])
    assert url.raw.endswith("=1")
    assert str(_url("sftp://me:secret@host/a.wav")) == "sftp://host/a.wav"
    assert _url("s3://bucket/what?.wav").name == "what?.wav"


def test_a_bucket_file_is_gone_from_this_machine_after_its_block(bucket: Any, spool: Path) -> None:
    bucket.pipe_file(f"{BUCKET}/x.txt", b"hello")
    with fetched(f"s3://{BUCKET}/x.txt") as path:
        assert path.read_bytes() == b"hello"
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [*spool.iterdir()] == []
    with pytest.raises(ZeroDivisionError), stored(f"s3://{BUCKET}/y.txt") as path:
        path.write_bytes(b"half" * (1 // 0))
    assert [*spool.iterdir()] == []
    assert not bucket.exists(f"{BUCKET}/y.txt")


def test_no_room_for_temporary_files_is_told(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bucket.pipe_file(f"{BUCKET}/x.txt", b"hello")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with (
        pytest.raises(FileError, match="TMPDIR names another folder"),
        fetched(f"s3://{BUCKET}/x.txt"),
    ):
        pass


def test_a_run_has_no_more_files_here_than_jobs(
    bucket: Any, talks: Path, spool: Path, onset_model: Path
) -> None:
    for number in range(12):
        bucket.put_file(str(talks / "a.wav"), f"{BUCKET}/many/{number}.wav")
    most = 0

    def look(seconds: float) -> None:
        nonlocal most
        most = max(most, len([*spool.rglob("source*")]))

    work = plan_work([f"s3://{BUCKET}/many"], out_folder=CLEAN)
    found = run_batch(work, Denoiser.load(onset_model), jobs=2, on_seconds=look)
    assert {outcome.status for outcome in found} == {"done"}
    assert 1 <= most <= 2


PEAK = """
import resource, sys
from tinysignal.remote import fetched, stored
if sys.argv[1:]:
    with fetched(sys.argv[1]) as source, stored(sys.argv[2]) as target:
        target.hardlink_to(source)
else:
    from tinysignal.remote import place, is_folder
    is_folder(place("s3://bucket/none"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_a_file(bucket: Any, tmp_path: Path, server: str) -> None:
    """200 MB there and back in less than 110 MB more than one question takes."""
    bucket.pipe_file(f"{BUCKET}/big.bin", b"0123456789" * 20_000_000)
    env = {"AWS_ENDPOINT_URL": server}

    def peak_mb(*arguments: str) -> float:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *arguments],
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout) / 1000

    idle = peak_mb()
    busy = peak_mb(f"s3://{BUCKET}/big.bin", f"s3://{BUCKET}/copy.bin")
    assert bucket.info(f"{BUCKET}/copy.bin")["size"] == 200_000_000
    assert busy - idle < 110, (idle, busy)


def test_the_command_ends_with_empty_standard_error_but_for_its_lines(
    talks: Path, bucket: Any, onset: tuple[str, str], env: dict[str, str]
) -> None:
    done = run_command("denoise", TALKS, "-d", CLEAN, "--quiet", *onset, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def _url(text: str) -> Url:
    found = place(text)
    assert isinstance(found, Url)
    return found
