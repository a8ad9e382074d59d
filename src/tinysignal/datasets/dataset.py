"""Data sets: labelled examples in three disjoint splits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets.report import DataReport
from tinysignal.errors import DataError
from tinysignal.spec import ClassifierSpec, ImageInput, SoundInput

SPLITS = ("train", "valid", "test")
_AT_ONCE = 4096  # examples in a chunk of the statistics; bounds the memory


@dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Parameters
    ----------
    values : uint8 or float32 (examples, rows, columns)
        Pictures from 0 (black) to 255 (white) as uint8, or inputs of the network as float32.
    labels : int64 (examples,)
        Class numbers, from 0.
    names : tuple of str
        File names; empty for data without files.

    Examples
    --------
    >>> import numpy as np
    >>> from tinysignal.datasets import Examples
    >>> examples = Examples(np.zeros((3, 8, 8), np.uint8), np.array([0, 1, 1]))
    >>> len(examples.select(examples.labels == 1))
    2
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def as_float(self) -> NDArray[np.float32]:
        """Inputs of the network, float32 (examples, rows, columns): uint8 is divided by 255."""
        if self.values.dtype == np.uint8:
            divided: NDArray[np.float32] = np.divide(self.values, 255, dtype=np.float32)
            return divided
        return np.asarray(self.values, np.float32)

    def select(self, index: NDArray[Any]) -> Examples:
        """Examples at an index, int64 (chosen,), or where a mask, bool (examples,), is true."""
        places = np.arange(len(self))[index]
        names = tuple(self.names[place] for place in places) if self.names else ()
        return Examples(self.values[places], self.labels[places], names)


@dataclass(frozen=True)
class Dataset:
    """Labelled examples in a training, a validation and a test split.

    Parameters
    ----------
    name : str
        ``mnist``, ``fashion-mnist``, ``digits``, or the name of the folder.
    input : ImageInput or SoundInput
        Size of an example, and the conversion of a file to one.
    classes : tuple of str
        Class names in the order of the labels.
    train, valid, test : Examples
        Splits; ``valid`` and ``test`` may be empty.
    mean, std : float
        Mean and standard deviation of the training values as floats. For a published set they
        include the validation split, which gives the well-known numbers.
    passed_over : dict of str to int
        Number of files of the folder that are of no known kind, by extension: ``.heic``.
    report : DataReport or None
        What the check of a folder's files found.
    """

    name: str
    input: ImageInput | SoundInput
    classes: tuple[str, ...]
    train: Examples
    valid: Examples
    test: Examples
    mean: float
    std: float
    passed_over: dict[str, int] = field(default_factory=dict)
    report: DataReport | None = None

    def split(self, name: str) -> Examples:
        """Split by its name, ``train``, ``valid`` or ``test``.

        Raises
        ------
        DataError
            The name is none of these.
        """
        if name not in SPLITS:
            raise DataError(f"{self.name}: no split '{name}', expected {' or '.join(SPLITS)}.")
        found: Examples = getattr(self, name)
        return found

    def held_out(self) -> tuple[str, Examples]:
        """Held-out examples: the test split, or the validation split if there is no test split.

        Returns
        -------
        str
            Name of the split.
        `Examples`

        Raises
        ------
        DataError
            Both splits are empty.
        """
        for name in ("test", "valid"):
            if len(self.split(name)):
                return name, self.split(name)
        raise DataError(
            f"{self.name}: no test and no validation examples. Put examples into a test folder."
        )

    def for_model(self, spec: ClassifierSpec) -> Dataset:
        """Data set with its labels in the order of a model's classes.

        Raises
        ------
        DataError
            The model has other classes, or takes examples of another kind or size.
        """
        if set(self.classes) != set(spec.classes):
            raise DataError(
                f"{self.name}: classes {_few(self.classes)}, but model '{spec.name}' knows "
                f"{_few(spec.classes)}. Pass --data with the model's classes."
            )
        found, expected = self.input, spec.input
        if found.kind != expected.kind or found.shape != expected.shape:
            raise DataError(
                f"{self.name}: {found.kind}s of {found.shape[0]} x {found.shape[1]} values, but "
                f"model '{spec.name}' expects {expected.kind}s of {expected.shape[0]} x "
                f"{expected.shape[1]}. Pass --data with such examples."
            )
        if self.classes == spec.classes:
            return self
        places = np.array([spec.classes.index(name) for name in self.classes], np.int64)
        train, valid, test = (
            replace(part, labels=places[part.labels])
            for part in (self.train, self.valid, self.test)
        )
        return replace(self, classes=spec.classes, train=train, valid=valid, test=test)


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown}, ... ({len(names)})"


def mean_and_std(examples: Examples) -> tuple[float, float]:
    """Mean and standard deviation of all values as floats; 0 and 1 for no examples."""
    total = squares = 0.0
    for start in range(0, len(examples), _AT_ONCE):
        part = examples.values[start : start + _AT_ONCE].reshape(-1)
        if part.dtype == np.uint8:
            counts, levels = np.bincount(part, minlength=256), np.arange(256) / 255
            total += float(counts @ levels)
            squares += float(counts @ levels**2)
        else:
            total += float(part.sum(dtype=np.float64))
            squares += float(np.square(part, dtype=np.float64).sum())
    count = examples.values.size
    if count == 0:
        return 0.0, 1.0
    mean = total / count
    return mean, max(squares / count - mean**2, 0.0) ** 0.5
