"""A model file with 8-bit weights and activations."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from tinysignal.errors import ModelError, TinysignalError
from tinysignal.files import atomic
from tinysignal.model_file import METADATA_KEY

_OPERATORS = ["Gemm", "MatMul", "Conv"]  # the rest costs nothing, and is left exact


def write_int8(model: Path, target: Path, examples: Sequence[NDArray[np.float32]] | None) -> None:
    """Write a model file with 8-bit numbers in its layers, its spec as it was.

    Weights get a scale for every output. Activations get theirs from the examples, or anew in
    every run where there are none.

    Parameters
    ----------
    model, target : Path
        May be the same.
    examples : sequence of float32 (channels or examples, ...), or None
        What the network's first input is in some runs; other inputs are zero.

    Raises
    ------
    ModelError
        ONNX Runtime cannot quantise the network.
    """
    try:
        with tempfile.TemporaryDirectory() as folder, atomic(target) as temporary, _calm():
            temporary.write_bytes(_quantised(model, Path(folder), examples))
    except (TinysignalError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(f"{model}: ONNX Runtime cannot make it int8 ({reason}).") from None


def _quantised(model: Path, folder: Path, examples: Sequence[NDArray[np.float32]] | None) -> bytes:
    from onnxruntime import quantization as q  # noqa: PLC0415 - slow to import
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    prepared, written = folder / "prepared.onnx", folder / "int8.onnx"
    quant_pre_process(model, prepared, skip_symbolic_shape=True)
    common = {
        "op_types_to_quantize": _OPERATORS,
        "per_channel": True,
        "weight_type": q.QuantType.QInt8,
    }
    if examples is None:
        q.quantize_dynamic(prepared, written, **common)
    else:
        reader = _Reader(prepared, examples)
        q.quantize_static(prepared, written, reader, activation_type=q.QuantType.QUInt8, **common)
    made = onnx.load(written)
    spec = {p.key: p.value for p in onnx.load(model).metadata_props}[METADATA_KEY]
    del made.metadata_props[:]
    onnx.helper.set_model_props(made, {METADATA_KEY: spec})
    onnx.checker.check_model(made)
    content: bytes = made.SerializeToString()
    return content


class _Reader:
    """Runs for the calibration, as ONNX Runtime asks for them."""

    def __init__(self, model: Path, examples: Sequence[NDArray[np.float32]]) -> None:
        first, *others = onnx.load(model).graph.input
        self._first = first.name
        self._states = {
            node.name: [d.dim_value for d in node.type.tensor_type.shape.dim[1:]] for node in others
        }
        self._runs = iter(examples)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """The inputs of the next run; None after the last."""
        values = next(self._runs, None)
        if values is None:
            return None
        zeros = {
            name: np.zeros((len(values), *shape), np.float32)
            for name, shape in self._states.items()
        }
        return {self._first: values, **zeros}


@contextmanager
def _calm() -> Iterator[None]:
    """What the quantiser says is for those who program with it."""
    level = logging.root.level
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
            logging.root.setLevel(level)
