"""Data sets from folders of pictures or sounds with one subfolder for each class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal import images
from tinysignal.audio.files import SOUND_SUFFIXES
from tinysignal.datasets.check import of_examples
from tinysignal.datasets.dataset import SPLITS, Dataset, Examples, mean_and_std
from tinysignal.datasets.manifest import MANIFEST, read_manifest
from tinysignal.datasets.report import (
    DataReport,
    Finding,
    OnReport,
    endings,
    left_out,
    reason,
)
from tinysignal.datasets.splits import join_copies, split_off
from tinysignal.errors import DataError, FileError, SignalError
from tinysignal.files import find_files
from tinysignal.mel import read_patch
from tinysignal.spec import ImageInput, SoundInput

_SUFFIXES = images.SUFFIXES | SOUND_SUFFIXES
FETCHED = _SUFFIXES | {".csv"}  # of a folder in a store: a manifest, too
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
_SAME_SPEAKER = "_nohash_"  # separates the speaker from the rest of a name in Speech Commands


@dataclass(frozen=True)
class Item:
    """File of a data set, with its class and the group that must stay in one split."""

    path: Path
    name: str
    label: str
    group: str
    split: str = ""  # as given; empty if it is not given


def load_folder(
    folder: Path,
    *,
    data_dir: Path | None = None,
    as_input: ImageInput | SoundInput | None = None,
    valid_fraction: float = 1 / 12,
    seed: int = 0,
    skip_bad: bool = False,
    on_report: OnReport | None = None,
) -> Dataset:
    """Data set of the files in ``FOLDER/CLASS/`` or ``FOLDER/{train,valid,test}/CLASS/``.

    Classes are in natural order of their names ("2" before "10"). Folders whose names begin with a
    dot or an underscore are ignored. A ``manifest.csv`` in the folder replaces the subfolders, see
    `tinysignal.datasets.manifest.read_manifest`.

    Without given splits, a tenth of every class is the test split, the same for every seed, and
    ``valid_fraction`` of the rest is the validation split. A missing validation split is taken
    from ``train``. Groups are never divided: copies of a file, and sounds of one speaker (the
    column of the manifest, or the part of a file name before ``_nohash_``). Training files whose
    group is also in a given validation or test split are left out.

    Parameters
    ----------
    folder : Path
    data_dir : Path or None
        Folder that the files of a manifest may be in too.
    as_input : ImageInput or SoundInput or None
        Input that files are converted to; None for the default `SoundInput`, or for whole pictures,
        stretched to 28 x 28 unless all have the same size of at most 64 x 64.
    valid_fraction : float
        Fraction of the training examples to use as validation split if none is given.
    seed : int
        Random seed of the validation split.
    skip_bad : bool
        Whether to leave out files that cannot be read.
    on_report : callable or None
        Is called with the report of the check of the files, before unreadable ones are refused.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        The folder is missing, has fewer than two classes, an empty class, both pictures and
        sounds, or unreadable files.
    MissingExtraError
        Pillow or PyAV is needed and not installed.
    """
    passed_over: Counter[str] = Counter()
    listed = (folder / MANIFEST).is_file()
    items = _from_manifest(folder, data_dir) if listed else _from_folders(folder, passed_over)
    classes = _classes(folder, items)
    spec, bad = _input(items, as_input=as_input)
    items = [item for item in items if item.path not in bad]
    values = dict(zip(items, _in_parallel(_reading(spec), items), strict=True))
    bad |= {item.path: value.why for item, value in values.items() if isinstance(value, _Bad)}
    kept = [item for item in items if item.path not in bad]
    findings = [Finding("unreadable", str(path), why) for path, why in bad.items()]
    findings = left_out(findings) if skip_bad else findings
    what = f"{len(kept) + len(bad)} files of {len(classes)} classes"
    if not set(classes) <= {item.label for item in kept if item.split in ("", "train")}:
        _settle(DataReport(what, tuple(findings)), on_report)
        raise DataError(f"{folder}: a class without a readable file is left, expected 1 or more.")
    everything = Examples(
        np.stack([values[item] for item in kept]),
        np.array([classes.index(item.label) for item in kept], np.int64),
        tuple(item.name for item in kept),
    )
    given = [item.split for item in kept]
    copies = join_copies([item.group for item in kept], [v.tobytes() for v in everything.values])
    splits = _splits(everything, given, copies, valid_fraction=valid_fraction, seed=seed)
    findings += of_examples(everything, splits, classes, kind=spec.kind)
    report = DataReport(what, (*findings, *endings(passed_over)))
    _settle(report, on_report)
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
        passed_over=dict(passed_over),
        report=report,
    )


def _settle(report: DataReport, on_report: OnReport | None) -> None:
    if on_report is not None:
        on_report(report)
    report.refuse()


def _from_manifest(folder: Path, data_dir: Path | None) -> list[Item]:
    """Files of a manifest, without those of other splits than train, valid and test."""
    entries = read_manifest(folder / MANIFEST, data_dir=data_dir)
    items = []
    for entry in entries:
        assert isinstance(entry.path, Path)  # as the folder
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


def _from_folders(folder: Path, passed_over: Counter[str]) -> list[Item]:
    found = _subfolders(folder)
    splits = {path: _SPLIT_WORDS.get(path.name.lower(), "") for path in found}
    # A class may be called "train" or "test"; only the folder of a split has subfolders.
    if found and all(splits.values()) and all(map(_subfolders, found)):
        return [
            replace(item, split=split)
            for path, split in splits.items()
            for item in _of_classes(path, folder, passed_over)
        ]
    return _of_classes(folder, folder, passed_over)


def _of_classes(parent: Path, folder: Path, passed_over: Counter[str]) -> list[Item]:
    items = []
    for place in _subfolders(parent):
        others: Counter[str] = Counter()
        files = find_files(place, _SUFFIXES, passed_over=others)
        if not files:
            held = f" but {of_endings(others)}" if others else ""
            raise DataError(f"{place}: no pictures or sounds{held}, expected 1 or more in a class.")
        passed_over += others
        names = [_name(path, folder) for path in files]
        items += [
            Item(path, name, place.name, _group(path, name))
            for path, name in zip(files, names, strict=True)
        ]
    return items


def of_endings(counts: Mapping[str, int]) -> str:
    """Text of the numbers of files by extension: ``3 .heic, 1 .txt``.

    Examples
    --------
    >>> from tinysignal.datasets.folders import of_endings
    >>> of_endings({".txt": 1, ".heic": 3})
    '3 .heic, 1 .txt'
    """
    most = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    shown = ", ".join(f"{count} {ending or 'without an ending'}" for ending, count in most[:8])
    return shown + (", ..." if len(most) > 8 else "")


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
    """Sort key of natural order: "2" before "10"; the name itself orders "Cat" and "cat"."""
    parts = [(p, p[0] in "0123456789") for p in re.findall(r"[0-9]+|[^0-9]+", name.casefold())]
    return [(not number, int(p) if number else 0, p) for p, number in parts], name


def _classes(folder: Path, items: Iterable[Item]) -> tuple[str, ...]:
    """Classes of the training split, which must hold those of the other splits."""
    everywhere = {item.label: item for item in items}
    trained = {item.label for item in items if item.split in ("", "train")}
    for label, item in everywhere.items():
        if trained and label not in trained:
            raise DataError(
                f"{item.path}: class '{label}', expected a class of the train folder: "
                f"{', '.join(sorted(trained, key=_natural)[:10])}."
            )
    if not trained and everywhere:
        raise DataError(f"{folder}: no train folder, expected one beside the other splits.")
    if len(trained) < 2:
        what = f"only the class '{next(iter(trained))}'" if trained else "no subfolders"
        raise DataError(f"{folder}: {what}, expected subfolders of 2 classes or more.")
    return tuple(sorted(trained, key=_natural))


def _input(
    items: list[Item], *, as_input: ImageInput | SoundInput | None
) -> tuple[ImageInput | SoundInput, dict[Path, str]]:
    """Input of the files, and those whose header cannot be read with the reason."""
    pictures = [item.path for item in items if _is_image(item.path)]
    sounds = [item.path for item in items if not _is_image(item.path)]
    if pictures and sounds:
        raise DataError(
            f"{pictures[0]} is a picture and {sounds[0]} a sound, expected files of one kind."
        )
    if as_input is not None:
        wants_pictures = isinstance(as_input, ImageInput)
        for path in sounds if wants_pictures else pictures:
            wanted = "pictures" if wants_pictures else "sounds"
            raise DataError(f"{path}: the model takes {wanted}. Give a folder of {wanted}.")
        return as_input, {}
    if sounds:
        return SoundInput(), {}
    found = dict(zip(pictures, _in_parallel(_tried(images.image_size), pictures), strict=True))
    bad = {path: size.why for path, size in found.items() if isinstance(size, _Bad)}
    sizes = {size for size in found.values() if not isinstance(size, _Bad)}
    alike = len(sizes) == 1 and max(max(sizes)) <= _SMALL_SIDE
    height, width = sizes.pop() if alike else (_USUAL_SIDE, _USUAL_SIDE)
    return ImageInput(height=height, width=width), bad


@dataclass(frozen=True)
class _Bad:
    """Stands for what a file would hold, and says why it cannot be read."""

    why: str


def _tried(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """The function of a path; `_Bad` instead of an error about the file."""

    def tried(path: Path) -> Any:
        try:
            return function(path)
        except (DataError, FileError, SignalError) as error:
            return _Bad(reason(error, str(path)))

    return tried


def _reading(spec: ImageInput | SoundInput) -> Callable[[Item], Any]:
    """Function of an item that gives its values, or `_Bad`."""

    def read(path: Path) -> NDArray[Any]:
        if isinstance(spec, SoundInput):
            return read_patch(path, spec)
        return np.round(images.read_framed(path, spec) * 255).astype(np.uint8)

    tried = _tried(read)
    return lambda item: tried(item.path)


def _in_parallel(function: Callable[[Any], Any], of: Iterable[Any]) -> list[Any]:
    pool = ThreadPoolExecutor()
    try:
        return list(pool.map(function, of))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error, the other files are not read


def _splits(
    everything: Examples, given: list[str], groups: list[str], *, valid_fraction: float, seed: int
) -> NDArray[np.str_]:
    """Split of each example; empty for examples that are left out."""
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
            f"{name}: its class has no training examples left, because copies of all are in "
            "another split. Remove the copies."
        )
    return splits
