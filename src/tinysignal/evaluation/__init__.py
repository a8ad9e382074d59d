"""Evaluate a denoiser on pairs of noisy and clean recordings.

::

    pairs.py    which noisy file belongs to which clean one
    table.py    the metrics to choose from, and which are installed
    report.py   scores of files, means with intervals, groups by input SNR; JSON and CSV
    run.py      evaluate_pairs: read, process, score, in order, on any number of processes
"""

from tinysignal.evaluation.pairs import Failure, Pair, match_folders, read_manifest
from tinysignal.evaluation.report import Evaluation, FileScores, Group, Interval, Summary
from tinysignal.evaluation.run import ModelProcess, evaluate_pairs
from tinysignal.evaluation.table import METRICS, Metric, missing_metrics, select_metrics

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
