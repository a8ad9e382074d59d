"""Metrics of denoisers by name, and which of them are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

from tinysignal.audio.validate import Signal
from tinysignal.errors import ConfigError, MissingExtraError
from tinysignal.metrics import audio
from tinysignal.metrics.audio import Scores

Score = Callable[[Signal, Signal, int], Sequence[Scores]]


class Column(NamedTuple):
    """One number that a metric gives."""

    key: str
    label: str
    unit: str  # empty for a plain number


@dataclass(frozen=True)
class Metric:
    """A metric by the name that ``--metrics`` takes.

    ``score`` maps estimate, target and rate to one array (channels,) a column; ``package`` is
    the optional one that computes it, None for this package's own.
    """

    name: str
    columns: tuple[Column, ...]
    score: Score
    package: str | None = None

    @property
    def installed(self) -> bool:
        """Whether it can be computed here."""
        return self.package is None or importlib.util.find_spec(self.package) is not None

    @property
    def implementation(self) -> str:
        """Package and version that compute it, for reports."""
        package = self.package or "tinysignal"
        return f"{package} {version(package)}"


def _single(name: str, label: str, unit: str, score: Score, package: str | None = None) -> Metric:
    return Metric(name, (Column(name, label, unit),), score, package)


METRICS = {
    metric.name: metric
    for metric in (
        _single("snr", "SNR", "dB", lambda e, t, hz: [audio.snr(e, t)]),
        _single("si_sdr", "SI-SDR", "dB", lambda e, t, hz: [audio.si_sdr(e, t)]),
        _single(
            "segmental_snr",
            "Segmental SNR",
            "dB",
            lambda e, t, hz: [audio.segmental_snr(e, t, sample_rate_hz=hz)],
        ),
        _single(
            "pesq_wb",
            "PESQ-WB",
            "MOS-LQO",
            lambda e, t, hz: [audio.pesq_wb(e, t, sample_rate_hz=hz)],
            "pesq",
        ),
        _single(
            "stoi", "STOI", "", lambda e, t, hz: [audio.stoi(e, t, sample_rate_hz=hz)], "pystoi"
        ),
        _single(
            "estoi",
            "ESTOI",
            "",
            lambda e, t, hz: [audio.estoi(e, t, sample_rate_hz=hz)],
            "pystoi",
        ),
        Metric(
            "dnsmos",
            (
                Column("dnsmos_ovrl", "DNSMOS OVRL", "MOS"),
                Column("dnsmos_sig", "DNSMOS SIG", "MOS"),
                Column("dnsmos_bak", "DNSMOS BAK", "MOS"),
                Column("dnsmos_p808", "DNSMOS P.808", "MOS"),
            ),
            lambda e, t, hz: audio.dnsmos(e, sample_rate_hz=hz),
            "speechmos",
        ),
    )
}
"""The metrics of denoisers by name, in the order in which they are shown."""


def missing_metrics() -> list[Metric]:
    """The metrics whose package is not installed.

    Returns
    -------
    list of Metric
    """
    return [metric for metric in METRICS.values() if not metric.installed]


def select_metrics(names: Sequence[str] | None = None) -> list[Metric]:
    """Metrics by name; all that are installed where no names are given.

    Parameters
    ----------
    names : sequence of str or None
        Keys of `METRICS`.

    Returns
    -------
    list of Metric
        In the order of the names, each once.

    Raises
    ------
    ConfigError
        An unknown name, or none at all.
    MissingExtraError
        A metric that was asked for is not installed.

    Examples
    --------
    >>> from tinysignal.metrics import select_metrics
    >>> [metric.name for metric in select_metrics(["si_sdr", "snr"])]
    ['si_sdr', 'snr']
    """
    if names is None:
        return [metric for metric in METRICS.values() if metric.installed]
    unknown = [name for name in names if name not in METRICS]
    if unknown or not names:
        raise ConfigError(f"metric '{', '.join(unknown)}', expected some of {', '.join(METRICS)}.")
    chosen = [METRICS[name] for name in dict.fromkeys(names)]
    for metric in chosen:
        if not metric.installed:
            raise MissingExtraError(f"metric '{metric.name}'", "eval")
    return chosen
