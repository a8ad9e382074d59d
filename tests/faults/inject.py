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


def cases(folder: Path, names: list[str]) -> list[Case]:
    """The commands, each on its own small inputs."""
    made = []
    [model, _] = corpus.models(folder / "models")
    sounds = corpus.sounds(folder / "sounds")
    out = {name: folder / "out" / name for name in (*names, "resume")}
    for place in out.values():
        place.mkdir(parents=True)
    many = folder / "many"
    many.mkdir()
    for path in (sounds[0], sounds[12], sounds[13]):
        shutil.copy(path, many)
    run = ("-m", model, "--quiet")
    if "denoise" in names:
        target = out["denoise"] / "clean.wav"
        target.write_bytes(b"old")
        body = forks.command("denoise", sounds[0], "-o", target, "--residual", *run)
        made.append(Case("denoise", body, out["denoise"], body))
    if "folder" in names:
        body = forks.command("denoise", many, "-d", out["folder"], "--overwrite", *run)
        made.append(Case("folder", body, out["folder"], body, fixed=False))  # Ogg's random serial
    if not {"train", "compress", "inspect"} & set(names):
        return made
    [digits, *_] = corpus.runs(folder / "runs")
    if "train" in names:
        one = ("--width", 8, "--depth", 1, "--device", "cpu", "--threads", 1)
        body = forks.command("train", "classifier", *one, "--epochs", 1, "-o", out["train"] / "run")
        again = _unless_done(body, out["train"] / "run")
        made.append(Case("train", body, out["train"], again, fixed=False))
    if "compress" in names:
        output = out["compress"] / "run"
        body = forks.command("compress", digits, "--rank", 4, "-o", output, "--quiet")
        again = _unless_done(body, output)
        made.append(Case("compress", body, out["compress"], again, fixed=False))
    if "inspect" in names:
        page = ("--output", out["inspect"] / "page.html", "--methods", "pca", "--points", 50)
        body = forks.command("inspect", digits, *page)
        made.append(Case("inspect", body, out["inspect"], body, fixed=False))
    return made


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


def inject(case: Case, folder: Path, *, until_s: float) -> dict[str, Any]:
    """Let every call fail once; what was found."""
    before = folder / "before" / case.name
    shutil.copytree(case.outputs, before)
    counts = mmap.mmap(-1, 8 * len(KINDS))
    # The first run of all makes caches.
    for _ in range(2):
        _restore(before, case.outputs)
        whole = forks.run(armed(case.body, folder, -1, 0, counts))
    assert whole.status == 0, whole.stderr
    new, old = forks.contents(case.outputs), forks.contents(before)
    found: dict[str, Any] = {"failures": [], "went_on": 0}
    for index, kind in enumerate(KINDS):
        number = 0
        while time.monotonic() < until_s:
            number += 1
            _restore(before, case.outputs)
            ended = forks.run(armed(case.body, folder, index, number, counts))
            if calls(counts, index) < number:  # it never came to it
                break
            found["went_on"] += ended.status == 0
            problem = ended.fault or _problem(case, ended.status, old, new)
            if problem is None:
                last = forks.run(case.again)
                left = forks.left_behind(case.outputs)
                if last.status or left:
                    problem = f"the next run: {last.status} {last.stderr[-300:]} {left or ''}"
            if problem is not None:
                found["failures"].append(f"{kind} {number}: {problem}")
        found[kind] = number - 1
    return found


def _restore(before: Path, outputs: Path) -> None:
    shutil.rmtree(outputs)
    shutil.copytree(before, outputs)


def _problem(case: Case, status: int, old: dict[str, bytes], new: dict[str, bytes]) -> str | None:
    """What is wrong with the outputs after a fault."""
    now = forks.contents(case.outputs)
    if left := forks.left_behind(case.outputs):
        return f"left behind: {left}"
    if status == 0 and now.keys() != new.keys():
        return f"status 0, but {sorted(now.keys() ^ new.keys())}"
    for name, content in now.items():
        if content == old.get(name) or content == new.get(name):
            continue
        if case.fixed or name not in new or not _is_whole(case.outputs / name):
            return f"neither old nor new: {name} of {len(content)} bytes"
    return None


def _is_whole(path: Path) -> bool:
    """Whether a file can be read to its end as what its name says."""
    import json

    from tinysignal import audio
    from tinysignal.errors import TinysignalError
    from tinysignal.files import read_text, read_toml
    from tinysignal.model import read_spec
    from tinysignal.train.checkpoint import _load

    text: Callable[[Path], object] = read_text
    readers: dict[str, Callable[[Path], object]] = {
        ".toml": read_toml,
        ".json": lambda p: json.loads(read_text(p)),
        ".csv": lambda p: _ends(p, b"\n"),
        ".html": lambda p: _ends(p, b"</html>\n"),
        ".png": lambda p: _ends(p, b"IEND\xaeB`\x82"),
        ".onnx": read_spec,
        ".safetensors": lambda p: _load(p, "whole"),
    }
    try:
        readers.get(path.suffix, audio.read if path.suffix in audio.SOUND_SUFFIXES else text)(path)
    except (TinysignalError, ValueError):
        return False
    return True


def _ends(path: Path, end: bytes) -> None:
    if not path.read_bytes().endswith(end):
        raise ValueError(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    everything = ["denoise", "folder", "train", "compress", "inspect"]
    parser.add_argument("--commands", nargs="+", choices=everything, default=everything)
    parser.add_argument("--minutes", type=float, default=24 * 60, help="the most for each command")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if not hasattr(ctypes.CDLL(None), "fault_arm"):
        return _again_with_the_library()
    failed = False
    with forks.scratch() as folder:
        os.environ["TMPDIR"] = str(folder / "tmp")
        (folder / "tmp").mkdir()
        light = {"denoise", "folder"} >= set(given.commands)
        (forks.ready if light else forks.ready_to_train)()
        for case in cases(folder, given.commands):
            found = inject(case, folder, until_s=time.monotonic() + 60 * given.minutes)
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
