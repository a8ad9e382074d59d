"""What a model expects and promises: the dataclass that travels in its file's metadata."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any

from tinysignal.errors import ModelError

FORMAT_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class DenoiserSpec:
    """A denoising network over short-time spectra.

    The network maps ``magnitude`` (channels, frames, freq) and its state tensors to
    ``gain`` (channels, frames, freq) and the state after the last frame. Frame ``t`` of the
    gain belongs to frame ``t - lookahead_frames`` of the magnitude.

    Parameters
    ----------
    name : str
        A short name, shown to people.
    arch : str
        The architecture: ``linear``, ``cnn``.
    sample_rate_hz : int
        The rate at which the network was trained. Signals of other rates are analysed with
        windows of the same duration, see `tinysignal.stft.StftSize.at_rate`.
    fft_samples, hop_samples : int
        Window length and hop of the STFT at ``sample_rate_hz``; the window is an even number
        of hops.
    lookahead_frames : int
        Frames of the future that the network sees.
    receptive_field_frames : int
        Frames of input that one frame of output depends on.
    parameters : int
        Trained numbers in the network.
    macs_per_s : int
        Multiply-accumulate operations for one second of one channel, the STFT not counted.
    level : str
        ``none``: magnitudes go in as they are; ``running``: the network divides by the signal's
        running level itself, so that quiet and loud recordings are treated alike.
    trained_on, licence : str
        Where the weights come from and under which terms they may be used.
    """

    name: str
    arch: str
    sample_rate_hz: int
    fft_samples: int
    hop_samples: int
    lookahead_frames: int = 0
    receptive_field_frames: int = 1
    parameters: int = 0
    macs_per_s: int = 0
    level: str = "none"
    trained_on: str = ""
    licence: str = ""
    task: str = "denoise"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.task != "denoise":
            raise ModelError(f"task '{self.task}', but a denoiser was expected.")
        if self.format_version != FORMAT_VERSION:
            raise ModelError(
                f"format version {self.format_version}, but this release reads {FORMAT_VERSION}. "
                "Install a tinysignal release of the model's age."
            )
        if (
            self.hop_samples < 1
            or self.fft_samples < 2
            or self.fft_samples % (2 * self.hop_samples)
        ):
            raise ModelError(
                f"window of {self.fft_samples} samples and hop of {self.hop_samples}: "
                "the window must be 2, 4, 6, ... hops."
            )
        if self.sample_rate_hz < 1 or self.lookahead_frames < 0:
            raise ModelError(
                f"sample rate {self.sample_rate_hz} Hz, look-ahead {self.lookahead_frames} frames: "
                "neither may be negative, nor the rate zero."
            )

    @property
    def bins(self) -> int:
        """Frequency bins of one frame."""
        return self.fft_samples // 2 + 1

    @property
    def latency_s(self) -> float:
        """Algorithmic latency: one window and the look-ahead, in seconds."""
        samples = self.fft_samples + self.lookahead_frames * self.hop_samples
        return samples / self.sample_rate_hz

    @property
    def receptive_field_s(self) -> float:
        """Duration of input that one frame of output depends on, in seconds."""
        samples = self.fft_samples + (self.receptive_field_frames - 1) * self.hop_samples
        return samples / self.sample_rate_hz

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> DenoiserSpec:
        """The spec from JSON text.

        Raises
        ------
        ModelError
            Not JSON, not a spec, a field of the wrong type, or a spec of another version.
        """
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError) as error:  # too many digits, too deep
            raise ModelError(f"the model's spec is not JSON: {error}.") from None
        if not isinstance(values, dict):
            raise ModelError("the model's spec is not a JSON object.")
        known = {field.name: field.type for field in fields(cls)}
        for name, value in values.items():
            kind = known.get(name)
            if kind is None:
                raise ModelError(f"the model's spec holds an unknown field '{name}'.")
            if type(value).__name__ != kind:
                raise ModelError(f"the model's spec says {name} = {value!r}, expected {kind}.")
        try:
            return cls(**values)
        except TypeError as error:
            raise ModelError(f"the model's spec is incomplete: {error}.") from None
