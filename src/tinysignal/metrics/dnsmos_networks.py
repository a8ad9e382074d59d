"""The networks behind `tinysignal.metrics.audio.dnsmos`, run as the `speechmos` package runs them.

Its own Python code is not used: it imports librosa, which the package does not even declare.
Only the P.808 network needs features (librosa's mel spectrogram, written out below and held to
librosa's numbers by a test); the P.835 network takes samples.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinysignal.errors import MissingExtraError
from tinysignal.mel import mel_filters
from tinysignal.stft import hann

RATE_HZ = 16_000
WINDOW_S = 9.01
WINDOW_SAMPLES = int(WINDOW_S * RATE_HZ)

# Raw network outputs to opinion scores, highest power first: speechmos/dnsmos.py.
OVRL = (-0.06766283, 1.11546468, 0.04602535)
_SIG = (-0.08397278, 1.22083953, 0.0052439)
_BAK = (-0.13166888, 1.60915514, -0.39604546)


class Networks(NamedTuple):
    """Two onnxruntime sessions."""

    p835: Any
    p808: Any


@cache
def load_networks() -> Networks:
    """The networks of the installed `speechmos` package, one thread each.

    Raises
    ------
    MissingExtraError
    """
    import onnxruntime as ort  # noqa: PLC0415 - 0.1 s that the other metrics do not need

    found = importlib.util.find_spec("speechmos")  # located, not imported: see above
    if found is None or found.origin is None:
        raise MissingExtraError("DNSMOS", "eval")
    folder = Path(found.origin).parent / "dnsmos_models"
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    p835, p808 = (
        ort.InferenceSession(folder / name, options, providers=["CPUExecutionProvider"])
        for name in ("sig_bak_ovr.onnx", "model_v8.onnx")
    )
    return Networks(p835, p808)


def opinion_scores(
    signal: NDArray[np.float32], networks: Networks
) -> tuple[float, float, float, float]:
    """OVRL, SIG, BAK and P.808 of one channel at 16 kHz, means over windows of 9.01 s.

    Parameters
    ----------
    signal : float32 (time,)
        Within [-1, 1]; repeated if shorter than a window.
    networks : Networks
    """
    while signal.size < WINDOW_SAMPLES:
        signal = np.concatenate([signal, signal])
    # Whole seconds minus 9.01, as in the challenge's script: a window less than would fit.
    windows = int(signal.size // RATE_HZ - WINDOW_S) + 1
    scores = []
    for start in range(0, windows * RATE_HZ, RATE_HZ):
        window = signal[start : start + WINDOW_SAMPLES]
        sig, bak, ovrl = networks.p835.run(None, {"input_1": window[np.newaxis]})[0][0]
        features = log_mel(window[:-160])[np.newaxis]
        p808 = networks.p808.run(None, {"input_1": features})[0].item()
        mapped = [np.polyval(OVRL, ovrl), np.polyval(_SIG, sig), np.polyval(_BAK, bak)]
        scores.append([*mapped, p808])
    means = np.mean(np.array(scores, np.float64), axis=0)
    return float(means[0]), float(means[1]), float(means[2]), float(means[3])


def log_mel(signal: NDArray[np.float32]) -> NDArray[np.float32]:
    """P.808 features, (frames, 120): librosa's power mel spectrogram in dB, as (dB + 40) / 40."""
    window_samples, hop_samples = 321, 160
    padded = np.pad(signal, window_samples // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window_samples)[::hop_samples]
    filters = mel_filters(sample_rate_hz=RATE_HZ, window_samples=window_samples, mels=120)
    power = np.abs(np.fft.rfft(frames * hann(window_samples), axis=1)) ** 2 @ filters.T
    floored_db = 10 * np.log10(np.maximum(power, 1e-10))
    relative_db = floored_db - floored_db.max()
    features: NDArray[np.float32] = ((np.maximum(relative_db, -80) + 40) / 40).astype(np.float32)
    return features
