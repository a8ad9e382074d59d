"""Recordings and pairs that were read once, and what the samples of each say is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np

from tinysignal.datasets.report import Finding, reason
from tinysignal.errors import FileError, SignalError
from tinysignal.evaluation.pairs import LENGTH_TOLERANCE_S, Pair
from tinysignal.remote import Place
from tinysignal.train.data.alignment import Relation, aligned, relation
from tinysignal.train.data.corpus import Corpus, Problem
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import Clip, Recording, read_mono
from tinysignal.train.data.sound import Facts, Mono, Sound, in_memory, load_sound

_CANCELS_DB = 12.0  # channels that have nothing in common lose 3
_WRONG_MS = 1.0
_LEVEL_DB = 3.0
_NO_FACTS = Facts(b"", 0.0, False, 0.0, 0)


@dataclass(frozen=True, slots=True)
class Heard:
    """Recording that was read, with what a check needs to know of it.

    Parameters
    ----------
    recording : Recording
    clip : Clip or None
        None for an unreadable file, and for one outside of training and validation.
    problem : str
        Why the file is not readable; empty if it is.
    facts : Facts
    """

    recording: Recording
    clip: Clip | None = None
    problem: str = ""
    facts: Facts = _NO_FACTS

    @property
    def sound(self) -> Sound | None:
        """Samples of the clip."""
        return self.clip.samples if self.clip and isinstance(self.clip.samples, Sound) else None

    @property
    def name(self) -> str:
        """Path of the file."""
        return str(self.recording.path)


def hear(
    recordings: Iterable[Recording], *, sample_rate_hz: int, corpus: Corpus | None = None
) -> list[Heard]:
    """Read recordings in parallel, once; files that are not readable are told.

    Parameters
    ----------
    recordings : iterable of Recording
    sample_rate_hz : int
    corpus : Corpus or None
        Of this rate, from which they come and to which missing ones are added; None to keep them
        in memory.
    """
    recordings = list(recordings)
    sounds = _sounds([r.path for r in recordings], sample_rate_hz=sample_rate_hz, corpus=corpus)
    return [_of(r, sound) for r, sound in zip(recordings, sounds, strict=True)]


def _sounds(
    paths: Sequence[Place], *, sample_rate_hz: int, corpus: Corpus | None
) -> Iterator[Sound | Problem]:
    if corpus is not None:
        yield from corpus.sounds(paths)
        return

    def load(path: Path) -> Sound | Problem:
        try:
            return load_sound(path, sample_rate_hz=sample_rate_hz)
        except (FileError, SignalError) as error:
            return error

    with ThreadPoolExecutor() as pool:
        yield from pool.map(load, paths)


def _of(recording: Recording, sound: Sound | Problem) -> Heard:
    if not isinstance(sound, Sound):
        return Heard(recording, problem=reason(sound, str(recording.path)))
    kept = recording.split in ("train", "valid")
    clip = Clip(sound, recording.group, recording.kind) if kept else None
    return Heard(recording, clip, facts=sound.facts)


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


def hear_pairs(
    pairs: Iterable[Pair], *, sample_rate_hz: int, align: bool, corpus: Corpus | None = None
) -> list[HeardPair]:
    """Read pairs in parallel, once, and check how the recordings of each relate.

    Up to 10 ms of excess length are cut from the end of the longer recording.

    Parameters
    ----------
    pairs : iterable of Pair
    sample_rate_hz : int
        Rate to which recordings are resampled.
    align : bool
        Whether to undo delays and inversions and to cut both recordings to their common part.
    corpus : Corpus or None
        See `hear`.
    """
    pairs = list(pairs)
    if corpus is not None:
        paths = [path for pair in pairs for path in (pair.noisy, pair.clean)]
        sides = [_side(sound) for sound in corpus.sounds(paths)]

    def one(number: int) -> HeardPair:
        pair = pairs[number]
        if corpus is None:
            read = [_read(path, sample_rate_hz) for path in (pair.noisy, pair.clean)]
        else:
            read = sides[2 * number : 2 * number + 2]
        return _hear(pair, read, sample_rate_hz=sample_rate_hz, align=align, corpus=corpus)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, range(len(pairs))))


_Side = tuple[Mono | Sound, Facts] | Problem  # one recording of a pair


def _side(sound: Sound | Problem) -> _Side:
    return (sound, sound.facts) if isinstance(sound, Sound) else sound


def _read(path: Place, sample_rate_hz: int) -> _Side:
    """A recording with all the bits that it has."""
    try:
        mono, lost_db = read_mono(path, sample_rate_hz=sample_rate_hz)
    except (FileError, SignalError) as error:
        return error
    return mono, replace(in_memory(mono, sample_rate_hz=sample_rate_hz).facts, lost_db=lost_db)


def _hear(
    pair: Pair, read: list[_Side], *, sample_rate_hz: int, align: bool, corpus: Corpus | None
) -> HeardPair:
    findings: list[Finding] = []
    sides: list[tuple[Mono | Sound, Facts]] = []
    for path, side in zip((pair.noisy, pair.clean), read, strict=True):
        if isinstance(side, tuple):
            sides.append(side)
            findings += of_file(str(path), side[1])
        else:
            findings.append(Finding("unreadable", str(path), reason(side, str(path))))
    if len(sides) < 2:
        return HeardPair(pair.name, None, findings=tuple(findings))
    (noisy, of_noisy), (clean, of_clean) = sides
    # Silence is no copy of another silence.
    contents = _content(of_noisy, pair.name), _content(of_clean, pair.name)
    found = None
    if not (of_noisy.silent or of_clean.silent):
        found = _related(noisy, clean, contents, sample_rate_hz=sample_rate_hz, corpus=corpus)
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


def _content(facts: Facts, name: str) -> bytes:
    return name.encode() if facts.silent else facts.content


def _related(
    noisy: Mono | Sound,
    clean: Mono | Sound,
    contents: tuple[bytes, bytes],
    *,
    sample_rate_hz: int,
    corpus: Corpus | None,
) -> Relation | None:
    """See `relation`, which a corpus remembers of recordings of the same contents."""

    def find() -> Relation | None:
        return relation(np.asarray(noisy), np.asarray(clean), sample_rate_hz=sample_rate_hz)

    if corpus is None:
        return find()
    name = " ".join(["relation", *(content.hex() for content in contents)])
    values = corpus.recalled(name, lambda: astuple(found) if (found := find()) else None)
    return None if values is None else Relation(*values)


def of_file(name: str, facts: Facts) -> list[Finding]:
    """Findings about the samples of one file."""
    if facts.lost_db >= _CANCELS_DB:
        detail = f"the mean of its channels is {facts.lost_db:.0f} dB below them"
        return [Finding("cancelling", name, detail, facts.lost_db)]
    return [Finding("silent", name)] if facts.silent else []


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
