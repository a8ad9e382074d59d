"""What a data set is: examples with labels, on three splits that share nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import DataError
from tinysignal.spec import ClassifierSpec, ImageInput, SoundInput

SPLITS = ("train", "valid", "test")
_AT_ONCE = 4096  # examples whose statistics are taken together, so that memory stays small


@dataclass(frozen=True)
class Examples:
    """One split of a data set.

    Parameters
    ----------
    values : uint8 or float32 (examples, rows, columns)
        uint8 pictures are 0 (black) to 255 (white); float32 is as the network takes it.
    labels : int64 (examples,)
        Which class.
    names : tuple of str
        File names; empty where there are none.
    """

    values: NDArray[Any]
    labels: NDArray[np.int64]
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def as_float(self) -> NDArray[np.float32]:
        """The values as the network takes them: uint8 pictures divided by 255."""
        if self.values.dtype == np.uint8:
            divided: NDArray[np.float32] = np.divide(self.values, 255, dtype=np.float32)
            return divided
        return np.asarray(self.values, np.float32)

    def select(self, index: NDArray[Any]) -> Examples:
        """The examples at these places, or where a mask is true."""
        places = np.arange(len(self))[index]
        names = tuple(self.names[place] for place in places) if self.names else ()
        return Examples(self.values[places], self.labels[places], names)


@dataclass(frozen=True)
class Dataset:
    """Examples to train on, to choose by and to measure with.

    Parameters
    ----------
    name : str
        ``mnist``, ``fashion-mnist``, ``digits``, or the folder's name.
    input : ImageInput or SoundInput
        What an example is and how a file becomes one.
    classes : tuple of str
        Names, in the order of the labels.
    train, valid, test : Examples
        ``valid`` and ``test`` may be empty.
    mean, std : float
        Of the training values as floats; of a published set, before a validation split is taken
        from them, so that they are its well-known numbers.
    """

    name: str
    input: ImageInput | SoundInput
    classes: tuple[str, ...]
    train: Examples
    valid: Examples
    test: Examples
    mean: float
    std: float

    def split(self, name: str) -> Examples:
        """The examples of ``train``, ``valid`` or ``test``.

        Raises
        ------
        DataError
        """
        if name not in SPLITS:
            raise DataError(f"{self.name}: no split '{name}', expected {', '.join(SPLITS)}.")
        found: Examples = getattr(self, name)
        return found

    def held_out(self) -> tuple[str, Examples]:
        """What training never learnt from: the test split or, where there is none, ``valid``.

        Returns
        -------
        tuple of str and Examples
            Its name, and it.

        Raises
        ------
        DataError
            Both are empty.
        """
        for name in ("test", "valid"):
            if len(self.split(name)):
                return name, self.split(name)
        raise DataError(f"{self.name}: nothing is held out. Put examples into a test folder.")

    def for_model(self, spec: ClassifierSpec) -> Dataset:
        """The same examples with their labels in a model's order of classes.

        Raises
        ------
        DataError
            The model has other classes, or takes other examples.
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
    """Mean and standard deviation over all values as floats; 0 and 1 where there are none."""
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
