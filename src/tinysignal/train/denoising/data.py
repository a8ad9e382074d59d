"""Training data of a configuration: batches, and pairs for scoring."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysignal.datasets.report import DataReport, Finding, OnReport, endings, left_out
from tinysignal.errors import DataError
from tinysignal.evaluation.pairs import Pair, match_folders
from tinysignal.remote import Place, is_url, place, state_of
from tinysignal.stft import StftSize
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.data.corpus import Corpus, OnDecoded
from tinysignal.train.data.heard import Heard, hear, hear_pairs
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.pairs import PairClips, SignalPair, WholePair, hold_out_end
from tinysignal.train.data.recordings import Clip, list_recordings
from tinysignal.train.data.rooms import list_rooms
from tinysignal.train.denoising import check
from tinysignal.train.denoising.config import DenoiserConfig

_VALID_MIXTURES = 60
_VALID_S = 10  # largest length of a validation mixture
_VALID_SNRS_DB = (0.0, 5.0, 10.0)
_EFFECTS: dict[str, Any] = {  # fields of `MixOptions` for augment=True
    "second_noise_share": 0.4,
    "speed_share": 0.5,
    "vary_share": 0.6,
    "cross_share": 0.2,
    "babble_share": 0.1,
    "synthetic_share": 0.2,
    "room_share": 0.35,
    "noise_room_share": 0.2,
    "microphone_share": 0.3,
    "jump_share": 0.1,
    "clip_share": 0.05,
    "code_share": 0.05,
    "noise_only_share": 0.05,
    "by_kind": True,
}


@dataclass(frozen=True)
class TrainingData:
    """Batches and scored pairs of a run.

    Parameters
    ----------
    source : BatchSource
        Training batches.
    score : list of SignalPair
        Pairs to score.
    split : {"valid", "train"}
        Split of these pairs.
    data_facts : dict
        Counts and durations of the data, for ``metrics.json``.
    report : DataReport
        What the check of the data found.
    """

    source: BatchSource
    score: list[SignalPair]
    split: str
    data_facts: dict[str, Any]
    report: DataReport


def _find(path: str, data_dir: Path | None) -> Place:
    if is_url(path):
        return place(path)
    if data_dir and not Path(path).exists() and (data_dir / path).exists():
        return data_dir / path
    return Path(path)


def load_training_data(
    config: DenoiserConfig,
    size: StftSize,
    data_dir: Path | None,
    *,
    on_report: OnReport | None = None,
    on_decoded: OnDecoded | None = None,
) -> TrainingData:
    """Read, check and split the data of a configuration.

    Parameters
    ----------
    config : DenoiserConfig
    size : StftSize
    data_dir : Path or None
        Folder to search for the data paths that are not in the current folder.
    on_report : callable or None
        Is called with the report of the check before data with errors are refused. Without it,
        what takes longest is left out: the search for clean recordings without speech.
    on_decoded : callable or None
        See `tinysignal.train.data.corpus.OnDecoded`, for a configuration with a cache.

    Returns
    -------
    TrainingData

    Raises
    ------
    DataError
        Recordings are missing, silent or do not match, or have errors, see
        `tinysignal.datasets.report.KINDS`, and ``skip_bad`` is false.
    FileError
        The cache cannot be written.
    """
    corpus = None
    if config.cache:
        folder, rate_hz = Path(config.cache), config.sample_rate_hz
        corpus = Corpus(folder, sample_rate_hz=rate_hz, on_decoded=on_decoded)
    if config.clean:
        data = _mixtures(config, corpus, data_dir, on_report)
    else:
        data = _paired(config, size, corpus, data_dir, on_report)
    if corpus is not None:
        corpus.save_notes()
    return data


def _report(
    config: DenoiserConfig,
    what: str,
    findings: list[Finding],
    on_report: OnReport | None,
) -> DataReport:
    """Report of findings, which is shown; what is wrong is left out or refused."""
    report = DataReport(what, tuple(left_out(findings) if config.skip_bad else findings))
    if on_report is not None:
        on_report(report)
    report.refuse()
    return report


def _clip_options(config: DenoiserConfig) -> dict[str, Any]:
    return {
        "clip_samples": round(config.clip_s * config.sample_rate_hz),
        "batch": config.batch,
        "steps_per_epoch": config.steps_per_epoch,
        "seed": config.seed,
    }


def _paired(
    config: DenoiserConfig,
    size: StftSize,
    corpus: Corpus | None,
    data_dir: Path | None,
    on_report: OnReport | None,
) -> TrainingData:
    places = config.pair or config.pairs
    assert places is not None
    clean, noisy = (_find(path, data_dir) for path in places)
    passed_over: Counter[str] = Counter()
    findings: list[Finding] = []
    if config.pair:
        for path in (clean, noisy):
            if state_of(path) is None:
                raise DataError(f"{path}: no such file. Give two recordings: --pair CLEAN NOISY.")
        matched = [Pair(name=noisy.name, noisy=noisy, clean=clean)]
    else:
        matched, failures = match_folders(noisy, clean, passed_over=passed_over)
        findings = [Finding("unmatched", f.file, f.reason) for f in failures]
    rate = config.sample_rate_hz
    heard = hear_pairs(matched, sample_rate_hz=rate, align=config.align, corpus=corpus)
    findings += [finding for pair in heard for finding in pair.findings]
    kept = [p for p in heard if not any(f.severity == "error" for f in p.findings)]
    train, valid, copies = check.split_pairs(kept, valid_fraction=config.held_out, seed=config.seed)
    findings += copies + endings(passed_over)
    if on_report is not None:
        signals = [(pair.name, pair.clean) for pair in (*train, *valid)]
        findings += check.of_speechless(signals, sample_rate_hz=rate, corpus=corpus)
    seconds = sum(pair.noisy.size for pair in (*train, *valid)) / rate
    report = _report(config, f"{len(heard)} pairs, {seconds / 60:.1f} minutes", findings, on_report)
    if not train:
        raise DataError(f"{noisy} and {clean}: 0 pairs are left, expected 1 or more.")
    return _of_pairs(config, size, train, valid, report)


def _of_pairs(
    config: DenoiserConfig,
    size: StftSize,
    train: list[SignalPair],
    valid: list[SignalPair],
    report: DataReport,
) -> TrainingData:
    data_facts: dict[str, Any] = {"train_pairs": len(train), "valid_pairs": len(valid)}
    if config.pair:
        if config.held_out:
            train[0], end = hold_out_end(train[0], config.held_out)
            valid = [end]
        data_facts = {
            "train_s": train[0].noisy.size / config.sample_rate_hz,
            "valid_fraction": config.held_out,
        }
    score, split = (valid, "valid") if valid else (train, "train")
    source: BatchSource = PairClips(train, **_clip_options(config))
    if config.whole_recording:
        source = WholePair(train[0], size)
    return TrainingData(source, score, split, data_facts, report)


def _mixtures(
    config: DenoiserConfig,
    corpus: Corpus | None,
    data_dir: Path | None,
    on_report: OnReport | None,
) -> TrainingData:
    passed_over: Counter[str] = Counter()
    heard = {
        what: _hear(config, source, corpus, data_dir, passed_over)
        for what, source in (("speech", config.clean), ("noise", config.noise))
    }
    rooms = _hear_rooms(config, corpus, data_dir)
    everything = [*heard["speech"], *heard["noise"], *rooms]
    findings = check.of_recordings(everything)
    findings += check.of_both(heard["speech"], heard["noise"])
    findings += check.of_copies(heard["speech"]) + check.of_copies(heard["noise"])
    if on_report is not None:
        clean = [(h.name, h.sound) for h in heard["speech"] if h.sound]
        findings += check.of_speechless(clean, sample_rate_hz=config.sample_rate_hz, corpus=corpus)
    findings += endings(passed_over)
    what = ", ".join(f"{len(found)} files of {kind}" for kind, found in heard.items())
    report = _report(config, what, findings, on_report)
    speech, data_facts = _clips(config, "speech", check.left(heard["speech"], report.findings))
    noise, noise_facts = _clips(config, "noise", check.left(heard["noise"], report.findings))
    data_facts |= noise_facts
    responses = check.left(rooms, report.findings)
    if config.rooms:
        groups = {one.recording.group for one in responses}
        data_facts["rooms"] = {"files": len(responses), "groups": len(groups)}
    options = MixOptions(
        snr_db=config.snr_db,
        level_dbfs=config.level_dbfs,
        filter_db=config.filter_db,
        **(_EFFECTS if config.augment else {}),
    )
    rate = config.sample_rate_hz
    train = Mixtures(
        speech["train"],
        noise["train"],
        options,
        rooms=[one.clip for one in responses if one.clip is not None],
        sample_rate_hz=rate,
        **_clip_options(config),
    )
    score = _validation(config, speech["valid"], noise["valid"])
    return TrainingData(train, score, "valid", data_facts, report)


def _validation(config: DenoiserConfig, speech: list[Clip], noise: list[Clip]) -> list[SignalPair]:
    """Validation mixtures, which do not depend on seed and filters: this makes runs comparable."""
    if not speech or not noise:
        return []
    plain = MixOptions(
        level_dbfs=config.level_dbfs, filter_db=0, low_pass_share=0, second_noise_share=0
    )
    rate, clips = config.sample_rate_hz, _clip_options(config)
    most = min(clips["clip_samples"], _VALID_S * rate)
    fixed = {**clips, "clip_samples": most, "seed": 0}
    valid = Mixtures(speech, noise, plain, sample_rate_hz=rate, **fixed)
    return valid.fixed_pairs(_VALID_MIXTURES, _VALID_SNRS_DB)


def _hear(
    config: DenoiserConfig,
    source: str,
    corpus: Corpus | None,
    data_dir: Path | None,
    passed_over: Counter[str],
) -> list[Heard]:
    """Recordings of the three splits; those for a later test are read to find copies of them."""
    listed = list_recordings(
        _find(source, data_dir),
        valid_fraction=config.held_out,
        seed=config.seed,
        test_fraction=config.test_fraction,
        data_dir=data_dir,
        passed_over=passed_over,
    )
    chosen = [r for r in listed if r.split in ("train", "valid", "test")]
    return hear(chosen, sample_rate_hz=config.sample_rate_hz, corpus=corpus)


def _hear_rooms(
    config: DenoiserConfig, corpus: Corpus | None, data_dir: Path | None
) -> list[Heard]:
    if not config.rooms:
        return []
    listed = list_rooms(_find(config.rooms, data_dir), data_dir=data_dir)
    chosen = [r for r in listed if r.split == "train"]
    return hear(chosen, sample_rate_hz=config.sample_rate_hz, corpus=corpus)


def _any(clips: list[Clip]) -> bool:
    return any(clip.samples.any() for clip in clips)


def _clips(
    config: DenoiserConfig, what: str, heard: list[Heard]
) -> tuple[dict[str, list[Clip]], dict[str, Any]]:
    """Clips of speech or noise by their split, and what they are."""
    source = config.clean if what == "speech" else config.noise
    clips: dict[str, list[Clip]] = {}
    data_facts: dict[str, Any] = {}
    for split in ("train", "valid"):
        chosen = [one for one in heard if one.recording.split == split]
        if split == "train" and not chosen:
            raise DataError(
                f"{source}: 0 recordings of {what} for training, expected 1 or more outside "
                "the validation and test splits."
            )
        clips[split] = [one.clip for one in chosen if one.clip is not None]
        if chosen and all(one.facts.silent for one in chosen) and not _any(clips[split]):
            raise DataError(
                f"{source}: all recordings of {what} in split '{split}' are silent, expected "
                "at least one with sound."
            )
        samples = sum(clip.samples.size for clip in clips[split])
        data_facts[f"{split}_{what}"] = {
            "files": len(chosen),
            "groups": len({one.recording.group for one in chosen}),
            "minutes": samples / config.sample_rate_hz / 60,
        }
    return clips, data_facts
