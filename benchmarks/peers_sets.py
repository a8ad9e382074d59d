"""The test sets of `peers.py`, which no training reads and nothing is chosen by.

All at 16 kHz, as folders ``noisy`` and ``clean`` with 32-bit float files of the same names.
Speakers are those that ``test_fraction = 0.5`` keeps from training and validation; noises the same,
and the test half of the split ``valid-second`` (`validation.second_noises`), which came later.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from peers_quality import RATE_HZ, RECORDED, SNRS_DB
from tinysignal import audio
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.recordings import Recording, load_clips
from validation import in_rooms, one_a_speaker, recordings, second_noises

CLIP_S, SEED = 6.0, 4052
KINDS = {
    "machines": "aircraft chainsaw engine helicopter train vacuum_cleaner washing_machine",
    "music, bells": "church_bells music",
    "wind, water, fire": "fire_crackling leaves rain sea_waves water water_drops wind",
    "animals": "dog_bark insects rooster",
    "people": "clapping coughing footsteps laughing neighbour_speech person_sneeze snoring",
    "things": "can_opening clock_tick creak door_knock glass_breaking keyboard mouse_click",
}
KIND_SNRS_DB = (0.0, 5.0, 10.0)
WORD_SNRS_DB = (0.0, 5.0, 10.0, 15.0)

Facts = dict[str, Any]
PLAIN = MixOptions(level_dbfs=(-35.0, -18.0), filter_db=0, low_pass_share=0, second_noise_share=0)


@dataclass(frozen=True)
class Groups:
    """The speakers and noises of the test side.

    Parameters
    ----------
    speech : list
    languages : dict
        The same by language, ``en`` and others.
    noise : list
        Of the split that ``mixtures`` has always had.
    second : list
        Test half of ``valid-second``.
    """

    speech: list[Recording]
    languages: dict[str, list[Recording]]
    noise: list[Recording]
    second: list[Recording]

    @classmethod
    def of(cls, data: Path) -> Groups:
        """List them."""
        with (data / "speech" / "manifest.csv").open(newline="", encoding="utf-8") as file:
            languages = {data / row["path"]: row["language"] for row in csv.DictReader(file)}
        speech, noise = (recordings(data, kind, "test") for kind in ("speech", "noise"))
        by_language: dict[str, list[Recording]] = {}
        for found in speech:
            by_language.setdefault(languages[Path(found.path)], []).append(found)
        return cls(speech, by_language, noise, second_noises(data, "test"))


def make_sets(data: Path, folder: Path, count: int) -> dict[str, Facts]:
    """Write every set into a folder of its name; what each is made of.

    Parameters
    ----------
    data : Path
        With ``pairs``, ``speech``, ``noise``, ``rir`` and their manifests.
    folder : Path
    count : int
        Mixtures of the set ``mixtures``.
    """
    groups = Groups.of(data)
    both = [*groups.noise, *groups.second]
    english, dutch = (groups.languages[language] for language in ("en", "nl"))
    return {
        "recordings": _copied(data, folder / "recordings"),
        "mixtures": _mixed(folder / "mixtures", groups.speech, groups.noise, count=count),
        "second": _mixed(folder / "second", groups.speech, groups.second, count=60),
        "kinds": _of_kinds(folder / "kinds", groups.speech, both),
        "dutch": _mixed(folder / "dutch", dutch, both, count=30),
        "rooms": _in_rooms(folder / "rooms", groups.speech, data / "rir"),
        "english": _mixed(folder / "english", english, both, count=100, snrs_db=WORD_SNRS_DB),
    }


def _copied(data: Path, folder: Path) -> Facts:
    """The recorded pairs."""
    with (data / "pairs" / "manifest.csv").open(newline="", encoding="utf-8") as file:
        pairs = [row for row in csv.DictReader(file) if row["set"] == RECORDED]
    for side in ("noisy", "clean"):
        for pair in pairs:
            signal, _ = audio.read(data / pair[side])
            _write(folder / side / f"{Path(pair[side]).stem}.wav", signal)
    return {"pairs": len(pairs), "set": RECORDED}


def _mixed(
    folder: Path,
    speech: list[Recording],
    noise: list[Recording],
    *,
    count: int,
    snrs_db: tuple[float, ...] = SNRS_DB,
) -> Facts:
    pairs = _mixtures(speech, noise).fixed_pairs(count, snrs_db)
    _write_pairs(folder, pairs)
    labels = [f"{snr_db:g}" for snr_db in islice(cycle(snrs_db), count)]
    return {"mixtures": count, "labels": labels, **_makeup(speech, noise)}


def _of_kinds(folder: Path, speech: list[Recording], noise: list[Recording]) -> Facts:
    pairs: list[SignalPair] = []
    labels: list[str] = []
    for label, kinds in KINDS.items():
        some = [found for found in noise if found.kind in kinds.split()]
        pairs += _mixtures(speech, some).fixed_pairs(12, KIND_SNRS_DB)
        labels += [label] * 12
    _write_pairs(folder, pairs)
    return {"mixtures": len(pairs), "labels": labels, **_makeup(speech, noise)}


def _in_rooms(folder: Path, speech: list[Recording], rooms: Path) -> Facts:
    """Speech in rooms that no training heard, without noise; the target is their early part."""
    clips = one_a_speaker(load_clips(speech, sample_rate_hz=RATE_HZ))
    _write_pairs(folder, pairs := in_rooms(clips, rooms))
    return {"mixtures": len(pairs), "speech": _makeup(speech, [])["speech"]}


def _mixtures(speech: list[Recording], noise: list[Recording]) -> Mixtures:
    clips = [load_clips(many, sample_rate_hz=RATE_HZ) for many in (speech, noise)]
    return Mixtures(
        *clips,
        PLAIN,
        sample_rate_hz=RATE_HZ,
        clip_samples=round(CLIP_S * RATE_HZ),
        batch=1,
        steps_per_epoch=1,
        seed=SEED,
    )


def _makeup(speech: list[Recording], noise: list[Recording]) -> Facts:
    parts = {"speech": speech, "noise": noise}
    return {
        kind: {"files": len(found), "groups": sorted({r.group for r in found})}
        for kind, found in parts.items()
    }


def _write_pairs(folder: Path, pairs: Iterable[SignalPair]) -> None:
    for i, pair in enumerate(pairs):
        for side, signal in (("noisy", pair.noisy), ("clean", pair.clean)):
            _write(folder / side / f"{i:03}.wav", signal[np.newaxis])


def _write(path: Path, signal: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio.write(path, signal, sample_rate_hz=RATE_HZ, subtype="FLOAT")
