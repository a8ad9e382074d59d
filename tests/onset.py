"""A small denoiser without training, as a model file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from tinysignal.model import METADATA_KEY
from tinysignal.spec import DenoiserSpec


def _float_tensor(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save_onset_model(path: Path, *, window_samples: int = 512, lookahead_frames: int = 0) -> Path:
    """A denoiser without training, with a state: gain = m / (m + half the frame before).

    It passes onsets and damps what lasts to two thirds; silence stays silent.
    """
    bins = window_samples // 2 + 1
    constants = {
        "half": np.float32(0.5),
        "tiny": np.float32(1e-9),
        "last": np.array([-1], np.int64),
        "end": np.array([np.iinfo(np.int64).max], np.int64),
        "start": np.array([0], np.int64),
        "frames_axis": np.array([1], np.int64),
    }
    nodes = [
        helper.make_node("Concat", ["state", "magnitude"], ["all"], axis=1),
        helper.make_node("Slice", ["all", "start", "last", "frames_axis"], ["before"]),
        helper.make_node("Slice", ["all", "last", "end", "frames_axis"], ["next_state"]),
        helper.make_node("Mul", ["before", "half"], ["halved"]),
        helper.make_node("Add", ["magnitude", "halved"], ["sum"]),
        helper.make_node("Add", ["sum", "tiny"], ["positive"]),
        helper.make_node("Div", ["magnitude", "positive"], ["gain"]),
    ]
    graph = helper.make_graph(
        nodes,
        "onset",
        [
            _float_tensor("magnitude", ["channels", "frames", bins]),
            _float_tensor("state", ["channels", 1, bins]),
        ],
        [
            _float_tensor("gain", ["channels", "frames", bins]),
            _float_tensor("next_state", ["channels", 1, bins]),
        ],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = DenoiserSpec(
        name="onset",
        arch="onset",
        sample_rate_hz=16_000,
        window_samples=window_samples,
        hop_samples=window_samples // 2,
        lookahead_frames=lookahead_frames,
        receptive_field_frames=2,
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path
