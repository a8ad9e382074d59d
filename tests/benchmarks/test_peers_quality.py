"""What the benchmark beside other denoisers scores: aligned files, means that compare."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile as sf
from peer_sets import MIXTURES, RATE_HZ, SAMPLES, each, make_sets, write, write_pair

import peers
import peers_programs
import peers_quality
from peers_quality import RECORDED, SNRS_DB, Sets
from tinysignal.errors import AudioFileError, DataError


@pytest.fixture
def sets(tmp_path: Path) -> Sets:
    return make_sets(tmp_path / "sets")


# Quality.


def test_by_snr_are_the_mixtures_of_that_snr(sets: Sets) -> None:
    row = sets.score_noisy()["mixtures"]
    assert list(row["by"]) == ["-5", "0", "5", "10", "15"]
    for snr_db, found in row["by"].items():
        assert found["si_sdr"]["mean"] == pytest.approx(float(snr_db), abs=0.01)
        assert found["si_sdr"]["files"] == 2
        # Two values, 1 dB to either side: s = sqrt(2), t of one degree of freedom 12.706.
        assert found["si_sdr"]["half_width"] == pytest.approx(12.706, abs=0.02)


def test_the_interval_is_students_over_files(sets: Sets) -> None:
    found = sets.score_noisy()["mixtures"]["si_sdr"]
    values = np.repeat(SNRS_DB, 2) + np.tile([-1, 1], len(SNRS_DB))
    assert found["mean"] == pytest.approx(values.mean(), abs=0.01)
    half_width = 2.262 * values.std(ddof=1) / np.sqrt(values.size)  # t of nine degrees of freedom
    assert found["half_width"] == pytest.approx(half_width, rel=2e-3)
    assert found["files"] == MIXTURES


def test_only_what_is_missing_is_scored(sets: Sets) -> None:
    denoised: list[Path] = []

    def halve(source: Path, target: Path) -> None:
        denoised.append(source)
        each(lambda x: x / 2)(source, target)

    first = sets.score(halve)
    assert len(denoised) == 2
    assert sets.score(halve, first) == first
    assert len(denoised) == 2
    more = replace(sets, metrics={**sets.metrics, "recordings": ("si_sdr", "snr")})
    assert more.missing(first) == {"recordings": ("snr",)}
    second = more.score(halve, first)
    assert denoised[2:] == [sets.folders["recordings"] / "noisy"]
    assert second["mixtures"] == first["mixtures"]
    assert second["recordings"]["si_sdr"] == first["recordings"]["si_sdr"]
    assert second == more.score(halve)
    by_snr = replace(sets, metrics={**sets.metrics, "mixtures": ("si_sdr", "snr")})
    assert by_snr.score(halve, first) == by_snr.score(halve)


def test_one_file_has_no_interval() -> None:
    assert peers_quality._means([{"si_sdr": 3.0}]) == {
        "si_sdr": {"mean": 3.0, "half_width": None, "files": 1, "values": [3.0]}
    }


def test_a_file_that_a_metric_refuses_is_not_in_its_count(sets: Sets) -> None:
    write(sets.folders["recordings"] / "clean" / "p1.wav", np.zeros(SAMPLES))
    found = sets.score_noisy()["recordings"]["si_sdr"]
    assert found["files"] == 2
    assert found["mean"] == pytest.approx(5, abs=0.01)


@pytest.mark.parametrize(("change", "score_db"), [(np.zeros_like, -100), (np.copy, None)])
def test_silence_for_an_answer_keeps_the_report_finite(sets: Sets, change, score_db) -> None:
    rows = sets.score(each(change))
    json.dumps(rows, allow_nan=False)
    if score_db is None:
        assert rows == sets.score_noisy()
    else:
        assert rows["recordings"]["si_sdr"]["mean"] == score_db


def test_a_gain_costs_no_si_sdr_and_a_shift_is_told(sets: Sets) -> None:
    noisy, halved = sets.score_noisy(), sets.score(each(lambda x: x / 2))
    late = sets.score(each(lambda x: np.concatenate([np.zeros(5), x[:-5]])))
    early = sets.score(each(lambda x: np.concatenate([x[7:], np.zeros(7)])))
    for name, row in noisy.items():
        assert halved[name]["si_sdr"]["mean"] == pytest.approx(row["si_sdr"]["mean"], abs=1e-3)
        assert late[name]["si_sdr"]["mean"] < row["si_sdr"]["mean"] - 10
        assert [r[name]["lag_samples"] for r in (noisy, halved, late, early)] == [0, 0, 5, -7]


def test_an_output_that_is_missing_or_damaged_is_an_error(sets: Sets) -> None:
    def forgetful(source: Path, target: Path) -> None:
        each(np.copy)(source, target)
        (target / ("p1.wav" if (target / "p1.wav").exists() else "003.wav")).unlink()

    def damaging(source: Path, target: Path) -> None:
        each(np.copy)(source, target)
        next(target.glob("*.wav")).write_bytes(b"RIFF")

    with pytest.raises(DataError, match="recordings: 1 files without a counterpart, p1 first"):
        sets.score(forgetful)
    with pytest.raises(AudioFileError):
        sets.score(damaging)


def test_the_digest_is_of_every_sample_of_a_set_and_of_nothing_else(tmp_path: Path) -> None:
    first = make_sets(tmp_path / "a").facts["sets"]
    again = make_sets(tmp_path / "b")
    write(tmp_path / "b" / "mixtures" / "denoised" / "000.wav", np.ones(3))
    made = again.facts["sets"]["mixtures"]["digest"]
    assert peers_quality._digest(again.folders["mixtures"]) == made == first["mixtures"]["digest"]
    assert made != first["recordings"]["digest"]
    path = again.folders["mixtures"] / "noisy" / "009.wav"
    signal, _ = sf.read(path, dtype="float32")
    signal[-1] = np.nextafter(signal[-1], np.float32(1))
    write(path, signal)
    assert peers_quality._digest(again.folders["mixtures"]) != made


def test_only_the_recorded_test_pairs_are_copied_and_to_the_sample(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the sets are made with it")
    import peers_sets

    lines = ["noisy,clean,set"]
    for name, of in (("a", RECORDED), ("b", "voicebank-demand-train")):
        write_pair(tmp_path / "pairs", name, snr_db=0, seed=1)
        lines.append(f"pairs/noisy/{name}.wav,pairs/clean/{name}.wav,{of}")
    (tmp_path / "pairs" / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert peers_sets._copied(tmp_path, tmp_path / "copy")["pairs"] == 1
    for side in ("noisy", "clean"):
        assert [path.name for path in (tmp_path / "copy" / side).iterdir()] == ["a.wav"]
        given, copied = (sf.read(tmp_path / f / side / "a.wav")[0] for f in ("pairs", "copy"))
        np.testing.assert_array_equal(copied, given)


def test_words_are_compared_with_those_of_the_clean_files(sets: Sets) -> None:
    """Two of three words wrong in one file, one put in in another, one with nothing to hear."""
    pytest.importorskip("torchmetrics", reason="words are compared by it")

    def recognise(folder: Path) -> dict[str, str]:
        names = sorted(path.name for path in folder.iterdir())
        heard = {
            "clean": ("one two three", "four", ""),
            "noisy": ("one too tree", "four five", "x"),
        }
        return dict(zip(names, heard[folder.name], strict=True))

    metrics = {"recordings": ("words",)}
    words = replace(sets, metrics=metrics, recogniser=recognise)
    found = words.score_noisy()["recordings"]["word_errors"]
    assert found["values"] == [2, 1]
    assert (found["mean"], found["files"], found["words"]) == (75.0, 2, 4)
    # The ratio's residuals are 2 - 2.25 and 1 - 0.75.
    assert found["half_width"] == pytest.approx(100 * 1.96 * np.sqrt(2 * 0.25**2) / 4, abs=0.01)


def test_pauses_are_where_nobody_speaks(sets: Sets) -> None:
    pytest.importorskip("torch", reason="pauses are found by a module that needs it")
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    clean = np.where(time_s < 1, 0.1 * np.sin(2000 * time_s), 0)
    noise = np.random.default_rng(0).normal(0, 0.01, time_s.size)
    write(sets.folders["recordings"] / "clean" / "p0.wav", clean)
    write(sets.folders["recordings"] / "noisy" / "p0.wav", clean + noise)
    quieter = replace(sets, metrics={"recordings": ("pauses",)})
    found = quieter.score(each(lambda x: x * np.where(np.arange(x.size) < RATE_HZ, 1, 0.1)))
    assert found["recordings"]["pauses_db"]["values"][0] == pytest.approx(-20, abs=0.1)


def test_parameters_are_the_floats_of_the_networks_in_archives_too(
    tmp_path: Path, sets: Sets
) -> None:
    arrays = {
        "w": np.ones((3, 4), np.float32),
        "b": np.ones(5, np.float16),
        "axes": np.ones(7, int),
    }
    constants = [onnx.numpy_helper.from_array(v, k) for k, v in arrays.items()]
    graph = onnx.helper.make_graph([], "made", [], [], constants)
    network = onnx.helper.make_model(graph).SerializeToString()
    files = [tmp_path / name for name in ("net.onnx", "nets.tar.gz", "library.so")]
    files[0].write_bytes(network)
    with tarfile.open(files[1], "w:gz") as archive:
        for name in ("net/a.onnx", "net/b.onnx", "net/config.ini"):
            member = tarfile.TarInfo(name)
            member.size = len(network)
            archive.addfile(member, io.BytesIO(network))
    files[2].write_bytes(b"code")
    counts = [sets.network_facts([file])["parameters"] for file in files]
    assert counts == [17, 34, None]
    size = sum(file.stat().st_size for file in files)
    assert sets.network_facts(files) == {"model_bytes": size, "parameters": 51}
    assert sets.network_facts([]) == {"model_bytes": None, "parameters": None}


# Alignment and streams, in a peer's own process.


def delaying(delay_samples: int) -> Callable[[], peers_programs.Step]:
    """Opens a stream whose output is its input so many samples later."""

    def open_state() -> peers_programs.Step:
        held = np.zeros(delay_samples, np.float32)

        def step(hop: np.ndarray) -> np.ndarray:
            nonlocal held
            both = np.concatenate([held, hop])
            held = both[hop.size :]
            return both[: hop.size]

        return step

    return open_state


def tone_bursts(samples: int) -> np.ndarray:
    """Within the band that resampling to 48 kHz and back leaves alone."""
    time_s = np.arange(samples) / RATE_HZ
    swept = np.sin(2 * np.pi * (300 + 2000 * time_s) * time_s)
    return (0.3 * swept * np.sin(np.pi * time_s / time_s[-1]) ** 2).astype(np.float32)


@pytest.mark.parametrize("samples", [4000, 4001, 4159])
@pytest.mark.parametrize(
    ("rate_hz", "delay", "hop"), [(16_000, 0, 256), (16_000, 384, 100), (48_000, 1440, 480)]
)
def test_a_stated_delay_is_taken_out_and_the_length_kept(
    rate_hz: int, delay: int, hop: int, samples: int
) -> None:
    peer = peers_programs.Peer(
        rate_hz=rate_hz, delay_samples=delay, stream=delaying(delay), hop_samples=hop
    )
    noisy = tone_bursts(samples)
    cleaned = peers_programs._aligned(peer, peer.open(), noisy, 16_000)
    assert cleaned.shape == noisy.shape
    np.testing.assert_allclose(cleaned, noisy, atol=2e-3)


def test_a_delay_that_is_not_stated_shows_as_lag(sets: Sets, tmp_path: Path, capsys) -> None:
    peer = peers_programs.Peer(stream=delaying(37), hop_samples=160)

    def denoise(source: Path, target: Path) -> None:
        peers_programs.denoise(peer, str(source), str(target))

    assert sets.score(denoise)["mixtures"]["lag_samples"] == 37
    seconds = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(seconds) == [f"{i:03}.wav" for i in range(MIXTURES)]
    assert min(seconds.values()) >= 0
    one = sets.folders["mixtures"] / "noisy" / "000.wav"
    peers_programs.denoise(peer, str(one), str(tmp_path / "one.wav"))
    assert sf.info(tmp_path / "one.wav").frames == SAMPLES


def test_blocks_of_16_ms_hold_every_hop_after_the_first_second(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    """A hop of 10 ms takes a second of this clock: a block has one or two, 1.6 in the mean."""
    calls = itertools.count()
    monkeypatch.setattr(peers_programs.time, "process_time", lambda: float(next(calls)))
    write(tmp_path / "long.wav", np.zeros(11 * RATE_HZ))
    peer = peers_programs.Peer(stream=delaying(0), hop_samples=160)
    peers_programs.hops(peer, str(tmp_path / "long.wav"), "")
    blocks_s = json.loads(capsys.readouterr().out)
    assert len(blocks_s) == 625 - 63  # of 10 s; the 63 that begin before the end of the first
    assert set(blocks_s) == {1.0, 2.0}
    assert np.mean(blocks_s) == pytest.approx(1.6, abs=2e-3)


def test_whole_signals_only_means_no_times_of_blocks(capsys) -> None:
    peers_programs.hops(peers_programs.Peer(whole=delaying(0)), "", "")
    assert peers._block_times(peers._numbers(capsys.readouterr().out)) is None


def test_a_stereo_recording_goes_whole_where_it_can_and_else_by_channels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys
) -> None:
    """Every call takes a second of this clock."""
    clock, heard = [0.0], []
    monkeypatch.setattr(peers_programs.time, "process_time", lambda: clock[0])

    def call(x: np.ndarray, *rate_hz: int) -> np.ndarray:
        heard.append((x.shape, *rate_hz))
        clock[0] += 1
        return x

    sf.write(tmp_path / "stereo.wav", np.zeros((4800, 2)), 48_000)
    by_channels = peers_programs.Peer(whole=lambda: call, hop_samples=160)
    for peer in (peers_programs.Peer(recording=call), by_channels):
        peers_programs.stereo(peer, str(tmp_path / "stereo.wav"), "")
    printed = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in printed] == [1, 2]
    assert heard == [((2, 4800), 48_000), ((1600 + 160,),), ((1600 + 160,),)]
