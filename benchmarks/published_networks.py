"""Networks that others defined, trained here: for ``published.py``.

pip install transformers monai
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, mse_loss, pad

from compress_peers import distilled
from tinysignal import audio
from tinysignal.datasets import load_dataset
from tinysignal.mel import log_mel
from tinysignal.spec import SoundInput

RATE_HZ = 16_000
Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Part:
    """Examples, and what the score compares with: labels, pictures, pitches, speakers."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Case:
    """A network, its data, and how it is scored.

    Parameters
    ----------
    family, origin : str
        For people.
    shares : tuple of float
        Shares of the parameters to keep; the other tools are run at the first.
    make : callable
        Makes the network.
    load : callable
        ``load(data_dir, seed)`` gives the training and the test examples.
    score, unit
        Of outputs and targets, and what it is called.
    again : callable
        Loss of the further training: of outputs, the original's outputs, targets.
    loss : callable or None
        Loss of the training, of outputs and targets; None for a network that comes trained.
    joint : bool
        Whether ``refine="joint"`` is measured too: hundreds of steps of both networks.
    calibration : int
        Examples that the compression sees.
    compare : str
        ``loss=`` of the compression: ``mse`` for outputs that look like classes and are not.
    rate : float
        Learning rate of the further training.
    """

    family: str
    origin: str
    shares: tuple[float, ...]
    make: Callable[[], nn.Module]
    load: Callable[[Path, int], tuple[Part, Part]]
    score: Callable[[Tensor, Tensor], float]
    unit: str
    again: Callable[[Tensor, Tensor, Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor] | None
    epochs: int = 4
    joint: bool = True
    calibration: int = 1024
    compare: str = "auto"
    rate: float = 1e-3


def accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Per cent of the labels."""
    return 100 * float((outputs.argmax(dim=1) == labels).float().mean())


def psnr(outputs: Tensor, pictures: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures from 0 to 1."""
    return -10 * float(mse_loss(outputs, pictures).log10())


def both_errors(outputs: Tensor, original: Tensor, targets: Tensor) -> Tensor:
    """Squared error against the original's outputs and the targets, as `distilled` mixes them."""
    return 0.9 * mse_loss(outputs, original) + 0.1 * mse_loss(outputs, targets)


# Data


def digits(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """MNIST: 6000 training images drawn at random, every fourth test image, (1, 28, 28)."""
    data = load_dataset("mnist", data_dir=data_dir, seed=seed)
    order = np.random.default_rng(seed).permutation(len(data.train))[:6000]
    some, test = data.train.select(order), data.test.select(np.arange(0, len(data.test), 4))
    parts = ((part.as_float()[:, None], part.labels) for part in (some, test))
    first, second = (Part(torch.from_numpy(x), torch.from_numpy(y).long()) for x, y in parts)
    return first, second


def rows(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """MNIST as sequences of rows, (28, 28), as many."""
    first, second = (Part(p.inputs[:, 0], p.targets) for p in digits(data_dir, seed))
    return first, second


def halved(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """MNIST at half its size, (1, 14, 14)."""
    first, second = (Part(avg_pool2d(p.inputs, 2), p.targets) for p in digits(data_dir, seed))
    return first, second


def noisy_digits(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """MNIST on 16 x 16 with white noise as strong as the ink; the targets are the clean ones."""
    made = []
    for number, part in enumerate(halved(data_dir, seed)):
        clean = pad(part.inputs, (1, 1, 1, 1))
        noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(number))
        made.append(Part(clean + 0.5 * noise, clean))
    return made[0], made[1]


def drifting_digits(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """Five noisy frames, (5, 1, 16, 16), in which a small digit drifts."""
    made = []
    for number, part in enumerate(halved(data_dir, seed)):
        generator = torch.Generator().manual_seed(number)
        small = pad(part.inputs, (6, 6, 6, 6))  # 26 x 26
        frames = torch.empty(len(small), 5, 1, 16, 16)
        start = torch.randint(0, 11, (len(small), 2), generator=generator)
        end = torch.randint(0, 11, (len(small), 2), generator=generator)
        for frame in range(5):
            places = (start + (end - start) * frame / 4).round().long()
            for n, (y, x) in enumerate(places.tolist()):
                frames[n, frame] = small[n, :, y : y + 16, x : x + 16]
        noise = torch.randn(frames.shape, generator=generator)
        made.append(Part(frames + 0.25 * noise, part.targets))
    return made[0], made[1]


VOICE = SoundInput(window_samples=400, hop_samples=160, frames=100)


def voices(data_dir: Path, seed: int) -> tuple[Part, Part]:
    """Log-mel spectrograms, (40, 100), of one second of speech (0), noise (1) or both (2)."""
    made = []
    for split, many in (("train", 4500), ("valid", 1500)):
        random = np.random.default_rng(seed if split == "train" else 1)
        speech, noise = (
            np.concatenate(list(recordings(data_dir, kind, split)), axis=-1)
            for kind in ("speech", "noise")
        )
        labels = np.arange(many) % 3
        patches = np.empty((many, 40, VOICE.frames), np.float32)
        for n, label in enumerate(labels):
            pair = [second(each, random) for each in (speech, noise)]
            snr_db = random.uniform(-5, 5)
            mixed = pair[0] + 10 ** (-snr_db / 20) * pair[1]
            signal = (*pair, mixed)[label]
            patches[n] = log_mel(signal, sample_rate_hz=RATE_HZ, spec=VOICE).T
        made.append(Part(torch.from_numpy(patches), torch.from_numpy(labels)))
    return made[0], made[1]


def second(signal: Audio, random: np.random.Generator, samples: int = RATE_HZ) -> Audio:
    """A stretch at random, of unit power; not a silent one."""
    while True:
        start = int(random.integers(0, len(signal) - samples))
        found = signal[start : start + samples]
        power = float(np.mean(found**2))
        if power > 1e-6:  # -60 dBFS
            return found / np.float32(np.sqrt(power))


def recordings(data_dir: Path, kind: str, split: str) -> Iterator[Audio]:
    """Signals of a split, mono at 16 kHz, without the lossy ones."""
    for path, _ in manifest(data_dir, kind, split):
        yield audio.read(data_dir / path)[0][0]


def manifest(data_dir: Path, kind: str, split: str) -> list[tuple[str, str]]:
    """Paths and speakers or kinds of noise."""
    with (data_dir / kind / "manifest.csv").open(encoding="utf-8") as lines:
        found = [row for row in csv.DictReader(lines) if row["split"] == split]
    who = "speaker" if kind == "speech" else "source"
    return [(row["path"], row[who]) for row in found if "-extra/" not in row["path"]]


# Networks


class Logits(nn.Module):
    """A network of `transformers` whose output is its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float (examples, classes)."""
        logits: Tensor = self.network(x).logits
        return logits


def resnet() -> nn.Module:
    """ResNet-18's blocks, a quarter as wide."""
    from transformers import ResNetConfig, ResNetForImageClassification

    widths = {"embedding_size": 16, "hidden_sizes": [16, 32, 64, 128], "depths": [2, 2, 2, 2]}
    config = ResNetConfig(num_channels=1, layer_type="basic", num_labels=10, **widths)
    return Logits(ResNetForImageClassification(config))


def mobilenet() -> nn.Module:
    """MobileNetV2 at 0.35 of its width; running statistics that are not those of the last batch."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    config = MobileNetV2Config(
        num_channels=1,
        image_size=14,
        depth_multiplier=0.35,
        num_labels=10,
        tf_padding=False,
        output_stride=8,
        classifier_dropout_prob=0.0,
    )
    net = MobileNetV2ForImageClassification(config)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # 0.997 is TensorFlow's way round
    return Logits(net)


def vit() -> nn.Module:
    """A small vision transformer on 7 x 7 patches."""
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
    picture = {"image_size": 28, "patch_size": 7, "num_channels": 1}
    config = ViTConfig(intermediate_size=256, num_labels=10, **sizes, **picture)
    return Logits(ViTForImageClassification(config))


def whisper() -> nn.Module:
    """Whisper's encoder with a head of three classes."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperForAudioClassification

    config = WhisperConfig(
        num_mel_bins=40,
        max_source_positions=50,
        d_model=64,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=256,
        decoder_layers=1,
        num_labels=3,
    )
    return Logits(WhisperForAudioClassification(config))


def unet() -> nn.Module:
    """MONAI's U-Net of pictures."""
    from monai.networks.nets import BasicUNet

    net: nn.Module = BasicUNet(
        spatial_dims=2,
        in_channels=1,
        out_channels=1,
        features=(16, 16, 32, 64, 64, 16),
        norm="batch",
    )
    return net


class RowsLstm(nn.Module):
    """Torch's LSTM in both directions over rows, as tutorials classify MNIST."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(28, 96, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(192, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float (examples, classes), of float (examples, rows, columns)."""
        logits: Tensor = self.head(self.lstm(x)[0].mean(dim=1))
        return logits


class ConvLstm(nn.Module):
    """Shi et al. (2015), without peepholes, after a convolution that halves the picture."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.width = width
        self.stem = nn.Sequential(nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU())
        self.gates = nn.Conv2d(16 + width, 4 * width, 3, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits, float (examples, classes), of float (examples, frames, 1, rows, columns)."""
        hidden = cell = x.new_zeros(x.shape[0], self.width, x.shape[3] // 2, x.shape[4] // 2)
        for frame in x.unbind(dim=1):
            gates = self.gates(torch.cat([self.stem(frame), hidden], dim=1)).chunk(4, dim=1)
            cell = gates[0].sigmoid() * cell + gates[1].sigmoid() * gates[2].tanh()
            hidden = gates[3].sigmoid() * cell.tanh()
        logits: Tensor = self.head(hidden.mean(dim=(2, 3)))
        return logits


def _classifier(
    family: str,
    origin: str,
    make: Callable[[], nn.Module],
    *,
    load: Callable[[Path, int], tuple[Part, Part]] = digits,
    shares: tuple[float, ...] = (0.25, 0.1),
    epochs: int = 4,
) -> Case:
    return Case(
        family,
        origin,
        shares,
        make,
        load,
        accuracy,
        "accuracy, %",
        distilled,
        cross_entropy,
        epochs,
    )


TRAINED_HERE: dict[str, Case] = {
    "ResNet-18, width 16 to 128": _classifier("residual convolutions", "transformers", resnet),
    "MobileNetV2 0.35": _classifier(
        "depthwise convolutions",
        "transformers",
        mobilenet,
        load=halved,
        shares=(0.5, 0.25),
        epochs=6,
    ),
    "ViT, 4 layers of 64": _classifier("attention", "transformers", vit, epochs=6),
    "Whisper encoder, 2 layers of 64": _classifier(
        "convolutions and attention", "transformers", whisper, load=voices, epochs=4
    ),
    "U-Net": Case(
        "U-Net, transposed convolutions",
        "monai",
        (0.25, 0.1),
        unet,
        noisy_digits,
        psnr,
        "PSNR, dB",
        both_errors,
        mse_loss,
    ),
    "BiLSTM, 2 layers of 96": _classifier(
        "recurrent", "torch.nn.LSTM", RowsLstm, load=rows, shares=(0.75, 0.6), epochs=5
    ),
    "ConvLSTM, width 48": _classifier(
        "recurrent convolutions", "Shi et al. (2015)", ConvLstm, load=drifting_digits, epochs=12
    ),
}
