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

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.model_graph import MOST_BYTES, read_graph
from tinysignal.spec import ClassifierSpec, DenoiserSpec, Spec, spec_from_json
from tinysignal.stft import Spectrum

METADATA_KEY = "tinysignal"
DEFAULT_MODEL = "default"
_GARBLED = "not a readable ONNX model (a garbled name)."

Array = NDArray[np.float32]
State = tuple[Array, ...]


@dataclass(frozen=True)
class Network:
    """A loaded denoising network: its spec and what runs it."""

    spec: DenoiserSpec
    session: ort.InferenceSession
    state_shapes: dict[str, tuple[int, ...]]  # without the channel axis
    is_complex: bool = False

    def initial_state(self, channels: int) -> State:
        """The state at the start of a signal."""
        return tuple(
            np.zeros((channels, *shape), np.float32) for shape in self.state_shapes.values()
        )

    def run(self, spectrum: Spectrum, state: State) -> tuple[Array | Spectrum, State]:
        """What to multiply a spectrum by, and the next state.

        Parameters
        ----------
        spectrum : complex64 (channels, frames, freq)
        state : tuple of float32 (channels, ...)

        Returns
        -------
        float32 or complex64 (channels, frames, freq), and the next state
        """
        inputs: dict[str, Array] = dict(zip(self.state_shapes, state, strict=True))
        if self.is_complex:
            inputs["spectrum"] = _as_parts(spectrum)
        else:
            inputs["magnitude"] = np.abs(spectrum)
        factor, *next_state = self.session.run(None, inputs)
        if self.is_complex:
            factor = np.ascontiguousarray(factor).view(np.complex64)[..., 0]
        return factor, tuple(next_state)


@dataclass(frozen=True)
class ClassifyingNetwork:
    """A loaded classifying network: its spec and what runs it."""

    spec: ClassifierSpec
    session: ort.InferenceSession

    def run(self, examples: Array) -> Array:
        """Logits (examples, classes) of examples (examples, rows, columns)."""
        logits: Array = self.session.run(["logits"], {"examples": examples})[0]
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
    """The file in a run's folder; a bundled name, though a folder be called so, as it is."""
    if model in bundled_models() or not Path(model).is_dir():
        return model
    return str(Path(model) / "model.onnx")


def load_network(model: str | Path = DEFAULT_MODEL, *, threads: int = 1) -> Network:
    """Load a bundled model by its name, or a model file by its path.

    Parameters
    ----------
    model : str or Path
        ``default`` or another bundled name; anything else is the path of a file.
    threads : int
        Threads that one run of the network may use.

    Raises
    ------
    ModelError
        No such file or name; not an ONNX file; no tinysignal spec in it; inputs and outputs that
        do not follow the contract.
    """
    spec, session = _open(model, threads)
    try:
        if not isinstance(spec, DenoiserSpec):
            raise ModelError(
                "a classifier, but a denoiser was expected. Use 'tinysignal classify'."
            )
        network = Network(spec, session, _state_shapes(session), _is_complex(session))
        _try_out(network)
    except UnicodeDecodeError:
        raise ModelError(f"{model}: {_GARBLED}") from None
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None
    return network


def load_classifying_network(model: str | Path, *, threads: int = 1) -> ClassifyingNetwork:
    """Load a classifier's file by its path; parameters and errors as `load_network`."""
    spec, session = _open(model, threads)
    try:
        if not isinstance(spec, ClassifierSpec):
            raise ModelError("a denoiser, but a classifier was expected. Use 'tinysignal denoise'.")
        network = ClassifyingNetwork(spec, session)
        _try_out_classifier(network)
    except UnicodeDecodeError:
        raise ModelError(f"{model}: {_GARBLED}") from None
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None
    return network


def read_spec(model: str | Path) -> Spec:
    """The spec of a bundled model or a model file, whatever its task.

    Raises
    ------
    ModelError
    """
    return _open(model, 1)[0]


def _open(model: str | Path, threads: int) -> tuple[Spec, ort.InferenceSession]:
    content = _read(model)
    try:
        text = read_graph(content).metadata.get(METADATA_KEY)
        if text is None:
            raise ModelError(
                "an ONNX model without tinysignal's spec. Expected a file written by "
                "'tinysignal train'."
            )
        spec = spec_from_json(text)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, once, below
    try:
        session = ort.InferenceSession(
            content,
            options,
            providers=["CPUExecutionProvider"],
            enable_fallback=0,  # falling back prints to stdout
        )
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        raise ModelError(f"{model}: not a readable ONNX model ({_first_line(error)}).") from None
    return spec, session


def _read(model: str | Path) -> bytes:
    if isinstance(model, str) and model in bundled_models():
        return (resources.files("tinysignal") / "models" / f"{model}.onnx").read_bytes()
    try:
        with Path(model).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        names = ", ".join(bundled_models())
        raise ModelError(f"{model}: no such model file, nor a bundled model ({names}).") from None
    except OSError as error:
        raise ModelError(f"{model}: cannot be read ({error.strerror}).") from None
    if len(content) > MOST_BYTES:
        raise ModelError(f"{model}: larger than {MOST_BYTES >> 20} MiB, the most of a model file.")
    return content


def _state_shapes(session: ort.InferenceSession) -> dict[str, tuple[int, ...]]:
    names = [node.name for node in session.get_inputs()]
    outputs = [node.name for node in session.get_outputs()]
    forms = (["magnitude", "gain"], ["spectrum", "mask"])
    if names[:1] + outputs[:1] not in forms or len(names) != len(outputs):
        raise ModelError(
            f"inputs {names} and outputs {outputs}: expected magnitude and states, "
            "gain and states (or spectrum and mask instead of magnitude and gain)."
        )
    shapes: dict[str, tuple[int, ...]] = {}
    for node in session.get_inputs()[1:]:
        shape: list[Any] = node.shape[1:]
        if node.type != "tensor(float)" or not all(isinstance(n, int) for n in shape):
            raise ModelError(f"state {node.name} has shape {node.shape}, expected fixed numbers.")
        shapes[node.name] = tuple(shape)
    return shapes


def _is_complex(session: ort.InferenceSession) -> bool:
    return bool(session.get_inputs()[0].name == "spectrum")


def _try_out(network: Network) -> None:
    """Run one silent frame, so that a network that cannot run is refused here, by name."""
    try:
        spectrum = np.zeros((1, 1, network.spec.bins), np.complex64)
        state = network.initial_state(1)
        gain, next_state = network.run(spectrum, state)
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        raise ModelError(f"the network does not run ({_first_line(error)}).") from None
    if gain.shape != spectrum.shape or [s.shape for s in next_state] != [s.shape for s in state]:
        raise ModelError(f"the network answers {spectrum.shape} with a gain of {gain.shape}.")


def _try_out_classifier(network: ClassifyingNetwork) -> None:
    """Run one dark example, so that a network that cannot run is refused here, by name."""
    spec = network.spec
    try:
        answer = network.run(np.zeros((1, *spec.input.shape), np.float32))
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        raise ModelError(f"the network does not run ({_first_line(error)}).") from None
    if answer.shape != (1, len(spec.classes)):
        raise ModelError(
            f"the network answers one example with {answer.shape}, "
            f"expected (1, {len(spec.classes)})."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
