"""Claims about the live tab: Chromium's own microphone beeps, the server cleans."""

from __future__ import annotations

import base64
from collections.abc import Callable

import numpy as np
import pytest
from served import Visit, need_browser

from tinysignal import Denoiser

need_browser()

from tinysignal.app.live import Streams  # noqa: E402 - needs gradio

Opens = Callable[..., Visit]


def test_the_microphone_goes_through_the_network_with_meters_and_latency(visit: Opens) -> None:
    page = visit()
    page.tab("Live")
    page.page.get_by_role("button", name="Start the microphone").click()
    page.page.wait_for_function(
        "Number(document.querySelector('#live [data-blocks]')?.dataset.blocks) > 25"
    )
    facts = {
        name: page.page.locator(f".live [data-fact={name}]").inner_text()
        for name in ("total", "network", "work", "dropouts")
    }
    assert facts["network"] == "32 ms"
    assert float(facts["total"].removesuffix(" ms")) > 92  # a block and the network at least
    assert facts["work"].endswith("ms of 60")
    assert int(facts["dropouts"]) >= 0
    page.page.wait_for_function(
        "Number(document.querySelector('.live .meter').getAttribute('aria-valuenow')) > -60"
    )
    page.picture("app-live")
    page.page.get_by_role("button", name="Stop").click()
    assert page.page.locator(".live .said").inner_text() == "Stopped."


def test_a_phone_shows_all_of_it(visit: Opens) -> None:
    page = visit(viewport={"width": 360, "height": 800})
    page.tab("Live")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.fixture
def speech(make_noisy: Callable[..., np.ndarray]) -> np.ndarray:
    return np.round(make_noisy(seconds=2.0, rate_hz=48_000)[0] * 32_768).astype("<i2")


def fed(streams: Streams, name: str, block: np.ndarray) -> np.ndarray:
    text = base64.b64encode(block.tobytes()).decode("ascii")
    answer = streams.feed({"id": name, "block": text})
    return np.frombuffer(base64.b64decode(answer["block"]), "<i2")


def test_two_microphones_do_not_share_a_stream(speech: np.ndarray) -> None:
    streams = Streams()
    for name, limit in (("ann", 40), ("bob", 6)):
        begun = streams.begin({"id": name, "rate_hz": 48_000, "limit": limit})
        assert begun["latency_ms"] == pytest.approx(32)
    blocks = np.array_split(speech, 23)
    heard: dict[str, list[np.ndarray]] = {"ann": [], "bob": []}
    for block in blocks:
        for name, given in (("ann", block), ("bob", block[::-1].copy())):
            heard[name].append(fed(streams, name, given))
    back = np.concatenate([block[::-1] for block in blocks])
    for name, signal, options in (
        ("ann", speech, {}),
        ("bob", back, {"attenuation_limit_db": 6}),
    ):
        stream = Denoiser.load(**options).stream(sample_rate_hz=48_000)
        expected = stream.feed(signal.astype(np.float32) / 32_768)[0]
        found = np.concatenate(heard[name]) / 32_767
        np.testing.assert_allclose(found, expected[: found.size], atol=1e-4)
        assert found.size >= expected.size - 48_000 * 0.06


def test_what_is_no_block_is_an_answer_in_one_line() -> None:
    streams = Streams()
    assert "Start it again" in streams.feed({"id": "nobody", "block": ""})["error"]
    assert "sample rate" in streams.begin({"id": "a", "rate_hz": 7, "limit": 40})["error"].lower()
    streams.begin({"id": "a", "rate_hz": 16_000, "limit": 40})
    long = base64.b64encode(bytes(2 << 18)).decode("ascii")
    assert "at most" in streams.feed({"id": "a", "block": long})["error"]


def test_the_number_of_streams_is_bounded() -> None:
    streams = Streams()
    for number in range(40):
        streams.begin({"id": str(number), "rate_hz": 16_000, "limit": 40})
    empty = {"block": ""}
    assert "error" not in streams.feed({"id": "39", **empty})
    assert sum("error" not in streams.feed({"id": str(n), **empty}) for n in range(40)) <= 8
