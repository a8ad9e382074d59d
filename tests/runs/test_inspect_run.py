"""Looking into the network of a training run, on the split that it has not learnt from."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinysignal.datasets import Dataset, load_dataset
from tinysignal.errors import ConfigError, DataError, ModelError
from tinysignal.inspect import Inspection
from tinysignal.model import load_classification_model
from tinysignal.runs.inspect import inspect_run
from tinysignal.train.classification.config import ClassifierConfig
from tinysignal.train.classification.task import train_classifier


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "digits-run"
    options = {"width": 24, "depth": 2, "epochs": 4, "device": "cpu", "seed": 3, "name": "little"}
    train_classifier(ClassifierConfig.read(None, options), folder, quiet=True)
    return folder


def look(run: Path, **options: object) -> Inspection:
    return inspect_run(run, points=100, methods=["PCA"], best=3, **options)  # type: ignore[arg-type]


def test_a_run_is_looked_into_with_what_it_was_trained_on(run: Path) -> None:
    found = look(run)
    dataset = load_dataset("digits", seed=3)
    split, examples = dataset.held_out()
    assert (found.title, found.data, found.split) == ("little", "digits", split)
    assert found.examples == len(examples)
    assert found.classes == dataset.classes
    # The exported model, run by onnxruntime, is an independent reference.
    logits = load_classification_model(run / "model.onnx").run(examples.as_float())
    expected = float(np.mean(logits.argmax(axis=1) == examples.labels))
    assert found.accuracy == pytest.approx(expected)
    np.testing.assert_array_equal(found.labels, examples.labels[found.positions])
    np.testing.assert_array_equal(found.predicted, logits.argmax(axis=1)[found.positions])
    assert [view.title for view in found.layers] == ["input", "hidden 1", "hidden 2", "output"]
    assert found.images.shape[1:] == (8, 8)
    assert (found.images.min(), found.images.max()) == (0, 255)
    assert (split, found.notes) == ("test", ())


def test_without_a_test_side_the_validation_side_is_shown_and_said(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_dataset("digits", seed=3)
    nothing = whole.test.select(np.zeros(0, np.int64))

    def load(source: str, **options: object) -> Dataset:
        # The run's own share and seed, or examples of its training would be among them.
        assert (source, options["valid_fraction"], options["seed"]) == ("digits", 1 / 12, 3)
        return replace(whole, test=nothing)

    monkeypatch.setattr("tinysignal.train.classification.task.load_dataset", load)
    found = look(run)
    assert (found.split, found.examples) == ("valid", len(whole.valid))
    assert found.notes[0].startswith("No test split")


def test_of_a_test_side_that_is_too_small_all_sides_are_shown_and_it_is_said(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_dataset("digits", seed=3)
    of_one = whole.test.select(np.flatnonzero(whole.test.labels == 4))
    for small in (whole.test.select(np.arange(24)), of_one):
        few = replace(whole, test=small, passed_over={".txt": 1, ".heic": 3})
        monkeypatch.setattr(
            "tinysignal.train.classification.task.load_dataset", lambda *_, few=few, **__: few
        )
        found = look(run)
        assert found.split == "all splits"
        assert found.examples == len(few.train) + len(few.valid) + len(small)
        assert found.notes[0].endswith("nothing here reads them: 3 .heic, 1 .txt.")
        assert f"The test split has {len(small)} examples" in found.notes[1]
        assert "all splits were used" in found.notes[1]


def test_layers_are_chosen_by_name(run: Path) -> None:
    found = look(run, layers=["layers.0"])
    assert [view.name for view in found.layers] == ["input", "layers.0"]
    with pytest.raises(ConfigError, match=r"layer 'layers\.99'"):
        look(run, layers=["layers.99"])


def test_other_folders_are_refused_in_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="Give a folder made by"):
        look(tmp_path)
    with pytest.raises(ModelError, match=r"nowhere: no such folder\. Give a folder made"):
        look(tmp_path / "nowhere")
    damaged = shutil.copytree(run, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        look(damaged)
    (damaged / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        look(damaged)


def test_a_denoisers_run_is_told_that_classifiers_are_looked_at(
    onset_model: Path, tmp_path: Path
) -> None:
    shutil.copy(onset_model, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="a run of task 'denoise', expected a classifier"):
        look(tmp_path)


def test_data_of_other_classes_or_size_is_refused(run: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        look(run, data="nothing-there")
    data_dir = os.environ.get("TINYSIGNAL_DATA")
    if data_dir is None:
        pytest.skip("TINYSIGNAL_DATA is not set")
    with pytest.raises(
        DataError, match="28 x 28 values, but model 'little' expects images of 8 x 8"
    ):
        look(run, data="mnist", data_dir=Path(data_dir))
