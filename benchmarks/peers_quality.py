"""The scores of what a denoiser makes of the test sets of `peers.py`.

Besides the usual metrics: ``pauses_db``, the change of the level where nobody speaks, and
``word_errors``, of a speech recogniser on the denoised files; what it understands of the clean ones
is taken for the truth.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from peers_words import Recogniser, word_errors
from tinysignal import audio
from tinysignal.audio.validate import Signal
from tinysignal.errors import DataError, SignalError
from tinysignal.evaluation import Pair, match_folders
from tinysignal.evaluation.report import CONFIDENCE, mean_interval
from tinysignal.metrics import METRICS

RATE_HZ = 16_000
RECORDED = "voicebank-demand-test"
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
SCORED = ("pesq_wb", "stoi", "estoi", "si_sdr", "dnsmos")
BY_LABEL = ("mixtures", "kinds")  # sets whose parts are shown too
WORDS, PAUSES = "words", "pauses"
KEYS = {name: metric.columns[0].key for name, metric in METRICS.items()}
KEYS |= {WORDS: "word_errors", PAUSES: "pauses_db"}

LIMIT_DB = 100.0  # as in an evaluation: silence for an answer does not make the mean infinite

Scores = dict[str, float]


@dataclass(frozen=True)
class Sets:
    """Test sets as folders ``noisy`` and ``clean`` of 16 kHz files.

    Parameters
    ----------
    folders : dict
        By the name of the set.
    metrics : dict
        What each set is scored by.
    facts : dict
        For the report: makeup of each set, with the labels of its files.
    recogniser : callable or None
        The words in every file of a folder.
    """

    folders: dict[str, Path]
    metrics: dict[str, tuple[str, ...]]
    facts: dict[str, Any]
    recogniser: Recogniser | None = None
    _truth: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls, data: Path, folder: Path, count: int, dnsmos: str, recogniser: Recogniser | None = None
    ) -> Sets:
        """Write the files of all sets.

        Parameters
        ----------
        data : Path
            With ``pairs``, ``speech``, ``noise``, ``rir`` and their manifests.
        folder : Path
        count : int
            Mixtures; those of the first SNR come at 0, 5, 10, ...
        dnsmos : {"all", "recordings", "none"}
            What DNSMOS, most of the time that scoring takes, is computed for; "all": not for the
            sets of kinds of noise, a language and rooms.
        recogniser : callable or None
            For the set ``english``, which is left out without one.
        """
        from peers_sets import make_sets  # and torch

        made = make_sets(data, folder, count)
        if recogniser is None:
            del made["english"]
        with_dnsmos = {"all": ("recordings", "mixtures", "second"), "recordings": ("recordings",)}
        usual = tuple(name for name in SCORED if name != "dnsmos")
        metrics = {name: SCORED if name in with_dnsmos.get(dnsmos, ()) else usual for name in made}
        for name in ("mixtures", "second", "kinds", "dutch"):
            metrics[name] += (PAUSES,)
        if recogniser is not None:
            metrics["english"] = (WORDS,)
        for name, facts in made.items():
            facts["digest"] = _digest(folder / name)
        facts = {
            "sets": made,
            "confidence": CONFIDENCE,
            "implementations": {name: METRICS[name].implementation for name in SCORED},
        }
        return cls({name: folder / name for name in made}, metrics, facts, recogniser)

    def missing(self, row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        """The metrics of each set that a row has no scores of; sets without any are left out."""
        wanted = {
            name: tuple(m for m in metrics if KEYS[m] not in row.get(name, {}))
            for name, metrics in self.metrics.items()
        }
        return {name: metrics for name, metrics in wanted.items() if metrics}

    def score_noisy(self, known: dict[str, Any] | None = None) -> dict[str, Any]:
        """What is missing in the scores of doing nothing, with those known."""
        return self.score(None, known)

    def score(
        self,
        denoise: Callable[[Path, Path], None] | None,
        known: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What is missing in a denoiser's scores, with those known.

        Parameters
        ----------
        denoise : callable or None
            From a folder of noisy files to one of denoised files; None leaves them as they are.
        known : dict, optional
            Its row in an earlier report.

        Raises
        ------
        DataError
            It left out a file.
        AudioFileError, SignalError
            It wrote one that cannot be read.
        """
        known = known or {}
        rows = {name: known[name] for name in self.folders if name in known}
        for name, metrics in self.missing(known).items():
            noisy = self.folders[name] / "noisy"
            with tempfile.TemporaryDirectory() as scratch:
                denoised = noisy
                if denoise is not None:
                    denoised = Path(scratch)
                    denoise(noisy, denoised)
                rows[name] = _merged(rows.get(name, {}), self._row(name, denoised, metrics))
        return rows

    def network_facts(self, files: list[Path]) -> dict[str, Any]:
        """Bytes and trained numbers of a peer's network files."""
        if not files:
            return {"model_bytes": None, "parameters": None}
        counts = [_parameters(path) for path in files]
        known = [count for count in counts if count is not None]
        size = sum(path.stat().st_size for path in files)
        return {"model_bytes": size, "parameters": sum(known) or None}

    def _row(self, name: str, denoised: Path, metrics: tuple[str, ...]) -> dict[str, Any]:
        """Means and half widths over the files of a set; for mixtures by their SNR as well."""
        folder = self.folders[name]
        pairs, failures = match_folders(denoised, folder / "clean")
        if failures:  # means over other files than the others', and at wrong SNRs
            raise DataError(
                f"{name}: {len(failures)} files without a counterpart, {failures[0].file} first; "
                "expected an output for every input."
            )
        if metrics == (WORDS,):
            return {KEYS[WORDS]: self._word_errors(denoised, folder / "clean")}
        scored = [_score(pair, folder / "noisy", metrics) for pair in pairs]
        row = _means(scored)
        row["lag_samples"] = float(np.median([_lag(pair) for pair in pairs[:20]]))
        if name in BY_LABEL:
            labels = self.facts["sets"][name]["labels"]
            row["by"] = {
                label: _means([s for s, own in zip(scored, labels, strict=True) if own == label])
                for label in dict.fromkeys(labels)
            }
        return row

    def _word_errors(self, denoised: Path, clean: Path) -> dict[str, Any]:
        assert self.recogniser is not None
        if not self._truth:
            self._truth.update(self.recogniser(clean))
        return word_errors(self.recogniser(denoised), self._truth)


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    by = {label: old.get("by", {}).get(label, {}) | row for label, row in new.get("by", {}).items()}
    return old | new | ({"by": by} if by else {})


def _score(pair: Pair, noisy: Path, metrics: tuple[str, ...]) -> Scores:
    estimate, target, rate_hz = _read(pair)
    scores: Scores = {}
    for name in metrics:
        if name == PAUSES:
            from tinysignal.train.data.pairs import SignalPair  # and torch
            from validation import kept_and_left

            given, _ = audio.read(noisy / pair.noisy.name)
            found = kept_and_left(SignalPair(given[0], target[0], pair.name), estimate[0])
            scores |= {key: value for key, value in found.items() if key == KEYS[PAUSES]}
            continue
        try:
            values = METRICS[name].score(estimate, target, rate_hz)
        except SignalError:
            continue  # counted by 'files' of the row
        columns = METRICS[name].columns
        limited = [float(np.clip(v[0], -LIMIT_DB, LIMIT_DB)) for v in values]
        scores |= {c.key: v for c, v in zip(columns, limited, strict=True)}
    return scores


def _read(pair: Pair) -> tuple[Signal, Signal, int]:
    estimate, rate_hz = audio.read(pair.noisy)
    target, _ = audio.read(pair.clean)
    return estimate, target, rate_hz


def _means(scored: list[Scores]) -> dict[str, Any]:
    """Mean and half width of each metric, and its values, None where there is none."""
    row: dict[str, Any] = {}
    for key in dict.fromkeys(key for scores in scored for key in scores):
        values = [scores.get(key) for scores in scored]
        interval = mean_interval([value for value in values if value is not None])
        row[key] = {
            "mean": round(interval.mean, 4),
            "half_width": interval.half_width and round(interval.half_width, 4),
            "files": sum(value is not None for value in values),
            "values": [None if value is None else round(value, 4) for value in values],
        }
    return row


def _lag(pair: Pair) -> int:
    """Samples by which the estimate comes later than the target, by cross-correlation."""
    estimate, target, _ = _read(pair)
    size = 2 * target.shape[1]
    spectrum = np.fft.rfft(estimate[0], size) * np.conj(np.fft.rfft(target[0], size))
    peak = int(np.argmax(np.fft.irfft(spectrum, size)))
    return peak if peak < size // 2 else peak - size


def _digest(folder: Path) -> str:
    """Of all samples of a set, so that two reports are known to be of the same one."""
    digest = hashlib.sha256()
    for side in ("clean", "noisy"):
        for path in sorted((folder / side).glob("*.wav")):
            digest.update(audio.read(path)[0].tobytes())
    return digest.hexdigest()


def _parameters(path: Path) -> int | None:
    """Trained numbers of an ONNX file, or of those in an archive; None for other files."""
    if path.suffix == ".onnx":
        return _count(path.read_bytes())
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            inside = [m for m in archive.getmembers() if re.search(r"\.onnx$", m.name)]
            files = [archive.extractfile(m) for m in inside]
            return sum(_count(file.read()) for file in files if file is not None)
    return None


def _count(content: bytes) -> int:
    """Floating-point numbers among the initialisers."""
    import onnx

    graph = onnx.load_from_string(content).graph
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8)
    return sum(int(np.prod(t.dims)) for t in graph.initializer if t.data_type in floats)
