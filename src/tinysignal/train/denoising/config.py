"""Everything that decides the outcome of a denoiser's training: flags and TOML, one dataclass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tinysignal.errors import ConfigError
from tinysignal.nets import ARCHITECTURES
from tinysignal.train.config import LENGTHS, RunOptions, build, read_toml
from tinysignal.train.losses import LOSSES

_PAIR_EPOCHS = 3000
_MINUTES = 20.0
_SHORTEST_CLIP_S = 0.1
_ON_SIGNALS = ("lstm", "bands")  # trained on signals, the others on magnitudes
_PESQ_HZ = 16_000

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    # A causal network with a complex mask, on speech and noise of any level.
    "default": {
        "arch": "lstm",
        "snr_db": (-7.5, 20.0),
        "level_dbfs": (-35.0, -10.0),
        "augment": True,
        "clip_s": 3.0,
        "learning_rate": 2e-3,
        "perceptual": 0.07,
        "schedule": "cosine",
        "validate_every": 4,
        "precision": "bf16",
        "minutes": 240.0,
    },
}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(RunOptions):
    """A denoiser's training; `RunOptions` and what follows.

    Data: exactly one of ``pair`` (clean and noisy file), ``pairs`` (clean and noisy folder), or
    ``clean`` with ``noise`` (folders or manifests, mixed on the fly). Length: exactly one of
    ``epochs``, ``steps``, ``minutes``; an epoch is ``steps_per_epoch`` batches, or one batch
    where the whole recording is one.

    Parameters
    ----------
    recipe : {"plain", "default"}
        What holds where nothing else is given: ``plain`` is the defaults here, ``default`` the
        causal network with a complex mask, see `RECIPES`.
    arch : {"linear", "cnn", "lstm", "bands"}
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
    augment : bool
        Whether speech and noise also change their speed, noise its level over time and frequency
        (at times to another noise's), rooms reverberate, mixtures clip, and some noise is babble or
        made on the spot.
    sample_rate_hz : int
        The rate of the model; recordings are resampled to it.
    fft_samples, hop_samples : int
        STFT; 0 for the architecture's own: 64 ms / 32 ms linear, 32 ms / 8 ms lstm, 32 ms /
        16 ms cnn and bands.
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
    loss : {"", "mse", "compressed", "mixed"}
        Of magnitudes; empty for the default: ``mse``, and for lstm and bands, which have no
        other, the loss of signals `tinysignal.train.losses.spectral`.
    start_from : str
        Run folder whose weights to start from; the network must be the same, an lstm may be wider.
    perceptual : float
        Weight of PESQ in the loss of lstm and bands; from 16 kHz.
    """

    recipe: str = "plain"
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
    augment: bool = False
    sample_rate_hz: int = 16_000
    fft_samples: int = 0
    hop_samples: int = 0
    width: int = 0
    level: str = ""
    lookahead_frames: int = 0
    clip_s: float = 4.0
    batch: int = 16
    steps_per_epoch: int = 100
    loss: str = ""
    start_from: str = ""
    perceptual: float = 0.0

    choices: ClassVar[dict[str, tuple[str, ...]]] = {
        **RunOptions.choices,
        "recipe": tuple(RECIPES),
        "arch": tuple(ARCHITECTURES),
        "level": ("", "none", "running"),
        "loss": ("", *LOSSES),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.clean) != bool(self.noise):
            raise ConfigError("clean speech and noise come together: give both folders.")
        if (self.pair is not None) + (self.pairs is not None) + bool(self.clean) != 1:
            raise ConfigError(
                "data: give one of a pair of files (--pair CLEAN NOISY), a pair of folders "
                "(--pairs CLEAN NOISY), or speech and noise (--clean DIR --noise DIR)."
            )
        self._check_bounds()

    def _check_bounds(self) -> None:
        zero = ("width", "lookahead_frames", "clip_s", "fft_samples", "hop_samples", "filter_db")
        for name in (*zero, "perceptual"):
            self.check(name, at_least=0)
        for name in ("batch", "steps_per_epoch"):
            self.check(name, at_least=1)
        for name in ("holdout", "valid_share", "test_share"):
            self.check(name, at_least=0, below=0.9)
        self.check("sample_rate_hz", at_least=4_000, below=192_001)
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if not -100 <= low <= high <= 100:
                raise ConfigError(f"{name} is {low} to {high}, expected a rising range in dB.")
        if 0 < self.clip_s < _SHORTEST_CLIP_S:
            raise ConfigError(f"clip_s is {self.clip_s}, expected at least {_SHORTEST_CLIP_S}.")
        if self.arch in _ON_SIGNALS and (self.loss or self.whole_recording):
            raise ConfigError(
                f"{self.arch} is trained on clips of signals, with a loss of its own: "
                "leave loss out."
            )
        if self.perceptual and (self.arch not in _ON_SIGNALS or self.sample_rate_hz < _PESQ_HZ):
            raise ConfigError(
                f"perceptual is {self.perceptual}, which lstm and bands have, from 16 kHz; pass 0."
            )
        if self.clip_s == 0 and self.pair is None:
            raise ConfigError("clip_s is 0, whole recordings, which only a single pair allows.")

    @property
    def whole_recording(self) -> bool:
        """Whether each batch is the whole of a single pair."""
        return self.pair is not None and self.clip_s == 0


def read_config(path: Path | None, flags: Mapping[str, Any]) -> DenoiserConfig:
    """A recipe's values, a TOML file's on top of them, and flags that are not None on top of both.

    Without a length, a single pair gets the course's 3000 epochs, anything else 20 minutes;
    without ``clip_s``, a single pair is one whole batch.

    Raises
    ------
    ConfigError
        The file cannot be read, holds an unknown name or a value of the wrong type; no such recipe.
    """
    values = {} if path is None else read_toml(path)
    given = {name: value for name, value in flags.items() if value is not None}
    recipe = given.get("recipe", values.get("recipe", "plain"))
    if recipe not in list(RECIPES):  # a list from TOML has no hash
        raise ConfigError(f"recipe is '{recipe}', expected {' or '.join(RECIPES)}.")
    merged: dict[str, Any] = {}
    for layer in (RECIPES[recipe], values, given):
        for group in (("pair", "pairs", "clean", "noise"), LENGTHS):
            if any(layer.get(name) for name in group):  # one replaces every other one
                merged = {name: value for name, value in merged.items() if name not in group}
        merged |= layer
    if merged.get("arch", "cnn") not in _ON_SIGNALS and "perceptual" not in values | given:
        merged.pop("perceptual", None)  # a recipe's, whose network was replaced
    single = bool(merged.get("pair"))
    if single:
        merged.setdefault("clip_s", 0.0)
    if not any(merged.get(name) for name in LENGTHS):
        merged |= {"epochs": _PAIR_EPOCHS} if single else {"minutes": _MINUTES}
    return build(DenoiserConfig, merged, str(path or "options"))
