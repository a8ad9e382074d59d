"""Labelled data sets for classifiers.

::

    dataset.py    data set: examples in three splits
    splits.py     splits that share no group
    published.py  MNIST, Fashion-MNIST and scikit-learn's digits
    download.py   downloads that are checked by their SHA-256
    folders.py    your own pictures and sounds in folders, one for each class
    manifest.py   your own files in a CSV list
    report.py     what a check of the files found
"""

from __future__ import annotations

import os
from pathlib import Path

from tinysignal.datasets.dataset import Dataset, Examples
from tinysignal.datasets.folders import FETCHED, load_folder
from tinysignal.datasets.published import PUBLISHED, load_digits, load_published
from tinysignal.datasets.report import DataReport, OnReport
from tinysignal.errors import DataError
from tinysignal.remote import fetched_folder, is_folder, place
from tinysignal.spec import ImageInput, SoundInput

__all__ = ["NAMES", "DataReport", "Dataset", "Examples", "load_dataset", "load_folder"]

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
    skip_bad: bool = False,
    on_report: OnReport | None = None,
) -> Dataset:
    """Data set by its name, or from a folder with one subfolder for each class.

    Parameters
    ----------
    source : str
        ``mnist``, ``fashion-mnist``, ``digits``, or the path of a folder, see
        `tinysignal.datasets.folders.load_folder`; or its URL, see `tinysignal.remote`.
    data_dir : Path or None
        Folder of the files of MNIST and Fashion-MNIST; None for the folder in the environment
        variable TINYSIGNAL_DATA. Missing files are downloaded once. The files that a
        ``manifest.csv`` lists may be in it too.
    valid_fraction : float
        Fraction of the training examples to use as validation split if the data has none, 0 to
        below 1.
    seed : int
        Random seed of the validation split. The test split is the same for every seed.
    as_input : ImageInput or SoundInput or None
        Input that a folder's files are converted to, such as that of a model to evaluate; None to
        choose it by the files.
    skip_bad : bool
        Whether to leave out the files of a folder that cannot be read.
    on_report : callable or None
        Is called with the report of the check of a folder's files.

    Returns
    -------
    Dataset

    Raises
    ------
    DataError
        The name or folder is unknown; files are missing, damaged or cannot be downloaded.
    MissingExtraError
        scikit-learn, pooch, Pillow or PyAV is needed and not installed.

    Examples
    --------
    >>> from tinysignal.datasets import load_dataset
    >>> digits = load_dataset("digits")
    >>> digits.train.values.shape, len(digits.test)
    ((1318, 8, 8), 359)
    """
    if not 0 <= valid_fraction < 1:
        raise DataError(f"valid_fraction is {valid_fraction}, expected 0 to less than 1.")
    if source == "digits":
        return load_digits(valid_fraction=valid_fraction, seed=seed)
    if source in PUBLISHED:
        if data_dir is None and os.environ.get(DATA_DIR_VARIABLE):
            data_dir = Path(os.environ[DATA_DIR_VARIABLE])
        return load_published(source, data_dir=data_dir, valid_fraction=valid_fraction, seed=seed)
    found = place(source)
    if is_folder(found):
        with fetched_folder(found, FETCHED) as folder:
            return load_folder(
                folder,
                data_dir=data_dir,
                as_input=as_input,
                valid_fraction=valid_fraction,
                seed=seed,
                skip_bad=skip_bad,
                on_report=on_report,
            )
    raise DataError(f"{source}: no such folder. Give a folder, or one of {', '.join(NAMES)}.")
