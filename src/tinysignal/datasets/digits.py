"""The 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from tinysignal.datasets.examples import Dataset, Examples, mean_and_std
from tinysignal.datasets.splits import join_copies, split_off
from tinysignal.errors import MissingExtraError
from tinysignal.spec import ImageInput

_TEST_SHARE = 0.2
_FULL_SCALE = 16


def load_digits(*, valid_share: float, seed: int) -> Dataset:
    """The test set of the UCI "Optical recognition of handwritten digits", with scikit-learn.

    A fifth of every class is the test side, the same one for every seed.

    Parameters
    ----------
    valid_share : float
        Of what is not the test side.
    seed : int

    Raises
    ------
    MissingExtraError

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
    valid = split_off(rest.labels, left, valid_share, seed=seed)
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
