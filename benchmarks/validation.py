"""Denoisers on validation data: what a training is chosen by. No test set is read.

    python benchmarks/validation.py --data-dir DATA --models noisy default run=RUN -o FILE

A model is a bundled name, a model file, a run folder, from whose checkpoint the averaged network is
taken while it trains, or ``noisy``: nothing is done. ``NAME=`` before it names its row. All 16 kHz
mono:

- ``own``: the 60 mixtures that every training is scored on (`fixed_pairs` of the run).
- ``second``: 60 mixtures of the validation speakers with the noises of the split ``valid-second``
  that choose, see `second_noises`, at -5 to 15 dB, 4 s each.
- ``rooms``: 20 recordings of the validation speakers in rooms that no training heard, without
  noise; scored against what arrives within 50 ms.
- ``clean``: the same recordings as they are.
- ``known``, only if named: mixtures made as ``own``, of the voices and noises of the training.
  Where they come out no better than the others, more data would bring little.

Besides the usual metrics: ``pauses_db``, the change of the level where nobody speaks (median over
files); ``onset_db`` and ``weak_db``, what is left of the speech, by projection on the clean signal,
in the first 100 ms after a pause and in weak frames, both where speech is above the noise (median).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tinysignal import Denoiser
from tinysignal.datasets.splits import hold_out
from tinysignal.errors import SignalError, TinysignalError
from tinysignal.evaluation.report import mean_interval
from tinysignal.files import atomic
from tinysignal.metrics.registry import METRICS
from tinysignal.model import model_path
from tinysignal.train.callbacks import CHECKPOINT
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.pairs import SignalPair
from tinysignal.train.data.paths import passed
from tinysignal.train.data.recordings import Clip, Recording, list_recordings, load_clips
from tinysignal.train.data.rooms import MeasuredRooms, kept_part, list_rooms
from tinysignal.train.denoising.build import build_net, make_module, stft_size, weights_of
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.folder import CONFIG, MODEL
from transparency import FRAME, active_rms, frames_db, onsets, scaled

RATE_HZ = 16_000
OWN_COUNT, OWN_SNRS_DB, OWN_CLIP, OWN_LEVEL_DBFS = 60, (0.0, 5.0, 10.0), 48_000, (-35.0, -10.0)
SECOND_COUNT, SECOND_SNRS_DB, SECOND_CLIP = 60, (-5.0, 0.0, 5.0, 10.0, 15.0), 64_000
ROOM_COUNT, ROOM_S, SEED = 20, 8, 4052
LEVEL_DBFS, SILENT_DB, APART = -26.0, -45.0, 2  # frames of 20 ms between speech and a pause
WEAK_DB, HEAD = (-32.0, -15.0), RATE_HZ // 10
METRIC_NAMES = ("pesq_wb", "estoi", "si_sdr", "dnsmos")
MEDIANS = ("pauses_db", "onset_db", "weak_db")

Signal = NDArray[np.float32]
Denoise = Callable[[Signal], Signal]
Scores = dict[str, float]


def main() -> None:
    """Score the models named, print a table, write the report."""
    options = _options()
    try:
        sets = validation_sets(Path(options.data_dir), options.sets)
        report: dict[str, Any] = {"sets": {name: len(pairs) for name, pairs in sets.items()}}
        for name, denoise in _models(options.models).items():
            report[name] = {
                key: summary([scores(p, denoise(p.noisy), options.metrics) for p in pairs])
                for key, pairs in sets.items()
            }
            print(table(name, report[name]), flush=True)
    except TinysignalError as error:
        sys.exit(str(error))
    if options.output:
        with atomic(options.output) as path:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = os.environ.get("TINYSIGNAL_DATA")
    parser.add_argument("--data-dir", default=named, required=not named)
    parser.add_argument("--models", nargs="+", default=["default"], metavar="[NAME=]MODEL")
    parser.add_argument("--sets", nargs="+", default=["own", "second", "rooms", "clean"])
    parser.add_argument("--metrics", nargs="+", default=METRIC_NAMES, choices=METRIC_NAMES)
    parser.add_argument("-o", "--output", type=Path)
    return parser.parse_args()


def recordings(data: Path, what: str, split: str) -> list[Recording]:
    """Speech or noise of a split: of the sides held out, half is for validation, half for tests."""
    listed = list_recordings(data / what, valid_fraction=0.1, seed=0, test_fraction=0.5)
    return [recording for recording in listed if recording.split == split]


def second_noises(data: Path, half: str) -> list[Recording]:
    """One half of the noises of the split ``valid-second``.

    ``choose`` is for choosing; ``test`` is read once, at the end. Which half a recording is in
    follows from the names of the groups alone (`hold_out`, half of them, seed 0).
    """
    second = recordings(data, "noise", "valid-second")
    test = hold_out({r.group for r in second}, 0.5, seed=0)
    return [r for r in second if (r.group in test) == (half == "test")]


def validation_sets(data: Path, names: Iterable[str]) -> dict[str, list[SignalPair]]:
    """The pairs of each set."""
    valid = {
        what: load_clips(recordings(data, what, "valid"), sample_rate_hz=RATE_HZ)
        for what in ("speech", "noise")
    }
    makers: dict[str, Callable[[], list[SignalPair]]] = {
        "own": lambda: mixed(
            valid["speech"], valid["noise"], OWN_CLIP, OWN_COUNT, OWN_SNRS_DB, seed=0
        ),
        "second": lambda: mixed(
            valid["speech"],
            load_clips(second_noises(data, "choose"), sample_rate_hz=RATE_HZ),
            SECOND_CLIP,
            SECOND_COUNT,
            SECOND_SNRS_DB,
            seed=SEED,
        ),
        "rooms": lambda: in_rooms(one_a_speaker(valid["speech"]), data / "rir"),
        "known": lambda: mixed(
            *(
                load_clips(recordings(data, what, "train"), sample_rate_hz=RATE_HZ)
                for what in ("speech", "noise")
            ),
            *(OWN_CLIP, OWN_COUNT, OWN_SNRS_DB),
            seed=0,
        ),
        "clean": lambda: [
            SignalPair(x, x, "clean") for x in map(levelled, one_a_speaker(valid["speech"]))
        ],
    }
    return {name: makers[name]() for name in names}


def mixed(
    speech: list[Clip],
    noise: list[Clip],
    samples: int,
    count: int,
    snrs_db: tuple[float, ...],
    *,
    seed: int,
) -> list[SignalPair]:
    """Plain mixtures, as a run's validation has them."""
    plain = MixOptions(
        level_dbfs=OWN_LEVEL_DBFS, filter_db=0, low_pass_share=0, second_noise_share=0
    )
    mixtures = Mixtures(
        speech,
        noise,
        plain,
        sample_rate_hz=RATE_HZ,
        clip_samples=samples,
        batch=1,
        steps_per_epoch=1,
        seed=seed,
    )
    return mixtures.fixed_pairs(count, snrs_db)


def one_a_speaker(clips: list[Clip]) -> list[Clip]:
    """The first recording of every speaker."""
    return list({clip.group: clip for clip in reversed(clips)}.values())[:ROOM_COUNT]


def levelled(clip: Clip) -> Signal:
    x = clip.part(0, ROOM_S * RATE_HZ)
    return scaled(x, active_rms(x), LEVEL_DBFS)


def in_rooms(speech: list[Clip], folder: Path) -> list[SignalPair]:
    """Speech in rooms of the validation side, and the part within 50 ms of the direct sound."""
    valid = [r for r in list_rooms(folder) if r.split == "valid"]
    rooms = MeasuredRooms(load_clips(valid, sample_rate_hz=RATE_HZ), RATE_HZ)
    rng = np.random.default_rng(SEED)
    pairs = []
    for clip in speech:
        room = rooms.draw(rng)
        early = kept_part(room, RATE_HZ, late_db=-200)
        heard, kept = passed(levelled(clip), RATE_HZ, [], [room, early])
        pairs.append(SignalPair(heard, kept, clip.group))
    return pairs


def scores(pair: SignalPair, denoised: Signal, metrics: Iterable[str]) -> Scores:
    """Everything of one file; what cannot be measured in it is left out."""
    found: Scores = {}
    for name in metrics:
        metric = METRICS[name]
        try:
            values = metric.score(denoised[np.newaxis], pair.clean[np.newaxis], RATE_HZ)
        except SignalError:
            continue
        for column, value in zip(metric.columns, values, strict=True):
            found[column.key] = float(np.clip(value[0], -100, 100))
    return found | kept_and_left(pair, denoised)


def kept_and_left(pair: SignalPair, denoised: Signal) -> Scores:
    """``pauses_db``, ``onset_db`` and ``weak_db`` of one file."""
    noise = pair.noisy - pair.clean
    level_db = frames_db(pair.clean)
    count = level_db.size
    cut = [s[: count * FRAME].reshape(count, FRAME) for s in (pair.clean, noise, denoised)]
    clean, noise, found = (part.astype(np.float64) for part in cut)
    clear = np.square(clean).sum(axis=1) > np.square(noise).sum(axis=1)
    spoken = np.convolve(level_db > SILENT_DB, np.ones(2 * APART + 1), "same") > 0
    measured: Scores = {}
    before = np.square(clean + noise)[~spoken].sum()
    if before > 0:
        after = np.square(found)[~spoken].sum()
        measured["pauses_db"] = float(10 * np.log10(after / before + 1e-10))
    weak = clear & (level_db > WEAK_DB[0]) & (level_db < WEAK_DB[1])
    if weak.sum() >= 3:
        measured["weak_db"] = _kept_db(found[weak], clean[weak])
    heads = [b // FRAME + i for b in onsets(pair.clean) for i in range(HEAD // FRAME)]
    heads = [h for h in heads if h < count and clear[h]]
    if heads:
        measured["onset_db"] = _kept_db(found[heads], clean[heads])
    return measured


def _kept_db(found: NDArray[np.float64], clean: NDArray[np.float64]) -> float:
    """Mean over frames of the level of the projection on the clean signal, over its own."""
    share = (found * clean).sum(axis=1) / (np.square(clean).sum(axis=1) + 1e-12)
    return float(np.mean(20 * np.log10(np.clip(share, 1e-2, None))))


def summary(rows: list[Scores]) -> dict[str, Any]:
    """Means with half widths of their intervals; medians of what has outliers."""
    found: dict[str, Any] = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row[key] for row in rows if key in row]
        if key in MEDIANS:
            found[key] = {"median": round(float(np.median(values)), 3), "files": len(values)}
        else:
            interval = mean_interval(values)
            found[key] = {
                "mean": round(interval.mean, 4),
                "half_width": interval.half_width and round(interval.half_width, 4),
                "files": len(values),
            }
    return found


def table(name: str, row: dict[str, Any]) -> str:
    lines = []
    for key, found in row.items():
        shown = [f"{k} {v.get('mean', v.get('median')):.3f}" for k, v in found.items()]
        lines.append(f"{name:>16} {key:>7}: " + "  ".join(shown))
    return "\n".join(lines)


def _models(named: list[str]) -> dict[str, Denoise]:
    found: dict[str, Denoise] = {}
    for argument in named:
        name, _, path = argument.rpartition("=")
        found[name or Path(path).name] = _denoise(path)
    return found


def _denoise(path: str) -> Denoise:
    if path == "noisy":
        return lambda x: x
    run = Path(path)
    if (run / CHECKPOINT).is_file() or ((run / CONFIG).is_file() and not (run / MODEL).is_file()):
        return weights(run)
    denoiser = Denoiser.load(model_path(path))
    return lambda x: denoiser(x, sample_rate_hz=RATE_HZ)


def weights(run: Path) -> Denoise:
    """The network of a run that has no model file yet: the averages in its checkpoint."""
    config = DenoiserConfig.read(run / CONFIG, {})
    size = stft_size(config)
    net = build_net(config, size)
    net.load_state_dict(weights_of(run))
    module = make_module(config, net, size).eval()
    return lambda x: module.denoise(torch.from_numpy(x)[None])[0].numpy()


if __name__ == "__main__":
    main()
