"""Evaluate models on data whose answers are known.

::

    denoiser.py    evaluate_denoiser, and evaluate_pairs for any function that denoises
    classifier.py  evaluate_classifier
    pairs.py       noisy recordings and their clean targets
    report.py      scores of files, means with intervals, groups by input SNR
"""

from tinysignal.evaluation.classifier import ClassifierEvaluation, evaluate_classifier
from tinysignal.evaluation.denoiser import ModelProcess, evaluate_denoiser, evaluate_pairs
from tinysignal.evaluation.pairs import Failure, Pair, match_folders, read_pairs
from tinysignal.evaluation.report import Evaluation, FileScores, Group, Interval, Summary

__all__ = [
    "ClassifierEvaluation",
    "Evaluation",
    "Failure",
    "FileScores",
    "Group",
    "Interval",
    "ModelProcess",
    "Pair",
    "Summary",
    "evaluate_classifier",
    "evaluate_denoiser",
    "evaluate_pairs",
    "match_folders",
    "read_pairs",
]
