"""Make the demo recording: synthesised speech in synthesised noise, talk.flac and talk_clean.flac.

Needs the program espeak-ng. The noise comes from a seed, so running this again gives the same one;
the speech is the same for the same espeak-ng release.
"""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

HERE = Path(__file__).parent
SEED = 2024
SNR_DB = 6.0
SPEECH_DBFS = -23.0  # root mean square over the spoken parts
LEAD_S, PAUSE_S = 1.0, 0.5
SENTENCES = (
    "Good morning, and welcome.",
    "This voice was made by a program, and so was the noise.",
    "There is a fan, some hiss, and a spoon.",
)

Samples = NDArray[np.float64]  # (time,)


def speak(sentence: str) -> tuple[Samples, int]:
    """A sentence from espeak-ng, without the silence around it, and its sample rate in Hz."""
    command = ["espeak-ng", "-v", "en-us", "-s", "160", "-p", "40", "--stdout", sentence]
    wav = subprocess.run(command, check=True, capture_output=True).stdout
    samples, rate_hz = soundfile.read(io.BytesIO(wav))
    spoken = np.flatnonzero(np.abs(samples) > 1e-3)
    return samples[spoken[0] : spoken[-1] + 1], rate_hz


def speech() -> tuple[Samples, int]:
    """The sentences with pauses before, between and after them."""
    spoken = [speak(sentence) for sentence in SENTENCES]
    rate_hz = spoken[0][1]
    pieces = [np.zeros(round(LEAD_S * rate_hz))]
    for samples, _ in spoken:
        pieces += [samples, np.zeros(round(PAUSE_S * rate_hz))]
    clean = np.concatenate(pieces)
    loud = clean[np.abs(clean) > 1e-3]
    return clean * 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(loud**2)), rate_hz


def hiss(samples: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Noise whose power falls with frequency, flat below 100 Hz; RMS 1."""
    spectrum = np.fft.rfft(rng.normal(size=samples))
    frequency_hz = np.fft.rfftfreq(samples, 1 / rate_hz)
    noise = np.fft.irfft(spectrum / np.maximum(frequency_hz, 100) ** 0.5, samples)
    return noise / np.sqrt(np.mean(noise**2))


def fan(samples: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """A hum at 118 Hz that wavers a little, with seven harmonics; RMS 1."""
    time_s = np.arange(samples) / rate_hz
    turns = 118 * time_s + 0.4 * np.sin(2 * np.pi * 0.7 * time_s)
    hum = np.zeros(samples)
    for harmonic in range(1, 9):
        hum += np.sin(2 * np.pi * (harmonic * turns + rng.random())) / harmonic
    return hum / np.sqrt(np.mean(hum**2))


def clatter(samples: int, rate_hz: int, rng: np.random.Generator) -> Samples:
    """Six knocks on metal: decaying tones above 1.5 kHz; the loudest peak is 1."""
    total = np.zeros(samples)
    ring_s = np.arange(round(0.15 * rate_hz)) / rate_hz
    for start in rng.integers(0, samples - ring_s.size, 6):
        for frequency_hz in rng.uniform(1500, 7000, 4):
            tone = np.sin(2 * np.pi * frequency_hz * ring_s) * np.exp(-ring_s / 0.02)
            total[start : start + ring_s.size] += tone
    return total / np.abs(total).max()


def noise_behind(clean: Samples, rate_hz: int) -> Samples:
    """Hiss, fan and knocks, SNR_DB below the speech with its pauses; from SEED."""
    shape = clean.size, rate_hz, np.random.default_rng(SEED)
    noise = hiss(*shape) + fan(*shape) + 6 * clatter(*shape)
    return noise * np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-SNR_DB / 20)


def main() -> None:
    clean, rate_hz = speech()
    noise = noise_behind(clean, rate_hz)
    for name, signal in {"talk": clean + noise, "talk_clean": clean}.items():
        soundfile.write(HERE / f"{name}.flac", signal, rate_hz, subtype="PCM_16")
        size_kb = (HERE / f"{name}.flac").stat().st_size / 1000
        print(
            f"{name}.flac: {signal.size / rate_hz:.1f} s, {rate_hz} Hz, "
            f"peak {np.abs(signal).max():.2f}, {size_kb:.0f} kB"
        )


if __name__ == "__main__":
    main()
