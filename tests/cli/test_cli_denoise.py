"""Claims about `tinysignal denoise` and `tinysignal play`, made where their user stands."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf

from tinysignal import audio
from tinysignal.batch.record import NAME as RECORD
from tinysignal.cli.main import run
from tinysignal.cli.patterns import expanded
from tinysignal.denoiser import Denoiser

Noisy = Callable[..., np.ndarray]
COMMAND = [sys.executable, "-c", "from tinysignal.cli.main import main; main()"]


@pytest.fixture
def talk(tmp_path: Path, make_noisy: Noisy) -> Path:
    path = tmp_path / "talk.wav"
    noisy = make_noisy(seconds=1.5, rate_hz=44_100, channels=2)
    audio.write(path, noisy, sample_rate_hz=44_100, subtype="PCM_24", tags={"title": "Talk"})
    return path


def names_in(folder: Path) -> list[str]:
    """Files, but for the record of what was made."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != RECORD]
    return sorted(str(path.relative_to(folder)) for path in paths)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_file_keeps_its_facts_and_gets_the_librarys_answer(
    talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.wav"
    assert run(["denoise", str(talk), "-m", str(onset_model), "-o", str(out)]) == 0
    assert audio.info(out) == audio.info(talk)
    expected = Denoiser.load(onset_model)(audio.read(talk)[0], sample_rate_hz=44_100)
    np.testing.assert_allclose(audio.read(out)[0], expected, atol=2**-23)


def test_a_folder_with_json_reports_every_file_in_order_and_nothing_else(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "in", tmp_path / "new" / "out"
    (folder / "deep").mkdir(parents=True)
    for name in ("c.wav", "a.wav", "deep/b.wav"):
        (folder / name).write_bytes(talk.read_bytes())
    (folder / "bad.wav").write_bytes(b"RIFF")
    arguments = ["denoise", str(folder), "-d", str(out), "--json", "-m", str(onset_model)]
    assert run([*arguments, "--jobs", "3"]) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert [report[k] for k in ("done", "skipped", "failed")] == [3, 0, 1]
    assert [Path(f["input"]).name for f in report["files"]] == [
        "a.wav",
        "bad.wav",
        "c.wav",
        "b.wav",
    ]
    assert names_in(out) == ["a.wav", "c.wav", "deep/b.wav"]
    done, failed = report["files"][0], report["files"][1]
    assert done["subtype"] == "PCM_24"
    assert (done["sample_rate_hz"], done["channels"], done["seconds"]) == (44_100, 2, 1.5)
    assert done["level_out_dbfs"] < done["level_in_dbfs"] < 0
    assert done["speed"] * done["real_time_factor"] == pytest.approx(1, rel=1e-3)
    assert "bad.wav" in failed["error"]
    assert failed["seconds"] is None
    assert "error: " in captured.err
    assert run(arguments) == 1
    assert json.loads(capsys.readouterr().out)["skipped"] == 3
    assert run([*arguments, "--overwrite"]) == 1
    assert json.loads(capsys.readouterr().out)["done"] == 3


def test_without_a_destination_the_clean_file_lies_beside(
    talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    arguments = ["denoise", str(talk), "-m", str(onset_model), "--residual"]
    assert run(arguments) == 0
    written = ["talk.clean.residual.wav", "talk.clean.wav", "talk.wav"]
    assert names_in(tmp_path) == written
    parts = [audio.read(tmp_path / name)[0] for name in written]
    np.testing.assert_allclose(parts[0] + parts[1], parts[2], atol=2**-22)
    assert run(["denoise", str(tmp_path), "-m", str(onset_model)]) == 0
    assert names_in(tmp_path) == written


def test_the_picture_lies_beside_the_clean_file(
    talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs the 'plot' extra")
    assert run(["denoise", str(talk), "-m", str(onset_model), "--plot"]) == 0
    assert (tmp_path / "talk.clean.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("mode", "suffix"), [("rescale", "wav"), ("clamp", "wav"), ("none", "wav"), ("rescale", "ogg")]
)
def test_too_loud_a_signal_is_treated_as_asked(
    mode: str,
    suffix: str,
    onset_model: Path,
    make_noisy: Noisy,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source, out = tmp_path / "x.wav", tmp_path / f"y.{suffix}"
    loud = 5 * make_noisy(seconds=1)
    audio.write(source, loud, sample_rate_hz=16_000, subtype="FLOAT")
    subtype = [] if suffix == "ogg" else ["--subtype", "pcm_16"]
    arguments = ["denoise", str(source), "-o", str(out), "-m", str(onset_model), *subtype]
    assert run([*arguments, "--clip-mode", mode]) == 0
    said = capsys.readouterr().err
    clean = Denoiser.load(onset_model)(loud, sample_rate_hz=16_000)
    peak = np.abs(clean).max()
    assert peak > 1
    found, _ = audio.read(out)
    if mode == "rescale":
        assert "dB quieter" in said
        tolerance = 0.2 if suffix == "ogg" else 2**-15
        np.testing.assert_allclose(found, clean / peak, atol=tolerance)
    else:
        np.testing.assert_allclose(found, np.clip(clean, -1, 1), atol=2**-15)
        clipped = np.count_nonzero(np.abs(clean) > 1)
        assert (f"{clipped} samples beyond full scale" in said) == (mode == "clamp")


def test_a_float_file_is_never_rescaled(
    onset_model: Path, make_noisy: Noisy, tmp_path: Path
) -> None:
    source, out = tmp_path / "x.wav", tmp_path / "y.wav"
    loud = 5 * make_noisy(seconds=1)
    audio.write(source, loud, sample_rate_hz=16_000, subtype="FLOAT")
    assert run(["denoise", str(source), "-o", str(out), "-m", str(onset_model)]) == 0
    clean = Denoiser.load(onset_model)(loud, sample_rate_hz=16_000)
    np.testing.assert_allclose(audio.read(out)[0], clean, atol=1e-6)


@pytest.mark.parametrize(
    ("rate_hz", "channels", "kind"),
    [
        (4000, 1, ("WAV", "PCM_16", "wav")),
        (192_000, 2, ("FLAC", "PCM_24", "flac")),
        (48_000, 32, ("WAV", "PCM_24", "wav")),
        (48_000, 2, ("OGG", "OPUS", "opus")),
        (44_100, 2, ("OGG", "VORBIS", "ogg")),
        (44_100, 1, ("MP3", "MPEG_LAYER_III", "mp3")),
        (22_050, 1, ("AIFF", "PCM_16", "aiff")),
    ],
)
def test_odd_files_come_back_as_they_were(
    rate_hz: int,
    channels: int,
    kind: tuple[str, str, str],
    onset_model: Path,
    make_noisy: Noisy,
    tmp_path: Path,
) -> None:
    source = tmp_path / f"x.{kind[2]}"
    noisy = make_noisy(seconds=0.777, rate_hz=rate_hz, channels=channels)
    sf.write(source, noisy.T, rate_hz, format=kind[0], subtype=kind[1])
    assert run(["denoise", str(source), "-m", str(onset_model)]) == 0
    before, after = audio.info(source), audio.info(tmp_path / f"x.clean.{kind[2]}")
    assert replace(before, bit_rate=None) == replace(after, bit_rate=None)
    assert (after.container, after.subtype) in [kind[:2], ("WAVEX", kind[1])]


def test_an_adpcm_file_becomes_pcm_and_says_so(
    onset_model: Path, make_noisy: Noisy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sf.write(tmp_path / "x.wav", make_noisy()[0], 16_000, subtype="IMA_ADPCM")
    assert run(["denoise", str(tmp_path / "x.wav"), "-m", str(onset_model)]) == 0
    assert "PCM_16 is written instead" in capsys.readouterr().err
    found = audio.info(tmp_path / "x.clean.wav")
    assert (found.subtype, found.samples) == ("PCM_16", audio.info(tmp_path / "x.wav").samples)


@pytest.mark.parametrize("container", [None, "flac"])
def test_a_pipe_carries_a_whole_file_and_nothing_else(
    container: str | None, talk: Path, onset_model: Path
) -> None:
    kind = [] if container is None else ["--format", container]
    done = subprocess.run(
        [*COMMAND, "denoise", "-", "-m", str(onset_model), *kind],
        input=talk.read_bytes(),
        capture_output=True,
        check=True,
    )
    piped, rate_hz = sf.read(io.BytesIO(done.stdout), always_2d=True)
    assert (piped.shape, rate_hz) == ((66_150, 2), 44_100)
    found = sf.info(io.BytesIO(done.stdout))
    assert (found.format, found.subtype) == ((container or "wav").upper(), "PCM_24")
    assert b"-> -" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nope.wav"], 1, "nope.wav: cannot be read (No such file"),
        (["empty.wav"], 1, "an empty file"),
        (["silence.wav"], 1, "no samples"),
        (["text.wav"], 1, "not a readable audio file"),
        (["cut.wav"], 1, "truncated"),
        (["nan.wav"], 1, "at 0.250 s, channel 1"),
        (["slow.wav"], 1, "1000 Hz"),
        (["wide.wav"], 1, "40 channels"),
        (["bare"], 1, "no audio file"),
        (["talk.wav", "-o", "no/x.wav"], 1, "there is no folder"),
        (["talk.wav", "-o", "x.xyz"], 0, ""),
        (
            ["talk.wav", "-o", "x.amr"],
            1,
            "x.amr: .amr can be read but not written. Pass --format wav",
        ),
        (["talk.wav", "-o", "x.wav", "--track", "2"], 1, "talk.wav has 1 sound track"),
        (["talk.wav", "-o", "x.wav", "--track", "0"], 2, "--track '0', expected a number"),
        (["talk.wav", "-o", "x.opus"], 1, "Opus only supports"),
        (["talk.wav", "-o", "talk.wav"], 2, "the output is the input"),
        (["talk.wav", "-o", "bare"], 2, "is a folder"),
        (["talk.wav", "-o", "a.wav", "-d", "b"], 2, "only one of them"),
        (["talk.wav", "nan.wav", "-o", "a.wav"], 2, "one input"),
        (["talk.wav", "--residual-file", "talk.clean.wav"], 2, "would be written twice"),
        (["talk.wav", "--subtype", "PCM_99"], 2, "expected one of"),
        (["talk.wav", "--format", "flac", "--subtype", "FLOAT"], 1, "FLAC takes one of"),
        (["talk.wav", "--format", "docx"], 2, "expected one of"),
        (["talk.wav", "--mix", "7"], 2, "--mix"),
        (["talk.wav", "--jobs", "0"], 2, "--jobs"),
        (["talk.wav", "--frobnicate"], 2, "--frobnicate"),
        (["talk.wav", "-m", "text.wav"], 1, "not a readable ONNX model"),
        (["talk.wav", "-m", "nope.onnx"], 1, "no such model"),
    ],
)
def test_wrong_input_and_usage_end_in_one_line(
    arguments: list[str],
    status: int,
    message: str,
    talk: Path,
    onset_model: Path,
    make_noisy: Noisy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.wav").touch()
    Path("text.wav").write_text("not audio " * 30)
    Path("cut.wav").write_bytes(talk.read_bytes()[:50_000])
    Path("bare").mkdir()
    sf.write("silence.wav", np.zeros(0), 16_000)
    sf.write("nan.wav", np.where(np.arange(16_000) == 4000, np.nan, 0), 16_000, subtype="FLOAT")
    sf.write("slow.wav", np.zeros(100), 1000)
    sf.write("wide.wav", np.zeros((100, 40)), 16_000)
    before = names_in(tmp_path)
    model = [] if "-m" in arguments else ["-m", str(onset_model)]
    assert run(["denoise", *arguments, *model]) == status
    if status:
        assert message in one_line(capsys)
        assert names_in(tmp_path) == before


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupt_leaves_nothing_half_written(
    number: signal.Signals, status: int, onset_model: Path, tmp_path: Path
) -> None:
    source = tmp_path / "long.wav"
    noise = np.random.default_rng(0).normal(0, 0.1, 48_000 * 20).astype(np.float32)
    with sf.SoundFile(source, "w", 48_000, 1) as file:
        for _ in range(30):
            file.write(noise)
    process = subprocess.Popen(
        [*COMMAND, "denoise", str(source), "-m", str(onset_model), "--residual"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while not any(p.stat().st_size for p in tmp_path.glob(".*.part.wav")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert process.returncode == status
    assert said == "error: interrupted.\n"
    assert names_in(tmp_path) == ["long.wav"]


def test_json_is_valid_under_any_code_page(talk: Path, onset_model: Path, tmp_path: Path) -> None:
    source = talk.rename(tmp_path / "\u65e5\u672c \N{MICROPHONE} \u00fc.wav")
    done = subprocess.run(
        [*COMMAND, "denoise", str(source), "-m", str(onset_model), "--json"],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout.decode("cp1252"))["files"][0]["input"] == str(source)


def test_an_output_that_ends_with_a_slash_is_a_folder(
    talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "cleaned"
    assert run(["denoise", str(talk), "-o", f"{folder}/", "-m", str(onset_model)]) == 0
    assert audio.info(folder / talk.name) == audio.info(talk)
    assert run(["denoise", str(talk), "-o", f"{folder}/", "-d", str(tmp_path / "d")]) == 2


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are text there")
@pytest.mark.parametrize("name", [b"t\xff.wav", b"two\nlines.wav", b"[red].wav"])
def test_a_name_may_be_any_bytes(
    name: bytes, talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    source = talk.rename(tmp_path / os.fsdecode(name))
    command = [*COMMAND, "denoise", str(source), "-m", str(onset_model), "-d", str(tmp_path / "d")]
    done = subprocess.run([*command, "--json"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"][0]["input"] == str(source)
    assert audio.info(tmp_path / "d" / source.name) == audio.info(source)


@pytest.mark.parametrize(("closed", "what"), [("<&-", "stdin"), (">&-", "stdout")])
def test_a_closed_stream_is_no_pipe(closed: str, what: str, talk: Path) -> None:
    script = f'"$@" denoise - {closed}; "$@" info "{talk}" {closed}'
    command = ["sh", "-c", script, "sh", *COMMAND]
    with talk.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert what in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_reader_of_the_pipe_that_leaves_is_no_drama(talk: Path, onset_model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "denoise", str(talk), "-m", str(onset_model), "-o", "-", "-q"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_command_starts_without_torch_or_matplotlib(talk: Path, onset_model: Path) -> None:
    program = (
        "import sys; from tinysignal.cli.main import run; "
        f"assert run({['denoise', str(talk), '-m', str(onset_model)]!r}) == 0; "
        "run(['--help']); "
        "print([m for m in ('torch', 'matplotlib', 'av', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


class FakeStream:
    played: list[Any] = []  # noqa: RUF012 - shared on purpose

    def __init__(self, *, samplerate: int, channels: int, dtype: str) -> None:
        self.facts = (samplerate, channels, dtype)

    def __enter__(self) -> FakeStream:
        self.played.append([])
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def write(self, block: np.ndarray) -> None:
        assert block.shape[1] == self.facts[1]
        self.played[-1].append(block)


def test_play_plays_before_and_then_after(
    talk: Path,
    onset_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    device = ModuleType("sounddevice")
    device.OutputStream = FakeStream  # type: ignore[attr-defined]
    device.PortAudioError = RuntimeError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sounddevice", device)
    assert run(["play", str(talk), "-m", str(onset_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["samples"] == audio.info(talk).samples
    before, after = (np.concatenate(blocks).T for blocks in FakeStream.played)
    np.testing.assert_array_equal(before, audio.read(talk)[0])
    expected = Denoiser.load(onset_model)(before, sample_rate_hz=44_100)
    np.testing.assert_allclose(after, expected, atol=1e-6)


def test_play_names_its_extra(
    talk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run(["play", str(talk)]) == 2
    assert "tinysignal[play]" in one_line(capsys)


def test_a_named_output_is_always_written_anew(
    talk: Path, onset_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.wav"
    arguments = ["denoise", str(talk), "-o", str(out), "-m", str(onset_model)]
    assert run(arguments) == 0
    first = out.read_bytes()
    assert run([*arguments, "--mix", "0.5"]) == 0
    assert out.read_bytes() != first


def test_a_missing_plot_extra_is_said_before_the_work(
    talk: Path,
    onset_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("tinysignal.cli.denoise.find_spec", lambda name: None)
    out = tmp_path / "out.wav"
    assert run(["denoise", str(talk), "-o", str(out), "--plot", "-m", str(onset_model)]) == 2
    assert "tinysignal[plot]" in capsys.readouterr().err
    assert not out.exists()


def test_no_line_of_a_library_reaches_the_screen(tmp_path: Path, onset_model: Path) -> None:
    path = tmp_path / "x.mp3"
    sound = np.random.default_rng(0).normal(0, 0.1, 100_000)
    sf.write(path, sound, 44_100)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(2048) + content[middle + 2048 :])
    (tmp_path / "y.mp3").write_bytes(np.random.default_rng(0).bytes(20_000))
    command = [sys.executable, "-m", "tinysignal", "denoise", tmp_path, "-m", onset_model]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    assert done.returncode == 1
    assert [line.startswith("error: ") for line in lines] == [True, True], done.stderr


def test_denoise_without_arguments_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["denoise"]) == 2
    said = capsys.readouterr()
    assert "Usage: tinysignal denoise" in said.out + said.err
    assert "error" not in said.err


def test_a_file_that_is_named_twice_is_done_once(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "." / "talk.wav"
    assert run(["denoise", str(talk), str(again), "-m", str(onset_model), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1


@pytest.mark.parametrize("extra", ["--format", "--plot"])
def test_a_clash_of_two_outputs_fails_those_two_and_no_other(
    extra: str,
    talk: Path,
    onset_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if extra == "--plot":
        pytest.importorskip("matplotlib", reason="the picture needs the 'plot' extra")
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    talk.rename(folder / "a.wav")
    audio.write(folder / "a.flac", np.zeros(8000), sample_rate_hz=16_000)
    audio.write(folder / "b.wav", np.zeros(8000), sample_rate_hz=16_000)
    asked = ["--plot"] if extra == "--plot" else ["--format", "flac"]
    command = ["denoise", str(folder), "-d", str(out), "-m", str(onset_model), "--json", *asked]
    assert run(command) == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert [Path(f["input"]).name for f in report["files"] if f["status"] == "failed"] == [
        "a.flac",
        "a.wav",
    ]
    assert str(folder / "a.wav") in report["files"][0]["error"]
    shared = out / ("a.png" if extra == "--plot" else "a.flac")
    assert captured.err.count(f"{shared} would be written for ") == 2
    assert {Path(name).stem for name in names_in(out)} == {"b"}


def test_what_a_folder_passes_over_is_counted_by_ending(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.amrx", "deep/b.AMRX", "notes.txt", "README", ".hidden.xyz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    command = ["denoise", str(tmp_path), "-m", str(onset_model), "--json"]
    for _ in range(2):
        assert run(command) == 0
        said = capsys.readouterr()
        assert said.err.splitlines()[-1] == (
            "4 files passed over: .amrx (2), no ending (1), .txt (1)"
        )
        assert json.loads(said.out)["passed_over"] == {".amrx": 2, "": 1, ".txt": 1}


def test_a_kind_that_cannot_be_written_is_passed_over_and_the_way_out_named(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tape.dv").write_bytes(b"x")
    command = ["denoise", str(tmp_path), "-m", str(onset_model)]
    assert run(command) == 0
    said = capsys.readouterr().err.splitlines()[-1]
    assert said == "1 file passed over: .dv (1); --format wav takes .dv too"
    assert run([*command, "--format", "wav"]) == 1  # it is read then, and is none
    assert "tape.dv: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", [r"\\?\C:\talks\a.wav", r"\\server\share\talk [1].wav", "./a.wav", "a/../b.wav", "-"]
)
def test_names_that_match_nothing_stay_as_they_were_typed(name: str) -> None:
    assert expanded([name]) == [name]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.wav", {"a.wav", "[b].wav"}),
        ("[b].wav", {"[b].wav"}),  # a name that exists is no pattern
        ("[a].wav", {"a.wav"}),
        ("**/*.wav", {"a.wav", "[b].wav", "deep/er/c.wav"}),
        ("d*", {"deep/er/c.wav"}),
    ],
)
def test_patterns_that_the_shell_leaves_are_expanded(
    pattern: str,
    found: set[str],
    talk: Path,
    onset_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "in"
    for name in ("a.wav", "[b].wav", "deep/er/c.wav", "d.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(talk.read_bytes())
    (folder / "d.txt").unlink()
    monkeypatch.chdir(folder)
    assert run(["denoise", pattern, "-m", str(onset_model), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {Path(file["input"]).as_posix() for file in files} == found


def test_a_pattern_without_a_match_is_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["denoise", "*.wav"]) == 1
    assert "*.wav: cannot be read (No such file" in one_line(capsys)


@pytest.mark.skipif(os.name == "nt", reason="such names are not possible there")
@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("talk:smile:.wav", "talk:smile:.wav"),
        ("[bold]x[red].wav", "[bold]x[red].wav"),
        ("two\nlines.wav", r"two\nlines.wav"),
        ("tab\there\x1b[31m.wav", r"tab\there\x1b[31m.wav"),
    ],
)
def test_names_are_shown_as_they_are_on_one_line(
    name: str,
    shown: str,
    talk: Path,
    onset_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = talk.rename(tmp_path / name)
    out = tmp_path / "out"
    command = ["denoise", str(source), "-d", str(out), "-m", str(onset_model)]
    assert run(command) == 0
    assert capsys.readouterr().err.startswith(f"{tmp_path}/{shown} -> {out}/{shown}: 1.5 s")
    assert run(command) == 0
    assert capsys.readouterr().err.startswith(f"{tmp_path}/{shown}: skipped")
    source.write_bytes(b"no sound")
    for arguments in (command, [*command, "-q"], ["info", str(source)]):
        assert run(arguments) == 1
        assert f"{tmp_path}/{shown}: " in one_line(capsys)


def test_the_times_of_a_file_are_kept_if_asked(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.utime(talk, ns=(10**18 + 1, 10**18 + 3))
    command = ["denoise", str(talk), "-m", str(onset_model), "--json", "--residual"]
    assert run([*command, "--keep-times"]) == 0
    for name in ("talk.clean.wav", "talk.clean.residual.wav"):
        made = (tmp_path / name).stat()
        assert (made.st_atime_ns, made.st_mtime_ns) == (10**18 + 1, 10**18 + 3)
    capsys.readouterr()
    assert run([*command, "--keep-times"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1
    os.utime(talk, ns=(10**18, 10**18 + 5))
    assert run([*command, "--keep-times"]) == 0
    assert json.loads(capsys.readouterr().out)["done"] == 1


def test_without_json_outcomes_are_dropped_as_they_are_told(
    talk: Path, onset_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files there are: at no time is more than one outcome alive."""
    alive: list[weakref.ref[Any]] = []
    most = 0

    def watched(*arguments: Any, **options: Any) -> Iterator[Any]:
        nonlocal most
        for work in arguments[0]:
            outcome = Told(work)
            alive.append(weakref.ref(outcome))
            most = max(most, sum(ref() is not None for ref in alive))
            yield outcome
            del outcome

    class Told(SimpleNamespace):
        status, error, report = "skipped", None, None

        def __init__(self, work: Any) -> None:
            super().__init__(work=work)

    monkeypatch.setattr("tinysignal.batch.spread.outcomes_of", watched)
    for i in range(5):
        (tmp_path / f"{i}.wav").write_bytes(b"x")
    assert run(["denoise", str(tmp_path), "-m", str(onset_model)]) == 0
    assert len(alive) == 6
    assert most <= 2


def test_a_file_written_by_name_is_redone_by_a_folder_run_with_other_options(
    talk: Path, onset_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "out", ["-m", str(onset_model)]
    to_folder = ["denoise", str(talk), "-d", str(folder), *model]
    assert run(to_folder) == 0
    assert run(["denoise", str(talk), "-o", str(folder / talk.name), "--mix", "0.5", *model]) == 0
    capsys.readouterr()
    assert run(to_folder) == 0
    assert "skipped" not in capsys.readouterr().err
    assert run(["denoise", str(talk), "-o", str(tmp_path / "alone.wav"), *model]) == 0
    assert not (tmp_path / RECORD).exists()  # a name needs no record
