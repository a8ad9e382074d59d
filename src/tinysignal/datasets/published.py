"""Published data sets: MNIST, Fashion-MNIST and scikit-learn's digits."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets.dataset import Dataset, Examples, mean_and_std
from tinysignal.datasets.download import fetch
from tinysignal.datasets.splits import join_copies, split_off
from tinysignal.errors import DataError, MissingExtraError
from tinysignal.spec import ImageInput

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Published:
    """Classes, sources and checksums of a published data set.

    Parameters
    ----------
    classes : tuple of str
    input : ImageInput
    folders : tuple of str
        Possible subfolders of a data folder.
    mirrors : tuple of str
        Addresses of folders on the web.
    sha256 : tuple of str
        SHA-256 of the four compressed files, in the order of `FILES`.
    """

    classes: tuple[str, ...]
    input: ImageInput
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: tuple[str, ...]


PUBLISHED = {
    "mnist": Published(
        classes=tuple("0123456789"),
        input=ImageInput(height=28, width=28, framing="mass", box=20),
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        sha256=(
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ),
    "fashion-mnist": Published(
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        input=ImageInput(height=28, width=28, framing="box", box=28),
        folders=("fashion-mnist", "fashion", "FashionMNIST/raw"),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        sha256=(
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}


def load_published(
    name: str, *, data_dir: Path | None, valid_fraction: float, seed: int
) -> Dataset:
    """MNIST or Fashion-MNIST; parameters as of `tinysignal.datasets.load_dataset`.

    The published test set is the test split. The validation split is ``valid_fraction`` of every
    class of the 60 000 training pictures; identical pictures stay in one split.

    Raises
    ------
    DataError
        A file is missing or damaged, or no mirror can be reached.
    MissingExtraError
        A download is needed, and pooch is not installed.

    References
    ----------
    LeCun et al. (1998), "Gradient-based learning applied to document recognition"; Xiao et al.
    (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms".
    """
    published = PUBLISHED[name]
    files = local_files(name, data_dir) or _downloaded(name, data_dir)
    classes = len(published.classes)
    train, test = (
        Examples(*read_pair(images, labels, classes=classes))
        for images, labels in (files[:2], files[2:])
    )
    for examples, path in ((train, files[0]), (test, files[2])):
        if examples.values.shape[1:] != published.input.shape:
            rows, columns = examples.values.shape[1:]
            raise DataError(f"{path}: pictures of {rows} x {columns}, expected 28 x 28.")
    copies = join_copies([str(n) for n in range(len(train))], [v.tobytes() for v in train.values])
    held_out = split_off(train.labels, copies, valid_fraction, seed=seed)
    mean, std = mean_and_std(train)
    return Dataset(
        name=name,
        input=published.input,
        classes=published.classes,
        train=train.select(~held_out),
        valid=train.select(held_out),
        test=test,
        mean=mean,
        std=std,
    )


def local_files(name: str, data_dir: Path | None) -> list[Path]:
    """Paths of the four files in the data folder; empty if it holds none of them."""
    if data_dir is None:
        return []
    places = [data_dir / folder for folder in PUBLISHED[name].folders]
    others = {f for other in PUBLISHED.keys() - {name} for f in PUBLISHED[other].folders}
    if data_dir.resolve().name not in others:  # both data sets have the same file names
        places.append(data_dir)
    for place in places:
        found = {file: _spelled(place, file) for file in FILES}
        missing = [file for file, path in found.items() if path is None]
        if not missing:
            return [path for path in found.values() if path is not None]
        if len(missing) < len(FILES):
            raise DataError(
                f"{place}: {' and '.join(missing)} missing (also looked for with .gz). "
                f"Put all four files of {name} there."
            )
    return []


def _spelled(folder: Path, file: str) -> Path | None:
    dotted = file.replace("-idx", ".idx")
    names = (file, f"{file}.gz", dotted, f"{dotted}.gz")
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _downloaded(name: str, data_dir: Path | None) -> list[Path]:
    published = PUBLISHED[name]
    where = "" if data_dir is None else f" (it is not in {data_dir})"
    return [
        fetch(f"{file}.gz", published.mirrors, sha256=sha256, what=f"{name}{where}", folder=name)
        for file, sha256 in zip(FILES, published.sha256, strict=True)
    ]


_TEST_SHARE = 0.2
_FULL_SCALE = 16


def load_digits(*, valid_fraction: float, seed: int) -> Dataset:
    """Handwritten digits of 8 x 8 pixels, which scikit-learn contains.

    They are the test set of UCI's "Optical recognition of handwritten digits". A fifth of every
    class is the test split, the same for every seed.

    Parameters
    ----------
    valid_fraction : float
        Fraction of the other examples to use as validation split.
    seed : int
        Random seed of the validation split.

    Raises
    ------
    MissingExtraError
        scikit-learn is not installed.

    References
    ----------
    Alpaydin, Kaynak (1998), https://archive.ics.uci.edu/dataset/80
    """
    try:
        from sklearn import datasets  # noqa: PLC0415 - optional
    except ImportError:
        raise MissingExtraError("the embedded digits", "train") from None
    given = datasets.load_digits()
    values = np.round(given.images * (255 / _FULL_SCALE)).astype(np.uint8)
    everything = Examples(values, given.target.astype(np.int64))
    groups = join_copies([str(n) for n in range(len(values))], [v.tobytes() for v in values])
    test = split_off(everything.labels, groups, _TEST_SHARE, seed=0)
    rest = everything.select(~test)
    left = [group for group, held_out in zip(groups, test, strict=True) if not held_out]
    valid = split_off(rest.labels, left, valid_fraction, seed=seed)
    mean, std = mean_and_std(rest)
    return Dataset(
        name="digits",
        input=ImageInput(height=8, width=8, framing="box", box=8),
        classes=tuple("0123456789"),
        train=rest.select(~valid),
        valid=rest.select(valid),
        test=everything.select(test),
        mean=mean,
        std=std,
    )


_TYPES = {
    0x08: "unsigned bytes",
    0x09: "signed bytes",
    0x0B: "16-bit integers",
    0x0C: "32-bit integers",
    0x0D: "32-bit floats",
    0x0E: "64-bit floats",
}
_UNSIGNED_BYTES = 0x08
_MOST_BYTES = 128 << 20  # bound for headers: the largest of these files has 47 MB
_PIECE_BYTES = 1 << 20
_DIMENSIONS = {1: "labels", 3: "pictures"}


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Array of unsigned bytes in an IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : Path
    dimensions : int
        Expected number of axes: 1 for labels, 3 for pictures.

    Returns
    -------
    uint8 array of so many axes

    Raises
    ------
    DataError
        The file is missing, damaged, truncated or too long, is not an IDX file, or has another
        type or number of axes.
    """
    try:
        with path.open("rb") as raw:
            compressed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not compressed:
                return _parse(path, raw, dimensions)
            with gzip.open(raw) as file:
                return _parse(path, file, dimensions)
    except EOFError:
        raise DataError(f"{path}: truncated. Download it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged ({error}). Download it again.") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}).") from None


def read_pair(
    images: Path, labels: Path, *, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures and their labels from two IDX files.

    Parameters
    ----------
    images, labels : Path
    classes : int
        Number of classes.

    Returns
    -------
    uint8 (examples, rows, columns)
    int64 (examples,)

    Raises
    ------
    DataError
        `read_idx` fails, the numbers of pictures and labels differ or are 0, or a label is out of
        range.
    """
    values, found = read_idx(images, dimensions=3), read_idx(labels, dimensions=1)
    if len(values) != len(found):
        raise DataError(
            f"{images}: {len(values)} pictures, but {len(found)} labels in {labels}, expected "
            "equal numbers. Take both files from one data set."
        )
    if values.size == 0:
        raise DataError(f"{images}: 0 pictures, expected 1 or more.")
    if found.max() >= classes:
        raise DataError(
            f"{labels}: label {found.max()} at {found.argmax()}, expected 0 to {classes - 1}."
        )
    return values, found.astype(np.int64)


def _parse(path: Path, file: BinaryIO | gzip.GzipFile, dimensions: int) -> NDArray[np.uint8]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES:
        begin = f"begins with {magic.hex(' ')}" if magic else "is empty"
        raise DataError(f"{path}: not an IDX file (it {begin}).")
    if magic[2] != _UNSIGNED_BYTES:
        raise DataError(f"{path}: holds {_TYPES[magic[2]]}, expected unsigned bytes.")
    if magic[3] != dimensions:
        raise DataError(
            f"{path}: {magic[3]} dimensions, expected {dimensions}: {_DIMENSIONS[dimensions]}."
        )
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise EOFError
    shape = struct.unpack(f">{dimensions}I", header)
    # Without its empty axes too: NumPy refuses (2**32, 0, 2**32).
    if (claimed := math.prod(max(length, 1) for length in shape)) > _MOST_BYTES:
        raise DataError(
            f"{path}: damaged: its header says {claimed} bytes, expected at most {_MOST_BYTES}. "
            "Download it again."
        )
    content = _read_exactly(path, file, math.prod(shape))
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_exactly(path: Path, file: BinaryIO | gzip.GzipFile, size: int) -> bytearray:
    """Rest of a file of ``size`` bytes, read in pieces: a false header allocates no memory."""
    content = bytearray()
    missing = size
    # Reading one byte more than expected finds trailing bytes and makes gzip check its checksum.
    while piece := file.read(min(missing + 1, _PIECE_BYTES)):
        content += piece
        missing -= len(piece)
        if missing < 0:
            raise DataError(
                f"{path}: trailing bytes after the {size} bytes of its header. Download it again."
            )
    if missing:
        raise DataError(f"{path}: truncated: {size - missing} of {size} bytes. Download it again.")
    return content
