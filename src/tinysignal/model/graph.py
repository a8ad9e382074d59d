"""What an ONNX file says of itself, read without running anything of it.

A strict reader of the file's protobuf bytes, for files from strangers: only what a network needs
is let through. What is not in the tables below is refused, and so are tensors that are kept in
other files, wherever they hide, before ONNX Runtime sees the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

from tinysignal.errors import ModelError
from tinysignal.model.folding import folds_quickly

MOST_BYTES = 256 << 20
MOST_FIELDS = 500_000  # numbers and pieces of text but those of tensors: half a second's work
MOST_LEVELS = 32  # of messages in messages; a graph inside a graph takes three
MOST_NODES = 20_000
_FLOAT = 1  # TensorProto.FLOAT

# ONNX Runtime's own operators that its quantiser writes. Others of that domain read files.
_QUANTISED = {
    *("DequantizeLinear", "DynamicQuantizeLSTM", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"),
    *("QAttention", "QGemm", "QLinearAdd", "QLinearAveragePool", "QLinearConcat"),
    *("QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearMul", "QLinearReduceMean"),
    *("QLinearSigmoid", "QLinearSoftmax", "QLinearWhere", "QuantizeLinear"),
}
_REFUSED = {
    "a loop, which might not end": ("Loop", "Scan", "SequenceMap"),
    "text, which no signal is": (
        *("StringConcat", "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer"),
    ),
    "chance, so that no answer is like another": (
        *("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"),
        *("RandomUniform", "RandomUniformLike"),
    ),
}

# Kinds of fields: int, float and bytes are values; another name is a message; * is repeated.
# The names are those of onnx.proto. What is missing is refused: functions, training graphs,
# sparse tensors, device configurations, and what a later ONNX may add.
_SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "model": {
        1: ("ir_version", "int"),
        2: ("producer_name", "bytes"),
        3: ("producer_version", "bytes"),
        4: ("domain", "bytes"),
        5: ("model_version", "int"),
        6: ("doc_string", "bytes"),
        7: ("graph", "graph"),
        8: ("opset_import", "opset*"),
        14: ("metadata_props", "entry*"),
    },
    "opset": {1: ("domain", "bytes"), 2: ("version", "int")},
    "entry": {1: ("key", "bytes"), 2: ("value", "bytes")},
    "graph": {
        1: ("node", "node*"),
        2: ("name", "bytes"),
        5: ("initializer", "tensor*"),
        10: ("doc_string", "bytes"),
        11: ("input", "port*"),
        12: ("output", "port*"),
        13: ("value_info", "port*"),
        14: ("quantization_annotation", "annotation*"),
        16: ("metadata_props", "entry*"),
    },
    "annotation": {1: ("tensor_name", "bytes"), 2: ("quant_parameter_tensor_names", "entry*")},
    "node": {
        1: ("input", "bytes*"),
        2: ("output", "bytes*"),
        3: ("name", "bytes"),
        4: ("op_type", "bytes"),
        5: ("attribute", "attribute*"),
        6: ("doc_string", "bytes"),
        7: ("domain", "bytes"),
        8: ("overload", "bytes"),
        9: ("metadata_props", "entry*"),
    },
    "attribute": {
        1: ("name", "bytes"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "bytes"),
        5: ("t", "tensor"),
        6: ("g", "graph"),
        7: ("floats", "float*"),
        8: ("ints", "int*"),
        9: ("strings", "bytes*"),
        10: ("tensors", "tensor*"),
        11: ("graphs", "graph*"),
        13: ("doc_string", "bytes"),
        14: ("tp", "type"),
        15: ("type_protos", "type*"),
        20: ("type", "int"),
    },
    "tensor": {
        1: ("dims", "int*"),
        2: ("data_type", "int"),
        4: ("float_data", "float*"),
        5: ("int32_data", "int*"),
        6: ("string_data", "bytes*"),
        7: ("int64_data", "int*"),
        8: ("name", "bytes"),
        9: ("raw_data", "bytes"),
        10: ("double_data", "double*"),
        11: ("uint64_data", "int*"),
        12: ("doc_string", "bytes"),
        13: ("external_data", "entry*"),
        14: ("data_location", "int"),
        16: ("metadata_props", "entry*"),
    },
    "port": {
        1: ("name", "bytes"),
        2: ("type", "type"),
        3: ("doc_string", "bytes"),
        4: ("metadata_props", "entry*"),
    },
    "type": {
        1: ("tensor_type", "tensor_type"),
        4: ("sequence_type", "element"),
        6: ("denotation", "bytes"),
        9: ("optional_type", "element"),
    },
    "element": {1: ("elem_type", "type")},
    "tensor_type": {1: ("elem_type", "int"), 2: ("shape", "shape")},
    "shape": {1: ("dim", "dim*")},
    "dim": {1: ("dim_value", "int"), 2: ("dim_param", "bytes"), 3: ("denotation", "bytes")},
}
_WIRE = {"int": 0, "double": 1, "bytes": 2, "float": 5}
_SIZE = {1: 8, 5: 4}

_Message = dict[str, list[Any]]


class Port(NamedTuple):
    """An input or output of the graph."""

    name: str
    is_float: bool  # a tensor of float32
    shape: tuple[int | None, ...] | None  # None: an axis, or a whole shape, that is free


@dataclass(frozen=True)
class ModelGraph:
    """What a model file says of itself.

    Parameters
    ----------
    inputs, outputs : tuple of Port
    operators : frozenset of (str, str)
        Domain and type of every node, those of subgraphs too; ONNX's own domain is "".
    results : tuple of (str, str)
        Type and name of the first output of every node, in the file's order; not of subgraphs.
    metadata : dict of str to str
    folds_quickly : bool
        See `tinysignal.model.folding`.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: frozenset[tuple[str, str]]
    results: tuple[tuple[str, str], ...]
    metadata: dict[str, str]
    folds_quickly: bool


def read_graph(content: bytes) -> ModelGraph:
    """Read a model file's bytes.

    Raises
    ------
    ModelError
        It is not an ONNX file, keeps data in other files, has operators that no network needs, or
        is larger or more nested than any network of ours.
    """
    model = _Reader(content).message("model", 0, len(content), 0)
    if "graph" not in model:
        raise _unreadable("there is no graph in it")
    graph: _Message = model["graph"][0]
    operators = list(_operators(graph))
    if len(operators) > MOST_NODES:
        raise ModelError(f"a network of {len(operators)} nodes, expected at most {MOST_NODES}.")
    _check_operators(frozenset(operators))
    inside = {bytes(t["name"][0]) for t in graph.get("initializer", []) if "name" in t}
    ports = [p for p in graph.get("input", []) if bytes(p.get("name", [b""])[0]) not in inside]
    metadata: dict[str, str] = {}
    for entry in model.get("metadata_props", []):
        key = _text(entry, "key")
        if key in metadata:
            raise _unreadable(f"two entries {_plain(key)} in its metadata")
        metadata[key] = _text(entry, "value")
    return ModelGraph(
        tuple(map(_port, ports)),
        tuple(map(_port, graph.get("output", []))),
        frozenset(operators),
        tuple((_text(node, "op_type"), _text(node, "output")) for node in graph.get("node", [])),
        metadata,
        folds_quickly(graph),
    )


@dataclass
class _Reader:
    """Protobuf's wire format, bounded in depth and in the number of fields."""

    content: bytes
    view: memoryview = field(init=False)
    fields_left: int = MOST_FIELDS

    def __post_init__(self) -> None:
        self.view = memoryview(self.content)

    def message(self, kind: str, at: int, end: int, level: int) -> _Message:
        """The fields of a message between two places, by their names."""
        if level > MOST_LEVELS:
            raise _unreadable(f"graphs or types more than {MOST_LEVELS} levels deep")
        schema = _SCHEMA[kind]
        found: _Message = {}
        while at < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise _unreadable(f"more than {MOST_FIELDS} fields")
            key, at = self.varint(at, end)
            number, wire = key >> 3, key & 7
            if number not in schema:
                raise _unreadable(f"field {number} of a {kind}, which no model needs")
            name, what = schema[number]
            one = what.rstrip("*")
            value, at = self.value(wire, at, end)
            if wire == 2 and one in _SCHEMA:
                value = self.message(one, value[0], value[1], level + 1)
            elif wire == 2 and one == "bytes":
                value = self.view[slice(*value)]
            elif wire != _WIRE.get(one, 2) and not (wire == 2 and what.endswith("*")):
                raise _unreadable(f"{name} of a {kind} of wire type {wire}")
            values = found.setdefault(name, [])
            if values and one == what:
                raise _unreadable(f"two times {name} in a {kind}")
            values.append(value)
        if kind == "type" and len(found.keys() - {"denotation"}) > 1:
            raise _unreadable("two types in one")
        if kind == "tensor":
            self.check_size(found)
        if kind == "tensor" and ("external_data" in found or found.get("data_location", [0])[0]):
            raise ModelError(
                f"a tensor's numbers ({_shown(found)}) are in another file. A model is one file: "
                "save it with all data inside."
            )
        return found

    def check_size(self, tensor: _Message) -> None:
        """Refuse a tensor of more numbers than a file may hold; a negative axis is one, too."""
        numbers = 1
        for dim in tensor.get("dims", []):
            at, end = dim if isinstance(dim, tuple) else (0, 0)
            sizes = [] if isinstance(dim, tuple) else [dim]
            while at < end and len(sizes) <= MOST_LEVELS:
                size, at = self.varint(at, end)
                sizes.append(size)
            numbers *= prod(sizes)
            if numbers > MOST_BYTES:
                raise _unreadable(f"a tensor ({_shown(tensor)}) of more than {MOST_BYTES} numbers")

    def value(self, wire: int, at: int, end: int) -> tuple[Any, int]:
        """A field's value, of bytes their first and last place; and the place after it."""
        if wire == 0:
            return self.varint(at, end)
        if wire == 2:
            size, at = self.varint(at, end)
            place = (at, at + size)
        elif wire in _SIZE:
            place = (at, at + _SIZE[wire])
        else:
            raise _unreadable(f"wire type {wire}")
        if place[1] > end:
            raise _unreadable("it is cut off")
        return place, place[1]

    def varint(self, at: int, end: int) -> tuple[int, int]:
        """A number of at most ten bytes, and the place after it."""
        number = 0
        for shift in range(0, 70, 7):
            if at >= end:
                raise _unreadable("it is cut off")
            byte = self.content[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, at
        raise _unreadable("a number of more than ten bytes")


def _port(port: _Message) -> Port:
    [of_type] = port.get("type", [{}])
    [tensor] = of_type.get("tensor_type", [{}])
    shape = None
    if "shape" in tensor:
        shape = tuple(map(_size, tensor["shape"][0].get("dim", [])))
    is_float = tensor.get("elem_type", [0])[0] == _FLOAT
    return Port(_text(port, "name"), is_float, shape)


def _size(dim: _Message) -> int | None:
    if "dim_value" not in dim:
        return None
    value: int = dim["dim_value"][0]
    return value - (1 << 64) if value >> 63 else value


def _operators(graph: _Message) -> Iterator[tuple[str, str]]:
    for node in graph.get("node", []):
        domain = _text(node, "domain")
        yield "" if domain == "ai.onnx" else domain, _text(node, "op_type")
        for attribute in node.get("attribute", []):
            for inner in [*attribute.get("g", []), *attribute.get("graphs", [])]:
                yield from _operators(inner)


def _check_operators(operators: frozenset[tuple[str, str]]) -> None:
    for domain, name in sorted(operators):
        if domain and not (domain == "com.microsoft" and name in _QUANTISED):
            raise ModelError(
                f"operator {_plain(name)} of {_plain(domain)}: expected ONNX's own operators, and "
                "those that ONNX Runtime's quantiser writes."
            )
        for why, names in _REFUSED.items():
            if not domain and name in names:
                raise ModelError(f"operator {name}: {why}. A model must do without.")


def _text(message: _Message, name: str) -> str:
    try:
        return str(message.get(name, [b""])[0], "utf-8")
    except UnicodeDecodeError:
        raise _unreadable("a garbled name") from None


def _plain(name: str) -> str:
    return ascii(name[:60])


def _shown(tensor: _Message) -> str:
    return _plain(str(tensor.get("name", [b""])[0], "utf-8", "replace"))


def _unreadable(why: str) -> ModelError:
    return ModelError(f"not a readable ONNX model ({why}).")
