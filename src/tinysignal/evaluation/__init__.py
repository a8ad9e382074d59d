"""Evaluate a denoiser on pairs of noisy and clean recordings.

::

    pairs.py       which noisy file belongs to which clean one
    report.py      scores of files, means with intervals, groups by input SNR; JSON and CSV
    denoiser.py    evaluate_pairs: read, process, score, in order, on any number of processes
    classifier.py  the labelled examples that a classifier is scored on
"""

from tinysignal.evaluation.denoiser import ModelProcess, evaluate_pairs
from tinysignal.evaluation.pairs import Failure, Pair, match_folders, read_manifest
from tinysignal.evaluation.report import Evaluation, FileScores, Group, Interval, Summary
from tinysignal.metrics.registry import METRICS, Metric, missing_metrics, select_metrics

__all__ = [
    "METRICS",
    "Evaluation",
    "Failure",
    "FileScores",
    "Group",
    "Interval",
    "Metric",
    "ModelProcess",
    "Pair",
    "Summary",
    "evaluate_pairs",
    "match_folders",
    "missing_metrics",
    "read_manifest",
    "select_metrics",
]
