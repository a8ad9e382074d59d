"""Your own pictures or sounds: a folder with a subfolder for every class."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal import images
from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.datasets.dataset import SPLITS, Dataset, Examples, mean_and_std
from tinysignal.datasets.manifest import MANIFEST, read_manifest
from tinysignal.datasets.splits import join_copies, split_off
from tinysignal.errors import DataError
from tinysignal.files import find_files
from tinysignal.mel import read_patch
from tinysignal.spec import ImageInput, SoundInput

_SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
_TEST_SHARE = 0.1
_SMALL_SIDE, _USUAL_SIDE = 64, 28  # pixels
_SAME_SPEAKER = "_nohash_"  # in Speech Commands, the speaker stands before it


@dataclass(frozen=True)
class Item:
    """A file, its class, and what must stay together with it."""

    path: Path
    name: str
    label: str
    group: str
    split: str = ""  # as given; empty where it is ours to choose


def load_folder(
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    as_input: ImageInput | SoundInput | None = None,
    valid_fraction: float = 1 / 12,
    seed: int = 0,
) -> Dataset:
    """The pictures or sounds in ``FOLDER/CLASS/`` or ``FOLDER/{train,valid,test}/CLASS/``.

    Classes are in natural order of their names ("2" before "10"); folders whose names begin with
    a dot or an underscore are passed over. A ``manifest.csv`` in the folder takes the place of the
    subfolders, see `tinysignal.datasets.manifest.read_manifest`.

    Where no splits are given, a tenth of every class is the test split, the same for every seed,
    and ``valid_fraction`` of the rest the validation split; where only the latter is missing, it is
    taken from ``train``. Nothing that belongs together is divided: copies, and sounds of one
    speaker (the manifest's, or what stands before ``_nohash_`` in a name). Where the splits are
    given, what is on another split too is left out of ``train``.

    Parameters
    ----------
    folder : Path
    size : (int, int) or None
        Rows and columns to which whole pictures are stretched. None for their own, if it is the
        same for all and at most 64 x 64, else 28 x 28.
    as_input : ImageInput or SoundInput or None
        What files become; None for whole pictures, and for the patches of a plain `SoundInput`.
    valid_fraction : float
    seed : int

    Raises
    ------
    DataError
        No such folder, fewer than two classes, one without files, pictures among sounds, a file
        that cannot be read as a picture.
    AudioFileError, SignalError
        A file that cannot be read as a sound.
    MissingExtraError
        Pillow or PyAV is needed.
    """
    items = _from_manifest(folder) if (folder / MANIFEST).is_file() else _from_folders(folder)
    classes = _classes(folder, items)
    spec = _input(items, size=size, as_input=as_input)
    everything = _load(items, classes, spec)
    copies = join_copies([item.group for item in items], [v.tobytes() for v in everything.values])
    given = [item.split for item in items]
    splits = _splits(everything, given, copies, valid_fraction=valid_fraction, seed=seed)
    train = everything.select(splits == "train")
    mean, std = mean_and_std(train)
    return Dataset(
        name=folder.resolve().name,
        input=spec,
        classes=classes,
        train=train,
        valid=everything.select(splits == "valid"),
        test=everything.select(splits == "test"),
        mean=mean,
        std=std,
    )


def _from_manifest(folder: Path) -> list[Item]:
    """The files that a manifest lists; those of other splits than the three are left out."""
    entries = read_manifest(folder / MANIFEST)
    items = []
    for entry in entries:
        item = Item(
            path=entry.path,
            name=_name(entry.path, folder),
            label=entry.label or entry.path.parent.name,
            group=entry.group,
            split=_SPLIT_WORDS.get(entry.split.lower(), entry.split),
        )
        if item.split in ("", *SPLITS):
            items.append(item)
    if any(item.split for item in items):
        return [replace(item, split=item.split or "train") for item in items]
    return items


def _from_folders(folder: Path) -> list[Item]:
    found = _subfolders(folder)
    splits = {path: _SPLIT_WORDS.get(path.name.lower(), "") for path in found}
    # "train" and "test" may be classes of their own: splits have classes below them.
    if found and all(splits.values()) and all(map(_subfolders, found)):
        return [
            replace(item, split=split)
            for path, split in splits.items()
            for item in _of_classes(path, folder)
        ]
    return _of_classes(folder, folder)


def _of_classes(parent: Path, folder: Path) -> list[Item]:
    items = []
    for place in _subfolders(parent):
        files = find_files(place, images.SUFFIXES | SOUND_SUFFIXES)
        if not files:
            raise DataError(f"{place}: there are no pictures or sounds in this class.")
        names = [_name(path, folder) for path in files]
        items += [
            Item(path, name, place.name, _group(path, name))
            for path, name in zip(files, names, strict=True)
        ]
    return items


def _subfolders(folder: Path) -> list[Path]:
    try:
        found = [p for p in folder.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))]
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}).") from None
    return sorted(found, key=lambda path: _natural(path.name))


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()


def _group(path: Path, name: str) -> str:
    speaker, mark, _ = path.name.partition(_SAME_SPEAKER)
    return speaker if mark else name


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in images.SUFFIXES


def _natural(name: str) -> tuple[list[tuple[bool, int, str]], str]:
    """Sorts "2" before "10"; the name itself decides between "Cat" and "cat"."""
    parts = [(p, p[0] in "0123456789") for p in re.findall(r"[0-9]+|[^0-9]+", name.casefold())]
    return [(not number, int(p) if number else 0, p) for p, number in parts], name


def _classes(folder: Path, items: Iterable[Item]) -> tuple[str, ...]:
    """Those of the training split, which must be all."""
    everywhere = {item.label: item for item in items}
    trained = {item.label for item in items if item.split in ("", "train")}
    for label, item in everywhere.items():
        if trained and label not in trained:
            raise DataError(f"{item.path}: class '{label}' is not among those of the train folder.")
    if not trained and everywhere:
        raise DataError(f"{folder}: there is no train folder beside the others.")
    if len(trained) < 2:
        what = f"only the class '{next(iter(trained))}'" if trained else "no subfolders"
        raise DataError(f"{folder}: {what}, expected a folder for each of two classes or more.")
    return tuple(sorted(trained, key=_natural))


def _input(
    items: list[Item],
    *,
    size: tuple[int, int] | None,
    as_input: ImageInput | SoundInput | None,
) -> ImageInput | SoundInput:
    pictures = [item.path for item in items if _is_image(item.path)]
    sounds = [item.path for item in items if not _is_image(item.path)]
    if pictures and sounds:
        raise DataError(f"{pictures[0]} is a picture, {sounds[0]} a sound: expected one kind.")
    if as_input is not None:
        wants_pictures = isinstance(as_input, ImageInput)
        for path in sounds if wants_pictures else pictures:
            wanted = "pictures" if wants_pictures else "sounds"
            raise DataError(f"{path}: the model takes {wanted}, and this is none.")
        return as_input
    if sounds:
        return SoundInput()
    if size is None:
        sizes = set(_in_parallel(images.image_size, pictures))
        alike = len(sizes) == 1 and max(max(sizes)) <= _SMALL_SIDE
        size = sizes.pop() if alike else (_USUAL_SIDE, _USUAL_SIDE)
    return ImageInput(height=size[0], width=size[1])


def _load(items: list[Item], classes: tuple[str, ...], spec: ImageInput | SoundInput) -> Examples:
    def load(item: Item) -> NDArray[Any]:
        if isinstance(spec, SoundInput):
            return read_patch(item.path, spec)
        return np.round(images.read_framed(item.path, spec) * 255).astype(np.uint8)

    values = np.stack(_in_parallel(load, items))
    labels = np.array([classes.index(item.label) for item in items], np.int64)
    return Examples(values, labels, tuple(item.name for item in items))


def _in_parallel(function: Callable[[Any], Any], of: Iterable[Any]) -> list[Any]:
    pool = ThreadPoolExecutor()
    try:
        return list(pool.map(function, of))
    finally:
        pool.shutdown(cancel_futures=True)  # after a bad file, the rest need not be read


def _splits(
    everything: Examples, given: list[str], groups: list[str], *, valid_fraction: float, seed: int
) -> NDArray[np.str_]:
    """The split of each example; empty for what is left out."""
    splits, labels = np.array(given), everything.labels
    if not any(given):
        test = split_off(labels, groups, _TEST_SHARE, seed=0)
        splits = np.where(test, "test", "train")
    held_out = {group for group, split in zip(groups, splits, strict=True) if split != "train"}
    stays = np.array([group not in held_out for group in groups]) | (splits != "train")
    splits = np.where(stays, splits, "")
    if "valid" not in splits:
        places = np.flatnonzero(splits == "train")
        left = [groups[place] for place in places]
        valid = split_off(labels[places], left, valid_fraction, seed=seed, smallest=2)
        splits[places[valid]] = "valid"
    for label in set(labels.tolist()) - set(labels[splits == "train"].tolist()):
        name = everything.names[int(np.flatnonzero(labels == label)[0])]
        raise DataError(
            f"{name}: nothing of its class is left to train on, all of it is on another split too."
        )
    return splits
