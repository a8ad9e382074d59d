"""Check of a denoiser's data before training: what is wrong with it, and what is left of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tinysignal.datasets.report import Finding
from tinysignal.datasets.splits import hold_out, join_copies
from tinysignal.denoiser import Denoiser
from tinysignal.train.data.alignment import loudest
from tinysignal.train.data.corpus import Corpus
from tinysignal.train.data.heard import Heard, HeardPair, of_file
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import folder_group
from tinysignal.train.data.sound import EXCERPT_S, Mono, Sound

_SHORTEST_S = 0.5  # of a recording to be heard
_MOST_EXCERPTS = 200
_SPEECHLESS_DB = 6.0
_RANKS = ("test", "valid", "train")  # of copies, the first of these stays

Samples = Mono | Sound


def of_recordings(heard: Iterable[Heard]) -> list[Finding]:
    """Findings about single recordings: unreadable, cancelling and silent ones."""
    findings = []
    for one in heard:
        if one.problem:
            findings.append(Finding("unreadable", one.name, one.problem))
        elif one.clip is not None:
            findings += of_file(one.name, one.facts)
    return findings


def of_copies(heard: Sequence[Heard]) -> list[Finding]:
    """Findings about recordings of equal samples; those of held-out ones are left out."""
    first: dict[bytes, Heard] = {}
    findings = []
    for one in sorted(heard, key=lambda h: _RANKS.index(h.recording.split)):
        if one.problem or one.facts.silent:
            continue
        other = first.setdefault(one.facts.content, one)
        split = other.recording.split
        if other is one:
            continue
        if split == one.recording.split:
            findings.append(Finding("copy", one.name, f"of {other.name}, in the same split"))
        else:
            detail = f"of {other.name}, which is held out ({split})"
            findings.append(
                Finding("crossing", one.name, detail, done=f"left out of {one.recording.split}")
            )
    return findings


def of_both(speech: Iterable[Heard], noise: Iterable[Heard]) -> list[Finding]:
    """Findings about recordings that are speech and noise at once."""
    readable = [
        [one for one in side if not (one.problem or one.facts.silent)] for side in (speech, noise)
    ]
    contents = [{one.facts.content: one.name for one in side} for side in readable]
    findings: dict[str, Finding] = {}
    for side, others, where in ((0, 1, "noise"), (1, 0, "speech")):
        for one in readable[side]:
            if one.facts.content in contents[others]:
                detail = f"in the {where} as {contents[others][one.facts.content]}"
                findings.setdefault(one.name, Finding("both", one.name, detail))
    return list(findings.values())


def left(heard: Iterable[Heard], findings: Iterable[Finding]) -> list[Heard]:
    """Recordings in memory that no finding has left out."""
    names = {finding.name for finding in findings if finding.done.startswith("left out")}
    return [one for one in heard if one.clip is not None and one.name not in names]


def of_speechless(
    clean: Sequence[tuple[str, Samples]], *, sample_rate_hz: int, corpus: Corpus | None = None
) -> list[Finding]:
    """Findings about clean recordings in which the bundled model hears no speech.

    The loudest 2 s are denoised. If that removes three quarters of the power, 6 dB, they are likely
    noise. Of more than 200 recordings of 0.5 s or longer, the 200 whose level varies least are
    looked at.

    Parameters
    ----------
    clean : sequence of (str, float32 (time,) or Sound)
        Names and samples.
    sample_rate_hz : int
    corpus : Corpus or None
        Remembers how much of a sound was removed.
    """
    denoiser = Denoiser.load("default")
    model = hashlib.blake2b(repr(denoiser.spec).encode(), digest_size=8).hexdigest()
    size = round(EXCERPT_S * sample_rate_hz)
    chosen = [one for one in clean if one[1].size >= _SHORTEST_S * sample_rate_hz]
    if len(chosen) > _MOST_EXCERPTS:
        ranges_db = [_range_db(samples, sample_rate_hz) for _, samples in chosen]
        places = np.argsort(ranges_db, kind="stable")[:_MOST_EXCERPTS]
        chosen = [chosen[place] for place in sorted(places)]

    def removed_db(samples: Samples) -> float:
        start = _loudest(samples, size, sample_rate_hz=sample_rate_hz)
        part = np.array(samples[start : start + size])
        peak = float(np.abs(part).max(initial=0.0))
        if peak == 0:
            return 0.0
        part *= np.float32(0.5 / peak)
        left = denoiser(part, sample_rate_hz=sample_rate_hz)
        return float(10 * np.log10(np.dot(part, part) / (np.dot(left, left) + 1e-9)))

    def recalled_db(samples: Samples) -> float:
        if corpus is None or not isinstance(samples, Sound):
            return removed_db(samples)
        name = f"removed {model} {samples.facts.content.hex()} {samples.start} {samples.size}"
        return float(corpus.recalled(name, lambda: removed_db(samples)))

    with ThreadPoolExecutor() as pool:
        removed = pool.map(recalled_db, [samples for _, samples in chosen])
    return [
        Finding("speechless", name, f"the bundled model removes {db:.0f} dB of it", db)
        for (name, _), db in zip(chosen, removed, strict=True)
        if db >= _SPEECHLESS_DB
    ]


def _loudest(samples: Samples, size: int, *, sample_rate_hz: int) -> int:
    """First sample of the loudest 2 s."""
    if isinstance(samples, Sound):
        return max(0, min(samples.loudest, samples.size - size))
    return loudest(samples, size, sample_rate_hz=sample_rate_hz)


def _range_db(samples: Samples, sample_rate_hz: int) -> float:
    """Between the loudest and the quietest twentieth of frames of 20 ms: large where pauses are."""
    if isinstance(samples, Sound):
        return samples.facts.range_db
    frame = sample_rate_hz // 50
    whole = samples[: samples.size // frame * frame].reshape(-1, frame)
    if not len(whole):
        return 0.0
    levels = np.array([np.dot(row, row) for row in whole.astype(np.float32)]) + 1e-9
    quiet, loud = np.percentile(levels, [5, 95])
    return float(10 * np.log10(loud / quiet))


def split_pairs(
    pairs: list[HeardPair], *, valid_fraction: float, seed: int
) -> tuple[list[SignalPair], list[SignalPair], list[Finding]]:
    """Pairs for training and for validation; copies and files of a subfolder stay together.

    Without subfolders, each pair is its own group. Pairs that share a clean or a noisy recording
    are of one group.

    Returns
    -------
    list of SignalPair, list of SignalPair, list of Finding
        The findings are the copies.
    """
    groups = [folder_group(Path(pair.name)) for pair in pairs]
    for side in range(2):
        groups = join_copies(groups, [pair.contents[side] for pair in pairs])
    held_out = hold_out(set(groups), valid_fraction, seed)
    train: list[SignalPair] = []
    valid: list[SignalPair] = []
    for pair, group in zip(pairs, groups, strict=True):
        assert pair.signals is not None
        (valid if group in held_out else train).append(pair.signals)
    return train, valid, _copies(pairs)


def _copies(pairs: list[HeardPair]) -> list[Finding]:
    first: dict[bytes, str] = {}
    findings = []
    for pair in pairs:
        same = {first.setdefault(content, pair.name) for content in pair.contents} - {pair.name}
        if same:
            detail = f"shares a recording with {min(same)}"
            findings.append(
                Finding("copy", pair.name, detail, done="kept on the same side of the split")
            )
    return findings
