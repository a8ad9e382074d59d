"""Specification of a model: input, output, latency and size, stored as JSON in its file."""

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
_MOST_VALUES = 1 << 22  # values of one example; larger ones come from damaged files
_MOST_PATCH_SAMPLES = 10_000_000  # samples of sound in one example
_MOST_AHEAD = 1_000_000  # bins of all look-ahead frames, which are kept in memory per channel
_HOPS = 64  # largest number of hops in a window

# Bounds of each number: beyond any useful model, and small enough for the memory.
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
    """Input of a classifier of pictures: grey values from 0 (black) to 1 (white).

    Parameters
    ----------
    height, width : int
        Size of an example in pixels.
    framing : {"whole", "mass", "box"}
        Conversion of a photo or scan to an example. ``whole``: the picture is stretched to the
        size. ``mass``: the ink is made light on black, cropped, fitted into a square of ``box``
        pixels and centred by its centre of mass, as in MNIST. ``box``: the same, centred by its
        bounding box.
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
    """Input of a classifier of sounds: log-mel patches, see `tinysignal.mel.log_mel`.

    Parameters
    ----------
    sample_rate_hz : int
        Sample rate in Hz; sounds are resampled to it.
    window_samples, hop_samples : int
        Window length and hop of the STFT in samples.
    mels : int
        Number of mel bands from 0 Hz to half the sample rate.
    frames : int
        Number of frames of a patch. Shorter sounds are padded with silence; longer ones are cut to
        their loudest stretch.
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
                "expected a hop of at most the window."
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
    """Raise ModelError for a number or a text out of bounds."""
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
        raise ModelError(f"{name} is {text!a:.80}, expected text without lone surrogates.")


def _short(value: object) -> str:
    """Text of a value for error messages: one short line without control characters."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number of more than 20 digits"
    text = ascii(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


@dataclass(frozen=True, kw_only=True)
class ClassifierSpec:
    """Specification of a classifier.

    The network maps ``examples`` (examples, rows, columns) to ``logits`` (examples, classes). It
    normalises its inputs itself.

    Parameters
    ----------
    name : str
        Short name for people.
    arch : str
        Architecture: ``mlp``.
    classes : tuple of str
        Class names in the order of the logits.
    input : ImageInput or SoundInput
        Size of an example, and the conversion of a file to one.
    parameters : int
        Number of trained parameters.
    macs : int
        Multiply-accumulate operations for one example.
    trained_on, licence : str
        Training data and licence of the weights.
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
            raise ModelError(f"task {_short(self.task)}, expected 'classify'.")
        _check_bounds(self)
        count = len(self.classes)
        if not 2 <= count <= _MOST_CLASSES or len(set(self.classes)) != count:
            raise ModelError(
                f"{count} classes, expected 2 to {_MOST_CLASSES}, all of different names."
            )
        for name in self.classes:
            _check_text("a class", name, _MOST_NAME)

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ClassifierSpec:
        """Spec from the values of its JSON text.

        Raises
        ------
        ModelError
            A field is missing, unknown, of the wrong type or out of bounds.
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
    """Specification of a denoiser over short-time spectra.

    The network maps ``magnitude`` (channels, frames, freq) and its state tensors to
    ``gain`` (channels, frames, freq) and the state after the last frame. Frame ``t`` of the
    gain belongs to frame ``t - lookahead_frames`` of the magnitude.

    Parameters
    ----------
    name : str
        Short name for people.
    arch : str
        Architecture: ``linear``, ``cnn`` or ``lstm``.
    sample_rate_hz : int
        Sample rate of the training data in Hz. Signals of other rates are analysed with windows of
        the same duration, see `tinysignal.stft.StftSize.at_rate`.
    window_samples, hop_samples : int
        Window length and hop of the STFT at ``sample_rate_hz``; the window is an even number
        of hops.
    lookahead_frames : int
        Number of future frames that the network uses.
    receptive_field_frames : int
        Number of input frames that one output frame depends on; 0 for all earlier frames, as in a
        recurrent network.
    parameters : int
        Number of trained parameters.
    macs_per_s : int
        Multiply-accumulate operations for one second of one channel, without the STFT.
    normalization : str
        ``none``: magnitudes enter unchanged. ``running``: the network divides them by the signal's
        running level, which treats quiet and loud recordings alike.
    trained_on, licence : str
        Training data and licence of the weights.
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
            raise ModelError(f"task {_short(self.task)}, expected 'denoise'.")
        _check_version(self.format_version)
        _check_bounds(self)
        hops, rest = divmod(self.window_samples, self.hop_samples)
        if rest or hops % 2 or not 2 <= hops <= _HOPS:
            raise ModelError(
                f"window of {self.window_samples} samples and hop of {self.hop_samples}: "
                f"expected a window of 2, 4, 6, ... or {_HOPS} hops."
            )
        if self.normalization not in NORMALIZATIONS:
            raise ModelError(
                f"normalization {_short(self.normalization)}, "
                f"expected {' or '.join(NORMALIZATIONS)}."
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
        """Receptive field of one output frame in seconds; None if it is unlimited."""
        if self.receptive_field_frames == 0:
            return None
        samples = self.window_samples + (self.receptive_field_frames - 1) * self.hop_samples
        return samples / self.sample_rate_hz

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> DenoiserSpec:
        """Spec from the values of its JSON text; raises as `ClassifierSpec.from_values`."""
        return build(cls, values)


def _check_version(version: int) -> None:
    if version != FORMAT_VERSION:
        raise ModelError(
            f"format version {_short(version)}, but this release reads {FORMAT_VERSION}. "
            "Install the tinysignal release that wrote the model."
        )


Spec = DenoiserSpec | ClassifierSpec
# Specs by their task. A new kind is a dataclass with `to_json` and `from_values`, and a line here.
SPECS: dict[str, type[Any]] = {"denoise": DenoiserSpec, "classify": ClassifierSpec}


def spec_from_json(text: str) -> Spec:
    """Spec from JSON text; its field ``task`` selects the type.

    Raises
    ------
    ModelError
        The text is not JSON or not a spec, has a field of the wrong type, or another version.
    """
    if len(text) > _MOST_JSON:
        raise ModelError(
            f"the model's spec has {len(text)} characters, expected at most {_MOST_JSON}."
        )
    try:
        values: Any = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:  # too many digits, too deep
        raise ModelError(f"the model's spec is not JSON: {error}.") from None
    if not isinstance(values, dict):
        raise ModelError(f"the model's spec is {_short(values)}, expected a JSON object.")
    task = values.get("task", "denoise")
    if not isinstance(task, str) or task not in SPECS:
        expected = " or ".join(SPECS)
        raise ModelError(f"the model's spec says task = {_short(task)}, expected {expected}.")
    spec: Spec = SPECS[task].from_values(values)
    return spec


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """JSON object without repeated names; JSON readers differ in which of them counts."""
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ModelError("the model's spec holds a name twice, expected each name once.")
    return values


def build(kind: type[T], values: dict[str, Any], checked: Iterable[str] = ()) -> T:
    """Dataclass from values of its fields' types; fields in ``checked`` are not checked again."""
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
