"""Claims about the outputs of a classifier's layers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from templates import STRIPES, save_template_model, stripes
from tinysignal import Classifier
from tinysignal.errors import ModelError
from tinysignal.model import METADATA_KEY
from tinysignal.model.hidden import HiddenLayers
from tinysignal.spec import ClassifierSpec, ImageInput


@pytest.fixture
def network(tmp_path: Path) -> tuple[Path, list[np.ndarray]]:
    """A perceptron of two hidden layers, whose names are long, and its weights."""
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=pair).astype(np.float32) for pair in pairwise([16, 7, 5, 3])]
    long = "a" * 150
    nodes = [
        helper.make_node("Reshape", ["examples", "flat"], ["rows"]),
        helper.make_node("MatMul", ["rows", "w0"], ["z0"]),
        helper.make_node("Relu", ["z0"], [long]),
        helper.make_node("MatMul", [long, "w1"], ["z1"]),
        helper.make_node("Tanh", ["z1"], ["h1"]),
        helper.make_node("MatMul", ["h1", "w2"], ["logits"]),
    ]
    held = [numpy_helper.from_array(w, f"w{n}") for n, w in enumerate(weights)]
    held.append(numpy_helper.from_array(np.array([0, -1], np.int64), "flat"))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("examples", ["n", 4, 4]), ("logits", ["n", 3]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ClassifierSpec(
        name="net", arch="net", classes=STRIPES, input=ImageInput(height=4, width=4), licence="MIT"
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx", weights


def test_every_layer_answers_what_numpy_computes(network: tuple[Path, list[np.ndarray]]) -> None:
    path, weights = network
    layers = HiddenLayers.load(path)
    assert layers.titles == ("layer 1", "layer 2", "logits")
    examples = np.random.default_rng(1).random((6, 4, 4), np.float32)
    found = layers(examples)
    first = np.maximum(examples.reshape(6, -1) @ weights[0], 0)
    second = np.tanh(first @ weights[1])
    for title, expected in zip(layers.titles, (first, second, second @ weights[2]), strict=True):
        np.testing.assert_allclose(found[title], expected, rtol=1e-4, atol=1e-5)


def test_the_bundled_network_answers_as_its_classifier() -> None:
    examples = np.random.default_rng(0).random((4, 28, 28), np.float32)
    found = HiddenLayers.load("mnist")(examples)
    assert {part.shape for title, part in found.items() if title != "logits"} == {(4, 1024)}
    powers = np.exp(found["logits"])
    expected = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Classifier.load("mnist")(examples), expected, rtol=1e-4, atol=1e-6)


def test_a_network_without_activations_has_its_logits_alone(tmp_path: Path) -> None:
    path = save_template_model(tmp_path / "m.onnx", stripes(), STRIPES)
    assert HiddenLayers.load(path).titles == ("logits",)


def test_another_model_is_refused_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="default: a denoiser, but a classifier was expected"):
        HiddenLayers.load("default")
    with pytest.raises(ModelError, match=r"absent\.onnx: no such model file"):
        HiddenLayers.load(tmp_path / "absent.onnx")
