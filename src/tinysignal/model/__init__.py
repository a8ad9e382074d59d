"""The model file: one ONNX file that holds a network and, in its metadata, its spec.

::

    network.py  load a model file, hold it to the contract, run it; the bundled models
    graph.py    the graph, read and judged before ONNX Runtime sees it
    folding.py  whether ONNX Runtime folds its constants in bounded time
    hidden.py   what the layers of a classifier answer
    session.py  ONNX Runtime's sessions, within limits of memory and time
"""

from tinysignal.model.network import (
    DEFAULT_MODEL,
    METADATA_KEY,
    ClassificationModel,
    DenoisingModel,
    State,
    bundled_models,
    load_classification_model,
    load_denoising_model,
    model_path,
    read_spec,
)

__all__ = [
    "DEFAULT_MODEL",
    "METADATA_KEY",
    "ClassificationModel",
    "DenoisingModel",
    "State",
    "bundled_models",
    "load_classification_model",
    "load_denoising_model",
    "model_path",
    "read_spec",
]
