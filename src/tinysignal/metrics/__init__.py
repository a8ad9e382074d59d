"""How good an output is: pure functions, an array against its target.

::

    audio.py            SNR, SI-SDR, PESQ, STOI, DNSMOS of denoised signals
    dnsmos_networks.py  the networks that DNSMOS asks
    classification.py   accuracy, confusion, calibration of classifiers, and
    classification_report.py   all of these in one report
    registry.py         the metrics of denoisers by name, and which are installed
"""

from tinysignal.metrics.audio import (
    Dnsmos,
    dnsmos,
    estoi,
    pesq_wb,
    segmental_snr,
    si_sdr,
    snr,
    stoi,
)
from tinysignal.metrics.classification import (
    accuracy_interval,
    balanced_accuracy,
    calibration_error,
    confusion_matrix,
    negative_log_likelihood,
    precision_recall_f1,
)
from tinysignal.metrics.classification_report import ClassificationReport, ClassScores, Mistake
from tinysignal.metrics.registry import METRICS, Metric, missing_metrics, select_metrics

__all__ = [
    "METRICS",
    "ClassScores",
    "ClassificationReport",
    "Dnsmos",
    "Metric",
    "Mistake",
    "accuracy_interval",
    "balanced_accuracy",
    "calibration_error",
    "confusion_matrix",
    "dnsmos",
    "estoi",
    "missing_metrics",
    "negative_log_likelihood",
    "pesq_wb",
    "precision_recall_f1",
    "segmental_snr",
    "select_metrics",
    "si_sdr",
    "snr",
    "stoi",
]
