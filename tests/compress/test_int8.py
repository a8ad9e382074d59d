"""8-bit model files: their size, their answers, their spec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tinysignal import Denoiser, ModelError
from tinysignal.budget import Budget
from tinysignal.compress.int8_lstm import with_int8_lstms
from tinysignal.compress.quantize import WAYS, write_int8
from tinysignal.model import read_spec
from tinysignal.runs import report as reports
from tinysignal.runs.compress import CompressOptions, compress_run, open_run
from tinysignal.stream import feed_together


@pytest.mark.parametrize("way", WAYS)
def test_a_classifiers_answers_and_spec_stay(digits_run: Path, tmp_path: Path, way: str) -> None:
    trained = open_run(digits_run)
    model, target = digits_run / "model.onnx", tmp_path / "int8.onnx"
    write_int8(model, target, way, trained.examples())
    assert read_spec(target) == read_spec(model)
    before, after = trained.score(model), trained.score(target)
    assert after["nll"] == pytest.approx(before["nll"], abs=0.1)
    assert target.stat().st_size < 0.75 * model.stat().st_size


def test_a_denoiser_with_states_hardly_changes(denoiser_run: Path, tmp_path: Path) -> None:
    trained = open_run(denoiser_run)
    target = tmp_path / "int8.onnx"
    write_int8(denoiser_run / "model.onnx", target, "weights", [])
    key = "si_sdr_denoised_db"
    before = trained.score(denoiser_run / "model.onnx")[key]
    assert trained.score(target)[key] == pytest.approx(before, abs=0.2)


@pytest.mark.parametrize("way", ["static", "dynamic"])
def test_a_denoiser_with_8_bit_activations_still_runs(
    denoiser_run: Path, tmp_path: Path, way: str
) -> None:
    """How well is another matter: magnitudes range too far for 256 steps."""
    trained = open_run(denoiser_run)
    target = tmp_path / "int8.onnx"
    write_int8(denoiser_run / "model.onnx", target, way, trained.examples())
    assert read_spec(target) == read_spec(denoiser_run / "model.onnx")
    trained.runner(target, 3)()


def test_every_weight_is_within_half_a_step(digits_run: Path, tmp_path: Path) -> None:
    model, target = digits_run / "model.onnx", tmp_path / "int8.onnx"
    write_int8(model, target, "weights", [])
    exact = {held.name: numpy_helper.to_array(held) for held in onnx.load(model).graph.initializer}
    made = {held.name: numpy_helper.to_array(held) for held in onnx.load(target).graph.initializer}
    weights = [name for name, values in exact.items() if values.ndim == 2]
    assert len(weights) == 4
    for name in weights:
        scale = made[f"{name}_scale"]
        assert made[f"{name}_int8"].dtype == np.int8
        assert scale.size == min(exact[name].shape)
        apart = np.abs(made[f"{name}_int8"] * scale - exact[name])
        assert (apart <= 0.5001 * scale).all()
        assert name not in made


def made_of(model: Path) -> dict[str, np.ndarray]:
    return {held.name: numpy_helper.to_array(held) for held in onnx.load(model).graph.initializer}


def operators(model: Path) -> list[str]:
    return [node.op_type for node in onnx.load(model).graph.node]


def test_an_lstms_gates_have_scales_of_their_own(lstm_run: Path, tmp_path: Path) -> None:
    model, target = lstm_run / "model.onnx", tmp_path / "int8.onnx"
    write_int8(model, target, "weights", [])
    exact, made = made_of(model), made_of(target)
    weights = [name for name, values in exact.items() if values.shape == (1, 4 * 24, 24)]
    assert len(weights) == 4  # of inputs and of states, two layers
    for name in weights:
        whole, scale = made[f"{name}_int8"], made[f"{name}_scale"]
        assert scale.shape == (1, 4 * 24, 1)
        assert (np.abs(whole).max(axis=2) == 127).all()
        assert (np.abs(whole * scale - exact[name]) <= 0.5001 * scale).all()


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("weights", "LSTM"),
        ("static", "LSTM"),
        ("dynamic", "DynamicQuantizeLSTM"),
        ("recurrent", "DynamicQuantizeLSTM"),
    ],
)
def test_an_lstm_is_8_bit_in_every_way_that_there_is(
    lstm_run: Path, tmp_path: Path, way: str, expected: str
) -> None:
    trained, model = open_run(lstm_run), lstm_run / "model.onnx"
    target = tmp_path / "int8.onnx"
    write_int8(model, target, way, trained.examples())
    assert [kind for kind in operators(target) if "LSTM" in kind] == [expected] * 2
    large = [v for v in made_of(target).values() if v.dtype == np.float32 and v.size > 96]
    assert not any(values.ndim == 3 and values.shape[2] > 1 for values in large)
    key = "si_sdr_denoised_db"
    near = 1.0 if way == "static" else 0.1
    assert trained.score(target)[key] == pytest.approx(trained.score(model)[key], abs=near)


def test_only_numbers_that_are_few_stay_floats(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(300, 40)).astype(np.float32)
    held = {"w": weight, "b": weight[:, 0].copy(), "v": weight[:2].copy(), "c": weight[0, :2]}
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1),
        onnx.helper.make_node("Gemm", ["x", "v", "c"], ["z"], transB=1),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, size])
        for name, size in (("x", 40), ("z", 2))
    ]
    graph = onnx.helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(v, k) for k, v in held.items()]
    )
    model, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    onnx.helper.set_model_props(made, {"tinysignal": "{}"})
    model.write_bytes(made.SerializeToString())
    write_int8(model, target, "weights", [])
    found = {h.name: numpy_helper.to_array(h) for h in onnx.load(target).graph.initializer}
    kinds = {name: values.dtype for name, values in found.items() if "scale" not in name}
    assert kinds == {"w_int8": np.int8, "b_int8": np.int8, "v": np.float32, "c": np.float32}
    assert found["b_scale"].size == 1
    apart = np.abs(found["b_int8"] * found["b_scale"] - held["b"])
    assert (apart <= 0.5001 * found["b_scale"]).all()


def test_the_command_keeps_the_fastest_that_is_as_good(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "SECONDS", 0.0)
    options = CompressOptions(budget=Budget(rank=8), method="activation", int8=True)
    report = compress_run(digits_run, tmp_path / "out", options)
    tried = report["int8"]["tried"]
    assert set(tried) == set(open_run(digits_run).int8_ways)
    own = report["after"]["valid"]["accuracy"]
    good = {way: t for way, t in tried.items() if t["accuracy"] >= own - 0.001}
    if good:
        assert report["int8"]["way"] == min(good, key=lambda way: good[way]["ms_mean"])
    assert (tmp_path / "out" / "model.onnx").stat().st_size == report["int8"]["bytes"]
    assert report["int8"]["bytes"] < report["after"]["bytes"]


def test_what_cannot_be_quantised_is_one_error(digits_run: Path, tmp_path: Path) -> None:
    wrong = [np.zeros((2, 5, 5), np.float32)]
    with pytest.raises(ModelError, match="cannot quantise it"):
        write_int8(digits_run / "model.onnx", tmp_path / "x.onnx", "static", wrong)
    assert list(tmp_path.iterdir()) == []


def test_values_between_nodes_have_numbers_for_names_that_nothing_else_has(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).normal(size=(40, 40)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Gemm", ["1", "w"], ["a_long_name"], "another", transB=1),
        onnx.helper.make_node("Gemm", ["a_long_name", "w", ""], ["0"], "one_more", transB=1),
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 40]) for name in "10"
    ]
    graph = onnx.helper.make_graph(
        nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")]
    )
    model, target = tmp_path / "a.onnx", tmp_path / "b.onnx"
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    onnx.helper.set_model_props(made, {"tinysignal": "{}"})
    model.write_bytes(made.SerializeToString())
    write_int8(model, target, "weights", [])
    written = target.read_bytes()
    assert b"a_long_name" not in written
    assert b"one_more" not in written
    assert b"w_int8" in written  # weights keep theirs
    given = {"1": np.ones((2, 40), np.float32)}
    before, after = (
        onnxruntime.InferenceSession(path).run(["0"], given) for path in (model, target)
    )
    assert np.abs(after[0] - before[0]).max() < 0.05 * np.abs(before[0]).max()


@pytest.fixture(scope="module")
def recurrent(lstm_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("recurrent") / "int8.onnx"
    write_int8(lstm_run / "model.onnx", target, "recurrent", open_run(lstm_run).examples())
    return target


def test_8_bit_lstms_answer_the_same_in_any_blocks(recurrent: Path) -> None:
    """A quiet beginning: scales of a run's own would be smaller there than for the whole."""
    rng = np.random.default_rng(0)
    noisy = rng.normal(0, 0.1, 20_000) * np.linspace(0.001, 1, 20_000)
    denoiser = Denoiser.load(recurrent)
    whole = denoiser(noisy, sample_rate_hz=16_000)
    stream = denoiser.stream(sample_rate_hz=16_000)
    streamed = np.concatenate(list(stream.process(np.split(noisy, 40))), axis=1)[0]
    np.testing.assert_allclose(streamed, whole, rtol=0, atol=1e-6)


def test_streams_of_8_bit_lstms_go_side_by_side(recurrent: Path) -> None:
    denoiser = Denoiser.load(recurrent)
    levels = np.logspace(-3, 0, 4)[:, np.newaxis, np.newaxis]
    noisy = (levels * np.random.default_rng(0).normal(0, 0.1, (4, 1, 8192))).astype(np.float32)
    streams = [denoiser.stream(sample_rate_hz=16_000) for _ in noisy]
    alone = [denoiser.stream(sample_rate_hz=16_000) for _ in noisy]
    for start in range(0, 8192, 256):
        begun = min(len(streams), 1 + start // 1024)  # one after the other
        blocks = noisy[:begun, :, start : start + 256]
        together = feed_together(streams[:begun], blocks)
        expected = [stream.feed(x) for stream, x in zip(alone, blocks, strict=False)]
        for one, other in zip(together, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_8_bit_lstms_are_near_the_exact_ones(lstm_run: Path, recurrent: Path) -> None:
    trained, key = open_run(lstm_run), "si_sdr_denoised_db"
    exact = trained.score(lstm_run / "model.onnx")[key]
    assert trained.score(recurrent)[key] == pytest.approx(exact, abs=0.1)


def test_pairs_of_products_of_8_bit_lstms_fit_into_16_bits(recurrent: Path) -> None:
    weights = [v for v in made_of(recurrent).values() if v.dtype == np.int8 and v.ndim == 3]
    assert len(weights) == 4
    assert max(int(np.abs(w.astype(int)).max()) for w in weights) == 63
    assert 2 * 63 * 255 < 1 << 15


def test_an_lstm_of_another_form_stays_as_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = {"w": (2, 16, 3), "r": (2, 16, 4), "b": (2, 32)}
    held = [
        numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", ["frames", "examples", 3]), ("y", None))
    ]
    both = onnx.helper.make_node(
        "LSTM", ["x", "w", "r", "b"], ["y"], hidden_size=4, direction="bidirectional"
    )
    graph = onnx.helper.make_graph([both], "two ways", ends[:1], ends[1:], held)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)])
    before = made.SerializeToString()
    assert with_int8_lstms(made, [np.ones((2, 1, 3), np.float32)]).SerializeToString() == before
