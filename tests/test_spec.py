"""The spec travels as JSON and refuses what is not one."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.errors import ModelError
from tinysignal.spec import (
    FORMAT_VERSION,
    ClassifierSpec,
    DenoiserSpec,
    ImageInput,
    SoundInput,
    spec_from_json,
)

SPEC = DenoiserSpec(
    name="a",
    arch="cnn",
    sample_rate_hz=16_000,
    window_samples=512,
    hop_samples=256,
    lookahead_frames=2,
    receptive_field_frames=10,
    licence="MIT © somebody",
)


def values(**changes: object) -> str:
    return json.dumps({**json.loads(SPEC.to_json()), **changes})


def test_json_and_back_is_the_same_spec() -> None:
    assert spec_from_json(SPEC.to_json()) == SPEC


@given(
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
    rate_hz=st.integers(4_000, 192_000),
    hop=st.integers(1, 4_096),
    even=st.integers(1, 8),
    lookahead=st.integers(0, 30),
)
def test_any_valid_spec_survives_json(
    name: str, rate_hz: int, hop: int, even: int, lookahead: int
) -> None:
    spec = DenoiserSpec(
        name=name,
        arch="linear",
        sample_rate_hz=rate_hz,
        window_samples=2 * even * hop,
        hop_samples=hop,
        lookahead_frames=lookahead,
    )
    assert spec_from_json(spec.to_json()) == spec


def test_latency_is_a_window_and_the_lookahead() -> None:
    assert SPEC.latency_s == pytest.approx((512 + 2 * 256) / 16_000)
    assert SPEC.bins == 257


def test_receptive_field_is_a_window_and_a_hop_for_each_further_frame() -> None:
    assert SPEC.receptive_field_s == pytest.approx((512 + 9 * 256) / 16_000)
    assert replace(SPEC, receptive_field_frames=0).receptive_field_s is None


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SPEC.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "expected a JSON object"),
        ("null", "expected a JSON object"),
        ("{}", "incomplete.*name"),
        (values(colour="red"), "unknown field 'colour'"),
        (values(name=None), "name = None, expected str"),
        (values(sample_rate_hz="16000"), "sample_rate_hz = '16000', expected int"),
        (values(sample_rate_hz=16000.0), "sample_rate_hz = 16000.0, expected int"),
        (values(lookahead_frames=True), "lookahead_frames = True, expected int"),
        (values(task="caption"), "task = 'caption', expected denoise or classify"),
        (values(format_version=FORMAT_VERSION + 1), "format version"),
        (values(window_samples=0), "window_samples is 0, expected 1 to 65536"),
        (values(window_samples=2**40, hop_samples=2**20), "window_samples is 1099511627776"),
        (values(hop_samples=1), "window of 512 samples and hop of 1"),
        (values(window_samples=3 * 256), "window of 768 samples and hop of 256"),
        (values(hop_samples=0), "hop_samples is 0, expected 1"),
        (values(sample_rate_hz=0), "sample_rate_hz is 0, expected 4000 to 192000"),
        (values(sample_rate_hz=10**30), "sample_rate_hz is a number of more than 20 digits"),
        (values(sample_rate_hz=10**400), "sample_rate_hz is a number of more than 20 digits"),
        (values(lookahead_frames=-1), "lookahead_frames is -1, expected 0"),
        (values(lookahead_frames=100_000), "lookahead_frames is 100000, expected 0 to 10000"),
        (values(lookahead_frames=9_000), "look-ahead of 9000 frames of 257 bins"),
        (values(receptive_field_frames=-1), "receptive_field_frames is -1"),
        (values(receptive_field_frames=10**400), "receptive_field_frames is a number"),
        (values(parameters=-5), "parameters is -5"),
        (values(parameters=10**4200), "parameters is a number of more than 20 digits"),
        (values(macs_per_s=10**4200), "macs_per_s is a number of more than 20 digits"),
        (values(normalization="loud"), "normalization 'loud', expected none or running"),
        (values(name="x" * 201), "name has 201 characters, expected at most 200"),
        (values(trained_on="x" * 5_000_000), "5000300 characters, expected at most 4194304"),
        (values(trained_on="x" * 50_000), "trained_on has 50000 characters"),
        (values(name="\ud800"), r"name is '\\ud800', expected text"),
        (values(name=["\x1b[31m" * 30]), r"name = \['\\x1b\[31m"),
        ('{"name": "a", "name": "b"}', "holds a name twice"),
        ('{"name": NaN}', "name = nan, expected str"),
        ('{"name": ' + "9" * 5000 + "}", "not JSON"),
        ("\ufeff{}", "not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_a_spec_is_refused_by_name(text: str, found: str) -> None:
    with pytest.raises(ModelError, match=found) as raised:
        spec_from_json(text)
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


def test_a_spec_is_checked_when_it_is_made() -> None:
    with pytest.raises(ModelError, match="window of 100"):
        replace(SPEC, window_samples=100)


# Classifiers

PICTURES = ImageInput(height=28, width=28, framing="mass", box=20)
CLASSIFIER = ClassifierSpec(name="digits", arch="mlp", classes=("0", "1"), input=PICTURES)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
sizes = st.integers(1, 300)
images = st.one_of(
    st.builds(ImageInput, height=sizes, width=sizes),
    st.builds(
        lambda height, width, share, framing: ImageInput(
            height=height, width=width, framing=framing, box=max(1, int(share * min(height, width)))
        ),
        height=sizes,
        width=sizes,
        share=st.floats(0, 1),
        framing=st.sampled_from(["mass", "box"]),
    ),
)
sounds = st.builds(
    lambda rate_hz, hop, more, mels, frames: SoundInput(
        sample_rate_hz=rate_hz, window_samples=hop + more, hop_samples=hop, mels=mels, frames=frames
    ),
    rate_hz=st.integers(4_000, 192_000),
    hop=st.integers(1, 10_000),
    more=st.integers(0, 10_000),
    mels=sizes,
    frames=sizes,
)


def classifier_values(**changes: object) -> str:
    return json.dumps({**json.loads(CLASSIFIER.to_json()), **changes})


def input_values(**changes: object) -> str:
    return classifier_values(input={**json.loads(CLASSIFIER.to_json())["input"], **changes})


@given(
    name=text,
    classes=st.lists(text, min_size=2, max_size=12, unique=True),
    expects=images | sounds,
    parameters=st.integers(0, 10**12),
    trained_on=text,
)
def test_any_valid_classifier_spec_survives_json(
    name: str,
    classes: list[str],
    expects: ImageInput | SoundInput,
    parameters: int,
    trained_on: str,
) -> None:
    spec = ClassifierSpec(
        name=name,
        arch="mlp",
        classes=tuple(classes),
        input=expects,
        parameters=parameters,
        trained_on=trained_on,
    )
    again = spec_from_json(spec.to_json())
    assert again == spec
    assert isinstance(again, ClassifierSpec)
    assert again.input.shape == expects.shape


def test_rows_and_columns_are_those_of_the_arrays() -> None:
    assert ImageInput(height=3, width=5).shape == (3, 5)
    assert SoundInput(mels=40, frames=63).shape == (63, 40)


def test_the_task_says_which_spec_it_is() -> None:
    assert isinstance(spec_from_json(SPEC.to_json()), DenoiserSpec)
    assert isinstance(spec_from_json(CLASSIFIER.to_json()), ClassifierSpec)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (values(task="classify"), "says input = None"),
        (classifier_values(task="denoise"), "unknown field 'classes'"),
        (classifier_values(colour="red"), "unknown field 'colour'"),
        (classifier_values(name=None), "name = None, expected str"),
        (classifier_values(parameters=1.5), "parameters = 1.5, expected int"),
        (classifier_values(format_version=FORMAT_VERSION + 1), "format version"),
        (classifier_values(classes="01"), "classes = '01', expected names"),
        (classifier_values(classes=[0, 1]), r"classes = \[0, 1\], expected names"),
        (classifier_values(classes=None), "classes = None"),
        (classifier_values(classes=[]), "0 classes, expected 2 to 10000"),
        (classifier_values(classes=["a"]), "1 classes"),
        (
            classifier_values(classes=["a", "a"]),
            "2 classes, expected 2 to 10000, all of different names",
        ),
        (classifier_values(classes=[str(i) for i in range(10_001)]), "10001 classes"),
        (classifier_values(input=None), "input = None, expected image or sound"),
        (classifier_values(input=[28, 28]), "expected image or sound"),
        (input_values(kind="video"), "expected image or sound"),
        (input_values(kind=["image"]), "expected image or sound"),
        (input_values(kind="sound"), "unknown field 'height'"),
        (input_values(height=0), "height is 0, expected 1"),
        (input_values(width=-1), "width is -1, expected 1"),
        (input_values(height=10**9), "height is 1000000000, expected 1 to 65536"),
        (input_values(height=60_000, width=60_000), "examples of 60000 x 60000 values"),
        (input_values(height="28"), "height = '28', expected int"),
        (input_values(height=True), "height = True, expected int"),
        (input_values(framing="round"), "framing 'round', expected whole or mass or box"),
        (input_values(box=0), "box of 0 pixels"),
        (input_values(box=29), "box of 29 pixels, expected at most 28"),
        (input_values(framing="whole"), "box of 20 pixels, expected at most 0"),
        (classifier_values(input={"kind": "image"}), "incomplete.*height"),
        (classifier_values(input={"kind": "sound", "sample_rate_hz": 0}), "sample_rate_hz is 0"),
        (classifier_values(input={"kind": "sound", "hop_samples": 513}), "hop of 513"),
        (classifier_values(input={"kind": "sound", "hop_samples": 0}), "hop_samples is 0"),
        (classifier_values(input={"kind": "sound", "mels": 0}), "mels is 0, expected 1"),
        (classifier_values(input={"kind": "sound", "mels": 10**6}), "mels is 1000000"),
        (classifier_values(input={"kind": "sound", "frames": 90_000}), "at most 10000000 samples"),
        (classifier_values(classes=["a", "b" * 201]), "a class has 201 characters"),
        (classifier_values(classes=["a", "\udc80"]), "a class is .*expected text"),
        (classifier_values(macs=-1), "macs is -1"),
    ],
    ids=lambda value: str(value)[-50:],
)
def test_what_is_not_a_classifier_s_spec_is_refused_by_name(text: str, found: str) -> None:
    with pytest.raises(ModelError, match=found) as raised:
        spec_from_json(text)
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 300


def test_a_classifier_s_spec_without_a_field_is_refused() -> None:
    whole = json.loads(CLASSIFIER.to_json())
    for name in ("name", "arch"):
        part = json.dumps({key: value for key, value in whole.items() if key != name})
        with pytest.raises(ModelError, match=f"incomplete.*{name}"):
            spec_from_json(part)
