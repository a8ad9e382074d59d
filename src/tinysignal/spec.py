"""What a model expects and promises: the dataclasses that travel in its file's metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from tinysignal.errors import ModelError

T = TypeVar("T")

FORMAT_VERSION = 2
FRAMINGS = ("whole", "mass", "box")
NORMALIZATIONS = ("none", "running")
_MOST_CLASSES = 10_000
_MOST_JSON = 4 << 20  # characters
_MOST_NAME, _MOST_TEXT = 200, 10_000  # characters
_MOST_VALUES = 1 << 22  # of one example: what is larger is a damaged file
_MOST_PATCH_SAMPLES = 10_000_000  # of sound in one example
_MOST_AHEAD = 1_000_000  # frequency bins of all look-ahead frames, which are kept for each channel
_HOPS = 64  # the most in a window

# What each number may be. The largest are far beyond what is of use, and small enough to work with.
_BOUNDS = {
    "sample_rate_hz": (4_000, 192_000),
    "window_samples": (1, 65_536),
    "hop_samples": (1, 65_536),
    "lookahead_frames": (0, 10_000),
    "receptive_field_frames": (0, 10**9),
    "parameters": (0, 10**12),
    "macs": (0, 10**15),
    "macs_per_s": (0, 10**15),
    "height": (1, 65_536),
    "width": (1, 65_536),
    "box": (0, 65_536),
    "mels": (1, 1_000),
    "frames": (1, 100_000),
}


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
        _check_bounds(self)
        _check_size(self.height, self.width)
        if self.framing not in FRAMINGS:
            raise ModelError(f"framing {_short(self.framing)}, expected {' or '.join(FRAMINGS)}.")
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
    window_samples, hop_samples : int
        Window length and hop of the STFT.
    mels : int
        Mel bands from 0 Hz to half the sample rate.
    frames : int
        Frames of a patch; shorter sounds are padded with silence, of longer ones the loudest
        stretch is taken.
    """

    sample_rate_hz: int = 16_000
    window_samples: int = 512
    hop_samples: int = 256
    mels: int = 40
    frames: int = 63
    kind: str = "sound"

    def __post_init__(self) -> None:
        _check_bounds(self)
        _check_size(self.frames, self.mels)
        if self.hop_samples > self.window_samples:
            raise ModelError(
                f"window of {self.window_samples} samples and hop of {self.hop_samples}: "
                "the hop must be from 1 to the window's length."
            )
        if self.frames * self.hop_samples > _MOST_PATCH_SAMPLES:
            raise ModelError(
                f"examples of {self.frames} frames and hop of {self.hop_samples} samples, "
                f"expected at most {_MOST_PATCH_SAMPLES} samples."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows (frames) and columns (mels) of one example."""
        return self.frames, self.mels


def _check_size(rows: int, columns: int) -> None:
    if rows * columns > _MOST_VALUES:
        raise ModelError(
            f"examples of {rows} x {columns} values, expected at most {_MOST_VALUES} in all."
        )


def _check_bounds(spec: object) -> None:
    """Refuse numbers and texts of a spec that are out of bounds."""
    for field in fields(spec):  # type: ignore[arg-type]
        name, value = field.name, getattr(spec, field.name)
        if name in _BOUNDS:
            low, high = _BOUNDS[name]
            if not low <= value <= high:
                raise ModelError(f"{name} is {_short(value)}, expected {low} to {high}.")
        if isinstance(value, str):
            _check_text(
                name, value, _MOST_TEXT if name in ("trained_on", "licence") else _MOST_NAME
            )


def _check_text(name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise ModelError(f"{name} has {len(text)} characters, expected at most {most}.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise ModelError(f"{name} is {text!a:.80}, which is not text.")


def _short(value: object) -> str:
    """A value as error messages show it: on one line, not long, nothing in it a terminal obeys."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


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
            raise ModelError(f"task {_short(self.task)}, but a classifier was expected.")
        _check_bounds(self)
        count = len(self.classes)
        if not 2 <= count <= _MOST_CLASSES or len(set(self.classes)) != count:
            raise ModelError(
                f"{count} classes, expected 2 or more, all different, at most {_MOST_CLASSES}."
            )
        for name in self.classes:
            _check_text("a class", name, _MOST_NAME)

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ClassifierSpec:
        """A spec of plain values.

        Raises
        ------
        ModelError
        """
        inputs = {"image": ImageInput, "sound": SoundInput}
        given: Any = values.get("input")
        kind = given.get("kind") if isinstance(given, dict) else None
        if not isinstance(kind, str) or kind not in inputs:
            raise ModelError(
                f"the model's spec says input = {_short(given)}, expected image or sound."
            )
        names = values.get("classes")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ModelError(f"the model's spec says classes = {_short(names)}, expected names.")
        made = {"input": build(inputs[kind], given), "classes": tuple(names)}
        return build(cls, {**values, **made}, made)


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
    window_samples, hop_samples : int
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
    normalization : str
        ``none``: magnitudes go in as they are; ``running``: the network divides by the signal's
        running level itself, so that quiet and loud recordings are treated alike.
    trained_on, licence : str
        Where the weights come from and under which terms they may be used.
    """

    name: str
    arch: str
    sample_rate_hz: int
    window_samples: int
    hop_samples: int
    lookahead_frames: int = 0
    receptive_field_frames: int = 1
    parameters: int = 0
    macs_per_s: int = 0
    normalization: str = "none"
    trained_on: str = ""
    licence: str = ""
    task: str = "denoise"
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        if self.task != "denoise":
            raise ModelError(f"task {_short(self.task)}, but a denoiser was expected.")
        _check_version(self.format_version)
        _check_bounds(self)
        hops, rest = divmod(self.window_samples, self.hop_samples)
        if rest or hops % 2 or not 2 <= hops <= _HOPS:
            raise ModelError(
                f"window of {self.window_samples} samples and hop of {self.hop_samples}: "
                f"the window must be 2, 4, 6, ... or {_HOPS} hops."
            )
        if self.normalization not in NORMALIZATIONS:
            raise ModelError(
                f"normalization {_short(self.normalization)}, expected {_any(NORMALIZATIONS)}."
            )
        if self.lookahead_frames * self.bins > _MOST_AHEAD:
            raise ModelError(
                f"look-ahead of {self.lookahead_frames} frames of {self.bins} bins, "
                f"expected at most {_MOST_AHEAD} bins in all."
            )

    @property
    def bins(self) -> int:
        """Frequency bins of one frame."""
        return self.window_samples // 2 + 1

    @property
    def latency_s(self) -> float:
        """Algorithmic latency: one window and the look-ahead, in seconds."""
        samples = self.window_samples + self.lookahead_frames * self.hop_samples
        return samples / self.sample_rate_hz

    @property
    def receptive_field_s(self) -> float | None:
        """Duration of input that one frame of output depends on, in seconds; None for all of it."""
        if self.receptive_field_frames == 0:
            return None
        samples = self.window_samples + (self.receptive_field_frames - 1) * self.hop_samples
        return samples / self.sample_rate_hz

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> DenoiserSpec:
        """A spec of plain values.

        Raises
        ------
        ModelError
        """
        return build(cls, values)


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise ModelError(
            f"format version {_short(version)}, but this release reads {FORMAT_VERSION}. "
            "Install a tinysignal release of the model's age."
        )


Spec = DenoiserSpec | ClassifierSpec
# By the task. Another kind is a dataclass with `to_json` and `from_values`, and a line here.
SPECS: dict[str, type[Any]] = {"denoise": DenoiserSpec, "classify": ClassifierSpec}


def spec_from_json(text: str) -> Spec:
    """The spec in JSON text; its ``task`` says which.

    Raises
    ------
    ModelError
        Not JSON, not a spec, a field of the wrong type, or a spec of another version.
    """
    if len(text) > _MOST_JSON:
        raise ModelError(f"the model's spec has {len(text)} characters, at most {_MOST_JSON}.")
    try:
        values: Any = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # too many digits, too deep
        raise ModelError(f"the model's spec is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise ModelError("the model's spec is not a JSON object.")
    task = values.get("task", "denoise")
    if not isinstance(task, str) or task not in SPECS:
        raise ModelError(f"the model's spec says task = {_short(task)}, expected {_any(SPECS)}.")
    spec: Spec = SPECS[task].from_values(values)
    return spec


def _any(names: Iterable[str]) -> str:
    return " or ".join(names)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name comes twice: readers differ in which of them counts."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ModelError("the model's spec holds one name two times.")
    return values


def build(kind: type[T], values: dict[str, Any], checked: Iterable[str] = ()) -> T:
    """A dataclass of plain values, each of the type that its field names."""
    known = {field.name: field.type for field in fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if name not in known:
            raise ModelError(f"the model's spec holds an unknown field {_short(name)}.")
        if name not in checked and type(value).__name__ != known[name]:
            raise ModelError(
                f"the model's spec says {name} = {_short(value)}, expected {known[name]}."
            )
    try:
        return kind(**values)
    except TypeError as error:
        raise ModelError(f"the model's spec is incomplete: {error}.") from None
