"""What a data set is: examples with labels, on three sides that share nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import DataError
from tinysignal.spec import ImageInput, SoundInput

SIDES = ("train", "valid", "test")
_AT_ONCE = 4096  # examples whose statistics are taken together, so that memory stays small


@dataclass(frozen=True)
class Examples:
    """One side of a data set.

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
        Of the training values as floats; of a published set, before a validation side is taken
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

    def side(self, name: str) -> Examples:
        """The examples of ``train``, ``valid`` or ``test``.

        Raises
        ------
        DataError
        """
        if name not in SIDES:
            raise DataError(f"{self.name}: no side '{name}', expected {', '.join(SIDES)}.")
        found: Examples = getattr(self, name)
        return found

    def held_out(self) -> tuple[str, Examples]:
        """What training never learnt from: the test side or, where there is none, ``valid``.

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
            if len(self.side(name)):
                return name, self.side(name)
        raise DataError(f"{self.name}: nothing is held out. Put examples into a test folder.")


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
