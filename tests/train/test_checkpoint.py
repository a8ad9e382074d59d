"""Checkpoints hold everything and never a pickle."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tinysignal.errors import FileError, ModelError
from tinysignal.train.checkpoint import load_state, load_weights, save_state


def test_nested_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {
        "epoch": 3,
        "none": None,
        "nested": {0: {"step": torch.tensor(4.0), "list": [1, (2.5, "a")]}, "b": True},
        "tensor": torch.arange(6).reshape(2, 3).T,
    }
    save_state(tmp_path / "s.safetensors", state)
    loaded = load_state(tmp_path / "s.safetensors")
    assert torch.equal(loaded.pop("tensor"), state.pop("tensor"))
    assert torch.equal(loaded["nested"][0].pop("step"), state["nested"][0].pop("step"))
    assert loaded == state


def test_what_cannot_be_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot hold"):
        save_state(tmp_path / "s.safetensors", {"code": print})
    assert list(tmp_path.iterdir()) == []


def test_damaged_and_foreign_files_are_refused_by_name(tmp_path: Path) -> None:
    damaged, foreign = tmp_path / "damaged.safetensors", tmp_path / "foreign.safetensors"
    save_state(damaged, {"a": torch.zeros(100)})
    damaged.write_bytes(damaged.read_bytes()[:-50])
    save_file({"a": torch.zeros(1)}, foreign)
    pickled = tmp_path / "pickled.safetensors"
    torch.save({"a": 1}, pickled)
    misshapen = tmp_path / "misshapen.safetensors"
    save_file({"a": torch.zeros(1)}, misshapen, metadata={"tinysignal": "{}"})
    for path in (damaged, foreign, pickled, misshapen, tmp_path / "absent"):
        with pytest.raises(ModelError, match=path.name):
            load_state(path)
    for path in (damaged, pickled, tmp_path / "absent"):
        with pytest.raises(ModelError, match=path.name):
            load_weights(path)


def test_a_full_disk_is_named_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FileError, match=r"s\.safetensors: cannot be written .*No space"):
        save_state(tmp_path / "s.safetensors", {"a": torch.zeros(1)})
    assert list(tmp_path.iterdir()) == []


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    save_state(tmp_path / "s.safetensors", {"a": torch.zeros(1)})
    (tmp_path / "plain").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("s.safetensors", "plain")]
    assert modes[0] == modes[1]
