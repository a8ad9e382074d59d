"""Claims about which pixels decide."""

from __future__ import annotations

import numpy as np
import pytest

from tinysignal.errors import ConfigError, SignalError
from tinysignal.inspect.occlusion import occlusion


def by_left_half(examples: np.ndarray) -> np.ndarray:
    """Sure of class 1 by as much as the left half is bright; the right half does not count."""
    share = examples[:, :, :5].mean(axis=(1, 2))
    return np.stack([1 - share, share], axis=1).astype(np.float32)


def test_only_what_the_answer_depends_on_counts() -> None:
    found = occlusion(by_left_half, np.ones((8, 10), np.float32), size=2)
    assert (found[:, :5] > 0).all()
    np.testing.assert_allclose(found[:, 6:], 0, atol=1e-7)  # 5: squares there reach to the left
    assert found[4, 2] == pytest.approx(4 / 40, abs=1e-6)  # of the 40 pixels a square covers 4


def test_what_speaks_against_the_class_is_negative() -> None:
    picture = np.zeros((8, 10), np.float32)
    picture[3, 2] = 1  # class 0 is predicted, and this is what speaks for class 1
    found = occlusion(by_left_half, picture, size=3)
    assert found[3, 2] < 0
    assert found[7, 9] == 0


def test_what_cannot_be_covered_is_refused() -> None:
    with pytest.raises(ConfigError, match="size is 9, expected 1 to 8"):
        occlusion(by_left_half, np.ones((8, 10), np.float32), size=9)
    with pytest.raises(SignalError, match="expected \\(rows, columns\\)"):
        occlusion(by_left_half, np.ones((1, 8, 10), np.float32))
