"""A report of a classifier: accuracy with its interval, classes, confusions, worst mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinysignal.errors import SignalError
from tinysignal.metrics.classification import (
    Counts,
    Values,
    accuracy_interval,
    balanced_accuracy,
    calibration_error,
    check_probabilities,
    confusion_matrix,
    negative_log_likelihood,
    precision_recall_f1,
)

WORST = 20  # mistakes that a report lists


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """One class among the others; None where there is nothing to divide by.

    Parameters
    ----------
    name : str
    precision : float or None
        Share of the examples taken for this class that are of it, 0 to 1.
    recall : float or None
        Share of the examples of this class that are taken for it, 0 to 1.
    f1 : float or None
        Harmonic mean of both.
    support : int
        Examples of this class.
    """

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """An example taken for another class: where it stands, and how sure the network was."""

    index: int
    name: str  # of its file; empty where there is none
    true: str
    predicted: str
    probability: float  # of the predicted class


@dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """What is known of a classifier on labelled examples; shares are 0 to 1.

    Parameters
    ----------
    classes : tuple of str
    examples, errors : int
    accuracy, accuracy_low, accuracy_high : float
        Share that is right, and its 95 % interval, see `accuracy_interval`.
    balanced_accuracy : float
        See `balanced_accuracy`.
    never_answered : tuple of str
        Classes with examples that no example was taken for.
    nll : float
        See `negative_log_likelihood`.
    calibration_error : float
        See `calibration_error`.
    confusion : int64 (classes, classes)
        See `confusion_matrix`.
    per_class : tuple of ClassScores
        In the order of the classes.
    worst : tuple of Mistake
        The most confident first.
    """

    classes: tuple[str, ...]
    examples: int
    errors: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    balanced_accuracy: float
    never_answered: tuple[str, ...]
    nll: float
    calibration_error: float
    confusion: Counts
    per_class: tuple[ClassScores, ...]
    worst: tuple[Mistake, ...]

    @classmethod
    def from_probabilities(
        cls,
        probabilities: ArrayLike,
        labels: ArrayLike,
        classes: Sequence[str],
        *,
        names: Sequence[str] = (),
        worst: int = WORST,
    ) -> ClassificationReport:
        """Measure probabilities against labels.

        Parameters
        ----------
        probabilities : floating (examples, classes)
            Rows sum to 1.
        labels : integer (examples,)
            Into ``classes``.
        classes : sequence of str
        names : sequence of str
            Of the examples' files; empty if they have none.
        worst : int
            The most mistakes to list.

        Raises
        ------
        SignalError
            Shapes that do not fit, no examples, NaN, rows that do not sum to 1, labels out of
            range.

        Examples
        --------
        >>> from tinysignal.metrics import ClassificationReport
        >>> probabilities = [[0.9, 0.1], [0.6, 0.4]]
        >>> report = ClassificationReport.from_probabilities(probabilities, [0, 1], ["cat", "dog"])
        >>> report.accuracy, report.worst[0].predicted
        (0.5, 'cat')
        """
        rows, truth = check_probabilities(probabilities, labels)
        if rows.shape[1] != len(classes) or len(names) not in (0, len(rows)):
            raise SignalError(
                f"{len(rows)} rows of {rows.shape[1]} probabilities, but {len(classes)} classes "
                f"and {len(names)} names: expected as many classes, and as many names or none."
            )
        predicted = rows.argmax(axis=1)
        confusion = confusion_matrix(truth, predicted, classes=len(classes))
        correct = int(np.trace(confusion))
        low, high = accuracy_interval(correct, len(rows))
        return cls(
            classes=tuple(classes),
            examples=len(rows),
            errors=len(rows) - correct,
            accuracy=correct / len(rows),
            accuracy_low=low,
            accuracy_high=high,
            balanced_accuracy=balanced_accuracy(confusion),
            never_answered=_never_answered(confusion, classes),
            nll=negative_log_likelihood(rows, truth),
            calibration_error=calibration_error(rows, truth),
            confusion=confusion,
            per_class=_class_scores(confusion, classes),
            worst=_worst(rows, truth, classes, names, worst),
        )

    def confusions(self, number: int) -> list[tuple[int, int, int]]:
        """The most frequent confusions: true class, predicted class, examples; none without any."""
        off = self.confusion.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off, axis=None, kind="stable")[:number]
        pairs = zip(*np.unravel_index(order, off.shape), strict=True)
        return [(int(t), int(p), int(off[t, p])) for t, p in pairs if off[t, p]]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as what JSON can hold."""
        per_class = [asdict(scores) for scores in self.per_class]
        worst = [asdict(mistake) for mistake in self.worst]
        lists = {
            "classes": list(self.classes),
            "never_answered": list(self.never_answered),
            "confusion": self.confusion.tolist(),
        }
        return {**vars(self), **lists, "per_class": per_class, "worst": worst}


def _never_answered(confusion: Counts, classes: Sequence[str]) -> tuple[str, ...]:
    missing = (confusion.sum(axis=0) == 0) & (confusion.sum(axis=1) > 0)
    return tuple(name for name, is_missing in zip(classes, missing, strict=True) if is_missing)


def _class_scores(confusion: Counts, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    columns = [
        [None if math.isnan(value) else value for value in scores.tolist()]
        for scores in precision_recall_f1(confusion)
    ]
    supports = confusion.sum(axis=1).tolist()
    return tuple(
        ClassScores(name=name, precision=precision, recall=recall, f1=f1, support=support)
        for name, precision, recall, f1, support in zip(classes, *columns, supports, strict=True)
    )


def _worst(
    rows: Values, truth: Counts, classes: Sequence[str], names: Sequence[str], number: int
) -> tuple[Mistake, ...]:
    predicted, confidence = rows.argmax(axis=1), rows.max(axis=1)
    wrong = np.flatnonzero(predicted != truth)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][: max(number, 0)]
    return tuple(
        Mistake(
            index=int(i),
            name=names[i] if names else "",
            true=classes[truth[i]],
            predicted=classes[predicted[i]],
            probability=float(confidence[i]),
        )
        for i in order
    )
