"""What a model expects and promises: the dataclasses that travel in its file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from tinysignal.errors import ModelError

T = TypeVar("T")

FORMAT_VERSION = 1
FRAMINGS = ("whole", "mass", "box")
_MOST_CLASSES = 10_000
_MOST_VALUES = 16_000_000  # of one example: what is larger is a damaged file


@dataclass(frozen=True, kw_only=True)
class ImageInput:
    """Grey pictures, 0 black to 1 white.

    Parameters
    ----------
    height, width : int
        Pixels.
    framing : {"whole", "mass", "box"}
        How a photo or scan becomes an example. ``whole``: all of it is stretched to the size.
        ``mass``: what is drawn becomes light on black, is cropped, fitted into a square of ``box``
        pixels and placed with its centre of mass in the middle, as MNIST was made. ``box``: the
        same, with the middle of its bounding box in the middle.
    box : int
        Side of that square in pixels; 0 with ``whole``.
    """

    height: int
    width: int
    framing: str = "whole"
    box: int = 0
    kind: str = "image"

    def __post_init__(self) -> None:
        _check_size(self.height, self.width)
        if self.framing not in FRAMINGS:
            raise ModelError(f"framing '{self.framing}', expected {' or '.join(FRAMINGS)}.")
        largest = 0 if self.framing == "whole" else min(self.height, self.width)
        if not min(largest, 1) <= self.box <= largest:
            raise ModelError(f"box of {self.box} pixels, expected at most {largest}.")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of one example."""
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class SoundInput:
    """Log-mel patches of mono sounds, see `tinysignal.mel.log_mel`.

    Parameters
    ----------
    sample_rate_hz : int
        Sounds are resampled to it.
    fft_samples, hop_samples : int
        Window length and hop of the STFT.
    mels : int
        Mel bands from 0 Hz to half the sample rate.
    frames : int
        Frames of a patch; shorter sounds are padded with silence, of longer ones the loudest
        stretch is taken.
    """

    sample_rate_hz: int = 16_000
    fft_samples: int = 512
    hop_samples: int = 256
    mels: int = 40
    frames: int = 63
    kind: str = "sound"

    def __post_init__(self) -> None:
        _check_size(self.frames, self.mels)
        if not 4_000 <= self.sample_rate_hz <= 192_000:
            raise ModelError(f"{self.sample_rate_hz} Hz, expected 4000 to 192000.")
        if not 1 <= self.hop_samples <= self.fft_samples <= 65_536:
            raise ModelError(
                f"window of {self.fft_samples} samples and hop of {self.hop_samples}: "
                "the hop must be from 1 to the window's length."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (frames) and columns (mels) of one example."""
        return self.frames, self.mels


def _check_size(rows: int, columns: int) -> None:
    if rows < 1 or columns < 1 or rows * columns > _MOST_VALUES:
        raise ModelError(f"examples of {rows} x {columns} values are not possible.")


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """A classifying network.

    The network maps ``examples`` (examples, rows, columns) to ``logits`` (examples, classes);
    normalisation is inside it.

    Parameters
    ----------
    name : str
        A short name, shown to people.
    arch : str
        The architecture: ``mlp``.
    classes : tuple of str
        Names, in the order of the logits.
    input : ImageInput or SoundInput
        What an example is and how a file becomes one.
    parameters : int
        Trained numbers in the network.
    macs : int
        Multiply-accumulate operations for one example.
    trained_on, licence : str
        Where the weights come from and under which terms they may be used.
    """

    name: str
    arch: str
    classes: tuple[str, ...]
    input: ImageInput | SoundInput
    parameters: int = 0
    macs: int = 0
    trained_on: str = ""
    licence: str = ""
    task: str = "classify"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        _check_version(self.format_version)
        if self.task != "classify":
            raise ModelError(f"task '{self.task}', but a classifier was expected.")
        if not 2 <= len(self.classes) <= _MOST_CLASSES or len(set(self.classes)) != len(
            self.classes
        ):
            raise ModelError(f"{len(self.classes)} classes, expected 2 or more, all different.")

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)


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
        Frames of input that one frame of output depends on; 0: on all before it, as in a
        recurrent network.
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
        _check_version(self.format_version)
        if (
            self.hop_samples < 1
            or self.fft_samples < 2
            or self.fft_samples % (2 * self.hop_samples)
        ):
            raise ModelError(
                f"window of {self.fft_samples} samples and hop of {self.hop_samples}: "
                "the window must be 2, 4, 6, ... hops."
            )
        seen = (self.lookahead_frames, self.receptive_field_frames)
        if self.sample_rate_hz < 1 or min(seen) < 0:
            raise ModelError(
                f"sample rate {self.sample_rate_hz} Hz, look-ahead {seen[0]} frames, receptive "
                f"field {seen[1]} frames: none may be negative, nor the rate zero."
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
    def receptive_field_s(self) -> float | None:
        """Duration of input that one frame of output depends on, in seconds; None for all of it."""
        if self.receptive_field_frames == 0:
            return None
        samples = self.fft_samples + (self.receptive_field_frames - 1) * self.hop_samples
        return samples / self.sample_rate_hz

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise ModelError(
            f"format version {version}, but this release reads {FORMAT_VERSION}. "
            "Install a tinysignal release of the model's age."
        )


Spec = DenoiserSpec | ClassifierSpec


def spec_from_json(text: str) -> Spec:
    """The spec in JSON text; its ``task`` says which.

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
    if values.get("task") != "classify":
        return _build(DenoiserSpec, values)
    inputs = {"image": ImageInput, "sound": SoundInput}
    given: Any = values.get("input")
    kind = given.get("kind") if isinstance(given, dict) else None
    if not isinstance(kind, str) or kind not in inputs:
        raise ModelError(f"the model's spec says input = {given!r:.100}, expected image or sound.")
    names = values.get("classes")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"the model's spec says classes = {names!r:.100}, expected names.")
    made = {"input": _build(inputs[kind], given), "classes": tuple(names)}
    return _build(ClassifierSpec, {**values, **made}, made)


def _build(kind: type[T], values: dict[str, Any], checked: Iterable[str] = ()) -> T:
    """A dataclass of plain values, each of the type that its field names."""
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ModelError(f"the model's spec holds an unknown field '{name}'.")
        if name not in checked and type(value).__name__ != known[name]:
            raise ModelError(f"the model's spec says {name} = {value!r}, expected {known[name]}.")
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(f"the model's spec is incomplete: {error}.") from None
