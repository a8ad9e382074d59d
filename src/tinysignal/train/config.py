"""Everything that decides the outcome of a training run: flags and TOML, one frozen dataclass."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tinysignal.errors import ConfigError
from tinysignal.train.losses import LOSSES
from tinysignal.train.nets import ARCHITECTURES

_CHOICES: dict[str, tuple[str, ...]] = {
    "arch": tuple(ARCHITECTURES),
    "level": ("none", "running"),
    "loss": tuple(LOSSES),
    "schedule": ("constant", "cosine"),
    "select": ("best", "last"),
    "precision": ("32", "bf16", "16"),
    "log": ("csv", "tensorboard"),
}
_PAIR_EPOCHS = 3000
_MINUTES = 20.0
_SHORTEST_CLIP_S = 0.1


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """A denoiser's training.

    Data: exactly one of ``pair`` (clean and noisy file), ``pairs`` (clean and noisy folder), or
    ``clean`` with ``noise`` (folders or manifests, mixed on the fly). Length: exactly one of
    ``epochs``, ``steps``, ``minutes``; an epoch is ``steps_per_epoch`` batches, or one batch
    where the whole recording is one.

    Parameters
    ----------
    arch : {"linear", "cnn"}
    pair, pairs : (str, str) or None
    clean, noise : str
    holdout : float
        Share at the end of a single pair that is kept out of training and validated on.
    valid_share : float
        Share of the groups (speakers, noise recordings, subfolders) kept for validation where
        no manifest says it.
    test_share : float
        Share of the validation groups that is not read at all, for a test later.
    snr_db, level_dbfs : (float, float)
        Ranges of the mixtures' SNR and speech level.
    filter_db : float
        Random filters of up to plus or minus this on speech and noise; 0 for none.
    sample_rate_hz : int
        The rate of the model; recordings are resampled to it.
    fft_samples, hop_samples : int
        STFT; 0 for the architecture's own (64 ms / 32 ms linear, 32 ms / 16 ms cnn).
    width : int
        Hidden units (linear) or channels of the first layer (cnn); 0 for the default.
    level : {"", "none", "running"}
        Normalisation by the running level; empty for the default: none for linear, running
        for cnn.
    lookahead_frames : int
        Frames of the future that a cnn may see; 0 is causal.
    clip_s : float
        Length of the clips; 0 for whole recordings, which a single pair allows and has by default.
    batch, steps_per_epoch : int
        Clips in a batch, batches in an epoch.
    loss : {"mse", "compressed", "mixed"}
    learning_rate : float
    schedule : {"constant", "cosine"}
    epochs, steps : int
    minutes : float
    seed : int
    select : {"best", "last"}
        The exported weights: those with the best validation SI-SDR, or the last ones. Without
        validation data, the last ones.
    validate_every : int
        Epochs between validations.
    precision : {"32", "bf16", "16"}
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    devices, workers, threads : int
        Devices to train on; processes that make batches; threads of torch, 0 for its default.
    log : {"csv", "tensorboard"}
    name, trained_on, licence : str
        Written into the model's spec.
    """

    arch: str = "cnn"
    pair: tuple[str, str] | None = None
    pairs: tuple[str, str] | None = None
    clean: str = ""
    noise: str = ""
    holdout: float = 0.0
    valid_share: float = 0.1
    test_share: float = 0.0
    snr_db: tuple[float, float] = (-5.0, 20.0)
    level_dbfs: tuple[float, float] = (-30.0, -20.0)
    filter_db: float = 6.0
    sample_rate_hz: int = 16_000
    fft_samples: int = 0
    hop_samples: int = 0
    width: int = 0
    level: str = ""
    lookahead_frames: int = 0
    clip_s: float = 4.0
    batch: int = 16
    steps_per_epoch: int = 100
    loss: str = "mse"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    epochs: int = 0
    steps: int = 0
    minutes: float = 0.0
    seed: int = 0
    select: str = "best"
    validate_every: int = 5
    precision: str = "32"
    device: str = "auto"
    devices: int = 1
    workers: int = 0
    threads: int = 0
    log: str = "csv"
    name: str = ""
    trained_on: str = ""
    licence: str = ""

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices and not (name == "level" and value == ""):
                raise ConfigError(f"{name} is '{value}', expected {' or '.join(choices)}.")
        if bool(self.clean) != bool(self.noise):
            raise ConfigError("clean speech and noise come together: give both folders.")
        if (self.pair is not None) + (self.pairs is not None) + bool(self.clean) != 1:
            raise ConfigError(
                "data: give one of a pair of files (--pair CLEAN NOISY), a pair of folders "
                "(--pairs CLEAN NOISY), or speech and noise (--clean DIR --noise DIR)."
            )
        if (self.epochs > 0) + (self.steps > 0) + (self.minutes > 0) != 1:
            raise ConfigError("length: give one of epochs, steps or minutes.")
        self._check_bounds()

    def _check_bounds(self) -> None:
        for name in ("epochs", "steps", "minutes", "width", "lookahead_frames", "clip_s"):
            self._check(name, at_least=0)
        for name in ("workers", "threads", "seed", "fft_samples", "hop_samples", "filter_db"):
            self._check(name, at_least=0)
        for name in ("batch", "steps_per_epoch", "validate_every", "devices"):
            self._check(name, at_least=1)
        for name in ("holdout", "valid_share", "test_share"):
            self._check(name, at_least=0, below=0.9)
        self._check("learning_rate", at_least=1e-9, below=10)
        self._check("sample_rate_hz", at_least=4_000, below=192_001)
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if not -100 <= low <= high <= 100:
                raise ConfigError(f"{name} is {low} to {high}, expected a rising range in dB.")
        if 0 < self.clip_s < _SHORTEST_CLIP_S:
            raise ConfigError(f"clip_s is {self.clip_s}, expected at least {_SHORTEST_CLIP_S}.")
        if self.clip_s == 0 and self.pair is None:
            raise ConfigError("clip_s is 0, whole recordings, which only a single pair allows.")

    def _check(self, name: str, *, at_least: float, below: float = float("inf")) -> None:
        value = getattr(self, name)
        if not at_least <= value < below:
            bound = f" and below {below:g}" if below < float("inf") else ""
            raise ConfigError(f"{name} is {value}, expected at least {at_least:g}{bound}.")

    @property
    def whole_recording(self) -> bool:
        """Whether each batch is the whole of a single pair."""
        return self.pair is not None and self.clip_s == 0

    def to_toml(self) -> str:
        """The configuration as TOML, without what is unset."""
        lines = [
            f"{name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in asdict(self).items()
            if value is not None
        ]
        return "\n".join(lines) + "\n"


def read_config(path: Path | None, flags: Mapping[str, Any]) -> DenoiserConfig:
    """A TOML file's values, with those flags that are not None on top.

    Without a length, a single pair gets the course's 3000 epochs, anything else 20 minutes;
    without ``clip_s``, a single pair is one whole batch.

    Raises
    ------
    ConfigError
        The file cannot be read, holds an unknown name or a value of the wrong type.
    """
    values = {} if path is None else _read_toml(path)
    given = {name: value for name, value in flags.items() if value is not None}
    for group in (("pair", "pairs", "clean", "noise"), ("epochs", "steps", "minutes")):
        if any(name in given for name in group):
            values = {name: value for name, value in values.items() if name not in group}
    single = "pair" in values or "pair" in given
    if single:
        values.setdefault("clip_s", 0.0)
    if not any({**values, **given}.get(name) for name in ("epochs", "steps", "minutes")):
        values |= {"epochs": _PAIR_EPOCHS} if single else {"minutes": _MINUTES}
    return DenoiserConfig(**_typed({**values, **given}, str(path or "options")))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file ({error}).") from None


def _typed(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(DenoiserConfig)}
    typed: dict[str, Any] = {}
    for name, value in values.items():
        if name not in defaults:
            raise ConfigError(f"{source}: unknown option '{name}'.")
        default = defaults[name]
        if default is None or isinstance(default, tuple):
            kind: type = str if default is None else float
            if not isinstance(value, list | tuple) or len(value) != 2:
                raise ConfigError(f"{source}: {name} is {value!r}, expected two values.")
            typed[name] = tuple(_cast(name, v, kind, source) for v in value)
        else:
            typed[name] = _cast(name, value, type(default), source)
    return typed


def _cast(name: str, value: Any, kind: type, source: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{source}: {name} is {value!r}, expected {kind.__name__}.")
    return value
