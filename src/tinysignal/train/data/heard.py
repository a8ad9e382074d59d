"""Recordings and pairs that were read once, and what the samples of each say is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tinysignal.datasets.report import Finding, reason
from tinysignal.errors import FileError, SignalError
from tinysignal.evaluation.pairs import LENGTH_TOLERANCE_S, Pair
from tinysignal.train.data.alignment import Mono, Relation, aligned, relation
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import Clip, Recording, read_mono, to_int16

_SILENT = 1e-4  # -80 dBFS
_CANCELS_DB = 12.0  # channels that have nothing in common lose 3
_WRONG_MS = 1.0
_LEVEL_DB = 3.0


@dataclass(frozen=True)
class Heard:
    """Recording that was read, with what a check needs to know of it.

    Parameters
    ----------
    recording : Recording
    clip : Clip or None
        None for an unreadable file, and for one outside of training and validation.
    problem : str
        Why the file is not readable; empty if it is.
    content : bytes
        Digest of the samples.
    lost_db : float
        Power that is lost in the mean of the channels.
    silent : bool
        Whether no sample is above -80 dBFS.
    """

    recording: Recording
    clip: Clip | None = None
    problem: str = ""
    content: bytes = b""
    lost_db: float = 0.0
    silent: bool = False

    @property
    def name(self) -> str:
        """Path of the file."""
        return str(self.recording.path)


def hear(recordings: Iterable[Recording], *, sample_rate_hz: int) -> list[Heard]:
    """Read recordings in parallel, as `load_clips`, once; files that are not readable are told."""

    def one(recording: Recording) -> Heard:
        try:
            mono, lost_db = read_mono(recording.path, sample_rate_hz=sample_rate_hz)
        except (FileError, SignalError) as error:
            return Heard(recording, problem=reason(error, str(recording.path)))
        samples = to_int16(mono)
        kept = recording.split in ("train", "valid")
        return Heard(
            recording,
            Clip(samples, recording.group, recording.kind) if kept else None,
            content=digest(samples),
            lost_db=lost_db,
            silent=is_silent(mono),
        )

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, recordings))


@dataclass(frozen=True)
class HeardPair:
    """Pair that was read, with what a check found.

    Parameters
    ----------
    name : str
    signals : SignalPair or None
        None if a file is not readable or the lengths differ.
    contents : (bytes, bytes)
        Digests of the samples of the noisy and of the clean recording; empty if unreadable.
    findings : tuple of Finding
    """

    name: str
    signals: SignalPair | None
    contents: tuple[bytes, bytes] = (b"", b"")
    findings: tuple[Finding, ...] = ()


def hear_pairs(pairs: Iterable[Pair], *, sample_rate_hz: int, align: bool) -> list[HeardPair]:
    """Read pairs in parallel, once, and check how the recordings of each relate.

    Up to 10 ms of excess length are cut from the end of the longer recording.

    Parameters
    ----------
    pairs : iterable of Pair
    sample_rate_hz : int
        Rate to which recordings are resampled.
    align : bool
        Whether to undo delays and inversions and to cut both recordings to their common part.
    """

    def one(pair: Pair) -> HeardPair:
        return _hear(pair, sample_rate_hz=sample_rate_hz, align=align)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, pairs))


def _hear(pair: Pair, *, sample_rate_hz: int, align: bool) -> HeardPair:
    findings: list[Finding] = []
    read: list[Mono] = []
    for path in (pair.noisy, pair.clean):
        try:
            mono, lost_db = read_mono(path, sample_rate_hz=sample_rate_hz)
        except (FileError, SignalError) as error:
            findings.append(Finding("unreadable", str(path), reason(error, str(path))))
            continue
        read.append(mono)
        findings += of_file(str(path), lost_db=lost_db, silent=is_silent(mono))
    if len(read) < 2:
        return HeardPair(pair.name, None, findings=tuple(findings))
    noisy, clean = read
    # Silence is no copy of another silence.
    contents = _content(noisy, pair.name), _content(clean, pair.name)
    silent = is_silent(noisy) or is_silent(clean)
    found = None if silent else relation(noisy, clean, sample_rate_hz=sample_rate_hz)
    findings += _of_relation(pair.name, found, sample_rate_hz, mended=align)
    off_ms = 1000 * (noisy.size - clean.size) / sample_rate_hz
    if abs(off_ms) > 1000 * LENGTH_TOLERANCE_S:
        cut = align and found is not None and found.clear
        findings.append(_of_length(pair.name, off_ms, done="cut to the common part" * cut))
        if not cut:
            return HeardPair(pair.name, None, contents, tuple(findings))
    if align and found is not None and found.clear:
        noisy, clean = aligned(noisy, clean, found)
    samples = min(noisy.size, clean.size)
    signals = SignalPair(noisy[:samples], clean[:samples], pair.name)
    return HeardPair(pair.name, signals, contents, tuple(findings))


def _content(mono: Mono, name: str) -> bytes:
    return name.encode() if is_silent(mono) else digest(to_int16(mono))


def of_file(name: str, *, lost_db: float, silent: bool) -> list[Finding]:
    """Findings about the samples of one file."""
    if lost_db >= _CANCELS_DB:
        detail = f"the mean of its channels is {lost_db:.0f} dB below them"
        return [Finding("cancelling", name, detail, lost_db)]
    return [Finding("silent", name)] if silent else []


def _of_relation(
    name: str, found: Relation | None, sample_rate_hz: int, *, mended: bool
) -> list[Finding]:
    if found is None:
        return []
    if not found.related:
        return [Finding("unrelated", name, "noisy does not seem to hold clean")]
    if not found.clear:
        return []
    findings = []
    delay_ms = 1000 * found.delay_samples / sample_rate_hz
    if delay_ms:
        kind = "shifted" if abs(delay_ms) >= _WRONG_MS else "slight"
        detail = f"noisy is {abs(delay_ms):.2f} ms {'late' if delay_ms > 0 else 'early'}"
        findings.append(Finding(kind, name, detail, delay_ms, "shifted back" * mended))
    if found.inverted:
        findings.append(Finding("inverted", name, done="inverted back" * mended))
    if abs(found.gain_db) >= _LEVEL_DB:
        detail = f"clean is {abs(found.gain_db):.1f} dB "
        detail += "quieter" if found.gain_db > 0 else "louder"
        findings.append(
            Finding("level", name, f"{detail} than the same sound in noisy", found.gain_db)
        )
    return findings


def _of_length(name: str, off_ms: float, *, done: str) -> Finding:
    longer = "longer" if off_ms > 0 else "shorter"
    detail = f"noisy is {abs(off_ms):.0f} ms {longer} than clean, expected at most "
    return Finding("length", name, f"{detail}{1000 * LENGTH_TOLERANCE_S:g} ms", off_ms, done)


def digest(samples: NDArray[np.int16]) -> bytes:
    """Digest of samples: equal for copies of a recording in any lossless format."""
    return hashlib.blake2b(samples.tobytes(), digest_size=16).digest()


def is_silent(mono: NDArray[np.float32]) -> bool:
    """Whether no sample is above -80 dBFS."""
    return float(np.abs(mono).max(initial=0)) <= _SILENT
