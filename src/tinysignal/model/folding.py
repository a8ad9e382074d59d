"""How much of a graph ONNX Runtime would work out as it loads it, where no time limit reaches.

Nodes that only see constants are run once, at load ("constant folding"). That makes real networks
faster, and lets a hostile one take hours. So it is allowed where it is little work by the look of
the graph; elsewhere the nodes are run with the others, under a time limit.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping
from math import inf, prod
from typing import Any

MOST_FOLDED_BYTES = 16 << 20  # of one result; ONNX Runtime holds to it
_MOST_WORK_BYTES = 1 << 30  # of all results: seconds

_Message = dict[str, list[Any]]

# What a result may be in size. Where an operator is not named, nobody can say how long it takes.
_AS_INPUTS = {
    *("Abs", "Cast", "CastLike", "Ceil", "Clip", "Concat", "Constant", "DequantizeLinear", "Exp"),
    *("Flatten", "Floor", "Gather", "Identity", "Log", "Neg", "Not", "QuantizeLinear"),
    *("Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Relu"),
    *("Reshape", "Round", "Shape", "Sigmoid", "Sign", "Size", "Slice", "Split", "Sqrt", "Squeeze"),
    *("Tanh", "Transpose", "Unsqueeze"),
}
_AS_THEIR_PRODUCT = {
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max"),
    *("Min", "Mod", "Mul", "Or", "Pow", "Sub", "Where"),
}
_AS_A_VALUE_SAYS = {"ConstantOfShape", "Expand", "If", "Pad", "Range", "Tile"}
_NUMBERS = ("raw_data", "float_data", "int32_data", "int64_data", "uint64_data", "double_data")


def folds_quickly(graph: _Message) -> bool:
    """Whether what only sees constants is little work.

    Parameters
    ----------
    graph : dict
        A GraphProto, as `tinysignal.model.graph` reads it.
    """
    return _work(graph, {}) <= _MOST_WORK_BYTES


def _work(graph: _Message, around: MutableMapping[bytes, float]) -> float:
    """Bytes that are worked out, infinite if nobody can say; constants around, with their sizes."""
    sizes = ChainMap({_name(t): _bytes(t) for t in graph.get("initializer", [])}, around)
    work = 0.0
    for node in graph.get("node", []):
        attributes = node.get("attribute", [])
        for attribute in attributes:
            for inner in [*attribute.get("g", []), *attribute.get("graphs", [])]:
                work += _work(inner, sizes)
        operator = str(node.get("op_type", [b""])[0], "utf-8", "replace")
        inputs = [bytes(name) for name in node.get("input", []) if name]
        # A shape may be known of what is not.
        if operator in ("Shape", "Size") or all(name in sizes for name in inputs):
            held = [_bytes(tensor) for a in attributes for tensor in a.get("t", [])]
            size = _result_bytes(operator, [*(sizes.get(name, 64.0) for name in inputs), *held])
            work += size
            for name in node.get("output", []):
                sizes[bytes(name)] = min(size, float(MOST_FOLDED_BYTES))
    return work


def _result_bytes(operator: str, inputs: list[float]) -> float:
    if operator in _AS_INPUTS:
        return sum(inputs)
    if operator in _AS_THEIR_PRODUCT:
        return min(4 * prod(max(1.0, size / 4) for size in inputs), float(MOST_FOLDED_BYTES))
    return float(MOST_FOLDED_BYTES) if operator in _AS_A_VALUE_SAYS else inf


def _name(tensor: _Message) -> bytes:
    return bytes(tensor.get("name", [b""])[0])


def _bytes(tensor: _Message) -> float:
    """Of a tensor's numbers, as they are in the file."""
    values = [value for name in _NUMBERS for value in tensor.get(name, [])]
    return float(sum(map(_length, values)))


def _length(value: object) -> int:
    if isinstance(value, tuple):  # where packed numbers begin and end
        return int(value[1] - value[0])
    return len(value) if isinstance(value, memoryview) else 8
