"""Recordings that are decoded once: the same samples in less memory, whatever happens to them."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tinysignal.cli.main import run as command_line
from tinysignal.errors import AudioFileError, DataError, FileError
from tinysignal.train.checkpoint import load_weights
from tinysignal.train.data import shards, sound
from tinysignal.train.data.corpus import Corpus, Stored
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Clip
from tinysignal.train.data.sound import Sound, in_memory, load_sound
from tinysignal.train.denoising.build import stft_size
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData, load_training_data

RATE_HZ = 16_000


def tone(seconds: float = 3.0, *, level: float = 0.5, seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    hiss = 0.1 * rng.normal(0, 1, round(seconds * RATE_HZ))
    wave = np.sin(np.arange(hiss.size) * (0.1 + 0.01 * seed))
    return (level * (wave + hiss) / np.abs(wave + hiss).max()).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Recordings of many kinds: bits, rates, channels, levels, lengths."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    kinds: dict[str, tuple[NDArray[np.float32], int, str]] = {
        "plain.wav": (tone(seed=1), RATE_HZ, "PCM_16"),
        "full.wav": (tone(seed=2, level=1.0), RATE_HZ, "PCM_16"),
        "deep.flac": (tone(seed=3), RATE_HZ, "PCM_24"),
        "loud.wav": (tone(seed=4, level=3.0), RATE_HZ, "FLOAT"),
        "faint.wav": (tone(seed=5, level=1e-3), RATE_HZ, "FLOAT"),
        "short.wav": (tone(0.03, seed=6), RATE_HZ, "PCM_16"),
        "silent.wav": (np.zeros(RATE_HZ, np.float32), RATE_HZ, "PCM_16"),
        "wide.wav": (np.stack([tone(seed=7), tone(seed=8)], 1), 44_100, "PCM_16"),
    }
    for name, (samples, rate_hz, subtype) in kinds.items():
        soundfile.write(folder / name, samples, rate_hz, subtype=subtype)
    return sorted(folder.iterdir())


def opened(folder: Path, files: list[Path]) -> list[Sound]:
    found = Corpus(folder, sample_rate_hz=RATE_HZ).sounds(files)
    assert all(isinstance(one, Sound) for one in found), found
    return [one for one in found if isinstance(one, Sound)]


def in_shards(folder: Path) -> list[Path]:
    return shards.shards_of(folder, sample_rate_hz=RATE_HZ)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("a recording is opened")


def test_a_corpus_gives_the_samples_that_reading_gives(files: list[Path], tmp_path: Path) -> None:
    for path, found in zip(files, opened(tmp_path / "cache", files), strict=True):
        read = load_sound(path, sample_rate_hz=RATE_HZ)
        assert found.facts == read.facts
        assert found.scale == read.scale
        np.testing.assert_array_equal(found, read)
        middle = found.size // 2
        np.testing.assert_array_equal(found[middle:], np.asarray(read)[middle:])
        np.testing.assert_array_equal(-found[3:][:5], -np.asarray(read)[3:8])


def test_16_bits_are_exact_for_16_bits_and_98_db_below_the_peak_otherwise(
    files: list[Path], tmp_path: Path
) -> None:
    for path, found in zip(files, opened(tmp_path / "cache", files), strict=True):
        if path.name == "wide.wav":
            continue
        original = soundfile.read(path, dtype="float32")[0]
        error = np.asarray(found, np.float64) - original
        if soundfile.info(path).subtype == "PCM_16":
            assert not error.any()
        else:  # half a step of 16 bits at most, at a peak of half of full scale at least
            assert 20 * np.log10(np.abs(error).max() / np.abs(original).max()) < -90
            assert 10 * np.log10(np.square(error).mean() / np.abs(original).max() ** 2) < -94


def test_nothing_is_decoded_twice(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = opened(tmp_path / "cache", files)
    monkeypatch.setattr(sound, "open_recording", refuse)
    for before, after in zip(first, opened(tmp_path / "cache", files), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("changed", ["content", "time"])
def test_a_changed_file_is_decoded_anew(changed: str, files: list[Path], tmp_path: Path) -> None:
    path = files[0]
    opened(tmp_path / "cache", files)
    status = path.stat()
    soundfile.write(path, tone(seed=20), RATE_HZ, subtype="PCM_24")
    if changed == "time":  # of the same size
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    expected = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_allclose(opened(tmp_path / "cache", files)[0], expected, atol=2**-15)


def test_another_rate_is_another_corpus(files: list[Path], tmp_path: Path) -> None:
    opened(tmp_path / "cache", files)
    (other,) = Corpus(tmp_path / "cache", sample_rate_hz=8000).sounds([files[-1]])
    assert isinstance(other, Sound)
    read = load_sound(files[-1], sample_rate_hz=8000)
    np.testing.assert_array_equal(other, read)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0, 0.3, 0.6, 0.99, -1, -30])
def test_a_flipped_bit_anywhere_is_noticed_and_mended(
    place: float, files: list[Path], tmp_path: Path
) -> None:
    expected = [np.asarray(one) for one in opened(tmp_path / "cache", files)]
    for shard in in_shards(tmp_path / "cache"):
        at = place if place < 0 else place * (shard.stat().st_size - 1)
        flip(shard, int(at))
    for _ in range(2):
        for before, after in zip(expected, opened(tmp_path / "cache", files), strict=True):
            np.testing.assert_array_equal(before, after)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped": lambda path: flip(path, 100),
    "cut short": lambda path: os.truncate(path, path.stat().st_size // 3),
    "emptied": lambda path: os.truncate(path, 0),
    "removed": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_during_a_run_is_mended_when_it_is_read(
    damage: str, files: list[Path], tmp_path: Path
) -> None:
    held = opened(tmp_path / "cache", files)
    expected = [np.asarray(one) for one in held]
    for shard in in_shards(tmp_path / "cache"):
        DAMAGES[damage](shard)
    with ThreadPoolExecutor(4) as pool:
        for before, after in zip(expected * 2, pool.map(np.asarray, held * 2), strict=True):
            np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("gone", [True, False])
def test_damage_that_cannot_be_mended_is_one_line(
    gone: bool, files: list[Path], tmp_path: Path
) -> None:
    held = opened(tmp_path / "cache", files)[0]
    for shard in in_shards(tmp_path / "cache"):
        shard.unlink()
    if gone:
        files[0].unlink()
    else:
        soundfile.write(files[0], tone(1.0, seed=9), RATE_HZ)
    with pytest.raises(AudioFileError, match=r"cannot be read|changed while") as raised:
        np.asarray(held)
    assert str(files[0]) in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_unreadable_recordings_are_told_each_time_and_leave_nothing(
    files: list[Path], tmp_path: Path
) -> None:
    noise, absent = tmp_path / "noise.wav", tmp_path / "absent.wav"
    noise.write_bytes(b"RIFF, and then something else")
    cache = tmp_path / "cache"
    for _ in range(2):
        found = Corpus(cache, sample_rate_hz=RATE_HZ).sounds([noise, files[0], absent])
        assert isinstance(found[0], FileError)
        assert isinstance(found[1], Sound)
        assert isinstance(found[2], FileError)
        assert str(noise) in str(found[0])
    assert len(in_shards(cache)) == 1


def test_links_to_a_recording_share_its_samples(files: list[Path], tmp_path: Path) -> None:
    link = tmp_path / "link.wav"
    link.symlink_to(files[0])
    first, second = opened(tmp_path / "cache", [files[0], link])
    np.testing.assert_array_equal(first, second)
    assert len(shards.read_shard(in_shards(tmp_path / "cache")[0]).entries) == 1  # type: ignore[union-attr]


FILL = """
import sys
from pathlib import Path
from tinysignal.train.data.corpus import Corpus
folder, cache = map(Path, sys.argv[1:])
corpus = Corpus(cache, sample_rate_hz=16000, on_decoded=lambda done, of: print(done, flush=True))
print("ready", flush=True)
sys.stdin.readline()
corpus.sounds(sorted(folder.iterdir()))
"""


def filling(recordings: Path, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FILL, str(recordings), str(cache)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def many(folder: Path, count: int, seconds: float) -> list[Path]:
    folder.mkdir()
    for i in range(count):
        soundfile.write(folder / f"{i:03}.flac", tone(seconds, seed=i), 48_000)
    return sorted(folder.iterdir())


def test_two_processes_that_fill_a_cache_at_once_decode_everything_once(tmp_path: Path) -> None:
    files = many(tmp_path / "many", 40, 1.0)
    both = [filling(tmp_path / "many", tmp_path / "cache") for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told = []
    for process in both:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in both:
        told.append(process.communicate(timeout=120)[0].split())
        assert process.returncode == 0
    assert sorted(map(len, told)) == [0, 40]
    for path, found in zip(files, opened(tmp_path / "cache", files), strict=True):
        np.testing.assert_array_equal(found, load_sound(path, sample_rate_hz=RATE_HZ))


def test_a_killed_process_leaves_whole_shards_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = many(tmp_path / "many", 60, 20.0)
    cache = tmp_path / "cache"
    process = filling(tmp_path / "many", cache)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    while process.stdout.readline() != "3\n":  # some are decoded, and others are not
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert all(shards.read_shard(path) for path in in_shards(cache))
    done: list[int] = []
    corpus = Corpus(cache, sample_rate_hz=RATE_HZ, on_decoded=lambda now, of: done.append(of))
    assert all(isinstance(one, Sound) for one in corpus.sounds(files))
    assert done
    assert {path.name for path in cache.iterdir()} == {
        "lock",
        *(path.name for path in in_shards(cache)),
    }
    monkeypatch.setattr(sound, "open_recording", refuse)
    opened(cache, files)


def test_what_an_interrupted_process_has_decoded_stays(files: list[Path], tmp_path: Path) -> None:
    def interrupt(done: int, of: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    corpus = Corpus(tmp_path / "cache", sample_rate_hz=RATE_HZ, on_decoded=interrupt)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        corpus.sounds(files)
    assert threading.active_count() == before
    assert all(shards.read_shard(path) for path in in_shards(tmp_path / "cache"))
    opened(tmp_path / "cache", files)


def test_a_full_disk_is_one_line_that_names_the_cache(
    files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.NewShard, "finish", full)
    with pytest.raises(FileError, match=r"cache.*cannot be written \(No space left"):
        opened(tmp_path / "cache", files)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["lock"]


def test_a_whole_cache_is_read_where_nothing_may_be_written(
    files: list[Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    opened(cache, files)
    cache.chmod(0o555)
    try:
        opened(cache, files)
        if os.geteuid() != 0:  # who may write everywhere
            soundfile.write(files[0], tone(seed=30), RATE_HZ)
            with pytest.raises(FileError, match="cannot be written"):
                opened(cache, files)
    finally:
        cache.chmod(0o755)


def test_memory_does_not_grow_with_the_length_of_recordings(tmp_path: Path) -> None:
    def most_bytes(seconds: float) -> int:
        folder = tmp_path / f"{seconds}"
        many(folder, 4, seconds)
        paths = sorted(folder.iterdir())
        opened(tmp_path / "cache", paths)  # decoded
        tracemalloc.start()
        clips = [Clip(one, str(i)) for i, one in enumerate(opened(tmp_path / "cache", paths))]
        source = Mixtures(clips[:2], clips[2:], MixOptions(), sample_rate_hz=RATE_HZ,
                          clip_samples=RATE_HZ, batch=4, steps_per_epoch=1, seed=0)  # fmt: skip
        for number in range(3):
            source.batch(number)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    few, much = most_bytes(10), most_bytes(120)
    assert much - few < 120 * RATE_HZ // 8  # of 15 MB that a recording adds


def test_a_corpus_goes_to_other_processes(files: list[Path], tmp_path: Path) -> None:
    held = opened(tmp_path / "cache", files)
    assert isinstance(held[0].samples, Stored)
    sent = pickle.loads(pickle.dumps(held))
    for before, after in zip(held, sent, strict=True):
        np.testing.assert_array_equal(before, after)


def test_sounds_in_memory_never_clip() -> None:
    for peak in (1.0, 0.99999, 32767.4 / 32768, 32767.6 / 32768, 5.0, 1e-30):
        for sign in (1, -1):
            mono = np.array([0, sign * peak, -sign * peak / 3], np.float32)
            found = np.asarray(in_memory(mono, sample_rate_hz=RATE_HZ))
            np.testing.assert_allclose(found, mono, atol=max(2**-15 * peak, 1e-22))


def load(**options: Any) -> TrainingData:
    options = {key: str(v) if isinstance(v, Path) else v for key, v in options.items()}
    config = DenoiserConfig(steps=1, clip_s=0.5, batch=4, **options)
    return load_training_data(config, stft_size(config), None, on_report=lambda report: None)


def test_mixtures_are_the_same_with_and_without_a_cache(
    speech_and_noise: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, noise = speech_and_noise
    soundfile.write(clean / "speaker0" / "c.wav", tone(seed=40), 44_100, subtype="FLOAT")
    (noise / "bad.wav").write_bytes(b"no sound")
    options = {"clean": clean, "noise": noise, "augment": True, "skip_bad": True}
    plain = load(**options)
    for _ in range(2):
        cached = load(**options, cache=tmp_path / "cache")
        assert cached.report == plain.report
        assert cached.data_facts == plain.data_facts
        for number in range(3):
            for a, b in zip(plain.source.batch(number), cached.source.batch(number), strict=True):
                np.testing.assert_array_equal(a, b)
        for one, other in zip(plain.score, cached.score, strict=True):
            np.testing.assert_array_equal(one.arrays(), other.arrays())


def test_so_are_pairs_and_a_second_run_reads_none_of_them_for_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        clean = tone(seed=i)
        noisy = clean + 0.05 * np.random.default_rng(i).normal(0, 1, clean.size)
        late = np.concatenate([np.zeros(40 * i), -noisy if i == 3 else noisy])
        for side, samples in (("clean", clean), ("noisy", late)):
            (tmp_path / side).mkdir(exist_ok=True)
            soundfile.write(tmp_path / side / f"{i}.wav", samples, RATE_HZ, subtype="PCM_16")
    options = {"pairs": (str(tmp_path / "clean"), str(tmp_path / "noisy")), "align": True}
    plain = load(**options)
    assert {finding.kind for finding in plain.report.findings} >= {"shifted", "inverted"}
    for again in (False, True):
        with monkeypatch.context() as patched:
            if again:
                patched.setattr(sound, "open_recording", refuse)
                patched.setattr(Stored, "__getitem__", refuse)
            cached = load(**options, cache=tmp_path / "cache")
        assert cached.report == plain.report
        for a, b in zip(plain.source.batch(0), cached.source.batch(0), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_with_a_cache_has_the_weights_of_one_without(
    workers: str, speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    speech, noise = map(str, speech_and_noise)
    options = ["--steps", "4", "--steps-per-epoch", "2", "--batch", "2", "--clip-s", "0.5",
               "--arch", "linear", "--width", "8", "--device", "cpu", "--quiet"]  # fmt: skip
    command = ["train", "denoiser", "--clean", speech, "--noise", noise, *options]
    assert command_line([*command, "-o", str(tmp_path / "plain")]) == 0
    cache = ["--cache", str(tmp_path / "cache"), "--workers", workers]
    assert command_line([*command, *cache, "-o", str(tmp_path / "cached")]) == 0
    plain, cached = (load_weights(tmp_path / n / "model.safetensors") for n in ("plain", "cached"))
    assert plain.keys() == cached.keys()
    assert all(plain[name].equal(cached[name]) for name in plain)


def test_a_cache_that_cannot_be_made_is_one_line(
    speech_and_noise: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    speech, noise = map(str, speech_and_noise)
    (tmp_path / "file").touch()
    cache = str(tmp_path / "file" / "cache")
    command = ["train", "denoiser", "--clean", speech, "--noise", noise, "--steps", "1"]
    assert command_line([*command, "--cache", cache, "-o", str(tmp_path / "run")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert cache in line
    assert not (tmp_path / "run").exists()


def test_recordings_of_a_store_are_trained_on_as_those_of_a_folder_and_fetched_once(
    speech_and_noise: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = pytest.importorskip("fsspec", reason="the 'remote' extra").filesystem("memory")
    for folder, name in zip(speech_and_noise, ("speech", "noise"), strict=True):
        memory.put(str(folder), f"/corpus/{name}", recursive=True)
    clean, noise = speech_and_noise
    plain = load(clean=clean, noise=noise)
    urls = {name: f"memory://corpus/{name}" for name in ("speech", "noise")}
    try:
        for again in (False, True):
            with monkeypatch.context() as patched:
                if again:
                    patched.setattr(sound, "open_recording", refuse)
                options = {"clean": urls["speech"], "noise": urls["noise"]}
                cached = load(**options, cache=tmp_path / "cache")
            for a, b in zip(plain.source.batch(0), cached.source.batch(0), strict=True):
                np.testing.assert_array_equal(a, b)
    finally:
        memory.rm("/corpus", recursive=True)


def test_manifests_and_rooms_lie_in_stores_too(
    speech_and_noise: tuple[Path, Path], tmp_path: Path
) -> None:
    memory = pytest.importorskip("fsspec", reason="the 'remote' extra").filesystem("memory")
    speech, noise = speech_and_noise
    names = sorted(p.relative_to(noise).as_posix() for p in noise.rglob("*.wav"))
    rows = [f"{'noise/' if i else ''}{name},train" for i, name in enumerate(names[:-1])]
    (noise / "manifest.csv").write_text("\n".join(["path,split", *rows, f"{names[-1]},valid"]))
    local = {"clean": speech, "noise": noise, "augment": True, "rooms": noise}
    memory.put(str(noise), "/corpus/noise", recursive=True)
    there = "memory://corpus/noise"
    try:
        found = load(**{**local, "noise": there, "rooms": there})
        for a, b in zip(load(**local).source.batch(0), found.source.batch(0), strict=True):
            np.testing.assert_array_equal(a, b)
        listed = load(**{**local, "noise": f"{there}/manifest.csv"})
        assert listed.data_facts["valid_noise"] == found.data_facts["valid_noise"]
        memory.pipe_file("/corpus/noise/manifest.csv", b"path\nnone.wav\n")
        with pytest.raises(DataError, match=r"none\.wav is listed"):
            load(clean=speech, noise=there)
    finally:
        memory.rm("/corpus", recursive=True)
