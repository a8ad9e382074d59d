"""Small models and signals made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tinysignal.model_file import METADATA_KEY
from tinysignal.spec import DenoiserSpec


def _float_tensor(name: str, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def save_onset_model(path: Path, *, fft_samples: int = 512, lookahead_frames: int = 0) -> Path:
    """A denoiser without training, with a state: gain = m / (m + half the frame before).

    It passes onsets and damps what lasts to two thirds; silence stays silent.
    """
    bins = fft_samples // 2 + 1
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
        fft_samples=fft_samples,
        hop_samples=fft_samples // 2,
        lookahead_frames=lookahead_frames,
        receptive_field_frames=2,
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def onset_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a small stateful model file at 16 kHz."""
    return save_onset_model(tmp_path_factory.mktemp("model") / "onset.onnx")


@pytest.fixture
def make_noisy() -> Callable[..., np.ndarray]:
    """Bursts of tones in white noise, float32 (channels, time), peaks below 0.5."""

    def make(*, seconds: float = 1.0, rate_hz: int = 16_000, channels: int = 1) -> np.ndarray:
        rng = np.random.default_rng(7)
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        tone = 0.3 * np.sin(2 * np.pi * 440 * time_s) * (np.sin(2 * np.pi * 3 * time_s) > 0)
        noise = rng.normal(0, 0.02, (channels, time_s.size))
        return (tone + noise).astype(np.float32)

    return make
