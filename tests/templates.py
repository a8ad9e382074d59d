"""A small classifier without training, as a model file: the nearest of fixed templates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from tinysignal.model_file import METADATA_KEY
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
