"""Model files with 8-bit numbers.

========= ===========================================================================
weights   8-bit weights and biases, which ONNX Runtime converts to floats when it loads the file: a
          quarter of the bytes at the speed of floats
static    8-bit weights and activations, with scales of activations from calibration data
dynamic   8-bit weights and activations, with scales of activations from every run
recurrent as ``weights``, but LSTMs between states compute with 8-bit numbers, see
          `tinysignal.compress.int8_lstm`
========= ===========================================================================

Operators without an 8-bit version in ONNX Runtime (LSTM in ``static``, stacks of matrices in
``dynamic``) get 8-bit weights as in ``weights``. The fastest kind depends on the processor and the
sizes of the layers; `tinysignal.runs.report.choose_int8` measures all of them.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from tinysignal.compress.int8_lstm import with_int8_lstms
from tinysignal.errors import ModelError, TinysignalError
from tinysignal.files import atomic
from tinysignal.model import METADATA_KEY

WAYS = ("weights", "static", "dynamic", "recurrent")
_PLAIN = ("Gemm", "MatMul", "Conv")  # operators to quantise; the others are cheap and stay exact
_OPERATORS = (*_PLAIN, "LSTM")
_LARGEST = 127
_SMALLEST = 256  # values of a weight; below, the conversion nodes take more bytes than it saves

_SUBGRAPHS = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)

Runs = Sequence[NDArray[np.float32]]


def write_int8(model: Path, target: Path, way: str, examples: Runs) -> None:
    """Write a model file with 8-bit numbers and the same spec.

    Parameters
    ----------
    model, target : Path
        Model file, and file to write.
    way : {"weights", "static", "dynamic", "recurrent"}
        Kind of 8-bit storage, see `tinysignal.compress.quantize`.
    examples : sequence of float32 (channels or examples, ...)
        Values of the first input in some runs, for ``static`` and ``recurrent``; other inputs are
        zero.

    Raises
    ------
    ModelError
        ONNX Runtime cannot quantise the network.
    """
    with atomic(target) as temporary:
        made = onnx.load(model)
        if way == "recurrent":
            made = with_int8_lstms(made, examples)
        elif way != "weights":
            made = _quantised(model, examples if way == "static" else None)
        made = _with_int8_weights(made)
        _shorten_names(made.graph)
        spec = {p.key: p.value for p in onnx.load(model).metadata_props}[METADATA_KEY]
        del made.metadata_props[:]
        onnx.helper.set_model_props(made, {METADATA_KEY: spec})
        onnx.checker.check_model(made)
        temporary.write_bytes(made.SerializeToString())


def _with_int8_weights(made: onnx.ModelProto) -> onnx.ModelProto:
    """Model whose weights and biases are casts of integers times a scale, folded on loading."""
    graph = made.graph
    users = {
        name: node.op_type
        for node in graph.node
        if node.op_type in _OPERATORS
        for name in node.input
    }
    kept, before = [], []
    for held in graph.initializer:
        values = numpy_helper.to_array(held)
        if held.name not in users or values.size < _SMALLEST or values.dtype != np.float32:
            kept.append(held)
            continue
        whole, scale, floats = (f"{held.name}_{part}" for part in ("int8", "scale", "float"))
        numbers, steps = _rounded(values, users[held.name])
        kept += [numpy_helper.from_array(numbers, whole), numpy_helper.from_array(steps, scale)]
        before += [
            onnx.helper.make_node("Cast", [whole], [floats], to=onnx.TensorProto.FLOAT),
            onnx.helper.make_node("Mul", [floats, scale], [held.name]),
        ]
    nodes = [*before, *graph.node]
    for field, items in ((graph.node, nodes), (graph.initializer, kept)):
        del field[:]
        field.extend(items)
    del graph.value_info[:]
    return made


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Number the values between nodes; inputs, outputs and weights keep their names."""
    if any(held.type in _SUBGRAPHS for node in graph.node for held in node.attribute):
        return  # a subgraph names values of the graph around it
    fixed = {held.name for held in (*graph.input, *graph.output, *graph.initializer)}
    numbers = (f"{number:x}" for number in itertools.count())
    free = (name for name in numbers if name not in fixed)
    short = {"": ""} | {name: name for name in fixed}
    for node in graph.node:
        node.name = node.doc_string = ""
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name not in short:
                    short[name] = next(free)
                names[place] = short[name]


def _rounded(
    values: NDArray[np.float32], operator: str
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Integers from -127 to 127, and their scales.

    A convolution has a scale for each filter; a matrix for each row or each column, whichever are
    fewer, which for a factor is its rank; an LSTM weight (1, gates, inputs) for each gate's unit; a
    bias one scale.
    """
    shared: int | tuple[int, ...] = tuple(range(1, values.ndim))
    if operator == "LSTM" or values.ndim == 1:
        shared = -1
    elif values.ndim == 2:
        shared = 1 - int(np.argmin(values.shape))
    largest = np.abs(values).max(axis=shared, keepdims=True)
    steps = (np.where(largest > 0, largest, 1) / _LARGEST).astype(np.float32)
    return np.round(values / steps).astype(np.int8), steps


def _quantised(model: Path, examples: Runs | None) -> onnx.ModelProto:
    from onnxruntime import quantization as q  # noqa: PLC0415 - slow to import
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    common = {"weight_type": q.QuantType.QInt8}
    # Products of two activations, as in the running level, need float precision.
    common["extra_options"] = {"MatMulConstBOnly": True}
    try:
        with tempfile.TemporaryDirectory() as folder, _quantiser_warnings_off():
            prepared, written = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
            quant_pre_process(model, prepared, skip_symbolic_shape=True)
            if examples is None:
                q.quantize_dynamic(
                    prepared,
                    written,
                    op_types_to_quantize=list(_OPERATORS),
                    per_channel=True,  # otherwise the gates of an LSTM share a scale
                    nodes_to_exclude=_products_with_stacks(prepared),
                    **common,
                )
            else:
                q.quantize_static(
                    prepared,
                    written,
                    _Reader(prepared, examples),
                    op_types_to_quantize=list(_PLAIN),
                    activation_type=q.QuantType.QUInt8,
                    **common,
                )
            return onnx.load(written)
    except (TinysignalError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - onnxruntime's errors share no base but Exception
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"{model}: ONNX Runtime cannot quantise it ({reason}). Leave int8 out."
        ) from None


def _products_with_stacks(model: Path) -> list[str]:
    """Names of nodes that multiply by a stack of matrices, which per-channel scales do not fit."""
    graph = onnx.load(model).graph
    stacks = {held.name for held in graph.initializer if len(held.dims) > 2}
    nodes = (node for node in graph.node if node.op_type == "MatMul")
    return [node.name for node in nodes if stacks.intersection(node.input)]


class _Reader:
    """Calibration data in the interface of ONNX Runtime."""

    def __init__(self, model: Path, examples: Runs) -> None:
        first, *others = onnx.load(model).graph.input
        self._first = first.name
        self._states = {
            node.name: [d.dim_value for d in node.type.tensor_type.shape.dim[1:]] for node in others
        }
        self._runs = iter(examples)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Inputs of the next run; None after the last one."""
        values = next(self._runs, None)
        if values is None:
            return None
        zeros = {
            name: np.zeros((len(values), *shape), np.float32)
            for name, shape in self._states.items()
        }
        return {self._first: values, **zeros}


@contextmanager
def _quantiser_warnings_off() -> Iterator[None]:
    """Hide output and warnings of the quantiser, which address programmers."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
