"""Labelled examples to train, choose and measure classifiers with.

::

    dataset.py    what a data set is: examples on three splits
    splits.py     splits that share no group
    published.py  MNIST, Fashion-MNIST and scikit-learn's digits
    download.py   files from the web, held to their SHA-256
    folders.py    your own pictures and sounds: a folder for each class, or
    manifest.py   a list of files
"""

from __future__ import annotations

import os
from pathlib import Path

from tinysignal.datasets.dataset import Dataset, Examples
from tinysignal.datasets.folders import load_folder
from tinysignal.datasets.published import PUBLISHED, load_digits, load_published
from tinysignal.errors import DataError
from tinysignal.spec import ImageInput, SoundInput

__all__ = ["NAMES", "Dataset", "Examples", "load_dataset", "load_folder"]

NAMES = (*PUBLISHED, "digits")
"""The data sets that `load_dataset` knows by name."""
DATA_DIR_VARIABLE = "TINYSIGNAL_DATA"


def load_dataset(
    source: str,
    *,
    data_dir: Path | None = None,
    valid_fraction: float = 1 / 12,
    seed: int = 0,
    as_input: ImageInput | SoundInput | None = None,
) -> Dataset:
    """A data set by its name, or of a folder with a subfolder for every class.

    Parameters
    ----------
    source : str
        ``mnist``, ``fashion-mnist``, ``digits``, or the path of a folder, see
        `tinysignal.datasets.folders.load_folder`.
    data_dir : Path or None
        Where the files of MNIST and Fashion-MNIST are looked for; None for the folder that the
        environment variable TINYSIGNAL_DATA names. What is not there is downloaded once.
    valid_fraction : float
        Share of the training examples that is the validation split where none is given; 0 for
        none.
    seed : int
        Which examples these are. The test split is the same for every seed.
    as_input : ImageInput or SoundInput or None
        What a folder's files become, such as the input of a model that is to be measured; None
        to follow from the files.

    Raises
    ------
    DataError
        No such name or folder; files that are missing, damaged or cannot be downloaded.
    MissingExtraError
        An optional package is needed: scikit-learn, pooch, Pillow or PyAV.
    """
    if not 0 <= valid_fraction < 1:
        raise DataError(f"a validation share of {valid_fraction}, expected 0 to less than 1.")
    if source == "digits":
        return load_digits(valid_fraction=valid_fraction, seed=seed)
    if source in PUBLISHED:
        if data_dir is None and os.environ.get(DATA_DIR_VARIABLE):
            data_dir = Path(os.environ[DATA_DIR_VARIABLE])
        return load_published(source, data_dir=data_dir, valid_fraction=valid_fraction, seed=seed)
    if Path(source).is_dir():
        return load_folder(
            Path(source), as_input=as_input, valid_fraction=valid_fraction, seed=seed
        )
    raise DataError(f"{source}: no such folder, nor a known data set ({', '.join(NAMES)}).")
