"""What the layers of a classifying network answer, without the framework that trained it.

ONNX Runtime gives the outputs of a graph alone, so the layers are made outputs: a protobuf message
and a piece of one, written after each other, are read as one message that has both.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from tinysignal.errors import ModelError
from tinysignal.model.network import model_path, naming, read_classifier
from tinysignal.model.session import open_session
from tinysignal.spec import ClassifierSpec

_ACTIVATIONS = {
    *("Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Selu"),
    *("Sigmoid", "Softplus", "Swish", "Tanh"),
}
_GRAPH, _OUTPUT, _NAME = b"\x3a", b"\x62", b"\x0a"  # fields of ModelProto, GraphProto, ValueInfo

Layers = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class HiddenLayers:
    """A classifying network that shows what its layers answer; made by `HiddenLayers.load`.

    Parameters
    ----------
    spec : ClassifierSpec
    titles : tuple of str
        Of the layers: those after an activation, in their order, and the last one, ``logits``.
    """

    spec: ClassifierSpec
    titles: tuple[str, ...]
    _session: ort.InferenceSession

    @classmethod
    def load(cls, model: str | Path) -> HiddenLayers:
        """Load a bundled model, a model file, or the model of a run folder.

        Parameters
        ----------
        model : str or Path
            A bundled name, or a path.

        Raises
        ------
        ModelError
            A missing, damaged or foreign file, or a model for another task.

        Examples
        --------
        >>> from tinysignal.model.hidden import HiddenLayers
        >>> HiddenLayers.load("mnist").titles
        ('layer 1', 'layer 2', 'layer 3', 'layer 4', 'layer 5', 'logits')
        """
        path = model_path(model)
        with naming(path):
            content, spec, graph = read_classifier(path)
            names = [name for operator, name in graph.results if operator in _ACTIVATIONS]
            whole = content + _as_outputs(names)
            session = open_session(whole, threads=1, fold=graph.folds_quickly)
        titles = (*(f"layer {number}" for number in range(1, len(names) + 1)), "logits")
        return cls(spec, titles, session)

    def __call__(self, examples: NDArray[np.float32]) -> Layers:
        """Outputs of every layer.

        Parameters
        ----------
        examples : float32 (examples, rows, columns)
            Pictures are 0 black to 1 white.

        Returns
        -------
        dict of str to float32 (examples, values)
            By the layers' titles.

        Raises
        ------
        ModelError
            The network does not run.
        """
        rows = np.asarray(examples, np.float32)
        try:
            logits, *hidden = self._session.run(None, {"examples": rows})
        except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
            raise ModelError(f"model '{self.spec.name}' does not run ({error}).") from None
        answers = [np.asarray(part, np.float32).reshape(len(rows), -1) for part in hidden]
        return dict(zip(self.titles, [*answers, logits], strict=True))


def _as_outputs(names: list[str]) -> bytes:
    """A piece of a model file that makes values of its graph outputs."""
    ports = b"".join(_OUTPUT + _sized(_NAME + _sized(name.encode())) for name in names)
    return _GRAPH + _sized(ports) if names else b""


def _sized(content: bytes) -> bytes:
    """A field's bytes with their number before them, seven bits a byte."""
    size, head = len(content), b""
    while size > 127:
        head += bytes([size & 127 | 128])
        size >>= 7
    return head + bytes([size]) + content
