"""LSTMs with 8-bit weights and activations, whose answers do not depend on the block.

ONNX Runtime's 8-bit LSTM takes the scale of its inputs from the largest and the smallest of a run,
and that of its recurrent inputs from those of a frame. Here both are the same in every run. Two
constant inputs are 1 and -1, and all others are clipped between, after a division by twice what
calibration data reach. Two further units open all their gates, one towards 1 and one towards -1,
where they stay from the tenth frame on. So a stream gives the samples of the whole signal, provided
that no bit of what comes in depends on the block (see `tinysignal.train.export.OnnxRunningLevel`).

Weights have 7 bits: processors without VNNI add two products of 8 bits in 16, where those of larger
weights overflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Runs = Sequence[NDArray[np.float32]]

_LARGEST = 63
_ROOM = 2.0  # of an input's range, beyond the largest of the calibration data
_ENDS = 2  # inputs, and units, that hold the ends of a range
_OPEN, _LEAKS = 20.0, 4.0  # biases of gates: sigmoid 1, and 0.98, so that the cell does not grow
_GATES = 4  # input, output, forget, cell
_DOMAIN = "com.microsoft"


def with_int8_lstms(made: onnx.ModelProto, examples: Runs) -> onnx.ModelProto:
    """A model whose LSTMs compute with 8-bit numbers; what is not of the usual form stays.

    Parameters
    ----------
    made : ModelProto
        Changed in place: states of an LSTM become wider by two units.
    examples : sequence of float32 (channels, ...)
        Values of the first input in some runs; other inputs are zero.
    """
    graph = made.graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    lstms = [node for node in graph.node if node.op_type == "LSTM" and _fits(node, graph, held)]
    ranges = _ranges(made, [node.input[0] for node in lstms], examples)
    for node in lstms:
        _replace(graph, node, held, ranges[node.input[0]])
    if lstms:
        made.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
        del graph.value_info[:]
    return made


def _fits(node: onnx.NodeProto, graph: onnx.GraphProto, held: dict[str, onnx.TensorProto]) -> bool:
    """Whether an LSTM goes forward over all frames, and the graph takes and gives its states."""
    plain = [attribute.name for attribute in node.attribute] == ["hidden_size"]
    names = list(node.input)
    constants = len(names) == 7 and not names[4] and all(name in held for name in names[1:4])
    return plain and constants and len(_states(node, graph)) == 4


def _states(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The graph's inputs and outputs that are one node away from an LSTM's states."""
    before, after = set(node.input[5:7]), set(node.output[1:3])
    given = {name for other in graph.node if before & set(other.output) for name in other.input}
    taken = {name for other in graph.node if after & set(other.input) for name in other.output}
    found = [port for port in graph.input if port.name in given]
    return found + [port for port in graph.output if port.name in taken]


def _ranges(
    made: onnx.ModelProto, names: Iterable[str], examples: Runs
) -> dict[str, NDArray[np.float32]]:
    """Largest magnitude of each column of some values, in runs from zero states."""
    names = list(dict.fromkeys(names))
    shown = onnx.ModelProto()
    shown.CopyFrom(made)
    del shown.graph.output[:]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = ort.InferenceSession(shown.SerializeToString())
    first, *states = session.get_inputs()
    found: dict[str, NDArray[np.float32]] = {}
    for values in examples if names else []:
        zeros = {s.name: np.zeros((len(values), *s.shape[1:]), np.float32) for s in states}
        for name, value in zip(
            names, session.run(names, {first.name: values, **zeros}), strict=True
        ):
            largest = np.abs(value).max(axis=(0, 1))
            found[name] = np.maximum(found.get(name, largest), largest)
    return found


def _replace(
    graph: onnx.GraphProto,
    node: onnx.NodeProto,
    held: dict[str, onnx.TensorProto],
    largest: NDArray[np.float32],
) -> None:
    """Put the 8-bit LSTM, what comes before and what comes after, in the place of a node."""
    weight, recurrence, bias = (numpy_helper.to_array(held[name]) for name in node.input[1:4])
    units, inputs = recurrence.shape[2], weight.shape[2]
    ranges = (_ROOM * np.where(largest > 0, largest, 1)).astype(np.float32)
    tensors: dict[str, NDArray[Any]] = {
        "shares": 1 / ranges,
        "low": np.array(-1, np.float32),
        "high": np.array(1, np.float32),
        "one": np.array([0, 0, 0, 0, 0, 1]),
        "from": np.array([0]),
        "to": np.array([units]),
        "axis": np.array([3]),
        **_integers("w", _widened(weight * ranges, inputs + _ENDS)),
        **_integers("r", _widened(recurrence, units + _ENDS)),
        "b": _biases(bias, units),
    }
    own = {
        key: f"{node.output[0]}_{key}" for key in (*tensors, "x", "clipped", "ended", "in", "out")
    }
    whole = [own[k] for k in ("in", "w", "r", "b")] + ["", *node.input[5:7], ""]
    whole += [own[k] for k in ("w_scale", "w_zero", "r_scale", "r_zero")]
    nodes = [
        helper.make_node("Mul", [node.input[0], own["shares"]], [own["x"]]),
        helper.make_node("Clip", [own["x"], own["low"], own["high"]], [own["clipped"]]),
        helper.make_node("Pad", [own["clipped"], own["one"], own["low"]], [own["ended"]]),
        helper.make_node("Pad", [own["ended"], own["one"], own["high"]], [own["in"]]),
        helper.make_node(
            *("DynamicQuantizeLSTM", whole, [own["out"], *node.output[1:]]),
            domain=_DOMAIN,
            hidden_size=units + _ENDS,
        ),
        helper.make_node(
            "Slice", [own[k] for k in ("out", "from", "to", "axis")], [node.output[0]]
        ),
    ]
    for port in _states(node, graph):
        port.type.tensor_type.shape.dim[1].dim_value = units + _ENDS
    made = [numpy_helper.from_array(values, own[key]) for key, values in tensors.items()]
    kept = [tensor for tensor in graph.initializer if tensor.name not in node.input[1:4]]
    place = list(graph.node).index(node)
    every = [*graph.node[:place], *nodes, *graph.node[place + 1 :]]
    for field, items in ((graph.node, every), (graph.initializer, [*kept, *made])):
        del field[:]
        field.extend(items)


def _widened(weights: NDArray[np.float32], columns: int) -> NDArray[np.float32]:
    """Weights (1, 4 * units, inputs) with further units and columns of zeros."""
    gates = weights.reshape(_GATES, -1, weights.shape[2])
    more = (0, 0), (0, _ENDS), (0, columns - weights.shape[2])
    return np.pad(gates, more).reshape(1, -1, columns)


def _biases(bias: NDArray[np.float32], units: int) -> NDArray[np.float32]:
    """Biases (1, 8 * units) as one for each gate and unit, with those of the two further units."""
    both = bias.reshape(2, _GATES, units).sum(axis=0)
    open_gates = np.full((_GATES, _ENDS), _OPEN, np.float32)
    open_gates[2] = _LEAKS
    open_gates[3, 0] = -_OPEN
    every = np.concatenate([both, open_gates], axis=1)
    return np.stack([every, np.zeros_like(every)]).reshape(1, -1).astype(np.float32)


def _integers(name: str, weights: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Integers of weights (1, gates * units, inputs), turned as the operator has them; scales."""
    largest = np.abs(weights).max(axis=2)
    steps = (np.where(largest > 0, largest, 1) / _LARGEST).astype(np.float32)
    numbers = np.round(weights / steps[..., np.newaxis]).astype(np.int8)
    return {
        name: np.ascontiguousarray(numbers.swapaxes(1, 2)),
        f"{name}_scale": steps,
        f"{name}_zero": np.zeros_like(steps, np.int8),
    }
