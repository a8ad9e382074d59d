"""Mutated files of every kind: one line or the right answer, whatever they hold.

    python tests/faults/fuzz.py --sounds 10000 --models 2000 --pictures 1000 --runs 1000

Each input is given to the command in a process of its own. A failure is a traceback, a crash, more
than 30 s, more than 1 GiB, an error without a line that says so, control characters on the screen,
something left beside the output, or a sound that lost samples without a word. The same seed makes
the same inputs; those that fail are kept with --keep.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import corpus
import forks
from forks import Ended

KINDS = ("sounds", "models", "pictures", "runs")


@dataclass
class Tally:
    """What became of the inputs of one kind."""

    inputs: int = 0
    done: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    peak_bytes: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, name: str, ended: Ended, fault: str | None) -> None:
        self.inputs += 1
        self.done += ended.status == 0
        self.refused += ended.status in (1, 2)
        self.slowest_s = max(self.slowest_s, ended.seconds)
        self.peak_bytes = max(self.peak_bytes, ended.peak_bytes)
        if fault is not None:
            self.failures.append(f"{name}: {fault}")

    def to_dict(self) -> dict[str, Any]:
        kinds = ("traceback", "crash", "hang", "memory", "loss")
        counted = collections.Counter(
            next((k for k in kinds if f": {k}" in failure), "other") for failure in self.failures
        )
        return {
            "inputs": self.inputs,
            "done": self.done,
            "refused": self.refused,
            "slowest_s": round(self.slowest_s, 2),
            "peak_mib": self.peak_bytes >> 20,
            **{kind: counted[kind] for kind in (*kinds, "other")},
            "failures": self.failures[:50],
        }


class Fuzz:
    """Seeds of every kind in a folder, and a place where each input is tried."""

    def __init__(self, folder: Path, runs: Path | None) -> None:
        self.place = folder / "place"
        self.sounds = corpus.sounds(folder / "sounds")
        self.models = corpus.models(folder / "models")
        self.pictures = corpus.pictures(folder / "pictures")
        self.talk = folder / "sounds" / "1.wav"
        self._runs = runs

    def sound(self, rng: random.Random) -> tuple[Path, Ended, str | None]:
        """One sound, denoised."""
        seed = rng.choice(self.sounds)
        content = seed.read_bytes()
        only_cut = rng.random() < 0.1
        ways = (corpus.truncated,) if only_cut else corpus.BYTES
        path = self.place / seed.name
        path.write_bytes(corpus.mutated(rng, content, ways))
        suffix = rng.choice((path.suffix, path.suffix, ".wav", ".flac"))
        target = self.place / f"clean{suffix}"
        ended = forks.run(forks.command("denoise", path, "-o", target, "-m", self.models[0]))
        return path, ended, ended.fault or self._lost(path, target, ended, seed, cut=only_cut)

    def _lost(self, path: Path, target: Path, ended: Ended, seed: Path, *, cut: bool) -> str | None:
        from tinysignal import audio
        from tinysignal.errors import TinysignalError

        expected = {path.name} | ({target.name} if ended.status == 0 else set())
        if forks.names_in(self.place) != expected:
            return f"other files: {forks.names_in(self.place)}"
        if ended.status:
            return None
        try:
            given, made = (audio.read(p)[0].shape for p in (path, target))
        except TinysignalError as error:
            return f"loss: {error}"
        if given != made:
            return f"loss: {given} became {made}"
        noted = any(line.startswith(f"{target}: ") for line in ended.stderr.splitlines())
        if cut and made != audio.read(seed)[0].shape and not noted:
            return f"loss: a truncated file became {made} without a word"
        return None

    def model(self, rng: random.Random) -> tuple[Path, Ended, str | None]:
        """One model, looked at or used."""
        number = rng.randrange(2)
        content = self.models[number].read_bytes()
        for _ in range(rng.choice((1, 1, 2))):
            change = rng.choice((corpus.spec_changed, corpus.graph_changed, corpus.mutated))
            try:
                content = change(rng, content)
            except Exception:  # noqa: BLE001 - it has been damaged before
                content = corpus.mutated(rng, content)
        path, target = self.place / "m.onnx", self.place / "out.wav"
        path.write_bytes(content)
        use = ("denoise", self.talk, "-o", target, "-m", path)
        if number == 1:
            use = ("classify", self.pictures[0], "-m", path)
        ended = forks.run(forks.command(*rng.choice((("info", path), use))))
        more = forks.names_in(self.place) - {path.name}
        if more != ({target.name} if target.exists() and ended.status == 0 else set()):
            return path, ended, f"other files: {more}"
        return path, ended, ended.fault

    def picture(self, rng: random.Random) -> tuple[Path, Ended, str | None]:
        """One picture, classified."""
        seed = rng.choice(self.pictures)
        path = self.place / seed.name
        path.write_bytes(corpus.mutated(rng, seed.read_bytes()))
        ended = forks.run(forks.command("classify", path, "-m", self.models[1]))
        return path, ended, ended.fault

    def run(self, rng: random.Random) -> tuple[Path, Ended, str | None]:
        """One file of a run folder, or a manifest, read by all that read it."""
        assert self._runs is not None
        run = Path(shutil.copytree(self._runs / rng.choice(_RUNS), self.place / "run"))
        names = [name for name in _CHANGES if (run / name).exists()]
        name = rng.choice([*names, "manifest.csv"])
        path = run / name
        if name == "manifest.csv":
            shutil.copy(self.talk, self.place / "secret.wav")
            path.write_text(_MANIFEST)
            for sound in ("a.wav", "b.wav"):
                shutil.copy(self.talk, run / sound)
        content = path.read_bytes()
        change = rng.choice(_CHANGES[name])
        path.write_bytes(change(rng, content))
        ended = forks.run(_reader(run, name))
        return path, ended, ended.fault


def _text(change: Callable[[random.Random, str], str]) -> corpus.Mutation:
    return lambda rng, content: change(rng, content.decode()).encode("utf-8", "surrogatepass")


_RUNS = ("digits", "small", "denoiser")
_MANIFEST = "path,speaker,split,class\n" + "a.wav,one,train,x\nb.wav,two,valid,y\n" * 5
_CHANGES: dict[str, tuple[corpus.Mutation, ...]] = {
    "config.toml": (*[_text(corpus.toml_changed)] * 3, corpus.mutated),
    "plan.json": (*[_text(corpus.json_changed)] * 3, corpus.mutated),
    "metrics.json": (_text(corpus.json_changed), corpus.mutated),
    "report.json": (_text(corpus.json_changed), corpus.mutated),
    "curve.csv": (_text(corpus.csv_changed), corpus.mutated),
    "model.safetensors": (corpus.safetensors_changed, corpus.safetensors_changed, corpus.mutated),
    "best.safetensors": (corpus.safetensors_changed, corpus.mutated),
    "last.safetensors": (*[corpus.state_changed] * 3, corpus.safetensors_changed, corpus.mutated),
    "model.onnx": (corpus.spec_changed, corpus.graph_changed),
    "manifest.csv": (*[_text(corpus.csv_changed)] * 3, corpus.mutated),
}


def _reader(run: Path, name: str) -> Callable[[], int]:
    """What reads the file, as a body of `forks.run`: the command, or the library as it does."""
    if name == "last.safetensors":
        return forks.command("train", _task(run), "--resume", "-o", run, "--epochs", 3)
    if name == "manifest.csv":
        return lambda: _one_line(lambda: _read_manifest(run))
    return lambda: _one_line(lambda: _open(run))


def _task(run: Path) -> str:
    return "denoiser" if (run / "config.toml").read_text().count("hop_samples") else "classifier"


def _one_line(body: Callable[[], object]) -> int:
    """Status of a call of the library, with its error as the command would show it."""
    import sys

    from tinysignal.cli.terminal import printable
    from tinysignal.errors import TinysignalError

    try:
        body()
    except TinysignalError as error:
        message = " ".join(str(error).split())
        assert len(message) < 2000, len(message)
        print(printable(f"error: {message}"), file=sys.stderr)
        return 1
    return 0


def _open(run: Path) -> None:
    from tinysignal.runs.load import open_run
    from tinysignal.train.denoising.build import weights_of

    trained = open_run(run)
    trained.score(trained.net)
    weights_of(run)


def _read_manifest(run: Path) -> None:
    from tinysignal.datasets.manifest import read_manifest
    from tinysignal.train.data.recordings import list_recordings, load_clips

    for entry in read_manifest(run / "manifest.csv"):
        assert entry.path.resolve().is_relative_to(run.resolve()), entry.path
    listed = list_recordings(run, valid_fraction=0.1, seed=0)
    load_clips(listed[:20], sample_rate_hz=16_000)


def fuzz(
    kind: str, tried: Callable[[random.Random], tuple[Path, Ended, str | None]], place: Path, *,
    count: int, seed: int, until_s: float, keep: Path | None,
) -> Tally:  # fmt: skip
    """Try inputs of one kind until there are enough, or the time is over."""
    tally = Tally()
    for number in _numbers(count, until_s):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path, ended, fault = tried(random.Random(f"{kind} {seed} {number}"))
        tally.add(f"{kind} {seed} {number} ({path.name})", ended, fault)
        if fault is not None and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            if path.exists():
                shutil.copy(path, keep / f"{kind}-{seed}-{number}-{path.name}")
            (keep / f"{kind}-{seed}-{number}.txt").write_text(f"{fault}\n{ended.stderr}")
    return tally


def _numbers(count: int, until_s: float) -> Iterator[int]:
    for number in range(count):
        if time.monotonic() > until_s:
            return
        yield number


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    for kind in KINDS:
        parser.add_argument(f"--{kind}", type=int, default=0, help="inputs")
    parser.add_argument("--times", type=int, default=1, help="so many times as many inputs")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="the most for each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs-in", type=Path, help="a folder with the runs of an earlier time")
    parser.add_argument("--keep", type=Path, help="where inputs that fail are copied to")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    failed = False
    with forks.scratch() as folder:
        os.environ["TMPDIR"] = str(folder)
        runs = given.runs_in
        if given.runs:
            forks.ready_to_train()
            if runs is None:
                runs = folder / "runs"
                corpus.runs(runs)
        else:
            forks.ready()
        place = Fuzz(folder, runs)
        for kind in KINDS:
            if not (count := given.times * getattr(given, kind)):
                continue
            tally = fuzz(
                kind, getattr(place, kind[:-1]), place.place, count=count, seed=given.seed,
                until_s=time.monotonic() + 60 * given.minutes, keep=given.keep,
            )  # fmt: skip
            forks.add_to_report(given.report, f"fuzz {kind}", tally.to_dict())
            failed |= bool(tally.failures)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
