"""What a denoiser leaves alone: clean speech, its onsets, silence, music, peaks of loud noise.

    python benchmarks/transparency.py --data-dir DATA       # the bundled model, within a minute
    python benchmarks/transparency.py --data-dir DATA --model RUN --split valid --output FILE
    python benchmarks/tables.py

``DATA`` (or TINYSIGNAL_DATA) holds ``speech`` and ``noise`` with their manifests. ``test`` is the
half of their held-out groups that training with ``test_fraction = 0.5`` never reads; ``valid``, the
other half, is for choosing. Decibels are output over input unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinysignal import Denoiser
from tinysignal.errors import SignalError, TinysignalError
from tinysignal.files import atomic
from tinysignal.metrics.audio import si_sdr
from tinysignal.model import DEFAULT_MODEL, model_path
from tinysignal.train.data.recordings import list_recordings, load_mono

REPORT = Path(__file__).resolve().parent / "reports" / "transparency.json"
RATE_HZ, FRAME, NOISE = 16_000, 320, 160_000  # samples: 20 ms; of a noise recording, at most
SPEECH_DBFS, LEVEL_DBFS, FAINT_DBFS, PEAKS_DBFS = (-20.0, -30.0, -45.0), -30.0, -80.0, (0.0, -6.0)
HEAD, PAUSE_FRAMES, PAD_FRAMES = RATE_HZ // 10, 15, 25  # 100 ms of speech, 300 and 500 ms of pause
ACTIVE_DB = -40.0  # of the loudest 20 ms, as in the mixtures of training
# Of the active level. The rooms of the recordings lie at -28 to -50 dB; a breath is no onset.
PAUSE_DB, ONSET_DB, WORD_DB = -30.0, -20.0, -15.0
SNR_DB, LIMIT_DB, RESAMPLES, SEED = 10.0, 100.0, 2000, 2026  # means exist: +-100 dB at most

Signal = NDArray[np.float32]  # (samples,)
Signals = dict[str, Signal]
Denoise = Callable[[Signal, int], Signal]  # a signal and its rate in Hz to one as long
Size = Callable[[Signal], float]
Begun = tuple[Signal, list[int]]  # a signal, and the samples where speech begins
Row = dict[str, Any]


def main() -> None:
    """Measure one model, write the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = os.environ.get("TINYSIGNAL_DATA")
    parser.add_argument("--data-dir", default=named, required=not named, help="DATA")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled name, model file or run")
    parser.add_argument("--name", default="tinysignal", help="in the table")
    parser.add_argument("--split", choices=("valid", "test"), default="test")
    parser.add_argument("--output", type=Path, default=REPORT, help="report file to write")
    options = parser.parse_args()
    try:
        denoiser = Denoiser.load(model_path(options.model))
        facts, *signals = load(Path(options.data_dir), options.split)
        row = measure(lambda x, rate_hz: denoiser(x, sample_rate_hz=rate_hz), *signals)
        row |= {"model": denoiser.spec.name, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
        report = {"data": facts, "denoisers": {options.name: row}}
        with atomic(options.output) as path:
            path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except TinysignalError as error:
        sys.exit(str(error))


def load(data: Path, split: str) -> tuple[Row, Signals, Signals, Signals]:
    """What a split holds, and its lossless speech, noise and music (made here if there is none)."""
    facts: Row = {"split": split}
    found: dict[str, Signals] = {}
    for kind in ("speech", "noise"):
        listed = list_recordings(data / kind, valid_fraction=0.1, seed=0, test_fraction=0.5)
        chosen = [r for r in listed if r.split == split and r.path.suffix == ".flac"]
        found[kind] = {
            f"{r.path.parent.name}/{r.path.name}": load_mono(r.path, sample_rate_hz=RATE_HZ)
            for r in chosen
        }
        facts[kind] = {"files": len(chosen), "groups": len({r.group for r in chosen})}
    noise = {name: x[:NOISE] for name, x in found["noise"].items()}
    music = {name: x for name, x in noise.items() if name.startswith("librosa-data/")}
    music = music or {"synthetic chords and drums": chords_and_drums()}
    return facts | {"music": list(music)}, found["speech"], noise, music


def measure(denoise: Denoise, speech: Signals, noise: Signals, music: Signals) -> Row:
    """Everything of one denoiser."""
    noises = noise | {"white": np.random.default_rng(SEED).normal(size=NOISE).astype(np.float32)}
    spoken = {name: scaled(x, active_rms(x), LEVEL_DBFS) for name, x in speech.items()}
    late = {name: after_silence(x) for name, x in spoken.items()}
    cut = {name: from_within_a_word(x) for name, x in spoken.items()}
    silence = run(denoise, np.zeros(NOISE, np.float32))
    return {
        "clean": {f"{dbfs:g}": clean_speech(denoise, speech, dbfs) for dbfs in SPEECH_DBFS},
        "onset": heads_kept(denoise, late),
        "onset_in_noise": heads_kept(denoise, late, list(noise.values())),
        "cut_start": heads_kept(denoise, cut),
        "silence_peak": float(np.abs(silence).max()),
        "faint": changes(denoise, noises, rms, FAINT_DBFS),
        "music": {f"{dbfs:g}": changes(denoise, music, peak, dbfs) for dbfs in PEAKS_DBFS},
        "noise": {f"{dbfs:g}": changes(denoise, noises, peak, dbfs) for dbfs in PEAKS_DBFS},
        "alone": changes(denoise, noise, rms, LEVEL_DBFS),
    }


def clean_speech(denoise: Denoise, speech: Signals, level_dbfs: float) -> Row:
    """SI-SDR of the output against the input, and the change of the active speech's level."""
    similar, change = {}, {}
    for name, signal in speech.items():
        x = scaled(signal, active_rms(signal), level_dbfs)
        y = run(denoise, x)
        active = np.flatnonzero(np.repeat(frames(x)[1], FRAME))
        similar[name] = float(np.clip(si_sdr(y, x)[0], -LIMIT_DB, LIMIT_DB))
        change[name] = ratio_db(y[active], x[active])
    return {"si_sdr_db": summary(similar), "level_db": summary(change)}


def heads_kept(denoise: Denoise, begun: dict[str, Begun], noise: Sequence[Signal] = ()) -> Row:
    """The 100 ms after each of the samples where speech begins, over those of the clean signal.

    ``speech_db`` is of the projection on the clean signal: what is left of noise is not speech.
    """
    level, speech = {}, {}
    for i, (name, (x, begins)) in enumerate(begun.items()):
        noisy = x
        if noise:
            long = np.resize(noise[i % len(noise)], x.size)
            noisy = x + scaled(long, rms(long), LEVEL_DBFS - SNR_DB)
        y = run(denoise, noisy)
        for begin in begins:
            clean, found = (s[begin : begin + HEAD].astype(np.float64) for s in (x, y))
            key = f"{name} at {begin / RATE_HZ:.2f} s"
            level[key] = ratio_db(found, clean)
            speech[key] = ratio_db(np.maximum(found @ clean, 0) * clean, (clean @ clean) * clean)
    return {"level_db": summary(level), "speech_db": summary(speech)}


def changes(denoise: Denoise, signals: Signals, size: Size, dbfs: float) -> Row:
    """Changes of the level and of the peak of whole signals, scaled to a size first."""
    levels, peaks = {}, {}
    for name, signal in signals.items():
        x = scaled(signal, size(signal), dbfs)
        y = run(denoise, x)
        levels[name], peaks[name] = ratio_db(y, x), ratio_db(peak(y), peak(x))
    return {"level_db": summary(levels), "peak_db": summary(peaks)}


def onsets(x: Signal) -> list[int]:
    """Samples at which speech begins after 300 ms of pause or more, with 100 ms of it to come."""
    level_db, head = frames_db(x), np.ones(HEAD // FRAME) / (HEAD // FRAME)
    head_db = 10 * np.log10(np.convolve(10 ** (level_db / 10), head, "valid"))
    places = range(PAUSE_FRAMES, head_db.size)
    paused = [i for i in places if level_db[i - PAUSE_FRAMES : i].max() < PAUSE_DB <= level_db[i]]
    return [i * FRAME for i in paused if head_db[i] >= ONSET_DB]


def after_silence(x: Signal) -> Begun:
    """Cut so that it begins with speech, half a second of digital silence before it."""
    first = int(np.argmax(frames_db(x) >= ONSET_DB)) * FRAME
    late = np.pad(x[first:], (PAD_FRAMES * FRAME, 0))
    return late, onsets(late)


def from_within_a_word(x: Signal) -> Begun:
    """Cut at the first sample with 100 ms of loud speech on both sides, if there is one."""
    loud, side = frames_db(x) >= WORD_DB, HEAD // FRAME
    middles = range(side, loud.size - side + 1)
    found = [i * FRAME for i in middles if loud[i - side : i + side].all()]
    return (x[found[0] :], [0]) if found else (x, [])


def run(denoise: Denoise, x: Signal) -> Signal:
    """The output, which has to be finite and as long as the input."""
    y = denoise(x, RATE_HZ)
    if y.shape != x.shape or not np.isfinite(y).all():
        raise SignalError(f"the denoiser gives {y.shape}, expected {x.shape}, all of it finite.")
    return y


def summary(values: dict[str, float]) -> Row:
    """Mean with the 95 % interval of a bootstrap over files, and how the values are spread."""
    found = np.array(list(values.values()))
    if not found.size:
        raise SignalError("nothing to measure, expected noise and speech with words in it.")
    draws = np.random.default_rng(SEED).choice(found, (RESAMPLES, found.size))
    low, high = np.percentile(draws.mean(axis=1), (2.5, 97.5))
    spread = np.percentile(found, (0, 5, 50, 100))
    facts = {"mean": found.mean(), "low": low, "high": high}
    facts |= dict(zip(("min", "p05", "median", "max"), spread, strict=True))
    rounded = {key: round(float(value), 3) for key, value in facts.items()}
    order = sorted(values, key=values.__getitem__)
    return {"count": found.size, **rounded, "lowest": order[0], "highest": order[-1]}


def frames_db(x: Signal) -> NDArray[np.float64]:
    """Level of every 20 ms over the active level."""
    power, active = frames(x)
    return np.asarray(10 * np.log10(power / power[active].mean() + 1e-12))


def frames(x: Signal) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Power of every 20 ms, and which of them are active."""
    whole = np.asarray(x[: x.size // FRAME * FRAME], np.float64).reshape(-1, FRAME)
    power = np.asarray(np.square(whole).mean(axis=1))
    return power, power >= power.max(initial=0) * 10 ** (ACTIVE_DB / 10)


def active_rms(x: Signal) -> float:
    power, active = frames(x)
    return float(np.sqrt(power[active].mean()))


def rms(x: Signal) -> float:
    return float(np.sqrt(np.square(x, dtype=np.float64).mean()))


def peak(x: Signal) -> float:
    return float(np.abs(x).max())


def scaled(x: Signal, size: float, dbfs: float) -> Signal:
    if size == 0:
        raise SignalError("a recording is digital silence, expected a signal.")
    return (x * (10 ** (dbfs / 20) / size)).astype(np.float32)


def ratio_db(y: ArrayLike, x: ArrayLike) -> float:
    """Level of one over the level of the other."""
    ratio = np.sum(np.square(y, dtype=np.float64)) / np.sum(np.square(x, dtype=np.float64))
    return float(np.clip(10 * np.log10(ratio + 1e-30), -LIMIT_DB, LIMIT_DB))


def chords_and_drums() -> Signal:
    """Plucked chords, one a second, with drums."""
    rng, time_s = np.random.default_rng(SEED), np.arange(NOISE) / RATE_HZ
    root_hz = np.resize(np.repeat((131, 110, 87, 98), RATE_HZ), NOISE)
    tones = [r * k for r in (1, 1.25, 1.5) for k in (1, 2, 3, 4)]
    chords = sum(np.sin(2 * np.pi * root_hz * tone * time_s) / tone for tone in tones)
    kick = np.sin(2 * np.pi * 60 * (time_s % 0.5)) * np.exp(-20 * (time_s % 0.5))
    hat = rng.normal(size=NOISE) * np.exp(-60 * ((time_s + 0.25) % 0.5)) / 4
    return np.asarray(chords * np.exp(-2 * (time_s % 1)) / 4 + kick + hat, np.float32)


if __name__ == "__main__":
    main()
