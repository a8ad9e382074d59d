"""Figures of a classifier: against independent references, and by their properties."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tinysignal.errors import SignalError
from tinysignal.files import json_text
from tinysignal.metrics.classification import (
    accuracy_interval,
    calibration_error,
    confusion_matrix,
    negative_log_likelihood,
    precision_recall_f1,
)
from tinysignal.metrics.classification_report import ClassificationReport

CLASSES = ("ant", "bee", "cat", "dog")


def guesses(
    seed: int, examples: int = 500, classes: int = len(CLASSES)
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Probabilities that are right more often than not, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, examples)
    logits = rng.normal(0, 1.5, (examples, classes))
    logits[np.arange(examples), labels] += 1.5
    weights = np.exp(logits)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32), labels


# Beside other implementations


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    probabilities, labels = guesses(seed)
    predicted = probabilities.argmax(axis=1)
    report = ClassificationReport.from_probabilities(probabilities, labels, CLASSES)
    np.testing.assert_array_equal(report.confusion, metrics.confusion_matrix(labels, predicted))
    expected = metrics.precision_recall_fscore_support(labels, predicted)
    columns = ("precision", "recall", "f1", "support")
    found = [[getattr(scores, name) for scores in report.per_class] for name in columns]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert report.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    balanced = metrics.balanced_accuracy_score(labels, predicted)
    assert report.balanced_accuracy == pytest.approx(balanced)
    wide = probabilities.astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)  # scikit-learn wants double precision's 1
    assert report.nll == pytest.approx(metrics.log_loss(labels, wide), abs=1e-6)


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_is_that_of_torchmetrics(bins: int) -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    probabilities, labels = guesses(3)
    expected = functional.multiclass_calibration_error(
        torch.from_numpy(probabilities),
        torch.from_numpy(labels),
        num_classes=len(CLASSES),
        n_bins=bins,
        norm="l1",
    )
    assert calibration_error(probabilities, labels, bins=bins) == pytest.approx(
        float(expected), abs=1e-6
    )


@pytest.mark.parametrize(
    ("correct", "examples", "expected"),
    [
        # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I,
        # method 3, to the four digits that it prints.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
    ],
)
def test_the_interval_is_wilson_s(
    correct: int, examples: int, expected: tuple[float, float]
) -> None:
    assert accuracy_interval(correct, examples) == pytest.approx(expected, abs=5.1e-5)


# Properties


@given(examples=st.integers(1, 10**6), share=st.floats(0, 1))
def test_the_interval_holds_the_share_solves_the_score_equation_and_mirrors(
    examples: int, share: float
) -> None:
    correct = round(share * examples)
    found, low_high = correct / examples, accuracy_interval(correct, examples)
    low, high = low_high
    assert 0 <= low <= found <= high <= 1
    for bound in low_high:  # where the share lies 1.96 of the bound's own deviations away
        deviation = 1.959963984540054 * math.sqrt(bound * (1 - bound) / examples)
        assert abs(found - bound) == pytest.approx(deviation, rel=1e-6, abs=1e-9)
    mirrored = accuracy_interval(examples - correct, examples)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_more_examples_make_a_narrower_interval() -> None:
    widths = [high - low for low, high in (accuracy_interval(9 * n, 10 * n) for n in (1, 9, 99))]
    assert widths == sorted(widths, reverse=True)


@given(seed=st.integers(0, 1000), examples=st.integers(1, 60), classes=st.integers(2, 7))
def test_the_report_counts_every_example_once(seed: int, examples: int, classes: int) -> None:
    probabilities, labels = guesses(seed, examples, classes)
    names = [str(i) for i in range(classes)]
    report = ClassificationReport.from_probabilities(probabilities, labels, names, worst=examples)
    assert report.confusion.sum() == report.examples == examples
    assert [scores.support for scores in report.per_class] == np.bincount(
        labels, minlength=classes
    ).tolist()
    assert report.errors == len(report.worst) == examples - np.trace(report.confusion)
    assert report.accuracy_low <= report.accuracy <= report.accuracy_high
    assert 0 <= report.calibration_error <= 1
    assert report.nll >= 0


def test_the_worst_are_the_most_confident_mistakes() -> None:
    probabilities, labels = guesses(1)
    names = [f"{i}.png" for i in range(len(labels))]
    report = ClassificationReport.from_probabilities(
        probabilities, labels, CLASSES, names=names, worst=7
    )
    shown = [mistake.probability for mistake in report.worst]
    assert len(shown) == 7
    assert shown == sorted(shown, reverse=True)
    wrong = probabilities.argmax(axis=1) != labels
    assert shown[-1] >= np.sort(probabilities[wrong].max(axis=1))[-7]
    for mistake in report.worst:
        assert mistake.true == CLASSES[labels[mistake.index]] != mistake.predicted
        assert mistake.predicted == CLASSES[probabilities[mistake.index].argmax()]
        assert mistake.name == f"{mistake.index}.png"


def test_rows_of_the_confusion_matrix_are_the_true_classes() -> None:
    assert confusion_matrix([0, 0, 2], [1, 1, 2], classes=3).tolist() == [
        [0, 2, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]


def test_the_largest_confusions_come_first_and_what_is_right_is_none() -> None:
    probabilities = np.eye(3)[[1, 1, 2, 0, 0, 0]]
    report = ClassificationReport.from_probabilities(
        probabilities, [0, 0, 1, 0, 0, 0], ("a", "b", "c")
    )
    assert report.confusions(5) == [(0, 1, 2), (1, 2, 1)]
    assert report.confusions(1) == [(0, 1, 2)]


def test_what_cannot_be_divided_is_none_in_the_report_and_null_in_json() -> None:
    report = ClassificationReport.from_probabilities(
        [[1, 0, 0], [1, 0, 0]], [0, 1], ("a", "b", "c")
    )
    a, b, c = report.per_class
    assert (a.precision, a.recall) == (0.5, 1.0)
    assert (b.precision, b.recall, b.f1) == (None, 0.0, 0.0)
    assert (c.precision, c.recall, c.f1, c.support) == (None, None, None, 0)
    assert json.loads(json_text(report.to_dict()))["per_class"][2]["recall"] is None
    assert np.isnan(precision_recall_f1(report.confusion)[0][2])


def test_the_report_as_json_holds_all_of_it() -> None:
    probabilities, labels = guesses(2)
    report = ClassificationReport.from_probabilities(probabilities, labels, CLASSES)
    read = json.loads(json_text(report.to_dict()))
    assert read == report.to_dict()
    assert read["accuracy"] == report.accuracy
    assert read["confusion"] == report.confusion.tolist()
    assert read["worst"][0]["true"] == report.worst[0].true


def test_one_answer_for_all_is_seen_in_the_balanced_accuracy_and_the_missing_answers() -> None:
    probabilities = [[0.8, 0.1, 0.1, 0.0]] * 10
    report = ClassificationReport.from_probabilities(
        probabilities, [0] * 8 + [1, 2], ["hum", "cat", "dog", "owl"]
    )
    assert report.accuracy == 0.8
    assert report.balanced_accuracy == pytest.approx(1 / 3)
    assert report.never_answered == ("cat", "dog")  # nobody asked for an owl
    assert json.loads(json.dumps(report.to_dict()))["never_answered"] == ["cat", "dog"]


def test_calibration_is_perfect_where_confidence_is_accuracy() -> None:
    # 3 of 4 right with confidence 3/4; and all right with confidence 1.
    probabilities = [[0.75, 0.25]] * 4 + [[0.0, 1.0]] * 3
    assert calibration_error(probabilities, [0, 0, 0, 1, 1, 1, 1]) == pytest.approx(0)
    # Sure and always wrong is as bad as it gets.
    assert calibration_error([[1.0, 0.0]] * 3, [1, 1, 1]) == pytest.approx(1)


def test_nll_is_finite_for_what_was_held_impossible() -> None:
    assert negative_log_likelihood([[0.5, 0.5]], [0]) == pytest.approx(math.log(2))
    assert negative_log_likelihood([[1.0, 0.0]], [1]) == pytest.approx(87.336, abs=1e-3)


# What is refused


@pytest.mark.parametrize(
    ("probabilities", "labels", "found"),
    [
        ([], [], "shape"),
        ([0.5, 0.5], [0], "shape"),
        ([[0.5, 0.5]], [0, 1], "2 labels for 1 examples"),
        ([[0.5, 0.5]], [2], "labels from 2 to 2, expected 0 to 1"),
        ([[0.5, 0.5]], [-1], "labels from -1"),
        ([[0.5, 0.5]], [0.0], "float64"),
        ([[math.nan, 1.0]], [0], "NaN"),
        ([[math.inf, -math.inf]], [0], "NaN"),
        ([[1.5, -0.5]], [0], "negative values"),
        ([[3.0, 2.0]], [0], "row 0 of the probabilities sums to 5; rows must sum to 1"),  # logits
        ([["a", "b"]], [0], "cannot be made an array"),
        ([[0.2, 0.3, 0.5]], [0], "3 probabilities, but 2 classes"),
    ],
)
def test_what_is_no_probability_or_no_label_is_refused(
    probabilities: object, labels: object, found: str
) -> None:
    with pytest.raises(SignalError, match=found) as raised:
        ClassificationReport.from_probabilities(probabilities, labels, ("a", "b"))  # type: ignore[arg-type]
    assert len(str(raised.value).splitlines()) == 1


def test_other_nonsense_is_refused() -> None:
    with pytest.raises(SignalError, match="3 of 2 correct"):
        accuracy_interval(3, 2)
    with pytest.raises(SignalError, match="0 of 0 correct"):
        accuracy_interval(0, 0)
    with pytest.raises(SignalError, match="0 bins"):
        calibration_error([[1.0, 0.0]], [0], bins=0)
    with pytest.raises(SignalError, match="2 labels and 1 predictions"):
        confusion_matrix([0, 1], [0], classes=2)
    with pytest.raises(SignalError, match="2 names"):
        ClassificationReport.from_probabilities([[1.0, 0.0]], [0], ("a", "b"), names=("x", "y"))
