"""The check of a denoiser's data before training: what is found, mended, left out and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from speech import speech_like
from tinysignal.cli.main import run as command_line
from tinysignal.datasets.report import KINDS, DataReport, Finding
from tinysignal.errors import ConfigError, DataError
from tinysignal.evaluation.pairs import Pair
from tinysignal.runs.load import open_run
from tinysignal.train.data.alignment import relation
from tinysignal.train.data.heard import hear_pairs
from tinysignal.train.data.rooms import list_rooms
from tinysignal.train.denoising import check
from tinysignal.train.denoising.build import stft_size
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData, load_training_data

RATE_HZ = 16_000
TALK = Path(__file__).parents[2] / "demo" / "talk_clean.flac"
Mono = NDArray[np.float32]


def save(path: Path, signal: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, signal, RATE_HZ, subtype="FLOAT")
    return path


def noise(seed: int, size: int, *, level: float = 0.03) -> Mono:
    return np.random.default_rng(1000 + seed).normal(0, level, size).astype(np.float32)


def clean_and_noisy(
    seed: int = 0, *, seconds: float = 3.0, level: float = 0.03
) -> tuple[Mono, Mono]:
    clean = speech_like(seconds, seed=seed)[0]
    return clean, clean + noise(seed, clean.size, level=level)


def save_pairs(folder: Path, count: int = 6) -> tuple[Path, Path]:
    for i in range(count):
        clean, noisy = clean_and_noisy(i)
        save(folder / "clean" / f"{i}.wav", clean)
        save(folder / "noisy" / f"{i}.wav", noisy)
    return folder / "clean", folder / "noisy"


def load(reports: list[DataReport] | None = None, **options: Any) -> TrainingData:
    options = {key: str(v) if isinstance(v, Path) else v for key, v in options.items()}
    if "pairs" in options:
        options["pairs"] = tuple(map(str, options["pairs"]))
    config = DenoiserConfig(steps=1, clip_s=0.5, **options)
    on_report = None if reports is None else reports.append
    return load_training_data(config, stft_size(config), None, on_report=on_report)


def found(data: TrainingData) -> dict[str, list[str]]:
    """Names of what was found, by kind."""
    return {group.kind: [f.name for f in group.findings] for group in data.report.groups}


def hear(folder: Path, clean: Mono, noisy: Mono, *, align: bool = False) -> Any:
    pair = Pair(
        name="a",
        noisy=save(folder / "noisy.wav", noisy),
        clean=save(folder / "clean.wav", clean),
    )
    return hear_pairs([pair], sample_rate_hz=RATE_HZ, align=align)[0]


def test_tidy_pairs_have_no_findings(tmp_path: Path) -> None:
    data = load(pairs=save_pairs(tmp_path))
    assert data.report.findings == ()
    assert str(data.report) == "Data: 6 pairs, 0.3 minutes."


@pytest.mark.parametrize("shift", [112, -112])
def test_a_shift_of_7_ms_is_found_and_mended_to_the_sample(tmp_path: Path, shift: int) -> None:
    clean, noisy = clean_and_noisy(level=0.1)
    silence = np.zeros(abs(shift), np.float32)
    late, early = (noisy, clean) if shift > 0 else (clean, noisy)
    late = np.concatenate([silence, late])
    noisy, clean = (late, early) if shift > 0 else (early, late)
    (finding,) = hear(tmp_path, clean, noisy).findings
    assert (finding.kind, finding.severity) == ("shifted", "error")
    assert finding.value == pytest.approx(7.0 * np.sign(shift))
    mended = hear(tmp_path, clean, noisy, align=True)
    assert [f.severity for f in mended.findings] == ["mended"]
    expected, target = clean_and_noisy(level=0.1)[::-1]
    np.testing.assert_array_equal(mended.signals.clean, target)
    np.testing.assert_array_equal(mended.signals.noisy, expected)


@pytest.mark.parametrize("snr_db", [5.0, -5.0])
@pytest.mark.parametrize("delay", [0, 1, 12_345, -9_876])
def test_a_delay_up_to_a_second_is_exact_in_much_noise(delay: int, snr_db: float) -> None:
    talk, rate_hz = soundfile.read(TALK, dtype="float32", frames=8 * RATE_HZ)
    clean = talk[RATE_HZ:-RATE_HZ]
    shifted = talk[RATE_HZ - delay : talk.size - RATE_HZ - delay]
    level = np.sqrt(np.mean(clean**2)) * 10 ** (-snr_db / 20)
    measured = relation(shifted + noise(1, clean.size, level=level), clean, sample_rate_hz=rate_hz)
    assert measured is not None
    assert (measured.clear, measured.delay_samples, measured.inverted) == (True, delay, False)
    assert measured.gain_db == pytest.approx(0, abs=1)


def test_a_shift_below_a_millisecond_is_a_warning(tmp_path: Path) -> None:
    clean, noisy = clean_and_noisy()
    (finding,) = hear(tmp_path, clean[5:], noisy[:-5]).findings
    assert (finding.kind, finding.severity, finding.detail) == (
        "slight",
        "warning",
        "noisy is 0.31 ms late",
    )


def test_an_opposite_polarity_is_found_and_mended(tmp_path: Path) -> None:
    clean, noisy = clean_and_noisy()
    (finding,) = hear(tmp_path, clean, -noisy).findings
    assert (finding.kind, finding.severity) == ("inverted", "error")
    mended = hear(tmp_path, clean, -noisy, align=True)
    np.testing.assert_array_equal(mended.signals.clean, -clean)
    np.testing.assert_array_equal(mended.signals.noisy, -noisy)


@pytest.mark.parametrize(("gain", "what"), [(2.0, "louder"), (0.5, "quieter")])
def test_a_gain_of_6_db_is_measured(tmp_path: Path, gain: float, what: str) -> None:
    clean, noisy = clean_and_noisy()
    (finding,) = hear(tmp_path, gain * clean, noisy).findings
    assert (finding.kind, finding.severity) == ("level", "warning")
    assert abs(finding.value or 0) == pytest.approx(6.02, abs=0.2)
    assert what in finding.detail


def test_recordings_that_have_nothing_in_common_are_told(tmp_path: Path) -> None:
    clean, _ = clean_and_noisy()
    (finding,) = hear(tmp_path, clean, noise(9, clean.size)).findings
    assert (finding.kind, finding.severity) == ("unrelated", "warning")


def test_a_longer_recording_is_cut_by_align_and_refused_without(tmp_path: Path) -> None:
    clean, noisy = clean_and_noisy()
    longer = np.concatenate([noise(5, 1105), noisy])
    heard = hear(tmp_path, clean, longer)
    assert heard.signals is None
    assert {f.kind for f in heard.findings} == {"length", "shifted"}
    mended = hear(tmp_path, clean, longer, align=True)
    np.testing.assert_array_equal(mended.signals.clean, clean)
    np.testing.assert_array_equal(mended.signals.noisy, noisy)


def spoil(folder: Path) -> dict[str, Path]:
    """Three files made unreadable in three ways."""
    truncated, empty, text = (folder / name for name in ("0.wav", "1.wav", "2.wav"))
    truncated.write_bytes(truncated.read_bytes()[:5000])
    empty.write_bytes(b"")
    text.write_text("This is no sound.")
    return {"truncated": truncated, "an empty file": empty, "not a readable": text}


def test_all_unreadable_files_are_named_at_once_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean, noisy = save_pairs(tmp_path)
    spoilt = spoil(noisy)
    options = ["--steps", "1", "--arch", "linear", "--width", "8", "--device", "cpu"]
    command = ["train", "denoiser", "--pairs", str(clean), str(noisy), *options]
    run = tmp_path / "run"
    assert command_line([*command, "-o", str(run)]) == 1
    said = capsys.readouterr().err.splitlines()
    for why, path in spoilt.items():
        assert [line for line in said if f"{path}: {why}" in line and "error:" not in line]
    assert said[-1].startswith("error: 3 errors in the data, such as ")
    assert "--skip-bad" in said[-1]
    assert not run.exists()
    assert command_line([*command, "--skip-bad", "-o", str(run)]) == 0
    assert "3 files cannot be read: left out" in capsys.readouterr().err
    kept = json.loads((run / "data.json").read_text())
    (group,) = kept["findings"]
    assert (group["kind"], group["severity"], group["count"]) == ("unreadable", "mended", 3)
    assert {entry["name"] for entry in group["files"]} == set(map(str, spoilt.values()))
    assert json.loads((run / "metrics.json").read_text())["data"]["train_pairs"] == 2


def test_one_error_alone_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean, noisy = save_pairs(tmp_path, 2)
    (noisy / "1.wav").write_bytes(b"")
    run = str(tmp_path / "run")
    assert command_line(["train", "denoiser", "--pairs", str(clean), str(noisy), "-o", run]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{noisy / '1.wav'}: an empty file" in line


def test_everything_is_said_in_one_report(tmp_path: Path) -> None:
    clean, noisy = save_pairs(tmp_path, 10)
    target, mixed = clean_and_noisy(3)
    (noisy / "0.wav").write_bytes(b"")
    (clean / "1.wav").unlink()
    save(noisy / "2.wav", np.concatenate([np.zeros(80, np.float32), mixed[:-80]]))
    save(clean / "2.wav", target)
    save(noisy / "3.wav", -mixed)
    save(noisy / "4.wav", np.stack([mixed, -mixed], axis=1))
    save(clean / "5.wav", np.zeros_like(target))
    save(clean / "6.wav", 4 * clean_and_noisy(6)[0])
    save(noisy / "7.wav", noise(4, target.size))
    (clean / "notes.txt").write_text("Recorded in May.")
    reports: list[DataReport] = []
    with pytest.raises(DataError, match=r"5 errors .* such as .*0\.wav: an empty file"):
        load(reports, pairs=(clean, noisy))
    (report,) = reports
    expected = {
        "unreadable": [str(noisy / "0.wav")],
        "unmatched": ["1"],
        "shifted": ["2"],
        "inverted": ["3"],
        "cancelling": [str(noisy / "4.wav")],
        "level": ["6"],
        "unrelated": ["7"],
        "silent": [str(clean / "5.wav")],
        "ending": [".txt"],
    }
    names = {group.kind: [f.name for f in group.findings] for group in report.groups}
    assert {kind: names.get(kind) for kind in expected} == expected
    severities = [group.severity for group in report.groups]
    order = ["error", "warning", "note"]
    assert severities == sorted(severities, key=order.index)
    data = load(pairs=(clean, noisy), skip_bad=True, align=True)
    assert {pair.name for pair in data.score} <= {"2", "3", "5", "6", "7", "8", "9"}
    assert data.data_facts["train_pairs"] + data.data_facts["valid_pairs"] == 7


def test_pairs_of_one_clean_recording_are_on_one_side_of_the_split(tmp_path: Path) -> None:
    clean, _ = clean_and_noisy()
    for i in range(12):
        target = clean if i % 2 else clean_and_noisy(50 + i)[0]
        save(tmp_path / "clean" / f"{i}.wav", target)
        save(tmp_path / "noisy" / f"{i}.wav", target + noise(i, target.size))
    for seed in range(5):
        data = load(pairs=(tmp_path / "clean", tmp_path / "noisy"), valid_fraction=0.3, seed=seed)
        odd = {int(pair.name) % 2 for pair in data.score if int(pair.name) % 2}
        copies = [pair for pair in data.score if int(pair.name) % 2]
        assert len(copies) == (6 if odd else 0)
        assert len(found(data)["copy"]) == 5


def save_sides(folder: Path) -> tuple[Path, Path]:
    for i in range(4):
        save(folder / "speech" / f"{i}.wav", clean_and_noisy(i)[0])
        save(folder / "noise" / f"{i}.wav", noise(i, RATE_HZ))
    return folder / "speech", folder / "noise"


def test_copies_of_held_out_recordings_are_left_out_of_training(tmp_path: Path) -> None:
    speech, noises = save_sides(tmp_path)
    for name, copy in (("3.wav", "copy.flac"), ("0.wav", "tested.wav")):
        samples = np.round(32767 * soundfile.read(speech / name)[0]).astype(np.int16)
        for path in (speech / name, speech / copy):
            soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    rows = ["path,split", "3.wav,valid", "tested.wav,test"]
    rows += [f"{name},train" for name in ("0.wav", "1.wav", "2.wav", "copy.flac")]
    (speech / "manifest.csv").write_text("\n".join(rows))
    data = load(clean=speech, noise=noises)
    assert sorted(found(data)["crossing"]) == [str(speech / "0.wav"), str(speech / "copy.flac")]
    assert {f.severity for f in data.report.findings} == {"mended"}
    assert data.data_facts["train_speech"]["files"] == 2
    assert data.data_facts["valid_speech"]["files"] == 1


def test_a_recording_in_both_folders_is_an_error_and_left_out_of_both(tmp_path: Path) -> None:
    speech, noises = save_sides(tmp_path)
    spoken = soundfile.read(speech / "2.wav", dtype="float32")[0]
    save(noises / "oops.wav", spoken)
    with pytest.raises(DataError, match=r"2 errors in the data, such as .*2.wav: in the noise as"):
        load(clean=speech, noise=noises)
    data = load(clean=speech, noise=noises, skip_bad=True)
    assert set(found(data)["both"]) == {str(speech / "2.wav"), str(noises / "oops.wav")}
    files = [data.data_facts[f"{split}_{w}"]["files"] for w in ("speech", "noise")
             for split in ("train", "valid")]  # fmt: skip
    assert sum(files) == 7


def test_clean_recordings_without_speech_are_told_and_speech_is_not(tmp_path: Path) -> None:
    talk, rate_hz = soundfile.read(TALK, dtype="float32")
    for i in range(4):
        save(tmp_path / "speech" / f"{i}.wav", talk[2 * i * rate_hz : 2 * (i + 1) * rate_hz])
        save(tmp_path / "noise" / f"{i}.wav", noise(i, RATE_HZ))
    save(tmp_path / "speech" / "hiss.wav", noise(8, 4 * RATE_HZ))
    save(tmp_path / "speech" / "faint.wav", noise(9, 4 * RATE_HZ, level=0.001))
    reports: list[DataReport] = []
    data = load(reports, clean=tmp_path / "speech", noise=tmp_path / "noise")
    names = [str(tmp_path / "speech" / name) for name in ("faint.wav", "hiss.wav")]
    assert found(data)["speechless"] == names
    assert {f.severity for f in data.report.findings} == {"warning"}


def test_of_many_recordings_the_steadiest_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_MOST_EXCERPTS", 2)
    talk, rate_hz = soundfile.read(TALK, dtype="float32")
    parts = [(str(i), talk[2 * i * rate_hz : 2 * (i + 1) * rate_hz]) for i in range(4)]
    clean = [*parts, ("hiss", noise(1, 2 * rate_hz)), ("click", noise(2, 100))]
    assert [f.name for f in check.of_speechless(clean, sample_rate_hz=rate_hz)] == ["hiss"]


def test_silent_and_cancelling_recordings_and_endings_are_told(tmp_path: Path) -> None:
    speech, noises = save_sides(tmp_path)
    spoken = soundfile.read(speech / "0.wav", dtype="float32")[0]
    save(speech / "wide.wav", np.stack([spoken, -spoken], axis=1))
    save(noises / "none.wav", np.zeros(RATE_HZ))
    for name in ("a.txt", "b.TXT", "c.heic"):
        (speech / name).write_text("no sound")
    with pytest.raises(DataError, match=r"wide.wav: the mean of its channels is \d+ dB below"):
        load(clean=speech, noise=noises)
    data = load(clean=speech, noise=noises, skip_bad=True)
    assert found(data)["cancelling"] == [str(speech / "wide.wav")]
    assert found(data)["silent"] == [str(noises / "none.wav")]
    assert "3 files were passed over" in str(data.report)
    assert "2 .txt, 1 .heic" in str(data.report)


def test_ordinary_stereo_does_not_cancel(tmp_path: Path) -> None:
    speech, noises = save_sides(tmp_path)
    spoken = soundfile.read(speech / "0.wav", dtype="float32")[0]
    save(speech / "0.wav", np.stack([spoken, 0.3 * spoken], axis=1))
    save(noises / "0.wav", np.stack([noise(20, RATE_HZ), noise(21, RATE_HZ)], axis=1))
    assert load(clean=speech, noise=noises).report.findings == ()


def test_unreadable_rooms_are_named_and_left_out(tmp_path: Path) -> None:
    speech, noises = save_sides(tmp_path)
    for i in range(6):
        save(tmp_path / "rooms" / f"room{i}.wav", np.array([1.0, 0.5, 0.25]))
    options = {"clean": speech, "noise": noises, "rooms": tmp_path / "rooms"}
    used = [r.path for r in list_rooms(tmp_path / "rooms") if r.split == "train"]
    used[0].write_bytes(b"")
    with pytest.raises(DataError, match="an empty file"):
        load(**options)
    data = load(skip_bad=True, **options)
    assert found(data) == {"unreadable": [str(used[0])]}
    assert data.data_facts["rooms"]["files"] == len(used) - 1


def test_nothing_left_is_one_line(tmp_path: Path) -> None:
    clean, noisy = save_pairs(tmp_path, 2)
    for path in noisy.iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="0 pairs are left"):
        load(pairs=(clean, noisy), skip_bad=True)


def test_a_run_that_was_mended_is_opened_with_the_same_data(tmp_path: Path) -> None:
    clean, noisy = save_pairs(tmp_path, 4)
    target, mixed = clean_and_noisy(0)
    save(noisy / "0.wav", np.concatenate([np.zeros(112, np.float32), mixed]))
    (noisy / "1.wav").write_bytes(b"")
    options = ["--steps", "1", "--arch", "linear", "--width", "8", "--device", "cpu", "--align",
               "--skip-bad", "--valid-fraction", "0", "--quiet"]  # fmt: skip
    run = tmp_path / "run"
    command = ["train", "denoiser", "--pairs", str(clean), str(noisy), *options, "-o", str(run)]
    assert command_line(command) == 0
    opened: Any = open_run(run)
    scored = {pair.name: pair for pair in opened.data.score}
    assert set(scored) == {"0", "2", "3"}
    np.testing.assert_array_equal(scored["0"].noisy, mixed)
    np.testing.assert_array_equal(scored["0"].clean, target)


def test_align_needs_pairs() -> None:
    with pytest.raises(ConfigError, match="align is given with clean and noise"):
        DenoiserConfig(clean="a", noise="b", align=True, steps=1)


def test_every_kind_is_said_of_one_and_of_several() -> None:
    for name, kind in KINDS.items():
        one = DataReport("x", (Finding(name, "a", value=1.0),))
        two = DataReport("x", (Finding(name, "a", value=1.0), Finding(name, "b", value=1.0)))
        assert f"1 {kind.one}" in str(one)
        assert f"2 {kind.many}" in str(two)
        assert one.groups[0].severity == kind.severity


def test_long_lists_are_cut_but_unreadable_files_are_all_named() -> None:
    def report(kind: str) -> str:
        return str(DataReport("x", tuple(Finding(kind, f"file-{i}") for i in range(20))))

    assert all(f"file-{i}" in report("unreadable") for i in range(20))
    assert "file-2" in report("silent")
    assert "file-3" not in report("silent")
    assert "and 17 more" in report("silent")
