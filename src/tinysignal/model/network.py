"""The file contract: one ONNX file that holds a network and, as JSON in its metadata, its spec.

A denoiser's inputs are ``magnitude`` (channels, frames, freq) and any number of state tensors whose
first axis is channels; its outputs are ``gain`` (channels, frames, freq) and the states in the
order of the inputs. A state is zero at the start of a signal. Channels and frames are free.
One that also changes phases has ``spectrum`` and ``mask`` instead, (channels, frames, freq, 2):
real and imaginary parts.

A classifier maps ``examples`` (examples, rows, columns) to ``logits`` (examples, classes); the
number of examples is free.

All are float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from math import prod
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tinysignal.errors import FileError, ModelError
from tinysignal.model.graph import MOST_BYTES, ModelGraph, Port, read_graph
from tinysignal.model.session import open_session, run, time_limit
from tinysignal.remote import Url, is_url, place, read_bytes
from tinysignal.remote.url import without_secrets
from tinysignal.spec import ClassifierSpec, DenoiserSpec, Spec, spec_from_json
from tinysignal.stft import Spectrum

METADATA_KEY = "tinysignal"
DEFAULT_MODEL = "default"
MOST_STATE = 4_000_000  # numbers for each channel

Array = NDArray[np.float32]
State = tuple[Array, ...]


@dataclass(frozen=True)
class DenoisingModel:
    """A loaded denoising network: its spec and what runs it."""

    spec: DenoiserSpec
    session: ort.InferenceSession
    state_shapes: dict[str, tuple[int, ...]]  # without the channel axis
    is_complex: bool = False
    checksum: str = ""  # SHA-256 of the file

    def initial_state(self, channels: int) -> State:
        """The state at the start of a signal."""
        return tuple(
            np.zeros((channels, *shape), np.float32) for shape in self.state_shapes.values()
        )

    def run(
        self, spectrum: Spectrum, state: State, options: ort.RunOptions | None = None
    ) -> tuple[Array | Spectrum, State]:
        """What to multiply a spectrum by, and the next state.

        Parameters
        ----------
        spectrum : complex64 (channels, frames, freq)
        state : tuple of float32 (channels, ...)
        options : RunOptions or None
            Of ONNX Runtime.

        Returns
        -------
        float32 or complex64 (channels, frames, freq), and the next state

        Raises
        ------
        ModelError
            It does not run, or answers with NaN or infinite values.
        """
        first = _as_parts(spectrum) if self.is_complex else np.abs(spectrum)
        inputs = {"spectrum" if self.is_complex else "magnitude": first}
        inputs.update(zip(self.state_shapes, state, strict=True))
        shapes = [first.shape, *(part.shape for part in state)]
        try:
            factor, *next_state = run(self.session, inputs, shapes, options)
        except ModelError as error:
            raise ModelError(f"model '{self.spec.name}': {error}") from None
        if not np.isfinite(factor).all():
            raise ModelError(f"model '{self.spec.name}' answers with NaN or infinite values.")
        if self.is_complex:
            return np.ascontiguousarray(factor).view(np.complex64)[..., 0], tuple(next_state)
        return factor, tuple(next_state)


@dataclass(frozen=True)
class ClassificationModel:
    """A loaded classifying network: its spec and what runs it."""

    spec: ClassifierSpec
    session: ort.InferenceSession

    def run(self, examples: Array, options: ort.RunOptions | None = None) -> Array:
        """Logits (examples, classes) of examples (examples, rows, columns).

        Raises
        ------
        ModelError
            It does not run, or answers with NaN or infinite values.
        """
        shape = (len(examples), len(self.spec.classes))
        try:
            [logits] = run(self.session, {"examples": examples}, [shape], options)
        except ModelError as error:
            raise ModelError(f"model '{self.spec.name}': {error}") from None
        if not np.isfinite(logits).all():
            raise ModelError(f"model '{self.spec.name}' answers with NaN or infinite values.")
        return logits


def _as_parts(spectrum: Spectrum) -> Array:
    """Real and imaginary parts on a last axis."""
    parts = np.ascontiguousarray(spectrum, np.complex64).view(np.float32)
    return parts.reshape(*spectrum.shape, 2)


def bundled_models() -> list[str]:
    """Names of the models that come with the package."""
    folder = resources.files("tinysignal") / "models"
    if not folder.is_dir():
        return []
    return sorted(Path(f.name).stem for f in folder.iterdir() if f.name.endswith(".onnx"))


def model_path(model: str | Path) -> str | Path:
    """The file in a run's folder; a bundled name, though a folder be called so, as it is.

    What a URL names is a run's folder if it does not end in ``.onnx``.
    """
    if is_url(model):
        return model if str(model).endswith(".onnx") else f"{str(model).rstrip('/')}/model.onnx"
    if model in bundled_models() or not Path(model).is_dir():
        return model
    return str(Path(model) / "model.onnx")


def load_denoising_model(model: str | Path = DEFAULT_MODEL, *, threads: int = 1) -> DenoisingModel:
    """Load a bundled model by its name, or a model file by its path.

    Parameters
    ----------
    model : str or Path
        ``default`` or another bundled name; anything else is the path or the URL of a file.
    threads : int
        Threads that one run of the network may use.

    Raises
    ------
    ModelError
        No such file or name; not an ONNX file; no tinysignal spec in it; inputs and outputs that
        do not follow the contract.
    """
    with naming(model):
        content = _read(model)
        spec, graph = _judged(content)
        if not isinstance(spec, DenoiserSpec):
            raise ModelError(
                "a classifier, but a denoiser was expected. Use 'tinysignal classify'."
            )
        shapes = _state_shapes(graph, spec.bins)
        session = open_session(content, threads=threads, fold=graph.folds_quickly)
        is_complex = graph.inputs[0].name == "spectrum"
        checksum = hashlib.sha256(content).hexdigest()
        network = DenoisingModel(spec, session, shapes, is_complex, checksum)
        _try_out(network)
    return network


def load_classification_model(model: str | Path, *, threads: int = 1) -> ClassificationModel:
    """Load a classifier's file by its path; parameters and errors as `load_denoising_model`."""
    with naming(model):
        content, spec, graph = read_classifier(model)
        session = open_session(content, threads=threads, fold=graph.folds_quickly)
        network = ClassificationModel(spec, session)
        _try_out_classifier(network)
    return network


def read_classifier(model: str | Path) -> tuple[bytes, ClassifierSpec, ModelGraph]:
    """A classifier's file, held to the contract before ONNX Runtime sees it.

    Raises
    ------
    ModelError
        Without the model's name.
    """
    content = _read(model)
    spec, graph = _judged(content)
    if not isinstance(spec, ClassifierSpec):
        raise ModelError("a denoiser, but a classifier was expected. Use 'tinysignal denoise'.")
    _check_classifier(graph, spec)
    return content, spec, graph


def read_spec(model: str | Path) -> Spec:
    """The spec of a bundled model or a model file, whatever its task; the network is not run.

    Raises
    ------
    ModelError
    """
    with naming(model):
        return _judged(_read(model))[0]


@contextmanager
def naming(model: str | Path) -> Iterator[None]:
    try:
        yield
    except ModelError as error:
        # What it quotes of the file may be anything.
        said = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(error))
        raise ModelError(f"{without_secrets(str(model))}: {said}") from None


def _judged(content: bytes) -> tuple[Spec, ModelGraph]:
    """What a file says of itself, judged before ONNX Runtime sees it."""
    graph = read_graph(content)
    text = graph.metadata.get(METADATA_KEY)
    if text is None:
        raise ModelError(
            "an ONNX model without tinysignal's spec. Expected a file written by "
            "'tinysignal train'."
        )
    return spec_from_json(text), graph


def _read(model: str | Path) -> bytes:
    if isinstance(model, str) and model in bundled_models():
        return _read_bundled(model)
    if is_url(model):
        return _read_from_store(str(model))
    try:
        with Path(model).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        names = ", ".join(bundled_models())
        raise ModelError(f"no such model file, nor a bundled model ({names}).") from None
    except (OSError, ValueError) as error:  # a name with a zero in it
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"cannot be read ({reason}).") from None
    return _bounded(content)


def _read_from_store(model: str) -> bytes:
    found = place(model)
    try:
        if isinstance(found, Url):
            return _bounded(read_bytes(found, MOST_BYTES + 1))
    except FileError as error:
        raise ModelError(str(error).removeprefix(f"{found}: ")) from None
    return _read(found)  # file://


def _bounded(content: bytes) -> bytes:
    if len(content) > MOST_BYTES:
        raise ModelError(f"larger than {MOST_BYTES >> 20} MiB, the most of a model file.")
    return content


def _read_bundled(name: str) -> bytes:
    folder = resources.files("tinysignal") / "models"
    checksum = folder / f"{name}.onnx.sha256"  # as sha256sum writes it
    content = (folder / f"{name}.onnx").read_bytes()
    expected = checksum.read_bytes()[:64].decode("ascii", "replace") if checksum.is_file() else ""
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelError("the bundled model is damaged. Install tinysignal again.")
    return content


def _state_shapes(graph: ModelGraph, bins: int) -> dict[str, tuple[int, ...]]:
    names = [port.name for port in graph.inputs]
    outputs = [port.name for port in graph.outputs]
    forms = {("magnitude", "gain"): (bins,), ("spectrum", "mask"): (bins, 2)}
    if (*names[:1], *outputs[:1]) not in forms or len(names) != len(outputs):
        raise ModelError(
            f"inputs {names!r:.200} and outputs {outputs!r:.200}: expected magnitude and states, "
            "gain and states (or spectrum and mask instead of magnitude and gain)."
        )
    last = forms[names[0], outputs[0]]
    _check_port(graph.inputs[0], ("channels", "frames", *last))
    _check_port(graph.outputs[0], ("channels", "frames", *last))
    shapes: dict[str, tuple[int, ...]] = {}
    for port in graph.inputs[1:]:
        shape = (port.shape or ())[1:]
        sizes = tuple(n for n in shape if n is not None and n > 0)
        if not port.is_float or port.shape is None or port.shape[:1] != (None,) or sizes != shape:
            raise ModelError(
                f"state {port.name} has shape {_shown(port)}, expected float32 of free channels "
                "and fixed numbers."
            )
        shapes[port.name] = sizes
    for port in graph.outputs[1:]:
        if not port.is_float:
            raise ModelError(f"output {port.name} has no numbers of float32.")
    if sum(map(prod, shapes.values())) > MOST_STATE:
        raise ModelError(f"states of more than {MOST_STATE} numbers for each channel.")
    return shapes


def _check_classifier(graph: ModelGraph, spec: ClassifierSpec) -> None:
    names = [port.name for port in (*graph.inputs, *graph.outputs)]
    if names != ["examples", "logits"]:
        raise ModelError(f"inputs and outputs {names!r:.200}, expected examples and logits.")
    _check_port(graph.inputs[0], ("examples", *spec.input.shape))
    _check_port(graph.outputs[0], ("examples", len(spec.classes)))


def _check_port(port: Port, expected: tuple[str | int, ...]) -> None:
    """Refuse another type or shape; an axis that is named must be free, another may be."""
    fits = port.shape is None or (
        len(port.shape) == len(expected)
        and all(n is None or n == e for n, e in zip(port.shape, expected, strict=True))
    )
    if not port.is_float or not fits:
        shape = ", ".join(map(str, expected))
        raise ModelError(
            f"{port.name} has shape {_shown(port)}, expected float32 ({shape}), "
            "what is named of any size."
        )


def _shown(port: Port) -> str:
    if port.shape is None:
        return "unknown"
    axes = ", ".join("free" if n is None else str(n) for n in port.shape[:8])
    return f"({axes})" if port.is_float else f"({axes}), not of float32"


def _try_out(network: DenoisingModel) -> None:
    """Run a few frames, so that a network that cannot run is refused here, by name."""
    rng = np.random.default_rng(0)
    with time_limit() as options:
        for channels, frames in ((2, 3), (1, 1)):
            shape = (channels, frames, network.spec.bins)
            noise = rng.normal(size=shape) + 1j * rng.normal(size=shape)
            state = network.initial_state(channels)
            _, state = network.run(noise.astype(np.complex64), state, options)
            network.run(np.zeros(shape, np.complex64), state, options)


def _try_out_classifier(network: ClassificationModel) -> None:
    """Run a few examples, so that a network that cannot run is refused here, by name."""
    rng = np.random.default_rng(0)
    with time_limit() as options:
        for count in (3, 1):
            network.run(rng.random((count, *network.spec.input.shape), np.float32), options)
