"""Data sets: files held to their format, splits that share nothing, downloads that go on."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.datasets import Dataset, Examples, load_dataset, load_folder
from tinysignal.datasets.dataset import mean_and_std
from tinysignal.datasets.manifest import read_manifest
from tinysignal.datasets.published import FILES, read_idx, read_pair
from tinysignal.datasets.report import DataReport
from tinysignal.datasets.splits import hold_out, join_copies, split_off
from tinysignal.errors import DataError, MissingExtraError, TinysignalError
from tinysignal.spec import ImageInput, SoundInput

DATA = os.environ.get("TINYSIGNAL_DATA")
needs_mnist = pytest.mark.skipif(
    not (DATA and (Path(DATA) / "mnist").is_dir()),
    reason="TINYSIGNAL_DATA names no folder with mnist/",
)
SPLITS = ("train", "valid", "test")


def idx(values: np.ndarray, kind: int = 0x08) -> bytes:
    header = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return header + values.tobytes()


def save_set(
    folder: Path, *, train: int = 60, test: int = 20, spell: Callable[[str], str] = str
) -> None:
    """The four files of a small set, of random pictures with copies among them."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for files, count in ((FILES[:2], train), (FILES[2:], test)):
        pictures = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        if count == train:
            pictures[10:20] = pictures[:10]
        for file, values in zip(files, (pictures, labels), strict=True):
            name = spell(file)
            content = idx(values)
            (folder / name).write_bytes(
                gzip.compress(content, mtime=0) if ".gz" in name else content
            )


def contents(data: Dataset) -> dict[str, set[bytes]]:
    return {split: {v.tobytes() for v in data.split(split).values} for split in SPLITS}


@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple), compressed=st.booleans()
)
def test_idx_files_give_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], compressed: bool
) -> None:
    values = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    path = tmp_path_factory.mktemp("idx") / "a"
    path.write_bytes(gzip.compress(idx(values), mtime=0) if compressed else idx(values))
    np.testing.assert_array_equal(read_idx(path, dimensions=len(shape)), values)


GOOD = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
PACKED = gzip.compress(GOOD, mtime=0)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not an IDX file"),
        (b"PK\3\4 something", "not an IDX file"),
        (GOOD[:3], "not an IDX file"),
        (GOOD[:10], "truncated"),
        (GOOD[:-1], "truncated: 23 of 24 bytes"),
        (GOOD + b"\0", "trailing bytes after the 24 bytes"),
        (idx(np.zeros(5, np.uint8)), "1 dimensions, expected 3"),
        (idx(np.zeros((2, 3, 4), ">i4"), 0x0C), "32-bit integers, expected unsigned bytes"),
        (GOOD[:4] + struct.pack(">3I", 1 << 20, 64, 64) + bytes(9), "header says 4294967296"),
        (GOOD[:4] + struct.pack(">3I", 1 << 10, 1 << 10, 1 << 10), "header says 1073741824"),
        (GOOD[:4] + struct.pack(">3I", (1 << 32) - 1, 0, (1 << 32) - 1), "header says 18446744"),
        (GOOD[:4] + struct.pack(">3I", 1 << 9, 1 << 9, 1 << 9) + bytes(9), "truncated: 9 of"),
        (
            gzip.compress(GOOD[:4] + struct.pack(">3I", 1, 1, 1) + bytes(10**7)),
            "trailing bytes after the",
        ),
        (PACKED[:-9], "truncated"),
        (PACKED[:-8] + bytes(4) + PACKED[-4:], "damaged"),
        (PACKED[:20] + b"\xff" * 8 + PACKED[28:], "damaged"),
        (gzip.compress(GOOD + b"\0", mtime=0), "trailing bytes after the 24 bytes"),
        (b"\x1f\x8b", "truncated"),
    ],
)
def test_damaged_idx_files_are_refused_by_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "digits.gz").write_bytes(content)
    with pytest.raises(DataError, match=rf"digits\.gz: .*{what}"):
        read_idx(tmp_path / "digits.gz", dimensions=3)


@given(place=st.integers(0, len(PACKED) - 1), value=st.integers(0, 255))
def test_a_wrong_byte_ends_in_an_error_of_ours_or_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int
) -> None:
    path = tmp_path_factory.mktemp("idx") / "a.gz"
    path.write_bytes(PACKED[:place] + bytes([value]) + PACKED[place + 1 :])
    try:
        found = read_idx(path, dimensions=3)
    except DataError:
        return
    np.testing.assert_array_equal(found.ravel(), np.arange(24))


def test_pictures_and_labels_must_fit(tmp_path: Path) -> None:
    pictures, labels = tmp_path / "pictures", tmp_path / "labels"
    for shape, given_labels, what in (
        ((3, 2, 2), [0, 1], "3 pictures, but 2 labels"),
        ((2, 2, 2), [0, 10], "label 10 at 1, expected 0 to 9"),
        ((0, 2, 2), [], "0 pictures, expected 1 or more"),
    ):
        pictures.write_bytes(idx(np.zeros(shape, np.uint8)))
        labels.write_bytes(idx(np.array(given_labels, np.uint8)))
        with pytest.raises(DataError, match=what):
            read_pair(pictures, labels, classes=10)


@pytest.mark.parametrize("below", ["mnist", "", "MNIST/raw"])
@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_files_are_found_as_they_are_spelled(
    tmp_path: Path, below: str, ending: str, dotted: bool
) -> None:
    save_set(
        tmp_path / below, spell=lambda f: (f.replace("-idx", ".idx") if dotted else f) + ending
    )
    data = load_dataset("mnist", data_dir=tmp_path, valid_fraction=0.2)
    assert [len(data.split(split)) for split in SPLITS] == [48, 12, 20]
    assert data.held_out()[0] == "test"


def test_the_environment_names_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_set(tmp_path / "fashion")
    monkeypatch.setenv("TINYSIGNAL_DATA", str(tmp_path))
    assert load_dataset("fashion-mnist").classes[9] == "Ankle boot"


def test_some_of_the_files_are_not_enough(tmp_path: Path) -> None:
    save_set(tmp_path / "mnist")
    (tmp_path / "mnist" / FILES[3]).unlink()
    with pytest.raises(DataError, match=r"mnist: t10k-labels-idx1-ubyte missing"):
        load_dataset("mnist", data_dir=tmp_path)


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    save_set(tmp_path)
    (tmp_path / FILES[0]).write_bytes(idx(np.zeros((60, 27, 28), np.uint8)))
    with pytest.raises(DataError, match="27 x 28, expected 28 x 28"):
        load_dataset("mnist", data_dir=tmp_path)


def test_copies_stay_on_one_side_and_a_seed_says_which(tmp_path: Path) -> None:
    save_set(tmp_path)
    chosen = [
        load_dataset("mnist", data_dir=tmp_path, valid_fraction=0.3, seed=s) for s in (0, 0, 1)
    ]
    for data in chosen:
        splits = contents(data)
        assert not splits["train"] & splits["valid"]
        assert len(data.train) + len(data.valid) == 60
    valid = [contents(data)["valid"] for data in chosen]
    assert valid[0] == valid[1] != valid[2]
    assert len(load_dataset("mnist", data_dir=tmp_path, valid_fraction=0).valid) == 0


@needs_mnist
def test_mnist_is_mnist() -> None:
    data = load_dataset("mnist", data_dir=Path(DATA or ""))
    assert [len(data.split(split)) for split in SPLITS] == [55_000, 5_000, 10_000]
    assert data.train.values.shape == (55_000, 28, 28)
    assert (round(data.mean, 4), round(data.std, 4)) == (0.1307, 0.3081)
    assert data.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    splits = contents(data)
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 70_000
    shares = np.bincount(data.valid.labels) / (
        np.bincount(data.valid.labels) + np.bincount(data.train.labels)
    )
    np.testing.assert_allclose(shares, 1 / 12, atol=2e-4)


def test_the_embedded_digits_have_a_fixed_test_side() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    given_digits = __import__("sklearn.datasets").datasets.load_digits()
    first, second = (load_dataset("digits", seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(first.test.values, second.test.values)
    assert contents(first)["valid"] != contents(second)["valid"]
    assert sum(len(first.split(split)) for split in SPLITS) == 1797
    assert 0.19 < len(first.test) / 1797 < 0.21
    splits = contents(first)
    assert not splits["train"] & splits["test"]
    assert not splits["train"] & splits["valid"]
    expected = np.sort(np.round(given_digits.images * 255 / 16).sum(axis=(1, 2)))
    found = np.concatenate([first.split(split).values for split in SPLITS]).sum(
        axis=(1, 2), dtype=int
    )
    np.testing.assert_array_equal(np.sort(found), expected)


@given(
    counts=st.lists(st.integers(3, 60), min_size=2, max_size=5),
    share=st.floats(0.01, 0.5),
    seed=st.integers(0, 9),
)
def test_every_class_gives_its_share(counts: list[int], share: float, seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    held = split_off(labels, [str(n) for n in range(labels.size)], share, seed=seed)
    for label, count in enumerate(counts):
        taken = int(held[labels == label].sum())
        assert 1 <= taken < count
        assert abs(taken - share * count) < 1 or taken == 1


@given(
    labels=st.lists(st.integers(0, 2), min_size=1, max_size=60),
    groups=st.integers(1, 20),
    share=st.floats(0, 0.9),
)
def test_no_group_is_divided_and_no_class_is_emptied(
    labels: list[int], groups: int, share: float
) -> None:
    named = [str(n * 7 % groups) for n in range(len(labels))]
    held = split_off(np.array(labels), named, share, seed=0)
    assert not {g for g, h in zip(named, held, strict=True) if h} & {
        g for g, h in zip(named, held, strict=True) if not h
    }
    assert set(np.array(labels)[~held].tolist()) == set(labels)


def test_what_hangs_together_through_copies_is_one_group() -> None:
    joined = join_copies(["ann", "bob", "bob", "cid", "dan"], ["x", "x", "y", "y", "z"])
    assert len(set(joined[:4])) == 1
    assert joined[4] not in joined[:4]


def test_groups_held_out_do_not_depend_on_the_order_of_a_set() -> None:
    groups = {f"g{n}" for n in range(10)}
    assert hold_out(groups, 0.3, 0) == hold_out({f"g{9 - n}" for n in range(10)}, 0.3, 0)
    assert hold_out({"only"}, 0.5, 0) == set()


def test_statistics_are_those_of_the_floats() -> None:
    rng = np.random.default_rng(0)
    for values in (rng.integers(0, 256, (5000, 3, 4), np.uint8), rng.random((9, 3, 4), np.float32)):
        examples = Examples(values, np.zeros(len(values), np.int64))
        floats = examples.as_float().astype(np.float64)
        np.testing.assert_allclose(mean_and_std(examples), (floats.mean(), floats.std()), rtol=1e-6)


def test_selecting_keeps_values_labels_and_names_together() -> None:
    examples = Examples(np.arange(12.0).reshape(3, 2, 2), np.arange(3), ("a", "b", "c"))
    for index in (np.array([2, 0]), np.array([True, False, True])):
        chosen = examples.select(index)
        assert [("a", "b", "c")[n] for n in chosen.labels] == list(chosen.names)
        np.testing.assert_array_equal(chosen.values[:, 0, 0], chosen.labels * 4)


def test_unknown_names_and_shares_are_refused() -> None:
    with pytest.raises(DataError, match=r"nix: .*mnist, fashion-mnist, digits"):
        load_dataset("nix")
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(DataError, match="valid_fraction is"):
            load_dataset("digits", valid_fraction=share)


# Folders of pictures and of sounds


def save_picture(path: Path, seed: int, size: tuple[int, int] = (12, 10)) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.fromarray(np.random.default_rng(seed).integers(0, 256, size, np.uint8)).save(path)


def save_pictures(folder: Path, *, classes: tuple[str, ...] = ("2", "10"), count: int = 20) -> None:
    for number, name in enumerate(classes):
        for n in range(count):
            save_picture(folder / name / f"{n}.png", 100 * number + n)


def save_sound(path: Path, seed: int, rate_hz: int = 16_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(seed).normal(0, 0.1, rate_hz // 4), rate_hz)


def test_a_folder_of_pictures_is_split_by_class(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    save_picture(tmp_path / ".hidden" / "a.png", 0)
    save_picture(tmp_path / "_drafts" / "a.png", 0)
    (tmp_path / "2" / "README.txt").write_text("not a picture")
    first, second = (load_dataset(str(tmp_path), seed=seed, valid_fraction=0.2) for seed in (0, 1))
    assert first.classes == ("2", "10")  # natural order
    assert first.input == ImageInput(height=12, width=10)
    assert [len(first.split(split)) for split in SPLITS] == [29, 7, 4]
    for split in SPLITS:
        assert set(first.split(split).labels.tolist()) == {0, 1}
        for name, label in zip(first.split(split).names, first.split(split).labels, strict=True):
            assert name.split("/")[0] == first.classes[label]
    assert first.test.names == second.test.names
    assert first.valid.names != second.valid.names
    assert first.train.values.dtype == np.uint8


def test_pictures_of_many_sizes_become_28_x_28_unless_told(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    save_picture(tmp_path / "2" / "large.png", 1, (80, 90))
    assert load_folder(tmp_path).input.shape == (28, 28)
    spec = ImageInput(height=5, width=6)
    assert load_dataset(str(tmp_path), as_input=spec).test.values.shape[1:] == (5, 6)
    mass = ImageInput(height=28, width=28, framing="mass", box=20)
    with pytest.raises(DataError, match=r"\.png: there is nothing drawn"):  # they are noise
        load_dataset(str(tmp_path), as_input=mass)


def test_copies_of_a_picture_are_on_one_side(tmp_path: Path) -> None:
    save_pictures(tmp_path, classes=("a", "b"), count=30)
    for n in range(0, 30, 2):
        save_picture(tmp_path / "a" / f"copy-{n}.bmp", n)
    splits = contents(load_folder(tmp_path, valid_fraction=0.3))
    assert sum(map(len, splits.values())) == len(set.union(*splits.values())) == 60


def test_given_sides_are_kept_and_copies_left_out_of_training(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("val", 1000), ("test", 2000)):
        for name in ("a", "b"):
            for n in range(6):
                save_picture(tmp_path / split / name / f"{n}.png", seed + 100 * (name == "b") + n)
    save_picture(tmp_path / "train" / "a" / "copy.png", 2000)
    data = load_folder(tmp_path)
    assert [len(data.split(split)) for split in SPLITS] == [12, 12, 12]
    assert all(name.startswith("val/") for name in data.valid.names)
    assert "train/a/copy.png" not in data.train.names


def test_validation_is_taken_from_training_where_only_a_test_side_is_given(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("test", 2000)):
        for name in ("a", "b"):
            for n in range(10):
                save_picture(tmp_path / split / name / f"{n}.png", seed + 100 * (name == "b") + n)
    data = load_folder(tmp_path, valid_fraction=0.2)
    assert [len(data.split(split)) for split in SPLITS] == [16, 4, 20]
    assert all(name.startswith("train/") for name in data.valid.names)


def test_train_and_test_may_be_classes(tmp_path: Path) -> None:
    save_pictures(tmp_path, classes=("train", "test"))
    assert load_folder(tmp_path).classes == ("test", "train")


def test_folders_that_are_no_data_sets_are_refused(tmp_path: Path) -> None:
    def check(what: str) -> None:
        with pytest.raises(DataError, match=what) as caught:
            load_folder(tmp_path)
        assert "\n" not in str(caught.value)

    check("no subfolders")
    save_picture(tmp_path / "a" / "1.png", 1)
    check("only the class 'a'")
    (tmp_path / "b").mkdir()
    check("b: no pictures or sounds, expected")
    for name in ("1.HEIC", "2.heic", "notes.txt"):
        (tmp_path / "b" / name).write_bytes(b"other")
    check("b: no pictures or sounds but 2 .heic, 1 .txt, expected")
    save_picture(tmp_path / "b" / "3.png", 2)
    save_picture(tmp_path / "b" / "4.png", 3)
    assert load_folder(tmp_path).passed_over == {".heic": 2, ".txt": 1}
    shutil.rmtree(tmp_path / "b")
    (tmp_path / "b").mkdir()
    save_sound(tmp_path / "b" / "1.wav", 1)
    check(r"a/1\.png is a picture and .*b/1\.wav a sound")
    (tmp_path / "b" / "1.wav").rename(tmp_path / "b" / "1.png")
    check(r"b/1\.png: damaged, or not a picture")
    (tmp_path / "b" / "1.png").unlink()
    save_picture(tmp_path / "b" / "1.png", 2)
    with pytest.raises(DataError, match=r"a/1\.png: the model takes sounds"):
        load_folder(tmp_path, as_input=SoundInput())
    (tmp_path / "manifest.csv").write_text("file,class\na/1.png,a\n")
    check("columns file, class, expected a column 'path' too")
    (tmp_path / "manifest.csv").write_bytes(b"path\n\xff\xfe.png\n")
    check("not text in UTF-8")


def test_sides_of_other_classes_are_refused(tmp_path: Path) -> None:
    save_pictures(tmp_path / "train", classes=("a", "b"), count=3)
    save_pictures(tmp_path / "test", classes=("a", "c"), count=3)
    with pytest.raises(DataError, match="class 'c', expected a class of the train folder"):
        load_folder(tmp_path)


def test_no_speaker_is_on_two_sides(tmp_path: Path) -> None:
    for seed in range(60):
        word = ("yes", "no", "up")[seed % 3]
        save_sound(tmp_path / word / f"speaker{seed // 3}_nohash_{seed % 2}.wav", seed)
    data = load_folder(tmp_path, valid_fraction=0.2)
    assert data.input == SoundInput()
    assert data.train.values.shape[1:] == (63, 40)
    assert data.train.values.dtype == np.float32
    speakers = Counter(
        speaker
        for split in SPLITS
        for speaker in {n.split("/")[1].split("_")[0] for n in data.split(split).names}
    )
    assert set(speakers.values()) == {1}
    assert len(speakers) == 20
    assert all(set(data.split(split).labels.tolist()) == {0, 1, 2} for split in SPLITS)


def test_a_manifest_gives_classes_speakers_and_sides(tmp_path: Path) -> None:
    lines = ["path,class,speaker,split"]
    for n in range(12):
        save_sound(tmp_path / "all" / f"{n}.wav", n, rate_hz=8_000)
        split = ("train", "train", "validation", "test", "train", "never")[n // 2]
        lines.append(f"all/{n}.wav,{'ab'[n % 2]},s{n // 2},{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    data = load_folder(tmp_path)
    assert data.classes == ("a", "b")
    assert [len(data.split(split)) for split in SPLITS] == [6, 2, 2]
    assert data.valid.names == ("all/4.wav", "all/5.wav")


def test_an_unreadable_sound_is_named(tmp_path: Path) -> None:
    save_sound(tmp_path / "a" / "1.wav", 1)
    save_sound(tmp_path / "b" / "1.wav", 2)
    (tmp_path / "b" / "2.wav").write_bytes(b"RIFF")
    with pytest.raises(TinysignalError, match=r"b/2\.wav"):
        load_folder(tmp_path)


# Downloads, from servers made here

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Mirror(HTTPServer):
    """Serves one content under any name."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.asked = content, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        self.server.asked += 1
        self.send_response(200)
        if self.headers.get("Accept-Encoding") != "identity":  # as servers do with a .gz
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pooch = pytest.importorskip("pooch", reason="pooch is not installed")
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    return tmp_path / "cache" / "set"


@pytest.fixture
def serve() -> Iterator[Callable[..., Mirror]]:
    mirrors = []

    def start(content: bytes) -> Mirror:
        mirrors.append(Mirror(content))
        return mirrors[-1]

    yield start
    for mirror in mirrors:
        mirror.shutdown()
        mirror.server_close()


def fetch(*mirrors: str) -> Path:
    from tinysignal.datasets import download

    return download.fetch("a.gz", mirrors, sha256=SHA256, what="set", folder="set")


NOBODY = "http://127.0.0.1:9/"  # the discard port: no server


def test_a_file_is_downloaded_once(cache: Path, serve: Callable[..., Mirror]) -> None:
    mirror = serve(CONTENT)
    assert fetch(mirror.address) == fetch(mirror.address) == cache / "a.gz"
    assert (cache / "a.gz").read_bytes() == CONTENT
    assert mirror.asked == 1
    assert [path.name for path in cache.iterdir()] == ["a.gz"]


def test_a_dead_mirror_gives_way_to_the_next(cache: Path, serve: Callable[..., Mirror]) -> None:
    assert fetch(NOBODY, serve(CONTENT).address).read_bytes() == CONTENT


def test_other_content_than_published_is_not_kept(
    cache: Path, serve: Callable[..., Mirror]
) -> None:
    wrong = serve(b"<html>welcome</html>")
    with pytest.raises(DataError, match="its SHA-256 differs"):
        fetch(wrong.address)
    assert list(cache.iterdir()) == []
    assert fetch(wrong.address, serve(CONTENT).address).read_bytes() == CONTENT


def test_when_no_mirror_answers_all_are_named_in_one_line(
    cache: Path, serve: Callable[..., Mirror]
) -> None:
    wrong = serve(b"nonsense").address
    with pytest.raises(DataError) as caught:
        fetch(NOBODY, wrong)
    message = str(caught.value)
    assert NOBODY in message
    assert wrong in message
    assert "--data-dir" in message
    assert "\n" not in message


def test_without_pooch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r"downloading mnist .*tinysignal\[train\]"):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize("how", ["upward", "absolute", "link"])
def test_a_manifest_reads_nothing_outside_of_its_folder_unless_it_is_told_to(
    how: str, tmp_path: Path
) -> None:
    private, folder = tmp_path / "private", tmp_path / "data"
    folder.mkdir()
    private.mkdir()
    secret = private / "secret.wav"
    secret.touch()
    (folder / "link.wav").symlink_to(secret)
    name = {"upward": "../private/secret.wav", "absolute": str(secret), "link": "link.wav"}[how]
    manifest = folder / "manifest.csv"
    manifest.write_text(f"path\n{name}\n")
    with pytest.raises(DataError, match=r"is outside of .*--data-dir") as caught:
        read_manifest(manifest)
    assert "\n" not in str(caught.value)
    (entry,) = read_manifest(manifest, data_dir=tmp_path)
    assert entry.path.samefile(secret)


@pytest.mark.parametrize(
    "content",
    [
        b"path\n" + b"x\n" * 1_000_001,
        b"path," + b"a," * 2000 + b"\n" + b"x," * 2000,
        b"path\n" + b"x" * 200_000,
        b"path\n" + b"x\0y\n",
        b"path\n" + b"x" * 5000 + b".wav\n",
        b'path\n"' + b"x\n" * 100_000,
    ],
)
def test_a_manifest_made_by_an_enemy_is_one_line(content: bytes, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_manifest(manifest)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


# The check of a folder's files


def report_of(folder: Path, **options: object) -> DataReport:
    report = load_folder(folder, **options).report  # type: ignore[arg-type]
    assert report is not None
    return report


def found_in(report: DataReport) -> dict[str, list[str]]:
    return {group.kind: [f.name for f in group.findings] for group in report.groups}


def test_tidy_folders_have_no_findings(tmp_path: Path) -> None:
    save_pictures(tmp_path)
    report = report_of(tmp_path)
    assert report.findings == ()
    assert report.what == "40 files of 2 classes"


@pytest.mark.parametrize("kind", ["picture", "sound"])
def test_unreadable_files_are_all_named_and_left_out_when_told_to(
    tmp_path: Path, kind: str
) -> None:
    suffix, save = (".png", save_picture) if kind == "picture" else (".wav", save_sound)
    for name in ("a", "b"):
        for n in range(20):
            save(tmp_path / name / f"{n}{suffix}", n + 100 * (name == "b"))
    whole = (tmp_path / "a" / f"0{suffix}").read_bytes()
    bad = {tmp_path / "a" / f"0{suffix}": whole[: len(whole) // 2],
           tmp_path / "a" / f"1{suffix}": b"", tmp_path / "b" / f"2{suffix}": b"text"}  # fmt: skip
    for path, content in bad.items():
        path.write_bytes(content)
    reports: list[DataReport] = []
    with pytest.raises(DataError, match="3 errors in the data, such as ") as caught:
        load_folder(tmp_path, on_report=reports.append)
    assert "\n" not in str(caught.value)
    assert sorted(found_in(reports[0])["unreadable"]) == sorted(map(str, bad))
    data = load_folder(tmp_path, skip_bad=True)
    names = [name for split in SPLITS for name in data.split(split).names]
    assert len(names) == 37
    assert not {path.relative_to(tmp_path).as_posix() for path in bad} & set(names)
    assert [group.severity for group in data.report.groups] == ["mended"]  # type: ignore[union-attr]


def test_a_class_without_readable_files_is_refused_even_then(tmp_path: Path) -> None:
    save_pictures(tmp_path, classes=("a", "b"), count=3)
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"text")
    with pytest.raises(DataError, match="a class without a readable file is left"):
        load_folder(tmp_path, skip_bad=True)


def test_copies_blank_pictures_and_few_examples_are_told(tmp_path: Path) -> None:
    save_pictures(tmp_path, classes=("a", "b"), count=30)
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    save_picture(tmp_path / "a" / "copy.bmp", 0)
    save_picture(tmp_path / "b" / "stray.png", 1)
    for name in ("white", "white-2"):
        image.fromarray(np.full((12, 10), 255, np.uint8)).save(tmp_path / "b" / f"{name}.png")
    for n in range(4):
        save_picture(tmp_path / "c" / f"{n}.png", 900 + n)
    (tmp_path / "c" / "x.heic").write_bytes(b"other")
    found = found_in(report_of(tmp_path))
    assert found.keys() == {"blank", "few", "ambiguous", "copy", "ending"}
    assert found["blank"] == ["b/white.png", "b/white-2.png"] or len(found["blank"]) == 2
    assert found["few"] == ["c"]
    assert found["copy"] in (["a/copy.bmp"], ["a/0.png"])
    assert found["ambiguous"] in (["b/stray.png"], ["a/1.png"])
    assert found["ending"] == [".heic"]


def test_what_given_splits_leave_out_of_training_is_said(tmp_path: Path) -> None:
    for split, seed in (("train", 0), ("test", 2000)):
        for name in ("a", "b"):
            for n in range(14):
                save_picture(tmp_path / split / name / f"{n}.png", seed + 100 * (name == "b") + n)
    save_picture(tmp_path / "train" / "a" / "copy.png", 2000)
    report = report_of(tmp_path, valid_fraction=0.0)
    assert found_in(report) == {"crossing": ["train/a/copy.png"]}
    assert "left out of training" in str(report)


def test_sounds_of_a_held_out_speaker_are_said_to_be_left_out(tmp_path: Path) -> None:
    lines = ["path,class,speaker,split"]
    for n in range(30):
        save_sound(tmp_path / "all" / f"{n}.wav", n)
        lines.append(f"all/{n}.wav,{'ab'[n % 2]},s{n},{'test' if n > 25 else 'train'}")
    save_sound(tmp_path / "all" / "same.wav", 99)
    lines.append("all/same.wav,a,s29,train")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    assert found_in(report_of(tmp_path, valid_fraction=0.1)) == {"grouped": ["all/same.wav"]}
