"""Evaluation: pairing, counting, means and intervals, and the same answer on any process count."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from speech import save_pair, speech_like
from tinysignal import evaluation, metrics
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ConfigError, DataError, MissingExtraError
from tinysignal.evaluation import (
    Failure,
    ModelProcess,
    Pair,
    evaluate_denoiser,
    evaluate_pairs,
    match_folders,
)
from tinysignal.evaluation.pairs import cut_alike
from tinysignal.evaluation.report import mean_interval, student_t_975
from tinysignal.files import json_text, write_csv
from tinysignal.gain import DenoiseOptions

RATE_HZ = 16_000
FAST = ("snr", "si_sdr", "segmental_snr")


def halve(signal: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """A denoiser of a module, so that it can be sent to other processes."""
    return signal / 2


def write_clean(pair: Pair, signal: np.ndarray, rate_hz: int = RATE_HZ) -> None:
    sf.write(pair.clean, signal.T, rate_hz, subtype="FLOAT")


def test_files_are_paired_by_their_path_inside_the_folder_whatever_the_suffix(
    tmp_path: Path,
) -> None:
    for name in ("noisy/a/x.wav", "noisy/b/x.wav", "clean/a/x.flac", "clean/b/x.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "noisy/notes.txt").touch()
    (tmp_path / "noisy/.hidden.wav").touch()
    pairs, failures = match_folders(tmp_path / "noisy", tmp_path / "clean")
    assert failures == []
    assert [(p.name, p.noisy.name, p.clean.name) for p in pairs] == [
        ("a/x", "x.wav", "x.flac"),
        ("b/x", "x.wav", "x.wav"),
    ]


def test_files_without_counterpart_and_shared_names_are_failures_by_name(tmp_path: Path) -> None:
    for name in ("noisy/a.wav", "noisy/c.wav", "noisy/c.flac", "clean/b.wav", "clean/c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    pairs, failures = match_folders(tmp_path / "noisy", tmp_path / "clean")
    assert pairs == []
    reasons = {failure.file: failure.reason for failure in failures}
    assert "in the clean folder" in reasons["a"]
    assert "in the noisy folder" in reasons["b"]
    assert "c.flac, c.wav" in reasons["c"]


def test_folders_without_audio_or_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no audio files"):
        match_folders(tmp_path, tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        match_folders(tmp_path, tmp_path / "missing")


def test_manifest_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    manifest = tmp_path / "lists" / "pairs.csv"
    manifest.parent.mkdir()
    manifest.write_text("noisy,clean\n../noisy/a.wav,../clean/a.wav\n", encoding="utf-8")
    pair = save_pair(tmp_path, "a")
    (listed,) = evaluation.read_pairs(manifest)
    assert listed.name == "noisy/a"
    assert listed.noisy.samefile(pair.noisy)
    assert listed.clean.samefile(pair.clean)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,clean\na,b\n", "expected a column 'noisy' too"),
        ("noisy,clean\n", "no rows"),
        ("noisy,clean\na.wav,\n", "row 2 lacks a path"),
    ],
)
def test_a_manifest_that_says_too_little_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    manifest = tmp_path / "pairs.csv"
    manifest.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        evaluation.read_pairs(manifest)


def test_scores_are_those_of_the_metrics_before_and_after(tmp_path: Path) -> None:
    pair = save_pair(tmp_path, "a", channels=2)
    (scores,) = evaluate_pairs(halve, [pair], metrics=FAST).files
    noisy, _ = sf.read(pair.noisy, dtype="float32", always_2d=True)
    clean, _ = sf.read(pair.clean, dtype="float32", always_2d=True)
    assert scores.channels == 2
    assert scores.duration_s == 1.0
    assert scores.input_snr_db == pytest.approx(10, abs=0.01)
    assert scores.noisy["snr"] == pytest.approx(metrics.snr(noisy.T, clean.T).mean())
    assert scores.denoised["snr"] == pytest.approx(metrics.snr(noisy.T / 2, clean.T).mean())
    assert scores.denoised["si_sdr"] == pytest.approx(scores.noisy["si_sdr"])


def test_means_are_grouped_by_input_snr_and_every_file_is_in_one_group(tmp_path: Path) -> None:
    levels_db = (-5, 2, 3, 7, 12, 40)
    pairs = [save_pair(tmp_path, f"at {snr_db}", snr_db=snr_db) for snr_db in levels_db]
    result = evaluate_pairs(halve, pairs, metrics=["snr"])
    groups = {group.label: group.files for group in result.by_input_snr()}
    assert groups == {
        "below 0 dB": 1,
        "0 to 5 dB": 2,
        "5 to 10 dB": 1,
        "10 to 15 dB": 1,
        "15 dB and above": 1,
    }
    summary = result.summary()["snr"]
    assert summary.files == len(levels_db)
    assert summary.noisy.mean == pytest.approx(np.mean(levels_db), abs=0.01)
    difference = summary.denoised.mean - summary.noisy.mean
    assert summary.improvement.mean == pytest.approx(difference)


def test_what_cannot_be_evaluated_is_counted_with_its_reason_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    pairs = {name: save_pair(tmp_path, name) for name in ("good", "rate", "long", "stereo")}
    pairs["silent"] = save_pair(tmp_path, "silent")
    pairs["text"] = save_pair(tmp_path, "text")
    pairs["gone"] = Pair(name="gone", noisy=tmp_path / "gone.wav", clean=tmp_path / "gone.wav")
    target = speech_like(1.0)
    write_clean(pairs["rate"], target, 8000)
    write_clean(pairs["long"], np.tile(target, (1, 2)))
    write_clean(pairs["stereo"], np.tile(target, (2, 1)))
    write_clean(pairs["silent"], 0 * target)
    pairs["text"].noisy.write_text("not audio", encoding="utf-8")
    before = Failure(file="alone", metric=None, reason="no counterpart")
    result = evaluate_pairs(halve, pairs.values(), metrics=FAST, failures=[before])
    assert [file.name for file in result.files] == ["good"]
    reasons = {failure.file: failure.reason for failure in result.failures}
    assert list(reasons) == ["alone", "rate", "long", "stereo", "silent", "text", "gone"]
    for name, part in {
        "rate": "8000 Hz",
        "long": "within 10 ms",
        "stereo": "channels",
        "silent": "silent",
        "text": "text.wav",
        "gone": "gone.wav",
    }.items():
        assert part in reasons[name]
    rows = {str(row["file"]): row for row in result.csv_rows()}
    assert rows["good"]["failure"] == ""
    assert rows["rate"]["failure"] == reasons["rate"]
    assert set(rows) == {"good", *reasons}


def test_a_few_samples_more_are_cut_off(tmp_path: Path) -> None:
    pair = save_pair(tmp_path, "a")
    (exact,) = evaluate_pairs(halve, [pair], metrics=FAST).files
    write_clean(pair, np.concatenate([speech_like(1.0), np.zeros((1, 100), np.float32)], axis=1))
    (padded,) = evaluate_pairs(halve, [pair], metrics=FAST).files
    assert padded == exact


def test_a_metric_without_a_score_is_a_failure_of_that_metric_only(tmp_path: Path) -> None:
    pytest.importorskip("pystoi")
    pair = save_pair(tmp_path, "short")
    for path in (pair.noisy, pair.clean):
        signal, rate_hz = sf.read(path, dtype="float32")
        sf.write(path, signal[:4000], rate_hz, subtype="FLOAT")
    result = evaluate_pairs(halve, [pair], metrics=["snr", "stoi"])
    assert list(result.files[0].denoised) == ["snr"]
    assert [(f.file, f.metric) for f in result.failures] == [("short", "stoi")]
    assert list(result.summary()) == ["snr"]


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (lambda signal, rate_hz: signal[:, 1:], "expected the same"),
        (lambda signal, rate_hz: signal * np.float32("nan"), "NaN"),
        (lambda signal, rate_hz: 1 / 0, "the denoiser failed: ZeroDivisionError"),
    ],
)
def test_a_denoiser_that_fails_is_a_failure_of_the_file(
    tmp_path: Path, process: Callable[[np.ndarray, int], np.ndarray], message: str
) -> None:
    result = evaluate_pairs(process, [save_pair(tmp_path, "a")], metrics=FAST)
    assert result.files == ()
    assert message in result.failures[0].reason


def test_any_number_of_jobs_gives_the_same_report(tmp_path: Path, onset_model: Path) -> None:
    pairs = [save_pair(tmp_path, f"file {n}") for n in range(3)]
    pairs[1].noisy.unlink()
    process = ModelProcess(str(onset_model))
    done: list[tuple[int, ...]] = []
    alone = evaluate_pairs(process, pairs, metrics=FAST)
    shared = evaluate_pairs(
        process, pairs, metrics=FAST, jobs=2, on_progress=lambda *counts: done.append(counts)
    )
    assert shared.to_dict() == alone.to_dict()
    assert done == [(1, 3), (2, 3), (3, 3)]


def test_model_process_is_the_denoiser(tmp_path: Path, onset_model: Path) -> None:
    signal = speech_like(0.5)
    expected = Denoiser.load(onset_model)(signal, sample_rate_hz=RATE_HZ)
    np.testing.assert_array_equal(ModelProcess(str(onset_model))(signal, RATE_HZ), expected)


def test_denoised_signals_are_kept_unchanged_under_the_names_of_their_pairs(
    tmp_path: Path,
) -> None:
    pair = save_pair(tmp_path, "speaker 1/a")
    evaluate_pairs(halve, [pair], metrics=["snr"], save_dir=tmp_path / "kept")
    kept, rate_hz = sf.read(tmp_path / "kept/speaker 1/a.wav", dtype="float32")
    noisy, _ = sf.read(pair.noisy, dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(kept, noisy / 2)


def test_wrong_options_are_refused_before_any_work(tmp_path: Path) -> None:
    pair = save_pair(tmp_path, "a")
    with pytest.raises(ConfigError, match="expected some of snr, si_sdr"):
        evaluate_pairs(halve, [pair], metrics=["loudness"])
    with pytest.raises(ConfigError, match="0 jobs"):
        evaluate_pairs(halve, [pair], metrics=FAST, jobs=0)
    with pytest.raises(ConfigError, match="cannot be sent to other processes"):
        evaluate_pairs(lambda s, r: s, [pair, pair_named(pair, "b")], metrics=FAST, jobs=2)
    with pytest.raises(DataError, match="more than one pair: a"):
        evaluate_pairs(halve, [pair, pair], metrics=FAST)


def pair_named(pair: Pair, name: str) -> Pair:
    return Pair(name=name, noisy=pair.noisy, clean=pair.clean)


def test_without_the_extra_the_rest_is_chosen_and_what_is_asked_for_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert [metric.name for metric in metrics.select_metrics()] == list(FAST)
    missing = [metric.name for metric in metrics.missing_metrics()]
    assert missing == ["pesq_wb", "stoi", "estoi", "dnsmos"]
    with pytest.raises(MissingExtraError, match=r"'pesq_wb' .*tinysignal\[eval\]"):
        metrics.select_metrics(["snr", "pesq_wb"])


def test_all_installed_metrics_reach_the_report_with_their_implementation(
    tmp_path: Path, onset_model: Path
) -> None:
    if metrics.missing_metrics():
        pytest.skip("the 'eval' extra is not installed")
    pair = save_pair(tmp_path, "a", seconds=9.1)  # one window of DNSMOS
    report = json.loads(json_text(evaluate_pairs(ModelProcess(str(onset_model)), [pair]).to_dict()))
    assert report["failures"] == []
    assert set(report["mean"]) == set(report["metrics"])
    assert report["metrics"]["pesq_wb"]["implementation"].startswith("pesq 0.")
    assert report["metrics"]["dnsmos_ovrl"]["implementation"].startswith("speechmos 0.")
    assert report["mean"]["pesq_wb"]["improvement"]["half_width"] is None


def test_a_file_that_is_clean_already_keeps_the_json_valid(tmp_path: Path) -> None:
    pair = save_pair(tmp_path, "a")
    same = Pair(name="a", noisy=pair.clean, clean=pair.clean)
    report = json.loads(json_text(evaluate_pairs(halve, [same], metrics=FAST).to_dict()))
    assert report["per_file"][0]["input_snr_db"] == 100
    assert report["by_input_snr"][0]["label"] == "15 dB and above"


def test_interval_by_hand() -> None:
    """t(0.975, 3) = 3.182; the standard deviation of 1 to 4 is the root of 5/3."""
    interval = mean_interval([1, 2, 3, 4])
    assert interval.mean == 2.5
    assert interval.half_width == pytest.approx(3.182 * math.sqrt(5 / 3) / 2)


@given(st.integers(1, 5000))
def test_student_t_agrees_with_scipy(degrees: int) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_t_975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-3)


def test_a_model_is_evaluated_in_one_call(tmp_path: Path, onset_model: Path) -> None:
    pairs = [save_pair(tmp_path, name) for name in ("a", "b")]
    options = {"metrics": FAST, "mix": 0.5}
    process = ModelProcess(str(onset_model), DenoiseOptions(mix=0.5))
    expected = evaluate_pairs(process, pairs, metrics=FAST).to_dict()
    folders = {"noisy": tmp_path / "noisy", "clean": tmp_path / "clean"}
    assert evaluate_denoiser(onset_model, **folders, **options).to_dict() == expected
    assert evaluate_denoiser(onset_model, pairs=pairs, **options).to_dict() == expected
    manifest = tmp_path / "pairs.csv"
    rows = [{"noisy": str(pair.noisy), "clean": str(pair.clean)} for pair in pairs]
    write_csv(manifest, rows)
    found = evaluate_denoiser(onset_model, pairs=manifest, **options)
    assert found.summary() == evaluate_pairs(process, pairs, metrics=FAST).summary()


def test_folders_and_pairs_are_two_ways_to_say_what_is_evaluated(
    tmp_path: Path, onset_model: Path
) -> None:
    for said in ({}, {"noisy": tmp_path}, {"noisy": tmp_path, "clean": tmp_path, "pairs": []}):
        with pytest.raises(ConfigError, match="or pairs alone"):
            evaluate_denoiser(onset_model, **said)


@given(noisy=st.integers(1, 2000), clean=st.integers(1, 2000))
def test_two_lengths_are_cut_to_the_shorter_within_ten_milliseconds(noisy: int, clean: int) -> None:
    signals = np.arange(noisy), np.arange(clean)
    if abs(noisy - clean) > 160:
        with pytest.raises(DataError, match="within 10 ms"):
            cut_alike(*signals, sample_rate_hz=16_000)
    else:
        cut = cut_alike(*signals, sample_rate_hz=16_000)
        for signal in cut:
            np.testing.assert_array_equal(signal, np.arange(min(noisy, clean)))
