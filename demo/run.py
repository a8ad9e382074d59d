"""Denoise the demo recording with the command line and say what changed."""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tinysignal.model import DEFAULT_MODEL

HERE = Path(__file__).parent
OUT = HERE.parent / "demo-out"
FRAME_S = 0.02
QUIET_DB = 45.0  # this far below the loudest frame of the clean voice, it pauses

Samples = NDArray[np.float64]  # (time,)


@dataclass(frozen=True)
class Levels:
    """A recording measured against the clean voice that is in it."""

    pauses_dbfs: float
    speech_dbfs: float
    snr_db: float


def _db(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-20)))


def measure(recording: Samples, clean: Samples, rate_hz: int) -> Levels:
    """Level where the clean voice pauses, level where it speaks, and SNR against it.

    Parameters
    ----------
    recording, clean : float64 (time,)
        Time-aligned; same length.
    rate_hz : int
    """
    frame = round(FRAME_S * rate_hz)
    whole = clean.size // frame * frame
    voice = np.mean(clean[:whole].reshape(-1, frame) ** 2, axis=1)
    power = np.mean(recording[:whole].reshape(-1, frame) ** 2, axis=1)
    speaks = voice > voice.max() * 10 ** (-QUIET_DB / 10)
    error = np.mean((recording - clean) ** 2)
    return Levels(
        pauses_dbfs=_db(power[~speaks].mean()),
        speech_dbfs=_db(power[speaks].mean()),
        snr_db=_db(float(np.mean(clean**2))) - _db(float(error)),
    )


def table(before: Levels, after: Levels) -> str:
    """The two measurements side by side."""
    rows = [
        ("level in the pauses", before.pauses_dbfs, after.pauses_dbfs, "dBFS"),
        ("level of the speech", before.speech_dbfs, after.speech_dbfs, "dBFS"),
        ("signal-to-noise ratio", before.snr_db, after.snr_db, "dB"),
    ]
    lines = [f"{'':24}{'before':>8}{'after':>8}"]
    lines += [f"{name:24}{old:8.1f}{new:8.1f} {unit}" for name, old, new, unit in rows]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="folder for what is made")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="bundled name or model file")
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(exist_ok=True)
    output = out / "talk.clean.flac"
    program = Path(sys.executable).with_name("tinysignal")
    command = [program, "denoise", HERE / "talk.flac", "-o", output, "-m", arguments.model]
    options = ["--plot", "--overwrite"]
    status = subprocess.run([str(part) for part in command] + options, check=False).returncode
    if status != 0:
        return status
    clean, rate_hz = soundfile.read(HERE / "talk_clean.flac")
    before, after = (soundfile.read(path)[0] for path in (HERE / "talk.flac", output))
    print(table(measure(before, clean, rate_hz), measure(after, clean, rate_hz)))
    print(
        f"listen:  {HERE / 'talk.flac'}\n         {output}\nlook:    {output.with_suffix('.png')}\n"
        "in the browser: tinysignal app (pip install 'tinysignal[app]')"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
