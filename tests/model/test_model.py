"""The model file contract: what follows it loads, anything else is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from templates import STRIPES, save_template_model, stripes
from tinysignal.errors import ModelError
from tinysignal.model import (
    METADATA_KEY,
    bundled_models,
    load_classification_model,
    load_denoising_model,
    model_path,
    read_spec,
)
from tinysignal.spec import ClassifierSpec, DenoiserSpec


def refused(path: Path | str, found: str) -> None:
    """Loading raises ModelError, in one line that starts with the path and says what was found."""
    with pytest.raises(ModelError, match=found) as raised:
        load_denoising_model(path)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 1


def with_spec(onset_model: Path, path: Path, text: str | None) -> Path:
    """The onset model with another text as its spec, or with none."""
    model = onnx.load(onset_model)
    del model.metadata_props[:]
    if text is not None:
        helper.set_model_props(model, {METADATA_KEY: text})
    onnx.save(model, path)
    return path


def save_graph(
    path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
) -> Path:
    """A model whose outputs are copies of its inputs, with a valid spec."""
    nodes = [
        helper.make_node("Identity", [i.name], [o.name])
        for i, o in zip(inputs, outputs, strict=False)
    ]
    graph = helper.make_graph(nodes, "copy", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = DenoiserSpec(
        name="copy", arch="copy", sample_rate_hz=16_000, window_samples=512, hop_samples=256
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


def floats(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def test_a_model_file_loads_with_its_spec_and_a_zero_state(onset_model: Path) -> None:
    network = load_denoising_model(onset_model)
    assert network.spec.name == "onset"
    assert [state.shape for state in network.initial_state(3)] == [(3, 1, 257)]
    assert not np.any(network.initial_state(3)[0])


def test_a_path_may_be_text(onset_model: Path) -> None:
    assert load_denoising_model(str(onset_model)).spec == load_denoising_model(onset_model).spec


def test_the_state_carries_on_where_the_last_run_ended(onset_model: Path) -> None:
    network = load_denoising_model(onset_model)
    magnitude = np.random.default_rng(0).random((2, 9, 257), np.float32)
    whole, last = network.run(magnitude, network.initial_state(2))
    first, state = network.run(magnitude[:, :4], network.initial_state(2))
    second, state = network.run(magnitude[:, 4:], state)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)
    np.testing.assert_allclose(state[0], last[0], atol=1e-6)


def test_a_missing_file_is_named_with_what_is_bundled(tmp_path: Path) -> None:
    refused(tmp_path / "none.onnx", "no such model file")
    refused("no-such-model", "no such model file, nor a bundled model")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "cannot be read")


@pytest.mark.parametrize("content", [b"", b"RIFF....WAVEfmt ", b"\x00" * 64, b"{}", b"\x80\x04K."])
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    refused(path, "not a readable ONNX model")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_refused(onset_model: Path, tmp_path: Path, share: float) -> None:
    content = onset_model.read_bytes()
    path = tmp_path / "half.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelError) as raised:
        load_denoising_model(path)
    assert len(str(raised.value).splitlines()) == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_refused_or_still_keeps_the_contract(
    onset_model: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(onset_model.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(content))
    try:
        network = load_denoising_model(path)
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(network.spec, DenoiserSpec)


@pytest.mark.parametrize("name", [b"magnitude", b"next_state", b"tinysignal"])
def test_a_name_that_is_not_text_is_refused(onset_model: Path, tmp_path: Path, name: bytes) -> None:
    path = tmp_path / "garbled.onnx"
    path.write_bytes(onset_model.read_bytes().replace(name, b"\xff" * len(name)))
    refused(path, "not a readable ONNX model")


def test_an_onnx_model_of_another_program_is_refused(onset_model: Path, tmp_path: Path) -> None:
    refused(with_spec(onset_model, tmp_path / "m.onnx", None), "without tinysignal's spec")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "without tinysignal's spec|not JSON"),
        ("\u2603 {", "not JSON"),
        ("[]", "expected a JSON object"),
        ("{}", "incomplete"),
        ('{"name": 3}', "name = 3, expected str"),
    ],
)
def test_a_garbled_spec_is_refused(
    onset_model: Path, tmp_path: Path, text: str, found: str
) -> None:
    refused(with_spec(onset_model, tmp_path / "m.onnx", text), found)


@pytest.mark.parametrize("window_samples", [2, 256, 1024])
def test_a_spec_that_does_not_fit_its_network_is_refused(
    onset_model: Path, tmp_path: Path, window_samples: int
) -> None:
    spec = json.loads(load_denoising_model(onset_model).spec.to_json())
    text = json.dumps(
        {**spec, "window_samples": window_samples, "hop_samples": window_samples // 2}
    )
    found = r"magnitude has shape \(free, free, 257\), expected float32 \(channels, frames, \d+\)"
    refused(with_spec(onset_model, tmp_path / "m.onnx", text), found)


def test_another_number_of_inputs_and_outputs_is_refused(tmp_path: Path) -> None:
    magnitude, gain = (floats(n, ["c", "t", 257]) for n in ("magnitude", "gain"))
    states = [floats(n, ["c", 8]) for n in ("state", "next_state")]
    good = save_graph(tmp_path / "good.onnx", [magnitude, states[0]], [gain, states[1]])
    assert load_denoising_model(good).state_shapes == {"state": (8,)}
    refused(
        save_graph(tmp_path / "a.onnx", [magnitude, states[0]], [gain]), "expected magnitude and"
    )


def test_other_input_names_are_refused(tmp_path: Path) -> None:
    shape: list[str | int] = ["c", "t", 257]
    path = save_graph(tmp_path / "m.onnx", [floats("input", shape)], [floats("gain", shape)])
    refused(path, r"inputs \['input'\]")


@pytest.mark.parametrize("states", [[], ["state"]])
@pytest.mark.parametrize(("taken", "given"), [("spectrum", "gain"), ("magnitude", "mask")])
def test_half_of_one_form_and_half_of_the_other_is_refused(
    tmp_path: Path, taken: str, given: str, states: list[str]
) -> None:
    """It would run: only its names say that it means something else."""
    parts: list[str | int] = [2] if taken == "spectrum" else []

    def save(output: str) -> Path:
        first = [floats(name, ["c", "t", 257, *parts]) for name in (taken, output)]
        inputs = [first[0], *(floats(name, ["c", 8]) for name in states)]
        outputs = [first[1], *(floats(f"next_{name}", ["c", 8]) for name in states)]
        return save_graph(tmp_path / f"{output}.onnx", inputs, outputs)

    whole = load_denoising_model(save("mask" if parts else "gain"))
    assert whole.is_complex == bool(parts)
    refused(save(given), rf"inputs \['{taken}'.*outputs \['{given}'.*expected magnitude and states")


def test_a_state_of_free_size_is_refused(tmp_path: Path) -> None:
    inputs = [floats("magnitude", ["c", "t", 257]), floats("state", ["c", "n"])]
    outputs = [floats("gain", ["c", "t", 257]), floats("next_state", ["c", "n"])]
    refused(save_graph(tmp_path / "m.onnx", inputs, outputs), "state state has shape")


def test_magnitudes_in_double_precision_are_refused(tmp_path: Path) -> None:
    names = ("magnitude", "gain")
    ends = [helper.make_tensor_value_info(n, TensorProto.DOUBLE, ["c", "t", 257]) for n in names]
    refused(save_graph(tmp_path / "m.onnx", ends[:1], ends[1:]), "not of float32")


def test_a_gain_of_another_shape_is_refused(onset_model: Path, tmp_path: Path) -> None:
    model = onnx.load(onset_model)
    last = next(node for node in model.graph.node if node.output[0] == "gain")
    last.output[0] = "every_gain"
    axes = onnx.numpy_helper.from_array(np.array([1], np.int64), "axes")
    model.graph.initializer.append(axes)
    model.graph.node.append(helper.make_node("Squeeze", ["every_gain", "axes"], ["gain"]))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(model, tmp_path / "m.onnx")
    refused(tmp_path / "m.onnx", "does not run")


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_model_loads_by_its_name(name: str) -> None:
    load = {"denoise": load_denoising_model, "classify": load_classification_model}
    assert load[read_spec(name).task](name).spec.licence


# Classifiers


@pytest.fixture(scope="session")
def template_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "templates.onnx"
    return save_template_model(path, stripes(), STRIPES)


def classifier_refused(path: Path, found: str) -> None:
    with pytest.raises(ModelError, match=found) as raised:
        load_classification_model(path)
    assert str(raised.value).startswith(str(path))
    assert len(str(raised.value).splitlines()) == 1


def test_a_classifier_loads_with_its_spec_and_answers_any_number_of_examples(
    template_model: Path,
) -> None:
    network = load_classification_model(template_model)
    assert network.spec.classes == STRIPES
    for examples in (1, 2, 5):
        assert network.run(np.zeros((examples, 8, 8), np.float32)).shape == (examples, 3)


def test_a_model_for_another_task_is_refused_with_the_command_for_it(
    template_model: Path, onset_model: Path
) -> None:
    refused(template_model, "a classifier, but a denoiser was expected. Use 'tinysignal classify'")
    classifier_refused(onset_model, "a denoiser, but a classifier was expected. Use 'tinysignal d")


def test_the_spec_is_read_whatever_the_task(template_model: Path, onset_model: Path) -> None:
    assert isinstance(read_spec(template_model), ClassifierSpec)
    assert isinstance(read_spec(onset_model), DenoiserSpec)


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c", "d")])
def test_a_classifier_with_other_classes_than_its_network_is_refused(
    tmp_path: Path, classes: tuple[str, ...]
) -> None:
    path = save_template_model(tmp_path / "m.onnx", stripes(), classes)
    classifier_refused(path, r"logits has shape \(free, 3\), expected float32 \(examples, \d\)")


def test_a_classifier_whose_network_takes_other_shapes_is_refused(
    template_model: Path, tmp_path: Path
) -> None:
    spec = json.loads(read_spec(template_model).to_json())
    text = json.dumps({**spec, "input": {**spec["input"], "height": 9}})
    found = r"examples has shape \(free, 8, 8\), expected float32 \(examples, 9, 8\)"
    classifier_refused(with_spec(template_model, tmp_path / "m.onnx", text), found)


@pytest.mark.parametrize("name", ["examples", "logits"])
def test_a_classifier_with_other_names_is_refused(
    template_model: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "m.onnx"
    content = template_model.read_bytes().replace(name.encode(), name[::-1].encode())
    path.write_bytes(content)
    classifier_refused(path, "expected examples and logits")


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_classifier_is_refused_or_still_keeps_the_contract(
    template_model: Path, tmp_path: Path, data: st.DataObject
) -> None:
    content = bytearray(template_model.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(content))
    try:
        network = load_classification_model(path)
    except ModelError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right
    else:
        examples = np.zeros((1, *network.spec.input.shape), np.float32)
        assert network.run(examples).shape == (1, len(network.spec.classes))


def test_a_run_folder_stands_for_the_model_in_it_but_a_bundled_name_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run", *bundled_models()):
        Path(name).mkdir()
    assert model_path("run") == str(Path("run/model.onnx"))
    assert model_path(tmp_path / "run") == str(tmp_path / "run/model.onnx")
    assert model_path("other.onnx") == "other.onnx"
    for name in bundled_models():
        assert model_path(name) == name
