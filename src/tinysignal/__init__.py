"""Train small neural networks on signals, look inside them, shrink them and ship them.

The names here are the light half: numpy and onnxruntime, never torch. They are imported when
they are first used, so that `import tinysignal` does no work. It only tells the libraries below to
report nothing to anyone, see `tinysignal.privacy`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinysignal.privacy import be_silent

if TYPE_CHECKING:
    from tinysignal.classifier import Classifier
    from tinysignal.denoiser import Denoiser, DenoiserStream, denoise
    from tinysignal.errors import (
        AudioFileError,
        ConfigError,
        DataError,
        MissingExtraError,
        ModelError,
        SignalError,
        TinysignalError,
    )
    from tinysignal.spec import ClassifierSpec, DenoiserSpec

be_silent()

__version__ = "0.1.0"

_HOME = {
    "Classifier": "classifier",
    "Denoiser": "denoiser",
    "DenoiserStream": "denoiser",
    "denoise": "denoiser",
    "ClassifierSpec": "spec",
    "DenoiserSpec": "spec",
    "AudioFileError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "MissingExtraError": "errors",
    "ModelError": "errors",
    "SignalError": "errors",
    "TinysignalError": "errors",
}

__all__ = [
    "AudioFileError",
    "Classifier",
    "ClassifierSpec",
    "ConfigError",
    "DataError",
    "Denoiser",
    "DenoiserSpec",
    "DenoiserStream",
    "MissingExtraError",
    "ModelError",
    "SignalError",
    "TinysignalError",
    "__version__",
    "denoise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinysignal' has no attribute '{name}'")
    return getattr(import_module(f"tinysignal.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
