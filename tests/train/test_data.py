"""Recordings, pairs and mixtures: nothing crosses a split, and batches depend on their number."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from speech import save_m4a, speech_like
from tinysignal.datasets.splits import hold_out
from tinysignal.errors import DataError
from tinysignal.evaluation.pairs import match_folders
from tinysignal.train.data.batches import EpochSampler
from tinysignal.train.data.heard import hear_pairs
from tinysignal.train.data.mixing import KindPool, MixOptions, Mixtures, active_rms
from tinysignal.train.data.pairs import PairClips, SignalPair, hold_out_end
from tinysignal.train.data.recordings import Clip, list_recordings, load_clips
from tinysignal.train.denoising.check import split_pairs

RATE_HZ = 16_000
# Sums of four noisy and clean signals, when the first table was made.
GOLDEN = [995.376, 745.064, 701.356, 634.829, 705.151, 526.527, 1469.38, 1334.968]


def clips(count: int, seconds: float, seed: int) -> list[Clip]:
    rng = np.random.default_rng(seed)
    size = round(seconds * RATE_HZ)
    return [Clip(rng.integers(-9000, 9000, size).astype(np.int16), str(i)) for i in range(count)]


def mixtures(options: MixOptions, *, seed: int = 0, batch: int = 2) -> Mixtures:
    return Mixtures(
        clips(3, 2, 1),
        clips(3, 0.4, 2),
        options,
        sample_rate_hz=RATE_HZ,
        clip_samples=RATE_HZ,
        batch=batch,
        steps_per_epoch=4,
        seed=seed,
    )


def test_no_speaker_is_on_two_sides(speech_and_noise: tuple[Path, Path]) -> None:
    found = list_recordings(speech_and_noise[0], valid_fraction=0.4, seed=3, test_fraction=0.5)
    splits = {split: {r.group for r in found if r.split == split} for split in ("train", "valid")}
    splits["test"] = {r.group for r in found if r.split == "test"}
    assert [len(splits[s]) for s in ("train", "valid", "test")] == [4, 1, 1]
    assert len(set.union(*splits.values())) == 6
    assert len(found) == 12


def test_the_test_groups_are_the_same_for_every_seed(tmp_path: Path) -> None:
    with (tmp_path / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "speaker", "split"])
        for i in range(10):
            soundfile.write(tmp_path / f"{i}.wav", np.zeros(10), RATE_HZ)
            writer.writerow([f"{i}.wav", f"s{i}", "valid" if i > 3 else "train"])
    listed = [
        list_recordings(tmp_path, valid_fraction=0.1, seed=seed, test_fraction=0.5)
        for seed in (0, 1)
    ]
    assert listed[0] == listed[1]
    assert sum(r.split == "test" for r in listed[0]) == 3


@pytest.mark.parametrize("below", [True, False])
def test_a_manifest_names_files_groups_and_splits(tmp_path: Path, below: bool) -> None:
    folder = tmp_path / "speech"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.zeros(10), RATE_HZ)
    prefix = "" if below else "speech/"
    (folder / "manifest.csv").write_text(f"path,speaker,split\n{prefix}a.wav,ann,valid\n")
    (only,) = list_recordings(folder, valid_fraction=0.1, seed=0)
    assert (only.path.name, only.group, only.split) == ("a.wav", "ann", "valid")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,speaker\nb.wav,ann\n", "b.wav is listed, but there is no such"),
        ("file\na\n", "columns file, expected a column 'path' too"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        list_recordings(tmp_path, valid_fraction=0.1, seed=0)


def test_a_folder_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="0 audio files"):
        list_recordings(tmp_path, valid_fraction=0.1, seed=0)
    with pytest.raises(DataError, match="no such folder"):
        list_recordings(tmp_path / "absent", valid_fraction=0.1, seed=0)


@given(
    groups=st.sets(st.text(min_size=1, max_size=4), max_size=20),
    share=st.floats(0, 0.9),
    seed=st.integers(0, 5),
)
def test_holding_out_leaves_something_on_both_sides(
    groups: set[str], share: float, seed: int
) -> None:
    held = hold_out(groups, share, seed)
    assert held <= groups
    if len(groups) >= 2 and share > 0:
        assert 0 < len(held) < len(groups)


def test_clips_are_read_at_the_rate_asked_for(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, tone], 1), 44100)
    (clip,) = load_clips(
        list_recordings(tmp_path, valid_fraction=0, seed=0), sample_rate_hz=RATE_HZ
    )
    assert clip.samples.shape == (RATE_HZ,)
    assert np.abs(clip.part(1000, RATE_HZ - 1000)).max() == pytest.approx(0.5, rel=0.01)


@given(snr_db=st.floats(-10, 30), level_db=st.floats(-40, -20))
def test_a_mixture_has_the_snr_and_level_asked_for(snr_db: float, level_db: float) -> None:
    options = MixOptions(snr_db=(snr_db, snr_db), level_dbfs=(level_db, level_db))
    noisy, clean = mixtures(options).mixture(np.random.default_rng(0), snr_db=snr_db)
    if np.abs(noisy).max() > 0.99:
        return  # scaled down so as not to clip
    level = active_rms(clean, RATE_HZ)
    noise = np.sqrt(np.mean((noisy - clean).astype(float) ** 2))
    assert 20 * np.log10(level) == pytest.approx(level_db, abs=0.05)
    assert 20 * np.log10(level / noise) == pytest.approx(snr_db, abs=0.05)


def test_a_batch_depends_on_seed_and_number_only() -> None:
    first, second = mixtures(MixOptions()), mixtures(MixOptions())
    first.batch(0)
    for a, b in zip(first.batch(5), second.batch(5), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.batch(5)[0], first.batch(6)[0])
    assert not np.array_equal(first.batch(5)[0], mixtures(MixOptions(), seed=1).batch(5)[0])


def test_shares_of_noise_only_and_clean_only_mixtures() -> None:
    only_noise = mixtures(MixOptions(noise_only_share=1.0)).batch(0)
    assert not only_noise[1].any()
    assert only_noise[0].any()
    only_clean = mixtures(MixOptions(noise_only_share=0, clean_only_share=1.0)).batch(0)
    np.testing.assert_array_equal(*only_clean)


def test_kinds_of_noise_are_drawn_nearly_evenly_whatever_their_duration() -> None:
    def of(kind: str, count: int, seconds: float, value: int) -> list[Clip]:
        samples = np.full(round(seconds * RATE_HZ), value, np.int16)
        return [Clip(samples, f"{kind}{i}", kind) for i in range(count)]

    pool = KindPool(of("rain", 7, 60, 100) + of("bells", 7, 1, 200) + of("goat", 1, 60, 300))
    rng = np.random.default_rng(0)
    drawn = [round(32768 * float(pool.draw(rng, 100, loop=True)[0])) for _ in range(3000)]
    shares = [drawn.count(value) / len(drawn) for value in (100, 200, 300)]
    # log2 of 8, 8 and 2
    assert shares == pytest.approx([3 / 7, 3 / 7, 1 / 7], abs=0.03)


def test_kinds_come_from_the_manifest(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(10), RATE_HZ)
    (tmp_path / "manifest.csv").write_text("path,recording,noise_class\na.wav,r1,rain\n")
    listed = list_recordings(tmp_path, valid_fraction=0, seed=0)
    (clip,) = load_clips(listed, sample_rate_hz=RATE_HZ)
    assert (clip.group, clip.kind) == ("r1", "rain")


def test_plain_mixtures_stay_what_they_were() -> None:
    """Validation mixtures are made of the same draws for good: old and new tables compare."""
    plain = MixOptions(filter_db=0, low_pass_share=0, second_noise_share=0)
    pairs = mixtures(plain).fixed_pairs(4, (0.0, 5.0))
    found = [float(np.abs(signal).sum()) for p in pairs for signal in (p.noisy, p.clean)]
    assert found == pytest.approx(GOLDEN, rel=1e-5)


def test_mixtures_never_clip() -> None:
    noisy, _ = mixtures(MixOptions(snr_db=(-20, -20), level_dbfs=(-1, -1)), batch=4).batch(0)
    assert np.abs(noisy).max() <= 1


def test_epochs_count_on() -> None:
    sampler = EpochSampler(3)
    sampler.set_epoch(2)
    assert list(sampler) == [6, 7, 8]


def pairs_of(folder: Path, *, share: float = 0.0) -> tuple[list[SignalPair], list[SignalPair]]:
    matched, failures = match_folders(folder / "noisy", folder / "clean")
    assert not failures
    heard = hear_pairs(matched, sample_rate_hz=RATE_HZ, align=False)
    return split_pairs(heard, valid_fraction=share, seed=0)[:2]


def test_folders_of_pairs_are_matched_by_name_and_split_by_subfolder(tmp_path: Path) -> None:
    for i in range(6):
        for split in ("noisy", "clean"):
            (tmp_path / split / f"s{i // 2}").mkdir(parents=True, exist_ok=True)
            suffix = "wav" if split == "noisy" else "flac"
            signal = np.full(50 + i, 0.1)
            soundfile.write(tmp_path / split / f"s{i // 2}" / f"{i}.{suffix}", signal, RATE_HZ)
    splits = pairs_of(tmp_path, share=0.3)
    sizes = [sorted((p.noisy.size - 50) // 2 for p in split) for split in splits]
    assert [len(s) for s in sizes] == [4, 2]
    assert not set(sizes[0]) & set(sizes[1])


def test_recordings_that_only_ffmpeg_reads_are_listed_and_read(tmp_path: Path) -> None:
    signal = speech_like(0.5)
    save_m4a(tmp_path / "noisy" / "a.m4a", signal)
    save_m4a(tmp_path / "noisy" / ".hidden" / "b.m4a", signal)
    (tmp_path / "clean").mkdir()
    soundfile.write(tmp_path / "clean" / "a.wav", signal[0], RATE_HZ)
    listed = list_recordings(tmp_path / "noisy", valid_fraction=0, seed=0)
    (clip,) = load_clips(listed, sample_rate_hz=RATE_HZ)
    np.testing.assert_allclose(clip.samples, signal[0], atol=2**-14)
    (pair,), _ = pairs_of(tmp_path)
    np.testing.assert_allclose(pair.noisy, pair.clean, atol=2**-14)


def test_clips_of_pairs_stay_aligned() -> None:
    ramp = np.linspace(0, 1, 5000, dtype=np.float32)
    source = PairClips([SignalPair(ramp + 1, ramp, "x")], clip_samples=800, batch=3,
                       steps_per_epoch=1, seed=0)  # fmt: skip
    noisy, clean = source.batch(0)
    np.testing.assert_allclose(noisy - clean, 1, atol=1e-6)
    assert len({row[0] for row in clean.tolist()}) == 3


def test_the_held_out_end_is_not_in_the_training_part() -> None:
    ramp = np.arange(1000, dtype=np.float32)
    train, end = hold_out_end(SignalPair(ramp, ramp, "x"), 0.2)
    np.testing.assert_array_equal(np.concatenate([train.clean, end.clean]), ramp)
    assert end.clean.size == 200
