"""Steps of several batches: those of one large batch, by every count."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tinysignal import ConfigError
from tinysignal.train.checkpoint import load_state, load_weights
from tinysignal.train.data.batches import Array, BatchSource, EpochSampler
from tinysignal.train.denoising import task
from tinysignal.train.denoising.config import DenoiserConfig
from tinysignal.train.denoising.data import TrainingData, load_training_data
from tinysignal.train.denoising.task import train_denoiser


class Parts:
    """Batches of another source, each cut into parts."""

    def __init__(self, source: BatchSource, parts: int) -> None:
        self._source, self._parts = source, parts
        self.steps_per_epoch = source.steps_per_epoch * parts

    def batch(self, number: int) -> tuple[Array, Array]:
        whole, place = divmod(number, self._parts)
        noisy, clean = self._source.batch(whole)
        rows = slice(place * len(noisy) // self._parts, (place + 1) * len(noisy) // self._parts)
        return noisy[rows], clean[rows]


@pytest.fixture
def data(speech_and_noise: tuple[Path, Path]) -> dict[str, Any]:
    speech, noise = map(str, speech_and_noise)
    return {"clean": speech, "noise": noise, "clip_s": 0.5, "width": 8, "device": "cpu",
            "threads": 1, "schedule": "cosine", "keep": "last"}  # fmt: skip


def test_four_small_batches_make_the_step_of_a_large_one(
    data: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**data, "arch": "linear", "batch": 8, "steps_per_epoch": 3, "epochs": 2}
    large = train_denoiser(DenoiserConfig(**options), tmp_path / "large", quiet=True)

    def in_parts(*arguments: Any, **named: Any) -> TrainingData:
        found = load_training_data(*arguments, **named)
        return replace(found, source=Parts(found.source, 4))

    monkeypatch.setattr(task, "load_training_data", in_parts)
    small = train_denoiser(DenoiserConfig(**options, accumulate=4), tmp_path / "small", quiet=True)
    assert small.metrics["steps"] == large.metrics["steps"] == 6
    assert small.metrics["loss"] == pytest.approx(large.metrics["loss"], rel=1e-4)
    ones, others = (load_weights(tmp_path / n / "model.safetensors") for n in ("large", "small"))
    for name, value in ones.items():
        torch.testing.assert_close(others[name], value, rtol=1e-4, atol=1e-5)


def test_weights_are_averaged_over_steps_and_not_over_batches(
    data: dict[str, Any], tmp_path: Path
) -> None:
    config = DenoiserConfig(**data, arch="lstm", batch=2, steps_per_epoch=4, accumulate=2, epochs=2)
    result = train_denoiser(config, tmp_path / "run", quiet=True)
    state = load_state(tmp_path / "run" / "last.safetensors")
    assert result.metrics["steps"] == state["global_step"] == 4
    assert int(state["state_dict"]["averaged.n_averaged"]) == 4


@pytest.mark.parametrize("length", ["epochs", "steps"])
def test_a_run_that_accumulates_is_resumed_bit_for_bit(
    length: str, data: dict[str, Any], tmp_path: Path
) -> None:
    half, whole = {"epochs": (2, 4), "steps": (4, 8)}[length]
    fixed = {**data, "schedule": "constant", "arch": "linear", "batch": 2, "steps_per_epoch": 5}
    config = DenoiserConfig(**fixed, accumulate=2, **{length: whole})
    train_denoiser(config, tmp_path / "whole", quiet=True)
    train_denoiser(replace(config, **{length: half}), tmp_path / "parts", quiet=True)
    train_denoiser(config, tmp_path / "parts", resume=True, quiet=True)
    ones, others = (load_weights(tmp_path / n / "model.safetensors") for n in ("whole", "parts"))
    assert all(ones[name].equal(others[name]) for name in ones)


def test_an_epoch_is_whole_steps() -> None:
    shares = [EpochSampler(13, rank=rank, processes=2, together=3) for rank in (0, 1)]
    assert [list(share) for share in shares] == [[0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]]


def test_too_few_batches_for_a_step_are_refused(data: dict[str, Any], tmp_path: Path) -> None:
    config = DenoiserConfig(**data, arch="linear", steps_per_epoch=3, accumulate=4, epochs=1)
    with pytest.raises(ConfigError, match=r"epoch of 3 batch.*at least 4, which are accumulated"):
        train_denoiser(config, tmp_path / "run", quiet=True)
