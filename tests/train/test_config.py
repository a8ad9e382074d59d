"""Flags and TOML: one configuration, refused by name where it makes no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tinysignal.errors import ConfigError
from tinysignal.train.config import DenoiserConfig, read_config

GIVEN: dict[str, Any] = {"clean": "speech", "noise": "noise", "epochs": 2}


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    config = DenoiserConfig(**GIVEN, snr_db=(-1.5, 3.0), name='a "name"', level="running")
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    assert read_config(tmp_path / "c.toml", {}) == config


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('clean = "a"\nnoise = "b"\nepochs = 3\nbatch = 4\n')
    config = read_config(tmp_path / "c.toml", {"batch": 8, "minutes": 1.0, "seed": None})
    assert (config.batch, config.minutes, config.epochs, config.seed) == (8, 1.0, 0, 0)
    paired = read_config(tmp_path / "c.toml", {"pair": ("x", "y")})
    assert (paired.pair, paired.clean, paired.noise) == (("x", "y"), "", "")


def test_a_single_pair_is_one_whole_batch_unless_clips_are_asked_for() -> None:
    flags = {"pair": ("c", "n"), "epochs": 1}
    assert read_config(None, flags).whole_recording
    assert not read_config(None, {**flags, "clip_s": 2.0}).whole_recording


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "transformer"}, "arch is 'transformer', expected linear or cnn"),
        ({"loss": "mae"}, "loss is 'mae'"),
        ({"noise": ""}, "come together"),
        ({"pair": ("a", "b")}, "give one of"),
        ({"steps": 5}, "give one of epochs, steps or minutes"),
        ({"epochs": 0}, "give one of epochs, steps or minutes"),
        ({"batch": 0}, "batch is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"snr_db": (5.0, 0.0)}, "rising range"),
        ({"clip_s": 0.0}, "only a single pair"),
        ({"clip_s": 0.00001}, "clip_s is 1e-05"),
        ({"sample_rate_hz": 100}, "sample_rate_hz is 100"),
        ({"holdout": 1.0}, "holdout is 1.0"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        DenoiserConfig(**{**GIVEN, **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 'two'", "epochs is 'two', expected int"),
        ("speed = 3", "unknown option 'speed'"),
        ("snr_db = 3", "expected two values"),
        ("epochs = = 3", "not a TOML file"),
        ("epochs = true", "epochs is True, expected int"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        read_config(tmp_path / "c.toml", {})
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_config(tmp_path / "absent.toml", {})


def test_a_length_is_not_needed() -> None:
    mixed = read_config(None, {"clean": "a", "noise": "b"})
    assert (mixed.epochs, mixed.minutes) == (0, 20.0)
    single = read_config(None, {"pair": ("a", "b")})
    assert (single.epochs, single.minutes) == (3000, 0.0)
