"""Mutations that coverage guides: inputs that reach new lines of a parser are kept and changed on.

    pip install atheris
    python tests/faults/guided.py --minutes 10

Each parser of ours runs in a process of its own, under libFuzzer with Atheris (Linux, macOS). A
failure is an exception that is not a `TinysignalError`, a crash, 30 s or 1 GiB. What is found stays
in --corpus, and the next time goes on from there.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import forks

Target = Callable[[Path], None]
"""Reads the file; may raise `TinysignalError`."""


def _sound(folder: Path) -> Target:
    import corpus

    from tinysignal import audio
    from tinysignal.audio.metadata import carry

    clean, _ = corpus.pair(folder)

    def read(path: Path) -> None:
        info = audio.info(path)
        audio.read(path)
        target = Path(shutil.copy(clean, folder / "target.wav"))
        carry(path, target, info, container="WAV")
        audio.read(target)

    return read


def _model(_: Path) -> Target:
    from tinysignal.model import read_spec

    def read(path: Path) -> None:
        read_spec(path)

    return read


def _manifest(_: Path) -> Target:
    from tinysignal.datasets.manifest import read_manifest

    def read(path: Path) -> None:
        read_manifest(path)

    return read


def _idx(_: Path) -> Target:
    from tinysignal.datasets.published import read_idx

    def read(path: Path) -> None:
        read_idx(path, dimensions=3)

    return read


def seeds(name: str, folder: Path) -> list[bytes]:
    """Whole inputs of a parser, to begin with."""
    import corpus

    if name == "sound":
        return [path.read_bytes() for path in corpus.sounds(folder / "sounds")]
    if name == "model":
        return [path.read_bytes() for path in corpus.models(folder / "models")]
    if name == "manifest":
        return [b"path,speaker,split,class\na.wav,one,train,x\nb.wav,two,valid,y\n"]
    return [bytes([0, 0, 8, 3, *b"\0\0\0\2" * 3]) + bytes(8)]


TARGETS: dict[str, Callable[[Path], Target]] = {
    "sound": _sound, "model": _model, "manifest": _manifest, "idx": _idx,
}  # fmt: skip


def tried(read: Target, path: Path) -> Callable[[bytes], None]:
    """What libFuzzer calls with each input."""
    from tinysignal.errors import TinysignalError

    def one_input(content: bytes) -> None:
        path.write_bytes(content)
        with suppress(TinysignalError):
            read(path)

    return one_input


def _guide(name: str, kept: Path, seconds: float) -> None:
    """Run libFuzzer in this process, which ends with it."""
    import atheris

    with atheris.instrument_imports(include=["tinysignal"]):
        import corpus  # noqa: F401 - which imports more of ours

        import tinysignal.audio.metadata
        import tinysignal.datasets.manifest
        import tinysignal.datasets.published
        import tinysignal.model  # noqa: F401
    with forks.scratch() as folder:
        read = tried(TARGETS[name](folder), folder / "input")
        limits = ["-timeout=30", "-rss_limit_mb=1024", f"-max_total_time={seconds:.0f}"]
        shown = ["-print_final_stats=1", f"-artifact_prefix={kept.parent}/{name}-"]
        atheris.Setup([sys.argv[0], *limits, *shown, "-max_len=65536", str(kept)], read)
        atheris.Fuzz()


def guided(name: str, kept: Path, seconds: float) -> dict[str, Any]:
    """Try one parser for a time, in a process of its own; what was found."""
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for number, content in enumerate(seeds(name, Path(folder))):
            (kept / f"seed-{number}").write_bytes(content)
    ended = subprocess.run(
        [sys.executable, __file__, "--target", name, "--minutes", str(seconds / 60),
         "--corpus", str(kept)],
        capture_output=True, text=True, errors="backslashreplace", check=False,
    )  # fmt: skip
    said = ended.stderr
    shown = [line for line in said.splitlines() if not re.match(r"INFO|WARNING|#\d+\s", line)]
    failures = [] if ended.returncode == 0 else [ended.stdout[-3000:] + "\n".join(shown)]
    units = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    covered = [int(number) for number in re.findall(r"\bcov: (\d+)", said)]
    return {
        "inputs": int(units[1]) if units else 0,
        "kept": sum(1 for _ in kept.iterdir()),
        "branches": covered[-1] if covered else 0,
        "branches_at_start": covered[0] if covered else 0,
        "failures": failures,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each parser")
    parser.add_argument("--corpus", type=Path, default=Path("fuzz-corpus"))
    parser.add_argument("--target", choices=TARGETS, help="this one, in this process")
    parser.add_argument("--report", type=Path)
    given = parser.parse_args()
    if given.target:
        _guide(given.target, given.corpus, 60 * given.minutes)
    failed = False
    for name in TARGETS:
        found = guided(name, given.corpus / name, 60 * given.minutes)
        forks.add_to_report(given.report, f"guided {name}", found)
        failed |= bool(found["failures"])
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
