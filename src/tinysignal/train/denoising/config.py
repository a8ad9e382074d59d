"""Options of a denoiser's training, and its named recipes; imports no torch."""

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
_ON_SIGNALS = ("lstm",)  # trained on signals, the others on magnitudes
_PESQ_HZ = 16_000
_SIGNAL_WEIGHTS = ("pesq_weight", "resolution_weight", "residual_weight", "removed_weight")

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
        "pesq_weight": 0.07,
        "schedule": "cosine",
        "validate_every": 4,
        "precision": "bf16",
        "minutes": 240.0,
    },
}


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig(TrainConfig):
    """A denoiser's training: `TrainConfig` and its own options; `describe` lists them all.

    Data is exactly one of ``pair`` (a clean and a noisy file), ``pairs`` (a clean and a noisy
    folder), or ``clean`` with ``noise`` (folders or manifests, mixed while training). An epoch is
    ``steps_per_epoch`` batches, or one batch where each batch is the whole of a single pair.

    Raises
    ------
    ConfigError
        See `TrainConfig`; no data or more than one kind; options that exclude each other.
    """

    recipes = RECIPES
    exclusive: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("pair", "pairs", "clean", "noise"),
        LENGTHS,
    )

    recipe: Literal["plain", "default"] = option(
        "plain",
        "Named set of values for what is not given. default: the causal network with a complex "
        "mask, trained for hours.",
        group=FIT,
    )
    arch: Literal["linear", "cnn", "lstm"] = option("cnn", "Architecture.", group=NET)
    pair: tuple[str, str] | None = option(
        None, "A clean and a noisy recording of the same speech.", group=DATA, metavar="CLEAN NOISY"
    )
    pairs: tuple[str, str] | None = option(
        None,
        "A folder of clean and one of noisy recordings with the same names.",
        group=DATA,
        metavar="CLEAN NOISY",
    )
    clean: str = option(
        "",
        "Folder or manifest (.csv) of clean speech, mixed with --noise while training.",
        group=DATA,
    )
    noise: str = option("", "Folder or manifest (.csv) of noise.", group=DATA)
    rooms: str = option(
        "",
        "Folder of measured room impulse responses, which --augment uses beside simulated rooms.",
        group=DATA,
        shown="simulated rooms only",
    )
    valid_fraction: float | None = option(
        None,
        "Fraction of speakers, noises or subfolders to validate on, where no manifest says it; "
        "of a --pair, the fraction at its end.",
        group=DATA,
        shown="0.1; of a --pair 0",
        at_least=0,
        below=0.9,
    )
    test_fraction: float = option(
        0.0,
        "Fraction of the validation groups that is not read at all, for a later test.",
        group=DATA,
        at_least=0,
        below=0.9,
    )
    snr_db: tuple[float, float] = option(
        (-5.0, 20.0), "Range of the mixtures' SNR in dB.", group=MIXING, metavar="LOW HIGH"
    )
    level_dbfs: tuple[float, float] = option(
        (-30.0, -20.0),
        "Range of the mixtures' speech level in dB below full scale.",
        group=MIXING,
        metavar="LOW HIGH",
    )
    filter_db: float = option(
        6.0,
        "Random smooth filters of up to plus or minus this, in dB; 0 for none.",
        group=MIXING,
        at_least=0,
    )
    augment: bool = option(
        False,
        "Draw kinds of noise evenly; change the speed of speech and noise and the noise's level "
        "over time and frequency; add rooms, microphones, level jumps, clipping, codecs, babble "
        "and synthetic noise.",
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
        "STFT window in samples; 0 for the architecture's own: 64 ms linear, 32 ms others.",
        group=NET,
        shown="the architecture's",
        at_least=0,
    )
    hop_samples: int = option(
        0,
        "STFT hop in samples; 0 for the architecture's own: 32 ms linear, 16 ms cnn, 8 ms lstm.",
        group=NET,
        shown="the architecture's",
        at_least=0,
    )
    width: int = option(
        0,
        "Hidden units (linear 1024, lstm 320) or channels of the first layer (cnn 32); 0 for these "
        "defaults.",
        group=NET,
        shown="the architecture's",
        at_least=0,
    )
    normalization: Literal["none", "running"] | None = option(
        None,
        "Normalisation of the input by its running level.",
        group=NET,
        shown="none for linear, running for others",
    )
    lookahead_frames: int = option(
        0, "Frames of the future that a cnn sees; 0 is causal.", group=NET, at_least=0
    )
    clip_s: float = option(
        4.0,
        "Length of the training clips in seconds; 0 for whole recordings, which only a --pair "
        "allows.",
        group=FIT,
        shown="4; of a --pair 0",
        at_least=0,
    )
    batch: int = option(16, "Clips in a batch.", group=FIT, at_least=1)
    steps_per_epoch: int = option(100, "Batches in an epoch.", group=FIT, at_least=1)
    loss: Literal["mse", "compressed", "mixed"] | None = option(
        None,
        "Loss of magnitudes; lstm has a loss of signals of its own instead.",
        group=FIT,
        shown="mse",
    )
    init_from: str = option(
        "",
        "Run folder whose weights to start from, for instance to train on with own recordings; an "
        "lstm may be wider than the run's.",
        group=FIT,
        metavar="RUN",
    )
    pesq_weight: float = option(
        0.0, "Weight of the PESQ loss of lstm, from 16 kHz.", group=FIT, at_least=0
    )
    resolution_weight: float = option(
        0.0,
        "Weight of compressed magnitudes over several window lengths in the loss of lstm.",
        group=FIT,
        at_least=0,
    )
    residual_weight: float = option(
        0.0,
        "Weight of a decibel of noise left where there is no speech, in the loss of lstm.",
        group=FIT,
        at_least=0,
    )
    removed_weight: float = option(
        0.0, "Weight of a decibel of speech removed, in the loss of lstm.", group=FIT, at_least=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.clean) != bool(self.noise):
            raise ConfigError("clean speech and noise come together: give both folders.")
        if (self.pair is not None) + (self.pairs is not None) + bool(self.clean) != 1:
            raise ConfigError(
                "data: give one of a pair of files (--pair CLEAN NOISY), a pair of folders "
                "(--pairs CLEAN NOISY), or speech and noise (--clean DIR --noise DIR)."
            )
        for name in ("snr_db", "level_dbfs"):
            low, high = getattr(self, name)
            if not -100 <= low <= high <= 100:
                raise ConfigError(f"{name} is {low} to {high}, expected a rising range in dB.")
        self._check_clips()

    def _check_clips(self) -> None:
        if 0 < self.clip_s < _SHORTEST_CLIP_S:
            raise ConfigError(f"clip_s is {self.clip_s}, expected at least {_SHORTEST_CLIP_S}.")
        if self.clip_s == 0 and self.pair is None:
            raise ConfigError("clip_s is 0, whole recordings, which only a single pair allows.")
        if self.arch in _ON_SIGNALS and (self.loss or self.whole_recording):
            raise ConfigError(
                f"{self.arch} is trained on clips of signals, with a loss of its own: "
                "leave loss out, and give clip_s."
            )
        if self.pesq_weight and self.sample_rate_hz < _PESQ_HZ:
            raise ConfigError(f"pesq_weight is {self.pesq_weight}, but PESQ needs 16 kHz; pass 0.")
        for name in _SIGNAL_WEIGHTS:
            if getattr(self, name) and self.arch not in _ON_SIGNALS:
                raise ConfigError(
                    f"{name} is {getattr(self, name)}, which only lstm takes; pass 0."
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
        """See `TrainConfig.read`.

        Without a length, a single pair gets the course's 3000 epochs, anything else 20 minutes;
        without ``clip_s``, a single pair is one whole batch.
        """
        if merged.get("arch", "cnn") not in _ON_SIGNALS:  # a recipe's network was replaced
            for name in _SIGNAL_WEIGHTS:
                if name not in chosen:
                    merged.pop(name, None)
        single = bool(merged.get("pair"))
        if single:
            merged.setdefault("clip_s", 0.0)
        if not any(merged.get(name) for name in LENGTHS):
            merged |= {"epochs": _PAIR_EPOCHS} if single else {"minutes": _MINUTES}
        return merged
