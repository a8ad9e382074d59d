"""The classifier: probabilities of arrays and files, and what is refused."""

from __future__ import annotations

import copy
import pickle
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from templates import STRIPES, save_template_model, stripes
from tinysignal import Classifier
from tinysignal.errors import AudioFileError, DataError, ModelError, SignalError
from tinysignal.mel import log_mel
from tinysignal.spec import SoundInput

SOUND = SoundInput(sample_rate_hz=8_000, window_samples=256, hop_samples=128, mels=16, frames=20)


def tone(frequency_hz: float, rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    return save_template_model(path, stripes(), STRIPES, sharpness=0.1)


@pytest.fixture(scope="module")
def classifier(model: Path) -> Classifier:
    return Classifier.load(model)


@pytest.fixture(scope="module")
def sound_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Low or high: two tones' patches."""
    patches = [log_mel(tone(f, 8_000), sample_rate_hz=8_000, spec=SOUND) for f in (300, 2500)]
    path = tmp_path_factory.mktemp("model") / "sound.onnx"
    return save_template_model(path, patches, ("low", "high"), expects=SOUND)


def test_probabilities_are_those_of_the_templates(classifier: Classifier) -> None:
    rng = np.random.default_rng(0)
    examples = rng.random((20, 8, 8), np.float32)
    distances = np.square(examples[:, None] - stripes()).sum(axis=(2, 3), dtype=np.float64)
    weights = np.exp(-0.1 * distances)
    expected = weights / weights.sum(axis=1, keepdims=True)
    found = classifier(examples)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@given(seed=st.integers(0, 10_000), sharpness=st.sampled_from([1e-6, 1.0, 1e3, 1e30]))
def test_rows_sum_to_1_however_large_the_logits(
    tmp_path_factory: pytest.TempPathFactory, seed: int, sharpness: float
) -> None:
    path = tmp_path_factory.getbasetemp() / f"sharp{sharpness}.onnx"
    if not path.exists():
        save_template_model(path, stripes(), STRIPES, sharpness=sharpness)
    examples = np.random.default_rng(seed).random((4, 8, 8))
    found = Classifier.load(path)(examples)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert found.min() >= 0


def test_bytes_and_floats_are_the_same_pictures(classifier: Classifier) -> None:
    examples = np.random.default_rng(1).integers(0, 256, (5, 8, 8), np.uint8)
    as_floats = classifier(examples / 255)
    np.testing.assert_allclose(classifier(examples), as_floats, atol=1e-6)


def test_roundoff_beyond_black_and_white_is_taken(classifier: Classifier) -> None:
    examples = stripes().astype(np.float64)
    rough = np.where(examples == 0, -1e-15, 1 + 1e-7)
    np.testing.assert_allclose(classifier(rough), classifier(examples), atol=1e-5)


@pytest.mark.parametrize("examples", [0, 1, 1023, 1024, 1025, 2500])
def test_chunks_give_what_single_examples_give(classifier: Classifier, examples: int) -> None:
    values = np.random.default_rng(2).random((examples, 8, 8), np.float32)
    found = classifier(values)
    assert found.shape == (examples, 3)
    for i in {0, examples // 2, examples - 1} & set(range(examples)):
        np.testing.assert_allclose(found[i], classifier(values[i : i + 1])[0], atol=1e-6)


def test_memory_does_not_grow_with_the_examples(classifier: Classifier) -> None:
    """Only the answers do: 12 bytes an example here, against 256 of it as floats."""
    examples = np.zeros((40_000, 8, 8), np.uint8)
    tracemalloc.start()
    classifier(examples)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_a_run_folder_stands_for_the_model_in_it(
    classifier: Classifier, model: Path, tmp_path: Path
) -> None:
    shutil.copy(model, tmp_path / "model.onnx")
    assert Classifier.load(tmp_path).spec == classifier.spec
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty/model\.onnx: no such model file"):
        Classifier.load(tmp_path / "empty")


def test_a_denoiser_is_refused_with_what_to_use(onset_model: Path) -> None:
    with pytest.raises(ModelError, match="a denoiser, but a classifier was expected"):
        Classifier.load(onset_model)


# Files


def test_a_picture_file_is_classified_at_any_size(classifier: Classifier, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for number, picture in enumerate(stripes(8)):
        large = np.kron(picture, np.ones((9, 7)))  # whole pictures are stretched
        path = tmp_path / f"{number}.png"
        image.fromarray((255 * large).astype(np.uint8)).save(path)
        np.testing.assert_allclose(classifier.prepare(path), picture, atol=0.01)
        assert classifier.classify_file(path).argmax() == number


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
@pytest.mark.parametrize(("frequency_hz", "expected"), [(300, 0), (2500, 1)])
def test_a_sound_file_is_classified_at_any_rate(
    sound_model: Path, tmp_path: Path, rate_hz: int, frequency_hz: float, expected: int
) -> None:
    stereo = np.stack([tone(frequency_hz, rate_hz)] * 2, axis=1)
    soundfile.write(tmp_path / "tone.wav", 0.1 * stereo, rate_hz)
    found = Classifier.load(sound_model).classify_file(tmp_path / "tone.wav")
    assert found.argmax() == expected
    assert found.max() > 0.99


def test_files_that_cannot_be_read_are_named(
    classifier: Classifier, sound_model: Path, tmp_path: Path
) -> None:
    pytest.importorskip("PIL")
    wrong = tmp_path / "wrong.png"
    wrong.write_bytes(b"no picture")
    for path in (wrong, tmp_path / "none.png", tmp_path):
        with pytest.raises(DataError, match=str(path)):
            classifier.classify_file(path)
    with pytest.raises(AudioFileError, match="wrong"):
        Classifier.load(sound_model).classify_file(wrong)


# What is refused


@pytest.mark.parametrize(
    ("examples", "found"),
    [
        (np.zeros((8, 8), np.float32), r"shape \(8, 8\).*expects \(examples, 8, 8\)"),
        (np.zeros((2, 8, 9), np.float32), r"shape \(2, 8, 9\)"),
        (np.zeros((1, 1, 8, 8), np.uint8), r"shape \(1, 1, 8, 8\)"),
        (np.zeros((2, 8, 8), np.int64), "int64"),
        (np.zeros((2, 8, 8), complex), "complex128"),
        (np.full((2, 8, 8), "a"), "U1"),
        (np.full((2, 8, 8), np.nan), "NaN"),
        (np.full((2, 8, 8), np.inf), "infinite"),
        (np.full((2, 8, 8), 255.0), "from 255 to 255, expected 0 to 1. Pass uint8"),
        (np.full((2, 8, 8), -0.5), "from -0.5"),
    ],
)
def test_what_is_no_example_is_refused(
    classifier: Classifier, examples: np.ndarray, found: str
) -> None:
    with pytest.raises(SignalError, match=found) as raised:
        classifier(examples)
    assert len(str(raised.value).splitlines()) == 1


def test_a_late_bad_example_is_found_too(classifier: Classifier) -> None:
    examples = np.zeros((3000, 8, 8), np.float32)
    examples[2999, 7, 7] = np.nan
    with pytest.raises(SignalError, match="NaN"):
        classifier(examples)


def test_bytes_are_refused_by_a_model_of_sounds(sound_model: Path) -> None:
    with pytest.raises(SignalError, match="the model expects sounds"):
        Classifier.load(sound_model)(np.zeros((1, 20, 16), np.uint8))


def test_a_network_that_answers_no_number_is_refused(tmp_path: Path) -> None:
    broken = save_template_model(tmp_path / "m.onnx", stripes() * np.nan, STRIPES)
    with pytest.raises(ModelError, match="answers with NaN"):
        Classifier.load(broken)(np.zeros((1, 8, 8), np.float32))


def test_a_copy_of_a_classifier_answers_as_it_does(tmp_path: Path) -> None:
    classifier = Classifier.load(save_template_model(tmp_path / "m.onnx", stripes(), STRIPES))
    assert repr(classifier) == "Classifier(model='templates', input='image of 8 x 8', classes=3)"
    for made in (copy.deepcopy(classifier), pickle.loads(pickle.dumps(classifier))):
        np.testing.assert_array_equal(made(stripes()), classifier(stripes()))
