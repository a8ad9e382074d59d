"""The processes that `cost.py` starts: make a file, denoise with noisereduce, time two libraries.

    python benchmarks/cost_programs.py noisereduce noisy.wav out.wav

Imports stand inside the functions, so that each process loads only what its job needs.
"""

from __future__ import annotations

import json
import sys
import time


def make_file(path: str, seconds: str, channels: str, rate_hz: str) -> None:
    """White noise with bursts of tone, written a second at a time."""
    import numpy as np
    import soundfile as sf

    rate, rows = int(rate_hz), int(channels)
    time_s = np.arange(rate) / rate
    tone = 0.2 * np.sin(2 * np.pi * 220 * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0)
    rng = np.random.default_rng(0)
    left = round(float(seconds) * rate)
    with sf.SoundFile(path, "w", rate, rows, "PCM_16") as file:
        while left > 0:
            block = tone[:, np.newaxis] + rng.normal(0, 0.03, (rate, rows))
            file.write(block[:left])
            left -= rate


def noisereduce(source: str, target: str) -> None:
    """What `tinysignal denoise` does, by noisereduce with its default settings."""
    import noisereduce as nr
    import soundfile as sf

    signal, rate_hz = sf.read(source, dtype="float32", always_2d=True)
    sf.write(target, nr.reduce_noise(y=signal.T, sr=rate_hz).T, rate_hz)


def library_times(source: str, model: str, runs: str) -> None:
    """Print the seconds of both libraries' calls on a loaded signal, in turn, as JSON."""
    import noisereduce as nr
    import soundfile as sf

    from tinysignal import Denoiser

    rows, rate_hz = sf.read(source, dtype="float32", always_2d=True)
    signal = rows.T.copy()
    denoiser = Denoiser.load(model)
    calls = {
        "tinysignal": lambda: denoiser(signal, sample_rate_hz=rate_hz),
        "noisereduce": lambda: nr.reduce_noise(y=signal, sr=rate_hz),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(int(runs) + 1):
        for name in calls if number % 2 else reversed(calls):
            start_s = time.perf_counter()
            calls[name]()
            if number:  # the first of each warms up
                times[name].append(time.perf_counter() - start_s)
    print(json.dumps(times))


PROGRAMS = {"make-file": make_file, "noisereduce": noisereduce, "library-times": library_times}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:])
