"""The spec travels as JSON and refuses what is not one."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.errors import ModelError
from tinysignal.spec import FORMAT_VERSION, DenoiserSpec, spec_from_json

SPEC = DenoiserSpec(
    name="a",
    arch="cnn",
    sample_rate_hz=16_000,
    fft_samples=512,
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
    name=st.text(st.characters(exclude_categories=["Cs"])),
    rate_hz=st.integers(1, 10**6),
    hop=st.integers(1, 10**4),
    even=st.integers(1, 8),
    lookahead=st.integers(0, 100),
)
def test_any_valid_spec_survives_json(
    name: str, rate_hz: int, hop: int, even: int, lookahead: int
) -> None:
    spec = DenoiserSpec(
        name=name,
        arch="linear",
        sample_rate_hz=rate_hz,
        fft_samples=2 * even * hop,
        hop_samples=hop,
        lookahead_frames=lookahead,
    )
    assert spec_from_json(spec.to_json()) == spec


def test_latency_is_a_window_and_the_lookahead() -> None:
    assert SPEC.latency_s == pytest.approx((512 + 2 * 256) / 16_000)
    assert SPEC.bins == 257


def test_receptive_field_is_a_window_and_a_hop_for_each_further_frame() -> None:
    assert SPEC.receptive_field_s == pytest.approx((512 + 9 * 256) / 16_000)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SPEC.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", "incomplete.*name"),
        (values(colour="red"), "unknown field 'colour'"),
        (values(name=None), "name = None, expected str"),
        (values(sample_rate_hz="16000"), "sample_rate_hz = '16000', expected int"),
        (values(sample_rate_hz=16000.0), "sample_rate_hz = 16000.0, expected int"),
        (values(lookahead_frames=True), "lookahead_frames = True, expected int"),
        (values(task="caption"), "task 'caption'"),
        (values(format_version=FORMAT_VERSION + 1), "format version"),
        (values(fft_samples=0), "window of 0"),
        (values(fft_samples=3 * 256), "window of 768 samples and hop of 256"),
        (values(hop_samples=0), "hop of 0"),
        (values(sample_rate_hz=0), "sample rate 0 Hz"),
        (values(lookahead_frames=-1), "look-ahead -1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_not_a_spec_is_refused_by_name(text: str, found: str) -> None:
    with pytest.raises(ModelError, match=found) as raised:
        spec_from_json(text)
    assert len(str(raised.value).splitlines()) == 1


def test_a_spec_is_checked_when_it_is_made() -> None:
    with pytest.raises(ModelError, match="window of 100"):
        replace(SPEC, fft_samples=100)
