"""MNIST and Fashion-MNIST: the four original files, from a folder or downloaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tinysignal.datasets.download import fetch
from tinysignal.datasets.examples import Dataset, Examples, mean_and_std
from tinysignal.datasets.idx import read_pair
from tinysignal.datasets.splits import join_copies, split_off
from tinysignal.errors import DataError
from tinysignal.spec import ImageInput

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Published:
    """A set as it was published.

    Parameters
    ----------
    classes : tuple of str
    input : ImageInput
    folders : tuple of str
        Where its files may lie below a data folder.
    mirrors : tuple of str
        Addresses below which its files may lie.
    sha256 : tuple of str
        Of the four compressed files, in the order of `FILES`.
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


def load_published(name: str, *, data_dir: Path | None, valid_share: float, seed: int) -> Dataset:
    """MNIST or Fashion-MNIST; parameters as `tinysignal.datasets.load_dataset`.

    The published test set is the test side. Of the 60 000 training pictures, ``valid_share`` of
    every class is the validation side; identical pictures stay together.

    Raises
    ------
    DataError
        Some of the four files are missing, one is damaged, or no mirror can be reached.
    MissingExtraError
        They would have to be downloaded, and pooch is not installed.
    """
    published = PUBLISHED[name]
    files = _local_files(name, data_dir) or _downloaded(name, data_dir)
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
    held_out = split_off(train.labels, copies, valid_share, seed=seed)
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


def _local_files(name: str, data_dir: Path | None) -> list[Path]:
    """The four files in the data folder; none of it where it holds none."""
    if data_dir is None:
        return []
    places = [data_dir / folder for folder in PUBLISHED[name].folders]
    others = {f for other in PUBLISHED.keys() - {name} for f in PUBLISHED[other].folders}
    if data_dir.resolve().name not in others:  # the names of the files are the same in both
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
