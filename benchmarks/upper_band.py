"""Train the gains above 8 kHz (`tinysignal.upper_band`) on mixtures at 48 kHz.

    python benchmarks/upper_band.py --data-dir DATA
    python benchmarks/full_band.py --data-dir DATA

Mixtures of the training side of ``DATA/fullband`` go through the denoiser once; kept are, for every
frame, what the recurrent network is asked, and the products of noisy and clean spectrum by band,
from which the error of any gain follows. The loss of a band of a mixture is its SNR in dB, and the
level that is left where nobody speaks; a band that gets worse than it was counts more.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tinysignal import Denoiser
from tinysignal.files import atomic
from tinysignal.model import DEFAULT_MODEL, model_path
from tinysignal.stft import stft
from tinysignal.stream import DenoiserStream
from tinysignal.train.data.mixing import MixOptions, Mixtures
from tinysignal.train.data.recordings import Clip, list_recordings, load_clips
from tinysignal.upper_band import (
    BAND_FEATURES,
    FEATURES,
    HEARD_DB,
    WEIGHTS,
    UpperBand,
    judged,
    ramp,
)

TARGET = Path(__file__).resolve().parent.parent / "src" / "tinysignal" / "models" / WEIGHTS
RATE_HZ, CLIP_S = 48_000, 6.0
MIX = MixOptions(
    snr_db=(-5.0, 30.0),
    level_dbfs=(-40.0, -18.0),
    filter_db=12.0,
    low_pass_share=0.0,
    noise_only_share=0.03,
    clean_only_share=0.05,
    second_noise_share=0.3,
    speed_share=0.5,
    synthetic_share=0.3,
    vary_share=0.3,
    cross_share=0.2,
)
NARROW = 150  # recordings of noise at 16 kHz
HIDDEN, BATCH, RATE = 48, 15, 4e-3
MISGUIDED = 0.15  # share of mixtures that are told what the network makes of another
NARROWER = 0.3  # share of mixtures without their upper bands
MOST_DB = 35.0  # of a band's SNR: beyond, no error is heard
PAUSE_DB, PAUSE_WEIGHT = -30.0, 0.4
ALLOWED_DB, WORSE_WEIGHT = -0.5, 3.0  # of the change of a band's SNR
NOISE_BESIDE_VOICE = BAND_FEATURES.index("noise beside the voice")
SILENT = 1e-5  # power of a frame, of the loudest frame's: a pause
SILENT_BAND = (0, 0, -90, -90, -50, 0)  # its `BAND_FEATURES` in dB


class Recorded(UpperBand):
    """Keeps what the recurrent network is asked."""

    asked: np.ndarray

    def __call__(self, *arguments: Any) -> np.ndarray:
        self.asked = self.features(*arguments)
        return np.ones(arguments[0].shape, np.float32)


def examples(denoiser: Denoiser, mixtures: Mixtures, count: int) -> dict[str, Tensor]:
    """By frame and band: what is asked, and the products; by frame: whether it is a pause."""
    found: dict[str, list[np.ndarray]] = {k: [] for k in ("asked", "noisy", "both", "clean")}
    found["paused"] = []
    for number in range(count):
        noisy, clean = (signal[0] for signal in mixtures.batch(number))
        stream = denoiser.stream(sample_rate_hz=RATE_HZ)
        band = recorded(stream)
        asked = []
        for start in range(0, noisy.size, 48_000):
            stream.feed(noisy[np.newaxis, start : start + 48_000])
            asked.append(band.asked)
        size = stream._size
        spectra = [stft(s[np.newaxis], size)[0] for s in (noisy, clean)]
        frames = min(sum(a.shape[1] for a in asked), spectra[0].shape[0])
        level = np.square(np.abs(spectra[1])).sum(axis=1)[:frames]
        noisy_above, clean_above = (s[:frames, stream._first_above :] for s in spectra)
        found["asked"].append(np.concatenate(asked, axis=1)[0, :frames])
        found["noisy"].append(np.square(np.abs(noisy_above)) @ band.pool)
        found["clean"].append(np.square(np.abs(clean_above)) @ band.pool)
        found["both"].append((noisy_above * clean_above.conj()).real @ band.pool)
        found["paused"].append(level <= SILENT * level.max())
    frames = min(part.shape[0] for part in found["asked"])
    return {
        key: torch.from_numpy(np.stack([part[:frames] for part in parts]))
        for key, parts in found.items()
    }


def recorded(stream: DenoiserStream) -> Recorded:
    """The stream's upper band, which from now on keeps what it is asked."""
    lookahead = stream.spec.lookahead_frames
    band = Recorded(stream._size, RATE_HZ, stream._first_above, 1, lookahead)
    stream._upper = band
    return band


def losses(gain: Tensor, data: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """SNR of each mixture and band before and after, and the level left in pauses, all in dB."""
    wanted = data["clean"].sum(1)
    least = wanted * 10 ** (-MOST_DB / 10) + data["noisy"].sum(1) * 1e-3 + 1e-12

    def snr_db(gain: Tensor | float) -> Tensor:
        error = data["clean"] - 2 * gain * data["both"] + gain**2 * data["noisy"]
        return 10 * torch.log10((wanted + least) / (error.sum(1).clamp_min(0) + least))

    paused = data["paused"].unsqueeze(-1)
    before = (paused * data["noisy"]).sum(1) + 1e-12
    after = (paused * gain**2 * data["noisy"]).sum(1)
    left_db = 10 * torch.log10(after / before + 10 ** (PAUSE_DB / 10))
    # Only noise is to fall: not the recording's own, nor what nobody hears beside the voice.
    own = (paused * data["clean"]).sum(1) / before
    beside_voice_db = 20 * of_bands(data["asked"])[..., NOISE_BESIDE_VOICE].mean(1)
    heard = ramp(beside_voice_db, *HEARD_DB)
    return snr_db(1.0), snr_db(gain), left_db * (1 - own).clamp(0, 1) * heard


def clips(data: Path, split: str) -> list[list[Clip]]:
    """Speech and noise of a split, at 48 kHz; a part of the noise has nothing above 8 kHz."""
    both = list_recordings(data / "fullband", valid_fraction=0.1, seed=0)
    speech, noise = (
        [r for r in both if r.split == split and kind in Path(str(r.path)).parts]
        for kind in ("speech", "noise")
    )
    narrow = [r for r in list_recordings(data / "noise", valid_fraction=0.1, seed=0)
              if r.split == split]  # fmt: skip
    narrow = narrow[:: max(1, len(narrow) // NARROW)]
    loaded = [load_clips(r, sample_rate_hz=RATE_HZ) for r in (speech, noise, narrow)]
    # Groups are drawn by their duration: so often that half of what is drawn is full-band.
    copies = max(1, round(len(loaded[2]) / len(loaded[1])))
    full = [replace(c, group=f"{c.group} {i}") for i in range(copies) for c in loaded[1]]
    return [loaded[0], full + loaded[2]]


def main() -> None:
    """Make the examples, train, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    named = os.environ.get("TINYSIGNAL_DATA")
    parser.add_argument("--data-dir", default=named, required=not named)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--mixtures", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=TARGET)
    options = parser.parse_args()
    denoiser = Denoiser.load(model_path(options.model))
    sides = {}
    for split, count in (("train", options.mixtures), ("valid", options.mixtures // 8)):
        parts = clips(Path(options.data_dir), split)
        mixtures = Mixtures(
            *parts,
            MIX,
            sample_rate_hz=RATE_HZ,
            clip_samples=round(CLIP_S * RATE_HZ),
            batch=1,
            steps_per_epoch=1,
            seed=options.seed,
        )
        sides[split] = examples(denoiser, mixtures, count)
        print(split, {key: tuple(value.shape) for key, value in sides[split].items()}, flush=True)
    torch.manual_seed(options.seed)
    arrays = trained(sides, options.epochs).arrays()
    with atomic(options.output) as path, path.open("wb") as file:
        np.savez(file, **arrays)


def of_bands(asked: Tensor) -> Tensor:
    """The features of bands, (..., bands, features)."""
    return asked[..., : -len(FEATURES)].unflatten(-1, (-1, len(BAND_FEATURES)))


class Head(nn.Module):
    """What `tinysignal.upper_band` computes with the weights."""

    def __init__(self, features: int, bands: int) -> None:
        super().__init__()
        self.into = nn.Linear(features, HIDDEN)
        self.gates = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, bands)

    def forward(self, asked: Tensor) -> Tensor:
        """Gains of bands, (mixtures, frames, bands)."""
        states, _ = self.gates(self.into(asked).relu())
        return judged(torch.sigmoid(self.out(states)), asked)

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights for products from the left, and biases."""
        named = {
            "in_weight": self.into.weight.T,
            "in_bias": self.into.bias,
            "gate_weight": self.gates.weight_ih_l0.T,
            "gate_bias": self.gates.bias_ih_l0,
            "state_weight": self.gates.weight_hh_l0.T,
            "state_bias": self.gates.bias_hh_l0,
            "out_weight": self.out.weight.T,
            "out_bias": self.out.bias,
        }
        return {name: value.detach().contiguous().numpy() for name, value in named.items()}


def trained(sides: dict[str, dict[str, Tensor]], epochs: int) -> Head:
    """By Adam, with a rate that rises for a tenth of the steps and falls to 0."""
    data = sides["train"]
    network = Head(data["asked"].shape[-1], data["noisy"].shape[-1])
    count = len(data["asked"])
    optimiser = torch.optim.Adam(network.parameters())
    steps = epochs * (count // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps, pct_start=0.1)
    for epoch in range(epochs):
        for chosen in torch.randperm(count)[: count // BATCH * BATCH].view(-1, BATCH):
            loss, _ = _loss(network, _varied({k: v[chosen] for k, v in data.items()}))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        if epoch % 5 == 4:
            with torch.no_grad():
                for name, side in sides.items():
                    _, told = _loss(network, side)
                    print(epoch + 1, name, *(f"{v:.2f}" for v in told), flush=True)
    return network


def _varied(data: dict[str, Tensor]) -> dict[str, Tensor]:
    """Some mixtures with another's guide, since networks err, and some without upper bands."""
    asked = data["asked"].clone()
    misguided = torch.rand(len(asked)) < MISGUIDED
    asked[misguided, :, -len(FEATURES) :] = asked.roll(1, 0)[misguided][..., -len(FEATURES) :]
    bands = data["noisy"].shape[-1]
    kept = torch.where(
        torch.rand(len(asked)) < NARROWER, torch.randint(1, bands, (len(asked),)), bands
    )
    there = (torch.arange(bands) < kept[:, None])[:, None, :]
    silent = torch.tensor(SILENT_BAND) / 20
    changed = torch.where(there[..., None], of_bands(asked), silent).flatten(-2)
    asked = torch.cat([changed, asked[..., -len(FEATURES) :]], -1)
    return data | {"asked": asked} | {k: data[k] * there for k in ("noisy", "clean", "both")}


def _loss(network: Head, data: dict[str, Tensor]) -> tuple[Tensor, list[float]]:
    gain = network(data["asked"])
    before, after, left = losses(gain, data)
    change = after - before
    worse = (ALLOWED_DB - change).clamp_min(0)
    loss = -change.mean() + WORSE_WEIGHT * worse.mean() + PAUSE_WEIGHT * left.mean()
    told = [
        float(v.detach()) for v in (loss, change.mean(), change.min(), worse.mean(), left.mean())
    ]
    return loss, told


if __name__ == "__main__":
    main()
