"""Models that ask for too much, answer what is no gain, or never end: one line, at load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from numpy.typing import ArrayLike
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from templates import STRIPES, save_template_model, stripes
from tinysignal.classifier import Classifier
from tinysignal.cli.main import run as run_command_line
from tinysignal.denoiser import Denoiser
from tinysignal.errors import ModelError
from tinysignal.model import (
    METADATA_KEY,
    bundled_models,
    load_classification_model,
    load_denoising_model,
    read_spec,
)
from tinysignal.model import network as model_module
from tinysignal.model.graph import read_graph
from tinysignal.spec import DenoiserSpec

N = helper.make_node
FREE = ["channels", "frames", 257]
SPEC = DenoiserSpec(name="x", arch="x", sample_rate_hz=16_000, window_samples=512, hop_samples=256)


def port(name: str, shape: list[str | int] | None = None, kind: int = 1) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, FREE if shape is None else shape)


def save(
    path: Path,
    nodes: list[NodeProto],
    constants: dict[str, ArrayLike] | None = None,
    *,
    inputs: list[ValueInfoProto] | None = None,
    outputs: list[ValueInfoProto] | None = None,
    domains: tuple[str, ...] = (),
) -> Path:
    """A denoiser of these nodes, from magnitude to gain; ``one`` and ``zero`` are constants."""
    given = {"one": np.float32(1), "zero": np.float32(0), **(constants or {})}
    graph = helper.make_graph(
        nodes,
        "g",
        inputs or [port("magnitude")],
        outputs or [port("gain")],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in given.items()],
    )
    opsets = [helper.make_opsetid("", 18), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: SPEC.to_json()})
    path.write_bytes(model.SerializeToString())
    return path


def constant_gain(value: str) -> list[NodeProto]:
    """Nodes that answer every bin with one number, whose name is given."""
    return [
        N("Sub", ["magnitude", "magnitude"], ["nothing"]),
        N("Add", ["nothing", value], ["gain"]),
    ]


def branch(*nodes: NodeProto, output: str) -> GraphProto:
    return helper.make_graph(list(nodes), "b", [], [helper.make_empty_tensor_value_info(output)])


def refused(path: Path, found: str, *, seconds: float = 10) -> None:
    """Loading it says one line, soon."""
    start = time.perf_counter()
    with pytest.raises(ModelError, match=found) as raised:
        load_denoising_model(path)
    assert time.perf_counter() - start < seconds
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) - len(str(path)) < 500


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_the_model_that_the_others_are_made_from_runs(path: Path) -> None:
    signal = np.random.default_rng(0).normal(0, 0.1, 8_000).astype(np.float32)
    clean = Denoiser.load(save(path, constant_gain("one")))(signal, sample_rate_hz=16_000)
    np.testing.assert_allclose(clean, signal, atol=1e-5)


# What never ends


def body() -> GraphProto:
    ports = [port("i", [], TensorProto.INT64), port("go", [], TensorProto.BOOL), port("x", [])]
    nodes = [N("Identity", ["go"], ["go_on"]), N("Identity", ["x"], ["y"])]
    return helper.make_graph(
        nodes, "b", ports, [port("go_on", [], TensorProto.BOOL), port("y", [])]
    )


ENDLESS: dict[str, ArrayLike] = {"count": np.int64(2**62), "yes": np.bool_(True)}


def test_a_loop_is_refused(path: Path) -> None:
    loop = N("Loop", ["count", "yes", "one"], ["turned"], body=body())
    refused(save(path, [loop, *constant_gain("turned")], ENDLESS), "operator Loop")


def test_a_loop_in_a_branch_is_refused(path: Path) -> None:
    loop = N("Loop", ["count", "yes", "one"], ["turned"], body=body())
    inner = branch(loop, output="turned")
    node = N("If", ["yes"], ["chosen"], then_branch=inner, else_branch=inner)
    refused(save(path, [node, *constant_gain("chosen")], ENDLESS), "operator Loop")


def test_a_scan_is_refused_by_either_name_of_the_domain(path: Path) -> None:
    for domain in ("", "ai.onnx"):
        scan = N("Scan", ["magnitude"], ["gain"], body=body(), num_scan_inputs=1, domain=domain)
        refused(save(path, [scan]), "operator Scan")


def test_a_network_of_too_many_nodes_is_refused(path: Path) -> None:
    names = ["magnitude", *(f"x{n}" for n in range(20_001)), "gain"]
    chain = [N("Relu", [a], [b]) for a, b in pairwise(names)]
    refused(save(path, chain), "a network of 20002 nodes, expected at most 20000")


def test_a_model_that_takes_too_long_is_stopped(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand products of large matrices: half a minute's work on any machine."""
    monkeypatch.setattr("tinysignal.model.network.time_limit", lambda: original(0.5))
    shape = np.array([1_500, 1_500], np.int64)
    fill = helper.make_tensor("v", TensorProto.FLOAT, [1], [1e-3])
    # The size is not known before a run, or the products would be made once, as it is loaded.
    nodes = [
        N("Shape", ["magnitude"], ["size"]),
        N("Slice", ["size", "start", "end"], ["channels"]),
        N("Div", ["channels", "channels"], ["unit"]),
        N("Mul", ["shape", "unit"], ["sides"]),
        N("ConstantOfShape", ["sides"], ["m0"], value=fill),
        *(N("MatMul", ["m0", f"m{n}"], [f"m{n + 1}"]) for n in range(1_000)),
        N("ReduceMean", ["m1000"], ["mean"], keepdims=0),
        *constant_gain("mean"),
    ]
    bounds = {"start": np.array([0]), "end": np.array([1]), "shape": shape}
    refused(save(path, nodes, bounds), "does not run .*terminate")


original = model_module.time_limit


@pytest.mark.parametrize("hidden", [False, True])
def test_work_on_constants_is_under_the_time_limit_too(
    path: Path, monkeypatch: pytest.MonkeyPatch, hidden: bool
) -> None:
    """ONNX Runtime would do it as it loads the model, and nothing could stop it."""
    monkeypatch.setattr("tinysignal.model.network.time_limit", lambda: original(0.5))
    fill = helper.make_tensor("v", TensorProto.FLOAT, [1], [1e-3])
    nodes = [
        N("ConstantOfShape", ["sides"], ["m0"], value=fill),
        *(N("MatMul", ["m0", f"m{n}"], [f"m{n + 1}"]) for n in range(1_000)),
        N("ReduceMean", ["m1000"], ["mean"], keepdims=0),
    ]
    if hidden:
        inner = branch(*nodes, output="mean")
        nodes = [N("If", ["yes"], ["mean_"], then_branch=inner, else_branch=inner)]
    constants = {"sides": np.array([1_500, 1_500]), "yes": np.bool_(True)}
    gain = constant_gain("mean_" if hidden else "mean")
    refused(save(path, [*nodes, *gain], constants), "does not run .*terminate")


def test_a_bundled_model_s_constants_are_worked_out_at_load() -> None:
    """They are little work, and the model is twice as fast for it."""
    for name in bundled_models():
        file = Path(model_module.__file__).parents[1] / "models" / f"{name}.onnx"
        assert read_graph(file.read_bytes()).folds_quickly


# Memory


def filled(size: str) -> list[NodeProto]:
    """A gain of the mean of a tensor of that size."""
    fill = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    return [
        N("ConstantOfShape", [size], ["large"], value=fill),
        N("ReduceMean", ["large"], ["mean"], keepdims=0),
        *constant_gain("mean"),
    ]


@pytest.mark.parametrize("numbers", [300_000_000, 10**9, 25 * 10**9, 2**62])
def test_a_constant_larger_than_the_limit_is_refused(path: Path, numbers: int) -> None:
    refused(save(path, filled("size"), {"size": np.array([numbers])}), "does not run")


def test_a_tensor_that_grows_with_the_input_beyond_the_limit_is_refused(path: Path) -> None:
    nodes = [
        N("Shape", ["magnitude"], ["axes"]),
        N("Mul", ["axes", "factor"], ["size"]),
        *filled("size"),
    ]
    refused(save(path, nodes, {"factor": np.array([1_000, 1_000, 100])}), "does not run")


@pytest.mark.parametrize(
    "last",
    [
        [N("Tile", ["column", "times"], ["large"])],
        [N("Expand", ["column", "size"], ["large"])],
        [N("Mul", ["column", "row"], ["large"])],
        [N("MatMul", ["column", "row"], ["large"])],
        [N("Pad", ["column", "pads"], ["large"])],
        [N("Range", ["zero", "many", "one"], ["large"])],
        [N("OneHot", ["indices", "depth", "pair"], ["large"], axis=-1)],
    ],
    ids=lambda nodes: nodes[0].op_type,
)
def test_constants_that_multiply_each_other_are_refused(path: Path, last: list[NodeProto]) -> None:
    side = 40_000
    constants: dict[str, ArrayLike] = {
        "column": np.ones((side, 1), np.float32),
        "row": np.ones((1, side), np.float32),
        "times": np.array([1, side]),
        "size": np.array([side, side]),
        "pads": np.array([0, 0, side, side]),
        "many": np.float32(1e9),
        "indices": np.zeros(side, np.int64),
        "depth": np.int64(side),
        "pair": np.array([0, 1], np.float32),
    }
    nodes = [*last, N("ReduceMean", ["large"], ["mean"], keepdims=0), *constant_gain("mean")]
    refused(save(path, nodes, constants), "does not run")


def test_doubling_is_refused(path: Path) -> None:
    doubles = [N("Concat", [f"d{k}", f"d{k}"], [f"d{k + 1}"], axis=0) for k in range(30)]
    nodes = [*doubles, N("ReduceMean", ["d30"], ["mean"], keepdims=0), *constant_gain("mean")]
    refused(save(path, nodes, {"d0": np.ones(1024, np.float32)}), "does not run")


def test_after_a_model_that_asks_for_too_much_others_still_run(path: Path) -> None:
    refused(save(path, filled("size"), {"size": np.array([10**9])}), "does not run")
    load_denoising_model(save(path, constant_gain("one")))


@pytest.mark.parametrize("axis", [2**40, 2**29, -1, 0, "n"])
def test_a_state_of_no_or_too_many_numbers_is_refused(path: Path, axis: int | str) -> None:
    shape: list[str | int] = ["channels", axis]
    nodes = [*constant_gain("one"), N("Identity", ["s"], ["t"])]
    save(
        path,
        nodes,
        inputs=[port("magnitude"), port("s", shape)],
        outputs=[port("gain"), port("t", shape)],
    )
    refused(path, "states of more than|state s has shape")


def test_many_small_states_count_together(path: Path) -> None:
    shape: list[str | int] = ["channels", 1_000_000]
    names = [(f"s{n}", f"t{n}") for n in range(5)]
    save(
        path,
        [*constant_gain("one"), *(N("Identity", [a], [b]) for a, b in names)],
        inputs=[port("magnitude"), *(port(a, shape) for a, _ in names)],
        outputs=[port("gain"), *(port(b, shape) for _, b in names)],
    )
    refused(path, "states of more than 4000000 numbers")


# Shapes and types


@pytest.mark.parametrize(
    "shape", [[1, 1, 257], [1, "t", 257], ["c", 8, 257], ["c", "t", 256], ["t", 257]], ids=str
)
def test_fixed_or_other_axes_are_refused(path: Path, shape: list[str | int]) -> None:
    save(path, constant_gain("one"), inputs=[port("magnitude", shape)])
    refused(path, "magnitude has shape")


@pytest.mark.parametrize(
    "kind", ["DOUBLE", "FLOAT16", "INT64", "BOOL", "STRING", "COMPLEX64", "BFLOAT16"]
)
def test_a_gain_of_another_type_is_refused(path: Path, kind: str) -> None:
    number = TensorProto.DataType.Value(kind)
    cast = N("Cast", ["magnitude"], ["gain"], to=number)
    refused(save(path, [cast], outputs=[port("gain", kind=number)]), "not of float32")


def test_a_gain_of_another_type_than_is_said_is_refused(path: Path) -> None:
    cast = N("Cast", ["magnitude"], ["gain"], to=TensorProto.DOUBLE)
    refused(save(path, [cast]), "not a readable ONNX model")


def test_a_sequence_is_refused(path: Path) -> None:
    output = helper.make_tensor_sequence_value_info("gain", TensorProto.FLOAT, None)
    refused(save(path, [N("SequenceConstruct", ["magnitude"], ["gain"])], outputs=[output]), "gain")


def test_an_optional_is_refused(path: Path) -> None:
    inner = helper.make_tensor_type_proto(TensorProto.FLOAT, FREE)
    output = helper.make_value_info("gain", helper.make_optional_type_proto(inner))
    refused(save(path, [N("Optional", ["magnitude"], ["gain"])], outputs=[output]), "gain")


def test_text_as_input_is_refused(path: Path) -> None:
    taken = [port("magnitude", kind=TensorProto.STRING)]
    refused(save(path, constant_gain("one"), inputs=taken), "magnitude .* not of float32")


def test_a_model_that_sees_only_one_frame_or_channel_is_refused(path: Path) -> None:
    """It says that any number will do, and answers one frame (channel) for all."""
    for axis in (0, 1):
        constants = {"axis": np.array([axis])}
        nodes = [N("ReduceMean", ["magnitude", "axis"], ["gain"], keepdims=1)]
        free = [port("gain", ["c", "t", 257])]
        refused(save(path, nodes, constants, outputs=free), "answers|does not run")


def test_a_model_that_answers_more_frames_than_it_was_given_is_refused(path: Path) -> None:
    nodes = [N("Concat", ["magnitude", "magnitude"], ["gain"], axis=1)]
    refused(save(path, nodes, outputs=[port("gain", ["c", "u", 257])]), "answers")


# Operators


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("Evil", "evil.ops"),
        ("EPContext", "com.microsoft"),
        ("Sigmoid", "ai.onnx.ml"),
        ("\x1b[31mEvil", "evil\u202eops"),
    ],
)
def test_an_operator_of_another_domain_is_refused(path: Path, name: str, domain: str) -> None:
    node = N(name, ["magnitude"], ["gain"], domain=domain)
    refused(save(path, [node], domains=(domain,)), "operator .* of .*expected ONNX's own operators")


def test_names_are_quoted_without_what_a_terminal_obeys(path: Path) -> None:
    refused(save(path, [N("Relu", ["\x1b[31mred\u202e"], ["gain"])]), r"\\x1b\[31mred\\u202e")


def test_an_operator_that_there_is_not_is_refused(path: Path) -> None:
    refused(save(path, [N("NoSuchOp", ["magnitude"], ["gain"])]), "not a readable ONNX model")


@pytest.mark.parametrize("name", ["RandomNormalLike", "RandomUniformLike", "Bernoulli"])
def test_chance_is_refused(path: Path, name: str) -> None:
    refused(save(path, [N(name, ["magnitude"], ["gain"])]), f"operator {name}: chance")


def test_text_that_grows_is_refused(path: Path) -> None:
    double = [N("StringConcat", ["t", "t"], ["tt"])]
    nodes = [*double, *constant_gain("one")]
    refused(save(path, nodes, {"t": np.array(["x"], object)}), "operator StringConcat: text")


# Numbers


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_gain_that_is_no_number_is_refused(path: Path, value: float) -> None:
    save(path, constant_gain("value"), {"value": np.float32(value)})
    refused(path, "answers with NaN or infinite values")


@pytest.mark.parametrize("value", [3e38, 1e38, 1e7, -1e7])
def test_a_gain_beyond_any_use_is_an_error(path: Path, value: float) -> None:
    denoiser = Denoiser.load(save(path, constant_gain("value"), {"value": np.float32(value)}))
    signal = np.random.default_rng(0).normal(0, 0.1, 8_000)
    with pytest.raises(ModelError, match="model 'x' makes the sound louder by more than 120 dB"):
        denoiser(signal, sample_rate_hz=16_000)
    assert not denoiser(np.zeros(8_000), sample_rate_hz=16_000).any()


def nan_when_loud(path: Path) -> Path:
    """Runs as it is tried out; its gain is NaN where a magnitude is beyond 20."""
    nodes = [
        N("Sub", ["limit", "magnitude"], ["room"]),
        N("Sqrt", ["room"], ["root"]),
        N("Mul", ["root", "zero"], ["nothing"]),
        N("Add", ["nothing", "one"], ["gain"]),
    ]
    return save(path, nodes, {"limit": np.float32(20)})


def test_a_gain_that_turns_nan_later_is_an_error_not_silence(path: Path, tmp_path: Path) -> None:
    denoiser = Denoiser.load(nan_when_loud(path))
    quiet = np.random.default_rng(0).normal(0, 0.1, 32_000)
    assert np.isfinite(denoiser(quiet, sample_rate_hz=16_000)).all()
    loud = quiet + 0.5 * np.sin(np.arange(32_000)) * (np.arange(32_000) > 16_000)
    with pytest.raises(ModelError, match="model 'x' answers with NaN or infinite values"):
        denoiser(loud, sample_rate_hz=16_000)
    soundfile.write(tmp_path / "loud.wav", loud / 2, 16_000)
    target = tmp_path / "clean.wav"
    arguments = ["denoise", str(tmp_path / "loud.wav"), "-o", str(target), "-m", str(path)]
    assert run_command_line(arguments) == 1
    assert not target.exists()


def test_a_classifier_that_answers_nan_is_refused(tmp_path: Path) -> None:
    path = save_template_model(tmp_path / "m.onnx", stripes() * np.nan, STRIPES)
    with pytest.raises(ModelError, match="answers with NaN or infinite values"):
        Classifier.load(path)


def test_a_classifier_for_one_example_is_refused(tmp_path: Path) -> None:
    path = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES)
    model = onnx.load(path)
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"examples has shape \(1, 8, 8\)"):
        load_classification_model(path)


# The bundled models


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the bundled models that may be damaged."""
    source = Path(model_module.__file__).parents[1] / "models"
    (tmp_path / "models").mkdir()
    for file in source.iterdir():
        (tmp_path / "models" / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(model_module.resources, "files", lambda name: tmp_path)
    return tmp_path / "models"


@pytest.mark.parametrize("name", bundled_models())
@pytest.mark.parametrize("where", [0.3, 0.9])
def test_a_flipped_bit_of_a_bundled_model_is_noticed(
    package: Path, name: str, where: float
) -> None:
    read_spec(name)
    content = bytearray((package / f"{name}.onnx").read_bytes())
    content[int(where * len(content))] ^= 1
    (package / f"{name}.onnx").write_bytes(content)
    with pytest.raises(ModelError, match=f"{name}: the bundled model is damaged. Install"):
        read_spec(name)


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_without_its_checksum_is_not_trusted(package: Path, name: str) -> None:
    (package / f"{name}.onnx.sha256").unlink()
    with pytest.raises(ModelError, match=f"{name}: the bundled model is damaged"):
        read_spec(name)


@pytest.mark.parametrize("packed", [True, False])
def test_a_tensor_of_more_numbers_than_a_file_holds_is_refused_without_a_word_of_others(
    packed: bool, path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(save(path, constant_gain("one")))
    tensor = model.graph.initializer[0]
    tensor.dims[:] = [2**62, 2]
    content = model.SerializeToString()
    if packed:  # several numbers in one field
        one_by_one = b"".join(b"\x08" + varint(size) for size in tensor.dims)
        together = b"".join(map(varint, tensor.dims))
        assert content.count(one_by_one) == 1
        both = b"\x0a" + bytes([len(together)]) + together
        assert len(both) == len(one_by_one)
        content = content.replace(one_by_one, both)
    path.write_bytes(content)
    refused(path, "more than .* numbers")
    assert capfd.readouterr() == ("", "")


def varint(number: int) -> bytes:
    digits = []
    while number >= 128:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])
