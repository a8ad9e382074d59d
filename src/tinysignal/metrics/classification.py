"""How good a classifier's probabilities are: pure functions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal.errors import SignalError

CALIBRATION_BINS = 15
_Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution
_SUM_TOLERANCE = 1e-3  # of a row of probabilities: float32 over many classes
_LEAST = float(np.finfo(np.float32).tiny)  # probabilities are not taken for less: NLL stays finite

Counts = NDArray[np.int64]
Values = NDArray[np.float64]


def confusion_matrix(labels: ArrayLike, predicted: ArrayLike, *, classes: int) -> Counts:
    """Counts of examples by true and predicted class.

    Parameters
    ----------
    labels, predicted : integer (examples,)
        0 to ``classes`` - 1.
    classes : int

    Returns
    -------
    int64 (classes, classes)
        Rows: the true class; columns: the predicted one.

    Raises
    ------
    SignalError
        No integers, values out of range, or not as many predictions as labels.

    Examples
    --------
    >>> from tinysignal.metrics import confusion_matrix
    >>> confusion_matrix([0, 0, 1], [0, 1, 1], classes=2)
    array([[1, 1],
           [0, 1]])
    """
    truth, guess = check_labels(labels, classes), check_labels(predicted, classes)
    if len(truth) != len(guess):
        raise SignalError(f"{len(truth)} labels and {len(guess)} predictions, expected as many.")
    counts = np.bincount(truth * classes + guess, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def accuracy_interval(correct: int, examples: int) -> tuple[float, float]:
    """The 95 % score interval of a share, which holds for few examples and near 0 and 1 as well.

    Parameters
    ----------
    correct, examples : int
        Examples are taken as independent.

    Returns
    -------
    (float, float)
        Shares, 0 to 1.

    Raises
    ------
    SignalError

    References
    ----------
    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= correct <= examples or examples < 1:
        raise SignalError(f"{correct} of {examples} correct, expected a share of at least one.")
    share, z2 = correct / examples, _Z_95**2
    middle = share + z2 / (2 * examples)
    half = _Z_95 * math.sqrt(share * (1 - share) / examples + z2 / (4 * examples**2))
    scale = 1 + z2 / examples
    low, high = (middle - half) / scale, (middle + half) / scale
    # The bounds at none and at all correct are exact; roundoff would put them beside 0 and 1.
    return (0.0 if correct == 0 else low), (1.0 if correct == examples else high)


def precision_recall_f1(confusion: ArrayLike) -> tuple[Values, Values, Values]:
    """Scores of each class against all others.

    Parameters
    ----------
    confusion : integer (classes, classes)
        See `confusion_matrix`.

    Returns
    -------
    float64 (classes,), three times
        Precision, recall, F1, 0 to 1. NaN where there is nothing to divide by: the precision of
        a class that is never predicted, the recall of one that does not occur, the F1 of one that
        is neither.

    Examples
    --------
    >>> from tinysignal.metrics import precision_recall_f1
    >>> precision, recall, f1 = precision_recall_f1([[8, 2], [0, 10]])
    >>> precision.round(3), recall
    (array([1.   , 0.833]), array([0.8, 1. ]))
    """
    counts = np.asarray(confusion, np.float64)
    right, taken, present = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    return _divided(right, taken), _divided(right, present), _divided(2 * right, taken + present)


def balanced_accuracy(confusion: ArrayLike) -> float:
    """Mean recall of the classes that occur: every class counts alike, however many its examples.

    Parameters
    ----------
    confusion : integer (classes, classes)
        See `confusion_matrix`.

    Returns
    -------
    float
        0 to 1; NaN without examples. Guessing, or one answer for all, gives 1 / classes.

    References
    ----------
    Brodersen et al. (2010), "The balanced accuracy and its posterior distribution".

    Examples
    --------
    >>> from tinysignal.metrics import balanced_accuracy
    >>> balanced_accuracy([[90, 0], [10, 0]])  # 90 % right, by one answer for all
    0.5
    """
    _, recall, _ = precision_recall_f1(confusion)
    present = recall[~np.isnan(recall)]
    return float(present.mean()) if present.size else math.nan


def calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, 0 to 1.

    The confidence is the highest probability of an example. Equal-width bins of confidence, the
    mean of ``|accuracy - confidence|`` over them, by their examples.

    Parameters
    ----------
    probabilities : floating (examples, classes)
    labels : integer (examples,)
    bins : int

    Returns
    -------
    float
        0 to 1; 0 is perfect.

    Raises
    ------
    SignalError
        Rows that are not probabilities, labels that do not fit, or fewer than one bin.

    References
    ----------
    Guo et al. (2017), "On calibration of modern neural networks", eq. 3.

    Examples
    --------
    >>> from tinysignal.metrics import calibration_error
    >>> round(calibration_error([[0.9, 0.1], [0.9, 0.1]], [0, 1]), 3)  # 90 % sure, 50 % right
    0.4
    """
    rows, truth = check_probabilities(probabilities, labels)
    if bins < 1:
        raise SignalError(f"{bins} bins, expected 1 or more.")
    confidence = np.minimum(rows.max(axis=1), 1.0)
    surplus = (rows.argmax(axis=1) == truth) - confidence
    # Bin m holds what is above (m - 1) / bins, up to m / bins.
    which = np.maximum(np.ceil(confidence * bins).astype(np.int64) - 1, 0)
    return float(np.abs(np.bincount(which, surplus, minlength=bins)).sum() / len(rows))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean of ``-log`` of the true class's probability, in nats: the cross-entropy.

    A probability below float32's least normal number, 1.2e-38, counts as that number.

    Parameters
    ----------
    probabilities : floating (examples, classes)
    labels : integer (examples,)

    Returns
    -------
    float, nats
        0 is perfect; ``log(classes)`` is the value of guessing.

    Raises
    ------
    SignalError
        Rows that are not probabilities, or labels that do not fit.

    Examples
    --------
    >>> from tinysignal.metrics import negative_log_likelihood
    >>> round(negative_log_likelihood([[0.5, 0.5], [0.5, 0.5]], [0, 1]), 3)
    0.693
    """
    rows, truth = check_probabilities(probabilities, labels)
    of_truth = rows[np.arange(len(rows)), truth]
    return float(-np.log(np.clip(of_truth, _LEAST, 1.0)).mean())


def check_probabilities(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Values, Counts]:
    try:
        rows = np.asarray(probabilities, np.float64)
    except (TypeError, ValueError):
        raise SignalError(
            "probabilities cannot be made an array, expected numbers (examples, classes)."
        ) from None
    if rows.ndim != 2 or rows.size == 0:
        raise SignalError(
            f"probabilities of shape {rows.shape}, expected (examples, classes) with at least one."
        )
    if not np.isfinite(rows).all() or rows.min() < 0:
        raise SignalError("probabilities hold NaN, infinite or negative values, expected 0 to 1.")
    sums = rows.sum(axis=1)
    wrong = int(np.abs(sums - 1).argmax())
    if abs(sums[wrong] - 1) > _SUM_TOLERANCE:
        raise SignalError(
            f"row {wrong} of the probabilities sums to {sums[wrong]:g}; rows must sum to 1. "
            "Logits need a softmax first."
        )
    truth = check_labels(labels, rows.shape[1])
    if len(truth) != len(rows):
        raise SignalError(f"{len(truth)} labels for {len(rows)} examples, expected as many.")
    return rows, truth


def check_labels(labels: ArrayLike, classes: int) -> Counts:
    found = np.asarray(labels)
    if found.ndim != 1 or found.dtype.kind not in "iu":
        raise SignalError(
            f"labels are {found.dtype} of shape {found.shape}, expected integers (examples,)."
        )
    if found.size and not 0 <= found.min() <= found.max() < classes:
        raise SignalError(
            f"labels from {found.min()} to {found.max()}, expected 0 to {classes - 1}."
        )
    return found.astype(np.int64)


def _divided(above: Values, below: Values) -> Values:
    share = np.full(above.shape, np.nan)
    np.divide(above, below, out=share, where=below > 0)
    return share
