"""The measures of transparency, on made signals and denoisers whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from benchmarks import tables_denoising, transparency
from tinysignal.errors import SignalError

RATE_HZ = transparency.RATE_HZ
WORDS_S = (0.5, 1.5, 1.9, 3.0)  # 300 ms each; between the second and the third 100 ms of pause
HALF_DB = 20 * np.log10(0.5)


def words(*, seed: int = 0) -> np.ndarray:
    """Harmonics in four words with digital silence between, float32 (samples,)."""
    time_s = np.arange(4 * RATE_HZ) / RATE_HZ
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 20)
    voiced = sum(np.sin(2 * np.pi * 120 * (k + 1) * time_s + p) for k, p in enumerate(phases))
    spoken = sum((time_s >= start) & (time_s < start + 0.3) for start in WORDS_S)
    return (voiced * spoken / 40).astype(np.float32)


def identity(x: np.ndarray, rate_hz: int) -> np.ndarray:
    return x


def half(x: np.ndarray, rate_hz: int) -> np.ndarray:
    return x / 2


def late(x: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mutes the first 90 ms after every pause of 200 ms or more, and the start."""
    before, muted = round(0.2 * rate_hz), round(0.09 * rate_hz)
    sounding = np.flatnonzero(np.abs(x) > 1e-3)
    gaps = np.diff(sounding, prepend=-before)
    y = x.copy()
    for begin in sounding[gaps >= before]:
        y[begin : begin + muted] = 0
    return y


def begun(speech: dict[str, np.ndarray]) -> dict[str, tuple[np.ndarray, list[int]]]:
    """At the level at which onsets are measured, each with its onsets."""
    scaled = {
        name: transparency.scaled(x, transparency.active_rms(x), transparency.LEVEL_DBFS)
        for name, x in speech.items()
    }
    return {name: transparency.after_silence(x) for name, x in scaled.items()}


@pytest.fixture(scope="module")
def signals() -> tuple[dict[str, np.ndarray], ...]:
    """Speech, noise and music."""
    noise = np.random.default_rng(1).normal(size=2 * RATE_HZ).astype(np.float32)
    speech = {name: words(seed=seed) for seed, name in enumerate(("a", "b", "c"))}
    return speech, {"hiss": noise}, {"made": transparency.chords_and_drums()}


def all_changes(row: dict) -> list[dict]:
    """Every summary of changes of level or peak without added noise."""
    found = [row[key]["level_db"] for key in ("onset", "cut_start", "faint", "alone")]
    found += [clean["level_db"] for clean in row["clean"].values()]
    for kind in ("music", "noise"):
        found += [part for loud in row[kind].values() for part in loud.values()]
    return found


@pytest.mark.parametrize(("denoise", "change_db"), [(identity, 0.0), (half, HALF_DB)])
def test_a_gain_is_a_change_of_level_and_no_distortion(signals, denoise, change_db: float) -> None:
    row = transparency.measure(denoise, *signals)
    for change in all_changes(row):
        assert change["min"] == pytest.approx(change_db, abs=2e-3)
        assert change["max"] == pytest.approx(change_db, abs=2e-3)
    for clean in row["clean"].values():
        assert clean["si_sdr_db"]["min"] > 90
    assert row["silence_peak"] == 0


def test_onsets_are_where_words_follow_300_ms_of_pause() -> None:
    found = [begin / RATE_HZ for begin in transparency.onsets(words())]
    assert found == pytest.approx([0.5, 1.5, 3.0])


def test_a_breath_is_no_onset() -> None:
    x = words()
    breath = np.random.default_rng(2).normal(0, 1, RATE_HZ // 5).astype(np.float32)
    level = transparency.active_rms(x) * 10 ** (-25 / 20)
    x[round(2.5 * RATE_HZ) :][: breath.size] = level * breath
    found = [begin / RATE_HZ for begin in transparency.onsets(x)]
    assert found == pytest.approx([0.5, 1.5, 3.0])


def test_eaten_onsets_are_caught_where_the_whole_level_hardly_tells(signals) -> None:
    row = transparency.measure(late, *signals)
    assert row["onset"]["level_db"]["max"] < -8
    assert row["cut_start"]["level_db"]["max"] < -8
    assert row["clean"]["-30"]["level_db"]["mean"] > -2
    assert row["onset"]["level_db"]["count"] == 9


def test_noise_in_place_of_an_onset_does_not_pass_for_speech(signals) -> None:
    speech, noise, _ = signals

    def hissing(x: np.ndarray, rate_hz: int) -> np.ndarray:
        hiss = np.random.default_rng(3).normal(size=x.size)
        return transparency.scaled(hiss, 1.0, transparency.LEVEL_DBFS)

    row = transparency.heads_kept(hissing, begun(speech), list(noise.values()))
    assert row["level_db"]["median"] > -3
    assert row["speech_db"]["median"] < -15


def test_noise_is_at_10_db_below_the_active_speech(signals) -> None:
    speech, noise, _ = signals
    row = transparency.heads_kept(identity, begun(speech), list(noise.values()))
    # Signal and noise add: 10 log10(1 + 0.1), and every onset is as loud as its word.
    assert row["level_db"]["mean"] == pytest.approx(10 * np.log10(1.1), abs=0.1)
    assert row["speech_db"]["mean"] == pytest.approx(0, abs=0.3)


def test_a_file_cut_within_a_word_starts_with_100_ms_of_it() -> None:
    x = words()
    cut, begins = transparency.from_within_a_word(x)
    assert begins == [0]
    assert (x.size - cut.size) / RATE_HZ == pytest.approx(WORDS_S[0] + 0.1)
    assert transparency.from_within_a_word(x[: round(0.6 * RATE_HZ)])[1] == []


def test_peaks_that_grow_and_a_dither_on_silence_are_seen(signals) -> None:
    def expand(x: np.ndarray, rate_hz: int) -> np.ndarray:
        return (x + 0.5 * x**3 + 1e-6).astype(np.float32)

    row = transparency.measure(expand, *signals)
    assert row["noise"]["0"]["peak_db"]["max"] == pytest.approx(20 * np.log10(1.5), abs=0.01)
    assert row["noise"]["-6"]["peak_db"]["max"] < row["noise"]["0"]["peak_db"]["max"]
    assert row["silence_peak"] == pytest.approx(1e-6)


@pytest.mark.parametrize("broken", [lambda x, _: x[1:], lambda x, _: np.nan * x])
def test_an_answer_of_another_length_or_with_nan_is_refused(broken) -> None:
    with pytest.raises(SignalError, match="the denoiser gives"):
        transparency.run(broken, words())


def test_the_interval_is_that_of_the_mean() -> None:
    values = np.random.default_rng(4).normal(5, 2, 400)
    found = transparency.summary({str(i): float(v) for i, v in enumerate(values)})
    half_width = 1.96 * values.std() / 20
    assert found["low"] == pytest.approx(values.mean() - half_width, abs=0.05)
    assert found["high"] == pytest.approx(values.mean() + half_width, abs=0.05)
    assert (found["lowest"], found["highest"]) == (str(values.argmin()), str(values.argmax()))
    with pytest.raises(SignalError, match="nothing to measure"):
        transparency.summary({})


def test_only_lossless_recordings_of_the_asked_half_are_read(tmp_path: Path) -> None:
    for kind, group in (("speech", "speaker"), ("noise", "recording")):
        folder = tmp_path / kind
        folder.mkdir()
        lines = [f"path,{group},split"]
        for split in ("train", "valid"):
            for i in range(4):
                for suffix in ("flac", "ogg"):
                    name = f"{kind}-{split}-{i}.{suffix}"
                    sf.write(folder / name, words(seed=i), RATE_HZ)
                    lines.append(f"{name},{split}-{i},{split}")
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    facts, speech, noise, music = transparency.load(tmp_path, "test")
    _, others, other_noise, _ = transparency.load(tmp_path, "valid")
    for name in ("speech", "noise"):
        assert facts[name] == {"files": 2, "groups": 2}
    assert not speech.keys() & others.keys()
    assert not noise.keys() & other_noise.keys()
    for name in [*speech, *others, *noise, *other_noise]:
        assert "valid" in name
        assert name.endswith(".flac")
    assert list(music) == facts["music"] == ["synthetic chords and drums"]


def test_the_table_has_a_column_for_every_denoiser(signals) -> None:
    kinds = {kind: {"files": 3, "groups": 2} for kind in ("speech", "noise")}
    rows = {"left": transparency.measure(identity, *signals)}
    rows["halved"] = transparency.measure(half, *signals)
    data = {"split": "test", "music": list(signals[2])} | kinds
    text = tables_denoising.transparency({"data": data, "denoisers": rows})
    assert "|  | left | halved |" in text
    line = next(row for row in text.splitlines() if "file cut within a word" in row)
    cells = [
        f"median {db}, 5th percentile {low}, lowest {low}"
        for db, low in (("0.00", "0.0"), ("-6.02", "-6.0"))
    ]
    assert line.endswith(f"| {cells[0]} | {cells[1]} |")
