"""Every open, read, write, sync and rename of a run fails once: the output is old or new, whole.

    python tests/faults/inject.py --commands denoise folder train compress inspect

For each command the n-th call of a kind fails, n = 1, 2, ... to the last that the run makes. After
each, every output is what it was before or what the run makes, whole; nothing is left behind; the
command said one line if its status is not 0; and the same command then runs to its end. A library
stands before the C library, so that libsndfile's and torch's own calls fail as Python's do.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import mmap
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import corpus
import forks

KINDS = {"open": errno.EMFILE, "read": errno.EIO, "write": errno.ENOSPC, "fsync": errno.EIO,
         "rename": errno.EIO}  # fmt: skip
HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Case:
    """A command, and the folder that holds its output alone."""

    name: str
    body: Callable[[], int]
    outputs: Path
    again: Callable[[], int]
    fixed: bool = True  # whether every run writes the same bytes
    exact: tuple[str, ...] = ()  # names of files of which it does all the same


def armed(body: Callable[[], int], folder: Path, kind: int, number: int, counts: Any) -> Any:
    """The body, with a fault; the calls that it made are written to shared memory."""

    def run() -> int:
        shim = ctypes.CDLL(None)
        shim.fault_arm.argtypes = (ctypes.c_char_p, ctypes.c_int, ctypes.c_long, ctypes.c_int)
        shim.fault_count.restype = ctypes.c_long
        code = list(KINDS.values())[kind] if kind >= 0 else 0
        shim.fault_arm(os.fsencode(folder), kind, number, code)
        try:
            return body()
        finally:
            for index in range(len(KINDS)):
                counts[8 * index : 8 * index + 8] = shim.fault_count(index).to_bytes(8, "little")

    return run


def calls(counts: Any, kind: int) -> int:
    return int.from_bytes(counts[8 * kind : 8 * kind + 8], "little")


def prepared(folder: Path, names: list[str], *, long: bool = False) -> list[Case]:
    """The commands, each on its own inputs; long ones run for a second and save often."""
    light = {"denoise", "folder"} >= set(names)
    (forks.ready if light else forks.ready_to_train)()
    out = {name: folder / "out" / name for name in names}
    for place in out.values():
        place.mkdir(parents=True)
    made = [case(folder, out[name], long=long) for name, case in _LIGHT.items() if name in names]
    if not light:
        runs = folder / "runs"
        digits = corpus.runs(runs)[0] if {"compress", "inspect"} & set(names) else runs
        made += [
            case(digits, out[name], long=long) for name, case in _HEAVY.items() if name in names
        ]
    return made


def _denoise(folder: Path, out: Path, *, long: bool) -> Case:
    model, sound = _model(folder), folder / "talk.wav"
    signal = corpus.speech_like(30.0 if long else 0.4, rate_hz=corpus.RATE_HZ)
    corpus.soundfile.write(sound, signal.T, corpus.RATE_HZ)
    (out / "clean.wav").write_bytes(b"old")
    run = ("-o", out / "clean.wav", "--residual", "-m", model, "--quiet")
    body = forks.command("denoise", sound, *run)
    return Case("denoise", body, out, body)


def _folder(folder: Path, out: Path, *, long: bool) -> Case:
    model, sounds, many = _model(folder), corpus.sounds(folder / "sounds"), folder / "many"
    many.mkdir()
    for path in (sounds[0], *sounds[12:14], *sounds[16:]):  # WAV, FLAC, Ogg; M4A where it is
        content = path.read_bytes()
        for number in range(8 if long else 1):
            (many / f"{number}.{path.name}").write_bytes(content)
    jobs = 2 if long else 1
    run = ("-d", out, "--overwrite", "--jobs", jobs, "-m", model, "--quiet")
    body = forks.command("denoise", many, *run)
    return Case("folder", body, out, body, fixed=False)  # Ogg has a random serial number


def _model(folder: Path) -> Path:
    path = folder / "models"
    return path / "onset.onnx" if path.exists() else corpus.models(path)[0]


def _train(digits: Path, out: Path, *, long: bool) -> Case:
    from tinysignal.train import callbacks

    callbacks._SAVE_EVERY_S = 0.0  # after every epoch
    epochs = 5 if long else 1
    net = ("--width", 8, "--depth", 1, "--device", "cpu", "--threads", 1, "--epochs", epochs)
    body = forks.command("train", "classifier", *net, "-o", out / "run")
    again = _unless_done(body, out / "run")
    return Case("train", body, out, again, fixed=False, exact=("model.safetensors",))


def _compress(digits: Path, out: Path, *, long: bool) -> Case:
    body = forks.command("compress", digits, "--rank", 4, "-o", out / "run", "--quiet")
    again = _unless_done(body, out / "run")
    return Case("compress", body, out, again, fixed=False, exact=("model.safetensors",))


def _inspect(digits: Path, out: Path, *, long: bool) -> Case:
    page = ("--output", out / "page.html", "--methods", "pca", "--points", 50)
    body = forks.command("inspect", digits, *page)
    return Case("inspect", body, out, body, fixed=False)


_LIGHT = {"denoise": _denoise, "folder": _folder}
_HEAVY = {"train": _train, "compress": _compress, "inspect": _inspect}
COMMANDS = [*_LIGHT, *_HEAVY]


def _unless_done(body: Callable[[], int], run: Path) -> Callable[[], int]:
    """The body; in a folder that holds a run, what a user does: resume it or use it."""
    from tinysignal.train.folder import CHECKPOINT, METRICS, holds_run

    def again() -> int:
        if not holds_run(run):
            return body()
        if not (run / METRICS).exists():
            assert (run / CHECKPOINT).exists()
            return forks.command("train", "classifier", "--resume", "-o", run)()
        return forks.command("info", run)()

    return again


def inject(case: Case, folder: Path, kinds: list[str], *, until_s: float) -> dict[str, Any]:
    """Let every call of some kinds fail once; what was found."""
    before = folder / "before" / case.name
    shutil.copytree(case.outputs, before)
    counts = mmap.mmap(-1, 8 * len(KINDS))
    # The first run of all makes caches.
    for _ in range(2):
        restore(before, case.outputs)
        whole = forks.run(armed(case.body, folder, -1, 0, counts))
    assert whole.status == 0, whole.stderr
    new, old = forks.contents(case.outputs), forks.contents(before)
    found: dict[str, Any] = {"failures": [], "went_on": 0}
    for kind in kinds:
        index, number = list(KINDS).index(kind), 0
        while time.monotonic() < until_s:
            number += 1
            restore(before, case.outputs)
            ended = forks.run(armed(case.body, folder, index, number, counts))
            if calls(counts, index) < number:  # it never came to it
                break
            found["went_on"] += ended.status == 0
            problem = ended.fault or problem_of(case, ended.status, old, new)
            if problem is None:
                last = forks.run(case.again)
                left = forks.left_behind(case.outputs)
                if last.status or left:
                    problem = f"the next run: {last.status} {last.stderr[-300:]} {left or ''}"
            if problem is not None:
                found["failures"].append(f"{kind} {number}: {problem}")
        found[kind] = number - 1
    return found


def restore(before: Path, outputs: Path) -> None:
    shutil.rmtree(outputs)
    shutil.copytree(before, outputs)


def problem_of(case: Case, status: int, old: dict[str, bytes], new: dict[str, bytes]) -> str | None:
    """What is wrong with the outputs after a fault, or after a kill."""
    left = forks.left_behind(case.outputs)
    if status >= 0 and left:
        return f"left behind: {left}"
    now = {n: c for n, c in forks.contents(case.outputs).items() if ".tinysignal-" not in n}
    if status == 0 and now.keys() != new.keys():
        return f"status 0, but {sorted(now.keys() ^ new.keys())}"
    for name, content in now.items():
        if content == old.get(name) or content == new.get(name):
            continue
        if case.fixed or name not in new or not is_whole(case.outputs / name):
            return f"neither old nor new: {name} of {len(content)} bytes"
    return None


def is_whole(path: Path) -> bool:
    """Whether a file can be read to its end as what its name says."""
    import json

    from tinysignal import audio
    from tinysignal.errors import TinysignalError
    from tinysignal.files import read_text, read_toml
    from tinysignal.model import read_spec

    text: Callable[[Path], object] = read_text
    readers: dict[str, Callable[[Path], object]] = {
        ".toml": read_toml,
        ".json": lambda p: json.loads(read_text(p)),
        ".csv": lambda p: _ends(p, b"\n"),
        ".html": lambda p: _ends(p, b"</html>\n"),
        ".png": lambda p: _ends(p, b"IEND\xaeB`\x82"),
        ".onnx": read_spec,
        ".safetensors": _checkpoint,
    }
    try:
        readers.get(path.suffix, audio.read if path.suffix in audio.SOUND_SUFFIXES else text)(path)
    except (TinysignalError, ValueError):
        return False
    return True


def _checkpoint(path: Path) -> None:
    from tinysignal.train.checkpoint import _load  # needs the 'train' extra

    _load(path, "whole")


def _ends(path: Path, end: bytes) -> None:
    if not path.read_bytes().endswith(end):
        raise ValueError(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--commands", nargs="+", choices=COMMANDS, default=COMMANDS)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--minutes", type=float, default=24 * 60, help="the most for each command")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if not hasattr(ctypes.CDLL(None), "fault_arm"):
        return _again_with_the_library()
    failed = False
    with forks.scratch() as folder:
        os.environ["TMPDIR"] = str(folder / "tmp")
        (folder / "tmp").mkdir()
        for case in prepared(folder, given.commands):
            found = inject(case, folder, given.kinds, until_s=time.monotonic() + 60 * given.minutes)
            forks.add_to_report(given.report, f"inject {case.name}", found)
            failed |= bool(found["failures"])
    return int(failed)


def _again_with_the_library() -> int:
    """Run this program again with the library before all others."""
    compiler = next((c for c in ("cc", "gcc", "clang") if shutil.which(c)), None)
    if compiler is None:
        sys.exit("fault injection needs a C compiler")
    with forks.scratch() as folder:
        library = folder / "faults.so"
        source = HERE / "faults.c"
        build = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        subprocess.run(build, check=True)
        environment = {**os.environ, "LD_PRELOAD": str(library)}
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
