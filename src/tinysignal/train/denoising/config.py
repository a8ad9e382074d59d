"""Options and recipes of the training of denoisers. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from tinysignal.errors import ConfigError
from tinysignal.options import option
from tinysignal.train.config import DATA, FIT, LENGTHS, NET, TrainConfig

MIXING = "Mixing"
_PAIR_EPOCHS = 3000
_MINUTES = 20.0
_SHORTEST_CLIP_S = 0.1
_VALID_FRACTION = 0.1
_ON_SIGNALS = ("lstm",)  # architectures trained on signals instead of magnitudes
_PESQ_HZ, _DNSMOS_HZ = 16_000, 16_000
_SIGNAL_WEIGHTS = (
    *("pesq_weight", "opinion_weight", "resolution_weight", "residual_weight", "removed_weight"),
)

RECIPES: dict[str, dict[str, Any]] = {
    "plain": {},
    # The recipe of the bundled model: a causal network with a complex mask.
    "default": {
        "arch": "lstm",
        "snr_db": (-7.5, 20.0),
        "level_dbfs": (-35.0, -10.0),
        "augment": True,
        "clip_s": 3.0,
        "learning_rate": 2e-3,
        "pesq_weight": 0.07,
        "schedule": "cosine",
        "validate_every": 4,
        "precision": "bf16",
        "minutes": 240.0,
    },
}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(TrainConfig):
    """Configuration of the training of a denoiser; `describe` lists its options.

    The data are exactly one of ``pair`` (a clean and a noisy file), ``pairs`` (a clean and a noisy
    folder), or ``clean`` with ``noise`` (folders or manifests, mixed during training). An epoch is
    ``steps_per_epoch`` batches; if a batch is the whole of a single pair, an epoch is one batch.

    Raises
    ------
    ConfigError
        See `TrainConfig`; not exactly one kind of data is given; options exclude each other.

    Examples
    --------
    >>> from tinysignal.train import DenoiserConfig
    >>> config = DenoiserConfig(arch="cnn", clean="speech/", noise="noise/", minutes=20)
    >>> config.snr_db
    (-5.0, 20.0)
    """

    recipes = RECIPES
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("pair", "pairs", "clean", "noise"),
        LENGTHS,
    )

    recipe: Literal["plain", "default"] = option(
        "plain",
        "Named set of default values. default: that of the bundled model, a causal network with a "
        "complex mask, in hours.",
        group=FIT,
    )
    arch: Literal["linear", "cnn", "lstm"] = option("cnn", "Architecture.", group=NET)
    pair: tuple[str, str] | None = option(
        None, "A clean and a noisy recording of the same speech.", group=DATA, metavar="CLEAN NOISY"
    )
    pairs: tuple[str, str] | None = option(
        None,
        "A folder of clean recordings and one of noisy recordings with the same names.",
        group=DATA,
        metavar="CLEAN NOISY",
    )
    clean: str = option(
        "",
        "Folder or manifest (.csv) of clean speech, mixed with --noise during training.",
        group=DATA,
    )
    noise: str = option("", "Folder or manifest (.csv) of noise.", group=DATA)
    rooms: str = option(
        "",
        "Folder of measured room impulse responses, used by --augment beside simulated rooms.",
        group=DATA,
        shown="simulated rooms only",
    )
    valid_fraction: float | None = option(
        None,
        "Fraction of speakers, noises or subfolders to validate on, without splits in a manifest; "
        "with --pair, the fraction at the end of the recording.",
        group=DATA,
        shown="0.1; with --pair 0",
        at_least=0,
        below=0.9,
    )
    test_fraction: float = option(
        0.0,
        "Fraction of the validation groups to leave unread, for a later test.",
        group=DATA,
        at_least=0,
        below=0.9,
    )
    cache: str = option(
        "",
        "Folder in which every recording is decoded once, for all runs and processes. Memory then "
        "does not grow with the hours of sound.",
        group=DATA,
        metavar="DIR",
        shown="none, recordings are kept in memory",
    )
    align: bool = option(
        False,
        "Undo delays up to 1 s and opposite polarities within pairs, and cut both recordings to "
        "their common part.",
        group=DATA,
    )
    snr_db: tuple[float, float] = option(
        (-5.0, 20.0), "Range of the SNR of the mixtures in dB.", group=MIXING, metavar="LOW HIGH"
    )
    level_dbfs: tuple[float, float] = option(
        (-30.0, -20.0),
        "Range of the speech level of the mixtures in dB relative to full scale.",
        group=MIXING,
        metavar="LOW HIGH",
    )
    filter_db: float = option(
        6.0,
        "Largest gain and attenuation of random smooth filters in dB; 0 for no filters.",
        group=MIXING,
        at_least=0,
    )
    augment: bool = option(
        False,
        "Augment the mixtures: kinds of noise in equal shares, speed, noise level over time and "
        "frequency, rooms, microphones, level jumps, clipping, codecs, babble, synthetic noise.",
        group=MIXING,
    )
    sample_rate_hz: int = option(
        16_000,
        "Sample rate of the model in Hz; recordings are resampled to it.",
        group=NET,
        at_least=4_000,
        below=192_001,
    )
    window_samples: int = option(
        0,
        "STFT window in samples; 0 for the default: 64 ms for linear, 32 ms for the others.",
        group=NET,
        shown="by architecture",
        at_least=0,
        at_most=65_536,
    )
    hop_samples: int = option(
        0,
        "STFT hop in samples; 0 for the default: 32 ms for linear, 16 ms for cnn, 8 ms for lstm.",
        group=NET,
        shown="by architecture",
        at_least=0,
        at_most=65_536,
    )
    width: int = option(
        0,
        "Hidden units (linear, lstm) or channels of the first layer (cnn); 0 for the default: 1024 "
        "for linear, 320 for lstm, 32 for cnn.",
        group=NET,
        shown="by architecture",
        at_least=0,
        at_most=65_536,
    )
    normalization: Literal["none", "running"] | None = option(
        None,
        "Normalisation of the input by its running level.",
        group=NET,
        shown="none for linear, running for others",
    )
    lookahead_frames: int = option(
        0,
        "Number of future frames of a cnn or lstm, each a hop of latency; 0 is causal.",
        group=NET,
        at_least=0,
        at_most=10_000,
    )
    clip_s: float = option(
        4.0,
        "Length of the training clips in seconds; 0 for the whole recording, only with --pair.",
        group=FIT,
        shown="4; with --pair 0",
        at_least=0,
    )
    batch: int = option(16, "Number of clips in a batch.", group=FIT, at_least=1)
    steps_per_epoch: int = option(100, "Number of batches in an epoch.", group=FIT, at_least=1)
    loss: Literal["mse", "compressed", "mixed"] | None = option(
        None,
        "Loss of the magnitudes, for linear and cnn; lstm has a fixed loss of signals.",
        group=FIT,
        shown="mse",
    )
    init_from: str = option(
        "",
        "Run folder with the initial weights, for instance for fine-tuning on your recordings. An "
        "lstm may be wider than that of the run and look further ahead.",
        group=FIT,
        metavar="RUN",
    )
    pesq_weight: float = option(
        0.0, "Weight of the PESQ loss, for lstm from 16 kHz.", group=FIT, at_least=0
    )
    opinion_weight: float = option(
        0.0,
        "Weight of the overall opinion of DNSMOS's network, for lstm at 16 kHz (extra: eval).",
        group=FIT,
        at_least=0,
    )
    resolution_weight: float = option(
        0.0,
        "Weight of the multi-resolution loss of compressed magnitudes, for lstm.",
        group=FIT,
        at_least=0,
    )
    residual_weight: float = option(
        0.0,
        "Weight of the residual noise in pauses, per decibel in the loss of lstm.",
        group=FIT,
        at_least=0,
    )
    removed_weight: float = option(
        0.0, "Weight of removed speech, per decibel in the loss of lstm.", group=FIT, at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.clean) != bool(self.noise):
            given, missing = ("clean", "noise") if self.clean else ("noise", "clean")
            raise ConfigError(
                f"{given} is given without {missing}. Give both folders: --clean DIR --noise DIR."
            )
        if (self.pair is not None) + (self.pairs is not None) + bool(self.clean) != 1:
            raise ConfigError(
                "data: none or several kinds given. Give one of a pair of files (--pair CLEAN "
                "NOISY), a pair of folders (--pairs CLEAN NOISY), and speech and noise "
                "(--clean DIR --noise DIR)."
            )
        if self.align and self.clean:
            raise ConfigError(
                "align is given with clean and noise, which are mixed in training. Leave it out."
            )
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if not -100 <= low <= high <= 100:
                raise ConfigError(
                    f"{name} is {low} to {high}, expected LOW up to HIGH in dB, from -100 to 100."
                )
        self._check_clips()

    def _check_clips(self) -> None:
        if 0 < self.clip_s < _SHORTEST_CLIP_S:
            raise ConfigError(f"clip_s is {self.clip_s}, expected at least {_SHORTEST_CLIP_S}.")
        if self.clip_s == 0 and self.pair is None:
            raise ConfigError(
                "clip_s is 0 (whole recordings), which needs --pair. Give a length in seconds."
            )
        if self.arch in _ON_SIGNALS and (self.loss or self.whole_recording):
            raise ConfigError(
                f"arch is {self.arch}, which has a fixed loss and trains on clips. Leave loss out "
                "and give clip_s."
            )
        if self.pesq_weight and self.sample_rate_hz < _PESQ_HZ:
            raise ConfigError(
                f"pesq_weight is {self.pesq_weight} at {self.sample_rate_hz} Hz, expected 0 below "
                f"{_PESQ_HZ} Hz."
            )
        if self.opinion_weight and self.sample_rate_hz != _DNSMOS_HZ:
            raise ConfigError(
                f"opinion_weight is {self.opinion_weight} at {self.sample_rate_hz} Hz, expected 0: "
                f"DNSMOS is for {_DNSMOS_HZ} Hz."
            )
        for name in _SIGNAL_WEIGHTS:
            if getattr(self, name) and self.arch not in _ON_SIGNALS:
                raise ConfigError(
                    f"{name} is {getattr(self, name)} with arch {self.arch}, expected 0: only lstm "
                    "has this loss."
                )

    @property
    def whole_recording(self) -> bool:
        """Whether each batch is the whole of a single pair."""
        return self.pair is not None and self.clip_s == 0

    @property
    def held_out(self) -> float:
        """``valid_fraction``, or its default for this kind of data."""
        if self.valid_fraction is not None:
            return self.valid_fraction
        return 0.0 if self.pair is not None else _VALID_FRACTION

    @classmethod
    def _completed(cls, merged: dict[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
        """Default length and clips, see `TrainConfig.read`.

        The default length is 3000 epochs for a single pair, as in the course, and 20 minutes for
        other data. Without ``clip_s``, a batch is the whole of a single pair.
        """
        if merged.get("arch", "cnn") not in _ON_SIGNALS:  # the recipe's architecture was replaced
            for name in _SIGNAL_WEIGHTS:
                if name not in chosen:
                    merged.pop(name, None)
        single = bool(merged.get("pair"))
        if single:
            merged.setdefault("clip_s", 0.0)
        if not any(merged.get(name) for name in LENGTHS):
            merged |= {"epochs": _PAIR_EPOCHS} if single else {"minutes": _MINUTES}
        return merged
