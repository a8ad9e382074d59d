"""A small classifier without training, the nearest of fixed templates; and a small MNIST."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from tinysignal.model import METADATA_KEY
from tinysignal.spec import ClassifierSpec, ImageInput, SoundInput


def stripes(size: int = 8) -> np.ndarray:
    """Three pictures that are far apart, float32 (3, size, size): left, right and upper half."""
    pictures = np.zeros((3, size, size), np.float32)
    pictures[0, :, : size // 2] = 1
    pictures[1, :, size // 2 :] = 1
    pictures[2, : size // 2] = 1
    return pictures


STRIPES = ("left", "right", "upper")


def save_template_model(
    path: Path,
    templates: ArrayLike,
    classes: tuple[str, ...],
    *,
    sharpness: float = 1.0,
    expects: ImageInput | SoundInput | None = None,
) -> Path:
    """A classifier without training: logit = - sharpness * squared distance to the template.

    What all classes share is left out: ``sharpness * (2 x.t - t.t)``.

    Parameters
    ----------
    path : Path
    templates : floating (classes, rows, columns)
    classes : tuple of str
    sharpness : float
        Higher is more confident.
    expects : ImageInput, SoundInput or None
        None for whole pictures of the templates' size.
    """
    rows = np.asarray(templates, np.float32)
    flat = rows.reshape(len(rows), -1)
    constants = {
        "flat": np.array([0, -1], np.int64),
        "weight": 2 * sharpness * flat.T,
        "bias": -sharpness * np.square(flat).sum(axis=1),
    }
    nodes = [
        helper.make_node("Reshape", ["examples", "flat"], ["rows"]),
        helper.make_node("Gemm", ["rows", "weight", "bias"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
        for name, shape in (("examples", rows.shape[1:]), ("logits", (len(rows),)))
    ]
    initial = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "templates", ends[:1], ends[1:], initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    spec = ClassifierSpec(
        name="templates",
        arch="templates",
        classes=classes,
        input=expects or ImageInput(height=rows.shape[1], width=rows.shape[2]),
        parameters=flat.size + len(rows),
        macs=flat.size,
        licence="MIT",
    )
    helper.set_model_props(model, {METADATA_KEY: spec.to_json()})
    onnx.save(model, path)
    return path


def blots() -> np.ndarray:
    """Ten pictures that are far apart, uint8 (10, 28, 28)."""
    coarse = np.random.default_rng(10).integers(0, 2, (10, 7, 7))
    return np.kron(255 * coarse, np.ones((1, 4, 4))).astype(np.uint8)


def save_blots(
    data_dir: Path, *, examples: int = 60, wrong: int = 6, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A small "MNIST": grainy copies of `blots`, of which the first ``wrong`` have a wrong label.

    Returns
    -------
    uint8 (examples, 28, 28), uint8 (examples,)
        The test side.
    """
    rng = np.random.default_rng(seed)
    shown = rng.integers(0, 10, examples)
    grain = rng.integers(-60, 61, (examples, 28, 28))
    pictures = np.clip(blots()[shown].astype(np.int64) + grain, 0, 255).astype(np.uint8)
    labels = shown.copy()
    labels[:wrong] = (shown[:wrong] + 1) % 10
    folder = data_dir / "mnist"
    folder.mkdir(parents=True, exist_ok=True)
    for side in ("train", "t10k"):
        header = struct.pack(">4i", 0x803, *pictures.shape)
        (folder / f"{side}-images-idx3-ubyte").write_bytes(header + pictures.tobytes())
        header = struct.pack(">2i", 0x801, examples)
        (folder / f"{side}-labels-idx1-ubyte").write_bytes(header + labels.astype("u1").tobytes())
    return pictures, labels.astype(np.uint8)


def save_blots_model(path: Path) -> Path:
    """A classifier of `blots`, which answers what is shown."""
    digits = tuple("0123456789")
    expects = ImageInput(height=28, width=28, framing="mass", box=20)
    return save_template_model(path, blots() / 255, digits, sharpness=0.02, expects=expects)
