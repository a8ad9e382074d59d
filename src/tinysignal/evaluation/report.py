"""What an evaluation found: scores of files, means with intervals, groups by input SNR."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from tinysignal.evaluation.pairs import Failure
from tinysignal.metrics.registry import Column, Metric

INPUT_SNR_EDGES_DB = (0, 5, 10, 15)
CONFIDENCE = "half width of the mean's 95 % confidence interval, Student's t over files"


@dataclass(frozen=True, kw_only=True)
class FileScores:
    """Scores of one pair, means over its channels; decibels are limited to +-100.

    A metric is in both mappings or in neither: one that failed is among the failures.
    """

    name: str
    sample_rate_hz: int
    channels: int
    duration_s: float
    input_snr_db: float
    noisy: Mapping[str, float]
    denoised: Mapping[str, float]


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95 % confidence interval; None for a single file."""

    mean: float
    half_width: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One number of a metric over files: before, after, and the mean of the differences."""

    files: int
    noisy: Interval
    denoised: Interval
    improvement: Interval


@dataclass(frozen=True, kw_only=True)
class Group:
    """The files of one range of input SNR; ``summary`` is by column key."""

    label: str
    files: int
    summary: Mapping[str, Summary]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A whole evaluation, in the order of the pairs."""

    metrics: tuple[Metric, ...]
    files: tuple[FileScores, ...]
    failures: tuple[Failure, ...]

    @property
    def columns(self) -> list[Column]:
        """The numbers that the metrics give."""
        return [column for metric in self.metrics for column in metric.columns]

    def summary(self) -> dict[str, Summary]:
        """Means over all files, by column key; without those that no file has."""
        return _summary(self.files, self.columns)

    def by_input_snr(self) -> list[Group]:
        """Means over the files of every range of input SNR, without empty ranges."""
        low = (-math.inf, *INPUT_SNR_EDGES_DB)
        high = (*INPUT_SNR_EDGES_DB, math.inf)
        groups = []
        for start, end in zip(low, high, strict=True):
            files = [file for file in self.files if start <= file.input_snr_db < end]
            if files:
                label = _range_label(start, end)
                summary = _summary(files, self.columns)
                groups.append(Group(label=label, files=len(files), summary=summary))
        return groups

    def to_dict(self) -> dict[str, Any]:
        """Everything, as what JSON can hold."""
        return {
            "files": len(self.files),
            "failures": [asdict(failure) for failure in self.failures],
            "confidence": CONFIDENCE,
            "metrics": {
                column.key: {
                    "label": column.label,
                    "unit": column.unit,
                    "implementation": metric.implementation,
                }
                for metric in self.metrics
                for column in metric.columns
            },
            "mean": {key: asdict(summary) for key, summary in self.summary().items()},
            "by_input_snr": [asdict(group) for group in self.by_input_snr()],
            "per_file": [asdict(file) for file in self.files],
        }

    def csv_rows(self) -> list[dict[str, str | float]]:
        """One row a file, failed files included; all rows have the same keys."""
        reasons: dict[str, list[str]] = {}
        for failure in self.failures:
            what = f"{failure.metric}: " if failure.metric else ""
            reasons.setdefault(failure.file, []).append(what + failure.reason)
        scored = {file.name: file for file in self.files}
        names = [*scored, *(name for name in reasons if name not in scored)]
        return [self._row(name, scored.get(name), reasons.get(name, [])) for name in names]

    def _row(
        self, name: str, file: FileScores | None, reasons: list[str]
    ) -> dict[str, str | float]:
        row: dict[str, str | float] = {"file": name}
        for field in ("sample_rate_hz", "channels", "duration_s", "input_snr_db"):
            row[field] = getattr(file, field) if file else ""
        for column in self.columns:
            row[f"noisy_{column.key}"] = file.noisy.get(column.key, "") if file else ""
            row[f"denoised_{column.key}"] = file.denoised.get(column.key, "") if file else ""
        row["failure"] = " ".join(reasons)
        return row


def mean_interval(values: Sequence[float]) -> Interval:
    """Mean and 95 % confidence interval by Student's t; values are taken as independent."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    return Interval(
        fmean(values), student_t_975(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    )


def student_t_975(degrees: int) -> float:
    """The 97.5 % quantile of Student's t, within 0.1 %, without scipy.

    References
    ----------
    Abramowitz and Stegun (1964), 26.7.5, the expansion around the normal quantile; it is off by
    more than 0.1 % below four degrees of freedom, whose values are listed.
    """
    listed = (12.706, 4.303, 3.182)
    if degrees <= len(listed):
        return listed[degrees - 1]
    z = NormalDist().inv_cdf(0.975)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / math.pow(degrees, power) for power, term in enumerate(terms))


def _summary(files: Sequence[FileScores], columns: Sequence[Column]) -> dict[str, Summary]:
    summaries = {}
    for column in columns:
        pairs = [
            (file.noisy[column.key], file.denoised[column.key])
            for file in files
            if column.key in file.noisy
        ]
        if pairs:
            summaries[column.key] = Summary(
                files=len(pairs),
                noisy=mean_interval([before for before, _ in pairs]),
                denoised=mean_interval([after for _, after in pairs]),
                improvement=mean_interval([after - before for before, after in pairs]),
            )
    return summaries


def _range_label(start_db: float, end_db: float) -> str:
    if math.isinf(start_db):
        return f"below {end_db:g} dB"
    if math.isinf(end_db):
        return f"{start_db:g} dB and above"
    return f"{start_db:g} to {end_db:g} dB"
