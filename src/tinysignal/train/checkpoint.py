"""Checkpoints as safetensors: tensors, and all other values as JSON text; no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import CheckpointIO
from lightning.fabric.utilities.types import _PATH
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from tinysignal.errors import ModelError
from tinysignal.files import atomic

_KEY = "tinysignal"


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write nested dicts, lists, numbers, strings and tensors; the file is replaced atomically."""
    tensors: dict[str, Tensor] = {}
    _save(path, tensors, {_KEY: json.dumps(_pack(state, tensors))})


def load_state(path: Path) -> dict[str, Any]:
    """Read a file of `save_state`.

    Raises
    ------
    ModelError
        The file is missing or damaged, or `save_state` did not write it.
    """
    tensors, metadata = _load(path, "a readable checkpoint")
    text = metadata.get(_KEY)
    if text is None:
        raise ModelError(
            f"{path}: a safetensors file without metadata '{_KEY}', expected a checkpoint of "
            "'tinysignal train'."
        )
    try:
        state: dict[str, Any] = _unpack(json.loads(text), tensors)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path}: not a readable checkpoint ({error}).") from None
    return state


def save_weights(path: Path, net: nn.Module) -> None:
    """Write the parameters and buffers of a network."""
    save_tensors(path, net.state_dict())


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write what a network's ``state_dict`` gave, as `save_weights` does."""
    _save(path, {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, None)


def _save(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> None:
    with atomic(path) as temporary:
        # Not save_file, whose files only the owner can read.
        temporary.write_bytes(save(tensors, metadata=metadata))


def load_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of `save_weights`.

    Raises
    ------
    ModelError
        The file is missing or damaged.
    """
    tensors, _ = _load(path, "readable weights")
    for name, values in tensors.items():
        if values.is_complex() or not values.isfinite().all():
            raise ModelError(f"{path}: NaN, infinite or complex numbers in {name!r:.80}.")
    return tensors


def _load(path: Path, what: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a safetensors file.

    It is read, not mapped: a mapped file that is cut short kills the process.
    """
    try:
        content = path.read_bytes()
        tensors = load(content)
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, OSError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path}: not {what} ({said!s:.200}).") from None
    return tensors, metadata


class SafetensorsIO(CheckpointIO):
    """Lightning plugin that stores checkpoints by `save_state` and `load_state`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: _PATH, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint of Lightning."""
        save_state(Path(path), checkpoint)

    def load_checkpoint(
        self, path: _PATH, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of Lightning."""
        return load_state(Path(path))

    def remove_checkpoint(self, path: _PATH) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON of a value; tensors are stored by name, dicts as pairs because keys may be numbers."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().cpu().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_pack(k, tensors), _pack(v, tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_pack(v, tensors) for v in value]}
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}")


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {_unpack(k, tensors): _unpack(v, tensors) for k, v in content}
    items = [_unpack(v, tensors) for v in content]
    return items if kind == "list" else tuple(items)
