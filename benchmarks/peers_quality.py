"""The test sets of `peers.py`, and the scores of what a denoiser makes of them."""

from __future__ import annotations

import csv
import hashlib
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinysignal import audio
from tinysignal.audio.validate import Signal
from tinysignal.errors import DataError, SignalError
from tinysignal.evaluation import Pair, match_folders
from tinysignal.evaluation.report import CONFIDENCE, mean_interval
from tinysignal.metrics import METRICS

RATE_HZ = 16_000
SEED = 4052
SNRS_DB = (-5.0, 0.0, 5.0, 10.0, 15.0)
RECORDED = "voicebank-demand-test"
SCORED = ("pesq_wb", "stoi", "estoi", "si_sdr", "dnsmos")

LIMIT_DB = 100.0  # as in an evaluation: silence for an answer does not make the mean infinite

Scores = dict[str, float]


@dataclass(frozen=True)
class Sets:
    """Recorded pairs and mixtures as folders ``noisy`` and ``clean`` of 16 kHz files."""

    folders: dict[str, Path]
    metrics: dict[str, tuple[str, ...]]
    facts: dict[str, Any]

    @classmethod
    def make(cls, data: Path, folder: Path, count: int, dnsmos: str) -> Sets:
        """Write the files of both sets.

        Parameters
        ----------
        data : Path
            With ``pairs``, ``speech`` and ``noise`` and their manifests.
        folder : Path
        count : int
            Mixtures; those of the first SNR come at 0, 5, 10, ...
        dnsmos : {"all", "recordings", "none"}
            What DNSMOS, most of the time that scoring takes, is computed for.
        """
        from mixtures import make_mixtures  # and torch

        folders = {name: folder / name for name in ("recordings", "mixtures")}
        for path in folders.values():
            path.mkdir()
        pairs = _copy_recordings(data, folders["recordings"])
        mixed = make_mixtures(data, folders["mixtures"], count, snrs_db=SNRS_DB, seed=SEED)
        without = tuple(name for name in SCORED if name != "dnsmos")
        metrics = {
            "recordings": without if dnsmos == "none" else SCORED,
            "mixtures": SCORED if dnsmos == "all" else without,
        }
        facts = {
            "recordings": {"pairs": pairs, "set": RECORDED},
            "mixtures": mixed | {"seed": SEED, "snrs_db": SNRS_DB},
            "confidence": CONFIDENCE,
            "digest": _digest(folder),
            "implementations": {name: METRICS[name].implementation for name in SCORED},
        }
        return cls(folders, metrics, facts)

    def missing(self, row: dict[str, Any]) -> dict[str, tuple[str, ...]]:
        """The metrics of each set that a row has no scores of; sets without any are left out."""
        wanted = {
            name: tuple(m for m in metrics if METRICS[m].columns[0].key not in row.get(name, {}))
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
        pairs, failures = match_folders(denoised, self.folders[name] / "clean")
        if failures:  # means over other files than the others', and at wrong SNRs
            raise DataError(
                f"{name}: {len(failures)} files without a counterpart, {failures[0].file} first; "
                "expected an output for every input."
            )
        scored = [_score(pair, metrics) for pair in pairs]
        row = _means(scored)
        row["lag_samples"] = float(np.median([_lag(pair) for pair in pairs[:20]]))
        if name == "mixtures":
            row["by_snr"] = {
                f"{snr_db:g}": _means(scored[i :: len(SNRS_DB)]) for i, snr_db in enumerate(SNRS_DB)
            }
        return row


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    by_snr = {
        snr: old.get("by_snr", {}).get(snr, {}) | row for snr, row in new.get("by_snr", {}).items()
    }
    return old | new | ({"by_snr": by_snr} if by_snr else {})


def _copy_recordings(data: Path, folder: Path) -> int:
    """Write the recorded pairs as 32-bit floats; their number."""
    with (data / "pairs" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        pairs = [row for row in csv.DictReader(file) if row["set"] == RECORDED]
    for side in ("noisy", "clean"):
        (folder / side).mkdir()
        for pair in pairs:
            signal, rate_hz = audio.read(data / pair[side])
            target = folder / side / f"{Path(pair[side]).stem}.wav"
            audio.write(target, signal, sample_rate_hz=rate_hz, subtype="FLOAT")
    return len(pairs)


def _score(pair: Pair, metrics: tuple[str, ...]) -> Scores:
    estimate, target, rate_hz = _read(pair)
    scores: Scores = {}
    for name in metrics:
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
    row: dict[str, Any] = {}
    for key in dict.fromkeys(key for scores in scored for key in scores):
        values = [scores[key] for scores in scored if key in scores]
        interval = mean_interval(values)
        row[key] = {
            "mean": round(interval.mean, 4),
            "half_width": interval.half_width and round(interval.half_width, 4),
            "files": len(values),
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
    """Of all samples, so that two reports are known to be of the same sets."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*/*/*.wav")):
        if path.parent.name in ("noisy", "clean"):
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
