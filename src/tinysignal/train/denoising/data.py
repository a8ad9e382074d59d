"""Training data of a configuration: batches, and pairs for scoring."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinysignal.errors import DataError
from tinysignal.stft import StftSize
from tinysignal.train.data.batches import BatchSource
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.pairs import (
    PairClips,
    SignalPair,
    WholePair,
    hold_out_end,
    load_pair,
    load_pair_folders,
)
from tinysignal.train.data.recordings import Clip, list_recordings, load_clips
from tinysignal.train.data.rooms import list_rooms
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
    """

    source: BatchSource
    score: list[SignalPair]
    split: str
    data_facts: dict[str, Any]


def _find(path: str, data_dir: Path | None) -> Path:
    if data_dir and not Path(path).exists() and (data_dir / path).exists():
        return data_dir / path
    return Path(path)


def load_training_data(
    config: DenoiserConfig, size: StftSize, data_dir: Path | None
) -> TrainingData:
    """Read and split the data of a configuration.

    Parameters
    ----------
    config : DenoiserConfig
    size : StftSize
    data_dir : Path or None
        Folder to search for the data paths that are not in the current folder.

    Returns
    -------
    TrainingData

    Raises
    ------
    DataError
        Recordings are missing, silent or do not match.
    AudioFileError
        A recording is not readable.
    """
    if config.pair:
        return _single_pair(config, size, data_dir)
    clips: dict[str, Any] = {
        "clip_samples": round(config.clip_s * config.sample_rate_hz),
        "batch": config.batch,
        "steps_per_epoch": config.steps_per_epoch,
        "seed": config.seed,
    }
    if config.pairs:
        clean, noisy = (_find(path, data_dir) for path in config.pairs)
        train, valid = load_pair_folders(
            noisy,
            clean,
            sample_rate_hz=config.sample_rate_hz,
            valid_fraction=config.held_out,
            seed=config.seed,
        )
        data_facts = {"train_pairs": len(train), "valid_pairs": len(valid)}
        score, split = (valid, "valid") if valid else (train, "train")
        return TrainingData(PairClips(train, **clips), score, split, data_facts)
    return _mixtures(config, clips, data_dir)


def _single_pair(config: DenoiserConfig, size: StftSize, data_dir: Path | None) -> TrainingData:
    assert config.pair is not None
    clean, noisy = (_find(path, data_dir) for path in config.pair)
    train = load_pair(noisy, clean, sample_rate_hz=config.sample_rate_hz)
    score, split = [train], "train"
    if config.held_out:
        train, end = hold_out_end(train, config.held_out)
        score, split = [end], "valid"
    data_facts = {
        "train_s": train.noisy.size / config.sample_rate_hz,
        "valid_fraction": config.held_out,
    }
    if config.whole_recording:
        return TrainingData(WholePair(train, size), score, split, data_facts)
    source = PairClips(
        [train],
        clip_samples=round(config.clip_s * config.sample_rate_hz),
        batch=config.batch,
        steps_per_epoch=config.steps_per_epoch,
        seed=config.seed,
    )
    return TrainingData(source, score, split, data_facts)


def _mixtures(config: DenoiserConfig, clips: dict[str, Any], data_dir: Path | None) -> TrainingData:
    speech, data_facts = _recordings(config, "speech", config.clean, data_dir)
    noise, noise_facts = _recordings(config, "noise", config.noise, data_dir)
    data_facts |= noise_facts
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
        rooms=_measured_rooms(config, data_dir, data_facts),
        sample_rate_hz=rate,
        **clips,
    )
    score: list[SignalPair] = []
    if speech["valid"] and noise["valid"]:
        # Validation mixtures do not depend on seed and filters, which makes runs comparable.
        plain = MixOptions(
            level_dbfs=config.level_dbfs, filter_db=0, low_pass_share=0, second_noise_share=0
        )
        valid = Mixtures(
            speech["valid"],
            noise["valid"],
            plain,
            sample_rate_hz=rate,
            **{**clips, "clip_samples": min(clips["clip_samples"], _VALID_S * rate), "seed": 0},
        )
        score = valid.fixed_pairs(_VALID_MIXTURES, _VALID_SNRS_DB)
    return TrainingData(train, score, "valid", data_facts)


def _recordings(
    config: DenoiserConfig, what: str, source: str, data_dir: Path | None
) -> tuple[dict[str, list[Clip]], dict[str, Any]]:
    """Clips of speech or noise by their split, and what they are."""
    listed = list_recordings(
        _find(source, data_dir),
        valid_fraction=config.held_out,
        seed=config.seed,
        test_fraction=config.test_fraction,
        data_dir=data_dir,
    )
    clips: dict[str, list[Clip]] = {}
    data_facts: dict[str, Any] = {}
    for split in ("train", "valid"):
        chosen = [r for r in listed if r.split == split]
        if split == "train" and not chosen:
            raise DataError(
                f"{source}: 0 recordings of {what} for training, expected 1 or more outside "
                "the validation and test splits."
            )
        clips[split] = load_clips(chosen, sample_rate_hz=config.sample_rate_hz)
        if chosen and not any(clip.samples.any() for clip in clips[split]):
            raise DataError(
                f"{source}: all recordings of {what} in split '{split}' are silent, expected "
                "at least one with sound."
            )
        samples = sum(clip.samples.size for clip in clips[split])
        data_facts[f"{split}_{what}"] = {
            "files": len(chosen),
            "groups": len({r.group for r in chosen}),
            "minutes": samples / config.sample_rate_hz / 60,
        }
    return clips, data_facts


def _measured_rooms(
    config: DenoiserConfig, data_dir: Path | None, data_facts: dict[str, Any]
) -> list[Clip]:
    if not config.rooms:
        return []
    listed = list_rooms(_find(config.rooms, data_dir), data_dir=data_dir)
    chosen = [r for r in listed if r.split == "train"]
    data_facts["rooms"] = {"files": len(chosen), "groups": len({r.group for r in chosen})}
    return load_clips(chosen, sample_rate_hz=config.sample_rate_hz)
