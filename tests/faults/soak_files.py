"""The command on a stereo file of many hours, and on a folder of many files; for soak.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import corpus
import forks
import numpy as np
import soundfile as sf

_MOST_MIB = 300
_FILE_RATE_HZ, _BLOCK_S = 44_100, 10
_FILES_A_FOLDER, _SHORT_S = 100, 0.1


def long_file(model: str | Path, hours: float) -> dict[str, Any]:
    """A stereo WAV file of hours: bounded memory, every sample, the same level to the end."""
    blocks = max(7, round(hours * 3600 / _BLOCK_S))
    with forks.scratch() as folder:
        source, target = folder / "talk.wav", folder / "clean.wav"
        block = _noisy(_BLOCK_S, channels=2)
        with sf.SoundFile(source, "w", _FILE_RATE_HZ, 2, "PCM_16", format="RF64") as file:
            for _ in range(blocks):
                file.write(block)
        status, peak_mib, _ = _command("denoise", source, "-o", target, "--quiet", "--model", model)
        samples, level_db, facts = 0, np.nan, None
        if status == 0:
            with sf.SoundFile(target) as file:
                samples, facts = file.frames, (file.samplerate, file.channels, file.subtype)
                size = len(block)
                file.seek(2 * size)
                early = _power(file.read(size))
                file.seek((blocks - 2) * size)
                level_db = 10 * np.log10(_power(file.read(size)) / early)
    return {
        "hours": round(blocks * _BLOCK_S / 3600, 2),
        "rate_hz": _FILE_RATE_HZ,
        "peak_mib": peak_mib,
        "level_db": round(float(level_db), 3),
        "failures": _those_so(
            {
                f"status {status}": status != 0,
                f"{peak_mib} MiB": peak_mib > _MOST_MIB,
                f"{samples} samples": samples != blocks * len(block),
                f"stored as {facts}": facts != (_FILE_RATE_HZ, 2, "PCM_16"),
                f"{level_db:.2f} dB from begin to end": not abs(level_db) < 0.1,
            }
        ),
    }


def many_files(model: str | Path, count: int) -> dict[str, Any]:
    """A folder of short files: all done in bounded memory, and none again by a second run."""
    with forks.scratch() as folder:
        sources, targets = folder / "talks", folder / "clean"
        sound = _noisy(_SHORT_S, channels=1)
        for number in range(count):
            path = sources / f"{number // _FILES_A_FOLDER:04}" / f"{number:06}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, sound, _FILE_RATE_HZ, "PCM_16")
        run = (
            "denoise",
            sources,
            "-d",
            targets,
            "--jobs",
            2,
            "--json",
            "--quiet",
            "--model",
            model,
        )
        status, peak_mib, first = _command(*run)
        made = {path: path.stat().st_mtime_ns for path in targets.rglob("*.wav")}
        whole = sum(sf.info(path).frames == len(sound) for path in made)
        again_status, again_mib, second = _command(*run)
        kept = made == {path: path.stat().st_mtime_ns for path in targets.rglob("*.wav")}
    peak_mib = max(peak_mib, again_mib)
    return {
        "files": count,
        "peak_mib": peak_mib,
        "failures": _those_so(
            {
                f"status {status}, then {again_status}": (status, again_status) != (0, 0),
                f"{peak_mib} MiB": peak_mib > _MOST_MIB,
                f"{first.get('done')} done": first.get("done") != count,
                f"{whole} whole": whole != count,
                f"{second.get('skipped')} skipped": second.get("skipped") != count,
                "the second run wrote": not kept,
            }
        ),
    }


def _command(*arguments: object) -> tuple[int, int, dict[str, Any]]:
    """Status, most memory in MiB and JSON of a whole command."""
    command = [sys.executable, "-m", "tinysignal", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        told = child.stdout.read()
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return child.returncode, used.ru_maxrss >> 10, json.loads(told or b"{}")


def _noisy(seconds: float, *, channels: int) -> np.ndarray:
    """Speech in noise, float32 (time, channels)."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.02, (round(seconds * _FILE_RATE_HZ), channels))
    speech = corpus.speech_like(seconds, rate_hz=_FILE_RATE_HZ, seed=1)
    return (speech.reshape(-1, 1)[: len(noise)] + noise).astype(np.float32)


def _power(signal: np.ndarray) -> float:
    return float(np.square(signal, dtype=np.float64).mean())


def _those_so(found: dict[str, bool]) -> list[str]:
    return [what for what, is_so in found.items() if is_so]
