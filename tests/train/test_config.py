"""Flags and TOML: one configuration, refused by name where it makes no sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from tinysignal import Denoiser
from tinysignal.errors import ConfigError
from tinysignal.nets import ARCHITECTURES
from tinysignal.nets.mlp import NORMS
from tinysignal.options import Options, value_type
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.config import LENGTHS
from tinysignal.train.denoising.build import stft_size
from tinysignal.train.denoising.config import RECIPES, DenoiserConfig
from tinysignal.train.losses import LOSSES

GIVEN: dict[str, Any] = {"clean": "speech", "noise": "noise", "epochs": 2}


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    config = DenoiserConfig(**GIVEN, snr_db=(-1.5, 3.0), name='a "name"', normalization="running")
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    assert DenoiserConfig.read(tmp_path / "c.toml", {}) == config


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('clean = "a"\nnoise = "b"\nepochs = 3\nbatch = 4\n')
    config = DenoiserConfig.read(tmp_path / "c.toml", {"batch": 8, "minutes": 1.0, "seed": None})
    assert (config.batch, config.minutes, config.epochs, config.seed) == (8, 1.0, 0, 0)
    paired = DenoiserConfig.read(tmp_path / "c.toml", {"pair": ("x", "y")})
    assert (paired.pair, paired.clean, paired.noise) == (("x", "y"), "", "")


def test_a_single_pair_is_one_whole_batch_unless_clips_are_asked_for() -> None:
    flags = {"pair": ("c", "n"), "epochs": 1}
    assert DenoiserConfig.read(None, flags).whole_recording
    assert not DenoiserConfig.read(None, {**flags, "clip_s": 2.0}).whole_recording


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "transformer"}, "arch is 'transformer', expected linear or cnn or lstm"),
        ({"loss": "mae"}, "loss is 'mae'"),
        ({"noise": ""}, "clean is given without noise"),
        ({"pair": ("a", "b")}, "Give one of"),
        ({"steps": 5}, "epochs, steps given, expected one of epochs, steps and minutes"),
        ({"epochs": 0}, "none given, expected one of epochs, steps and minutes"),
        ({"batch": 0}, "batch is 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"snr_db": (5.0, 0.0)}, "expected LOW up to HIGH"),
        ({"clip_s": 0.0}, "which needs --pair"),
        ({"clip_s": 0.00001}, "clip_s is 1e-05"),
        ({"sample_rate_hz": 100}, "sample_rate_hz is 100"),
        ({"valid_fraction": 1.0}, "valid_fraction is 1.0"),
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
        DenoiserConfig.read(tmp_path / "c.toml", {})
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        DenoiserConfig.read(tmp_path / "absent.toml", {})


def test_a_length_is_not_needed() -> None:
    mixed = DenoiserConfig.read(None, {"clean": "a", "noise": "b"})
    assert (mixed.epochs, mixed.minutes) == (0, 20.0)
    single = DenoiserConfig.read(None, {"pair": ("a", "b")})
    assert (single.epochs, single.minutes) == (3000, 0.0)


# Recipes

DATA: dict[str, Any] = {"clean": "speech", "noise": "noise"}
DEFAULT: dict[str, Any] = {**DATA, "recipe": "default"}


def write(path: Path, **values: str | float) -> Path:
    """A TOML file of these values."""
    path.write_text("".join(f"{name} = {value!r}\n" for name, value in values.items()))
    return path


def test_a_recipe_is_its_table_and_beyond_it_what_always_holds() -> None:
    assert DenoiserConfig.read(None, DEFAULT) == DenoiserConfig(**DEFAULT, **RECIPES["default"])


def test_the_recipe_makes_what_is_bundled() -> None:
    spec, config = Denoiser.load().spec, DenoiserConfig.read(None, DEFAULT)
    size = stft_size(config)
    made = (config.arch, config.sample_rate_hz, size.window_samples, size.hop_samples)
    assert made == (spec.arch, spec.sample_rate_hz, spec.window_samples, spec.hop_samples)


def test_without_a_recipe_the_plain_one_holds() -> None:
    assert DenoiserConfig.read(None, DATA) == DenoiserConfig.read(None, {**DATA, "recipe": "plain"})
    assert DenoiserConfig.read(None, DATA) != DenoiserConfig.read(None, DEFAULT)


def test_a_flag_wins_over_the_recipe_and_changes_nothing_else() -> None:
    whole = DenoiserConfig.read(None, DEFAULT)
    for change in (
        {"width": 64},
        {"pesq_weight": 0.0},
        {"learning_rate": whole.learning_rate / 2},
        {"level_dbfs": (-50.0, -40.0)},
    ):
        assert DenoiserConfig.read(None, {**DEFAULT, **change}) == replace(whole, **change)


def test_another_network_has_the_recipe_but_for_what_it_cannot_have() -> None:
    expected = replace(DenoiserConfig.read(None, DEFAULT), arch="cnn", pesq_weight=0.0)
    assert DenoiserConfig.read(None, {**DEFAULT, "arch": "cnn"}) == expected


def test_a_file_wins_over_the_recipe_and_a_flag_over_the_file(tmp_path: Path) -> None:
    whole = DenoiserConfig.read(None, DEFAULT)
    half, third = whole.learning_rate / 2, whole.learning_rate / 3
    file = write(tmp_path / "c.toml", **DEFAULT, learning_rate=half)
    assert DenoiserConfig.read(file, {}) == replace(whole, learning_rate=half)
    assert DenoiserConfig.read(file, {"learning_rate": third}) == replace(
        whole, learning_rate=third
    )


def test_a_recipe_is_named_by_the_file_or_by_a_flag_which_wins(tmp_path: Path) -> None:
    file = write(tmp_path / "c.toml", **DEFAULT)
    assert DenoiserConfig.read(file, {}) == DenoiserConfig.read(None, DEFAULT)
    assert DenoiserConfig.read(file, {"recipe": "plain"}) == DenoiserConfig.read(None, DATA)


@pytest.mark.parametrize(("name", "value"), [("epochs", 2), ("steps", 5), ("minutes", 1.5)])
def test_a_length_replaces_that_of_the_recipe(tmp_path: Path, name: str, value: float) -> None:
    file = write(tmp_path / "c.toml", **DEFAULT, **{name: value})
    for config in (
        DenoiserConfig.read(None, {**DEFAULT, name: value}),
        DenoiserConfig.read(file, {}),
    ):
        assert {n: getattr(config, n) for n in LENGTHS if getattr(config, n)} == {name: value}


def test_a_recipe_is_written_out_so_that_a_run_keeps_what_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DenoiserConfig.read(None, {**DEFAULT, "steps": 5})
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    monkeypatch.setitem(RECIPES, "default", {"batch": config.batch + 1, "epochs": 7})
    assert DenoiserConfig.read(tmp_path / "c.toml", {}) == config


@pytest.mark.parametrize("recipe", ["best", "Default", "", 3, ["default"]])
def test_an_unknown_recipe_is_refused_in_one_line_with_the_choices(recipe: Any) -> None:
    with pytest.raises(ConfigError, match="expected " + " or ".join(RECIPES)) as caught:
        DenoiserConfig.read(None, {**DATA, "recipe": recipe})
    assert str(caught.value).startswith(f"recipe is '{recipe}'")
    assert "\n" not in str(caught.value)


def test_pesq_is_only_for_its_rate() -> None:
    flags = {"clean": "a", "noise": "b", "arch": "lstm", "sample_rate_hz": 8_000}
    with pytest.raises(ConfigError, match=r"pesq_weight is 0\.1 at 8000 Hz, expected 0"):
        DenoiserConfig.read(None, {**flags, "pesq_weight": 0.1})
    DenoiserConfig.read(None, {**flags, "pesq_weight": 0.0})


@pytest.mark.parametrize(
    "name", ["pesq_weight", "resolution_weight", "residual_weight", "removed_weight"]
)
def test_terms_of_signals_are_only_for_lstm(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is 0\.1 with arch cnn, expected 0"):
        DenoiserConfig.read(None, {"clean": "a", "noise": "b", "arch": "cnn", name: 0.1})
    DenoiserConfig.read(None, {"clean": "a", "noise": "b", "arch": "lstm", name: 0.1})


@pytest.mark.parametrize(
    ("config", "field", "table"),
    [
        (DenoiserConfig, "arch", ARCHITECTURES),
        (DenoiserConfig, "loss", LOSSES),
        (ClassifierConfig, "norm", NORMS),
    ],
)
def test_choices_of_a_config_are_the_names_that_are_built(
    config: type[Options], field: str, table: dict[str, object]
) -> None:
    choices = get_args(value_type(get_type_hints(config)[field]))
    assert sorted(choices) == sorted(table)
