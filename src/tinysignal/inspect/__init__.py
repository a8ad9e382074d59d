"""Inspection of trained classifiers: examples, maps of layers, spectra of weights.

Results and page need no torch. Names that run a network import it on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tinysignal.inspect.result import Inspection, LayerRow, LayerView, Map, Ranking

if TYPE_CHECKING:
    from tinysignal.inspect.capture import Recording, record_outputs
    from tinysignal.inspect.inspection import inspect

_HOME = {
    "inspect": "inspection",
    "record_outputs": "capture",
    "Recording": "capture",
}

__all__ = [
    "Inspection",
    "LayerRow",
    "LayerView",
    "Map",
    "Ranking",
    "Recording",
    "inspect",
    "record_outputs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'tinysignal.inspect' has no attribute '{name}'")
    return getattr(import_module(f"tinysignal.inspect.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
