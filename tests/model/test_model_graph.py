"""Hostile model files: refused in one line, before ONNX Runtime sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import AttributeProto, GraphProto, ModelProto, SparseTensorProto, TensorProto, helper
from onnx import numpy_helper as to_tensor

from onset import save_onset_model
from tinysignal.errors import ModelError
from tinysignal.model import graph as model_graph
from tinysignal.model import load_denoising_model, read_spec
from tinysignal.model.graph import read_graph

N = helper.make_node


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that runs."""
    return save_onset_model(tmp_path_factory.mktemp("good") / "m.onnx").read_bytes()


def loaded(content: bytes) -> ModelProto:
    return onnx.load_model_from_string(content)


def outside(location: str = "/etc/hostname") -> TensorProto:
    """A tensor of one number in another file."""
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


# The reader against ONNX's own


def test_the_tables_are_onnx_own() -> None:
    """Every field that is let through has the number, name and kind that ONNX gives it."""
    kinds = {1: "double", 2: "float", 3: "int", 4: "int", 5: "int", 9: "bytes", 12: "bytes"}
    seen: set[tuple[str, str]] = set()

    def compare(kind: str, descriptor: Any) -> None:
        if (kind, descriptor.full_name) in seen:
            return
        seen.add((kind, descriptor.full_name))
        empty = descriptor._concrete_class()
        for number, (name, what) in model_graph._SCHEMA[kind].items():
            theirs = descriptor.fields_by_number[number]
            assert theirs.name == name
            assert hasattr(getattr(empty, name), "append") == what.endswith("*")
            if theirs.message_type is not None:
                compare(what.rstrip("*"), theirs.message_type)
            else:
                assert what.rstrip("*") == kinds.get(theirs.type, "int")

    compare("model", ModelProto.DESCRIPTOR)
    assert {kind for kind, _ in seen} == model_graph._SCHEMA.keys()


def test_what_the_reader_finds_is_what_onnx_finds(good: bytes) -> None:
    found, theirs = read_graph(good), loaded(good)
    assert [p.name for p in found.inputs] == [i.name for i in theirs.graph.input]
    assert [p.name for p in found.outputs] == [o.name for o in theirs.graph.output]
    assert found.operators == {(n.domain, n.op_type) for n in theirs.graph.node}
    assert found.metadata == {p.key: p.value for p in theirs.metadata_props}
    assert found.inputs[1].shape == (None, 1, 257)


# Other files


def in_an_initializer(model: ModelProto) -> None:
    model.graph.initializer.append(outside())


def below_the_working_folder(model: ModelProto) -> None:
    model.graph.initializer.append(outside("notes.bin"))


def in_the_folder_above(model: ModelProto) -> None:
    model.graph.initializer.append(outside("../notes.bin"))


def marked_but_without_a_place(model: ModelProto) -> None:
    tensor = TensorProto(name="far", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    model.graph.initializer.append(tensor)


def with_a_place_but_unmarked(model: ModelProto) -> None:
    tensor = outside()
    tensor.data_location = TensorProto.DEFAULT
    model.graph.initializer.append(tensor)


def in_a_constant(model: ModelProto) -> None:
    model.graph.node.append(N("Constant", [], ["far"], value=outside()))


def in_a_list_of_tensors(model: ModelProto) -> None:
    attribute = AttributeProto(name="many", type=AttributeProto.TENSORS, tensors=[outside()])
    model.graph.node[0].attribute.append(attribute)


def in_a_sparse_initializer(model: ModelProto) -> None:
    sparse = SparseTensorProto(values=outside(), dims=[1])
    model.graph.sparse_initializer.append(sparse)


def in_a_sparse_constant(model: ModelProto) -> None:
    sparse = SparseTensorProto(values=outside(), dims=[1])
    attribute = AttributeProto(name="sparse_value", type=AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.CopyFrom(sparse)
    model.graph.node.append(N("Constant", [], ["far"]))
    model.graph.node[-1].attribute.append(attribute)


def inner(*tensors: TensorProto) -> GraphProto:
    out = helper.make_tensor_value_info("far", TensorProto.FLOAT, [1])
    return helper.make_graph([], "inner", [], [out], list(tensors))


def in_a_branch(model: ModelProto) -> None:
    branches = {"then_branch": inner(outside()), "else_branch": inner(outside())}
    model.graph.node.append(N("If", ["yes"], ["y"], **branches))


def in_a_branch_of_a_branch(model: ModelProto) -> None:
    node = N("If", ["yes"], ["y"], then_branch=inner(outside()), else_branch=inner(outside()))
    outer = helper.make_graph([node], "outer", [], [helper.make_empty_tensor_value_info("y")])
    model.graph.node.append(N("If", ["yes"], ["z"], then_branch=outer, else_branch=outer))


def in_a_list_of_graphs(model: ModelProto) -> None:
    attribute = AttributeProto(name="many", type=AttributeProto.GRAPHS, graphs=[inner(outside())])
    model.graph.node[0].attribute.append(attribute)


def in_a_function(model: ModelProto) -> None:
    node = N("Constant", [], ["y"], value=outside())
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("mine", "F", [], ["y"], [node], opsets))


def in_a_functions_default(model: ModelProto) -> None:
    attribute = AttributeProto(name="a", type=AttributeProto.TENSOR, t=outside())
    opsets = [helper.make_opsetid("", 17)]
    function = helper.make_function("mine", "F", [], [], [], opsets)
    function.attribute_proto.append(attribute)
    model.functions.append(function)


def in_a_training_graph(model: ModelProto) -> None:
    model.training_info.add().algorithm.CopyFrom(inner(outside()))


@pytest.mark.parametrize(
    "place",
    [
        in_an_initializer,
        below_the_working_folder,
        in_the_folder_above,
        marked_but_without_a_place,
        with_a_place_but_unmarked,
        in_a_constant,
        in_a_list_of_tensors,
        in_a_sparse_initializer,
        in_a_sparse_constant,
        in_a_branch,
        in_a_branch_of_a_branch,
        in_a_list_of_graphs,
        in_a_function,
        in_a_functions_default,
        in_a_training_graph,
    ],
)
def test_a_tensor_in_another_file_is_refused_wherever_it_is(
    place: Callable[[ModelProto], None],
    good: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tinysignal.model.network.open_session", None)  # it is not asked
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.bin").write_bytes(bytes(4))
    model = loaded(good)
    place(model)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    for load in (load_denoising_model, read_spec):
        with pytest.raises(ModelError, match=r"in another file|which no model needs") as raised:
            load(path)
        assert "\n" not in str(raised.value)


def test_a_graph_in_two_pieces_is_refused(good: bytes) -> None:
    """Protobuf joins them; what is checked must be what is run."""
    second = ModelProto()
    second.graph.initializer.append(outside())
    with pytest.raises(ModelError):
        read_graph(good + second.SerializeToString())
    empty = ModelProto()
    empty.graph.name = "again"
    with pytest.raises(ModelError, match="two times graph"):
        read_graph(good + empty.SerializeToString())


# Malformed bytes


def varint(number: int) -> bytes:
    """A length, as protobuf writes it."""
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "no graph"),
        (b"\x08", "cut off"),
        (b"\x08" + b"\xff" * 11, "more than ten bytes"),
        (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "cut off"),
        (b"\x3a\x05ab", "cut off"),
        (b"\x0b\x0c", "wire type 3"),
        (b"\x3d\x00\x00\x00\x00", "wire type 5"),
        (b"\x00\x00", "field 0"),
        (b"PK\x03\x04", "not a readable ONNX model"),
        (b'{"name": "x"}', "not a readable ONNX model"),
    ],
)
def test_malformed_bytes_are_refused(content: bytes, found: str) -> None:
    with pytest.raises(ModelError, match=found):
        read_graph(content)


@given(st.data())
def test_damaged_bytes_are_read_or_refused(good: bytes, data: st.DataObject) -> None:
    """Nothing but a ModelError comes of a file that is cut off or changed."""
    content = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(ModelError):
        read_graph(bytes(content[: data.draw(st.integers(0, len(content)))]))


def test_what_is_nested_too_deep_is_refused(good: bytes) -> None:
    model = loaded(good)
    graph = inner()
    for _ in range(12):
        node = N("If", ["yes"], ["y"], then_branch=graph)
        graph = helper.make_graph([node], "g", [], [helper.make_empty_tensor_value_info("y")])
    model.graph.node.append(N("If", ["yes"], ["z"], then_branch=graph))
    with pytest.raises(ModelError, match="levels deep"):
        read_graph(model.SerializeToString())


def test_types_nested_without_end_are_refused(good: bytes) -> None:
    content = b""
    for _ in range(2000):
        content = b"\x22" + varint(len(content)) + content if content else b"\x22\x00"
        content = b"\x0a" + varint(len(content)) + content
    port = b"\x12" + varint(len(content)) + content
    graph = b"\x5a" + varint(len(port)) + port
    with pytest.raises(ModelError, match=r"levels deep|field"):
        read_graph(b"\x3a" + varint(len(graph)) + graph)


def test_a_file_of_a_million_fields_is_refused() -> None:
    graph = b"\x0a\x00" * (model_graph.MOST_FIELDS + 1)
    with pytest.raises(ModelError, match="more than 500000 fields"):
        read_graph(b"\x3a" + varint(len(graph)) + graph)


def test_one_key_twice_in_the_metadata_is_refused(good: bytes, tmp_path: Path) -> None:
    model = loaded(good)
    model.metadata_props.add(key="tinysignal", value=json.dumps({}))
    with pytest.raises(ModelError, match="two entries 'tinysignal'"):
        read_graph(model.SerializeToString())


def test_a_file_without_an_end_is_not_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinysignal.model.network.MOST_BYTES", 1 << 20)
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelError, match="larger than 1 MiB"):
        load_denoising_model(path)


def test_numbers_in_the_file_are_let_through(good: bytes) -> None:
    model = loaded(good)
    model.graph.initializer.append(to_tensor.from_array(np.zeros(3, np.float32), "near"))
    model.graph.initializer[-1].data_location = TensorProto.DEFAULT
    assert read_graph(model.SerializeToString()).inputs
