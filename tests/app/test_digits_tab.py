"""Claims about the digits tab in a real browser, and about what it asks."""

from __future__ import annotations

import base64
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served import PICTURES, Visit, need_browser

from templates import save_blots
from tinysignal import Classifier
from tinysignal.app.network import Network
from tinysignal.app.settings import Settings
from tinysignal.errors import DataError
from tinysignal.images.files import frame_image
from tinysignal.inspect.placing import placing_map
from tinysignal.model.hidden import HiddenLayers
from tinysignal.spec import ImageInput

Opens = Callable[..., Visit]
SEVEN = ((0.3, 0.25), (0.5, 0.23), (0.7, 0.25), (0.6, 0.5), (0.5, 0.7), (0.45, 0.85))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small MNIST; for the pictures in the documentation the real one."""
    if os.environ.get(PICTURES) and os.environ.get("TINYSIGNAL_DATA"):
        return Path(os.environ["TINYSIGNAL_DATA"])
    made = tmp_path_factory.mktemp("data")
    save_blots(made)
    return made


@pytest.fixture(scope="module")
def options(data_dir: Path) -> list[Any]:
    return ["--data-dir", data_dir]


@pytest.fixture
def page(visit: Opens) -> Visit:
    page = visit()
    page.tab("Digits")
    page.page.wait_for_selector(".digits .maps canvas[data-placed]")
    return page


def draw(page: Visit, corners: tuple[tuple[float, float], ...] = SEVEN) -> None:
    box = page.page.locator(".sketch").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.page.mouse.move(*places[0])
    page.page.mouse.down()
    for place in places[1:]:
        page.page.mouse.move(*place, steps=5)
    page.page.mouse.up()


def said(page: Visit, answer: str) -> None:
    page.page.wait_for_function(
        "answer => document.querySelector('.digits .said').dataset.answer === answer", arg=answer
    )


def framed(page: Visit) -> np.ndarray:
    """What the library makes of the sheet, float32 (1, 28, 28)."""
    ink = base64.b64decode(page.page.evaluate("window.tinysignal.ink"))
    drawing = np.frombuffer(ink, np.uint8).reshape(140, 140) / np.float32(255)
    expected = ImageInput(height=28, width=28, framing="mass", box=20)
    return frame_image(1 - drawing, expected)[np.newaxis]


def test_a_drawn_digit_gets_the_classifiers_answer_as_it_is_drawn(page: Visit) -> None:
    need_browser()
    draw(page)
    said(page, "7")
    page.page.wait_for_function("document.querySelectorAll('.nearest li').length === 6")
    expected = Classifier.load("mnist")(framed(page))[0]
    shown = page.page.locator(".bars .share").all_inner_texts()
    shares = [float(text.rstrip(" %")) / 100 for text in shown]
    np.testing.assert_allclose(shares, expected, atol=6e-4)
    assert page.page.locator(".bars .best b").inner_text() == "7"
    decide = "canvas => new Set(canvas.getContext('2d').getImageData(0, 0, 28, 28).data).size"
    assert page.page.locator(".decide").evaluate(decide) > 5
    page.page.get_by_role("button", name="Clear").click()
    page.page.wait_for_function("!document.querySelector('.bars .best')")
    page.page.wait_for_function("!document.querySelector('.nearest li')")  # comes a little later


def test_the_drawing_lands_on_every_map_where_the_library_places_it(
    page: Visit, data_dir: Path
) -> None:
    draw(page)
    said(page, "7")
    page.page.wait_for_function(
        "[...document.querySelectorAll('.digits .maps canvas')].every(map => map.dataset.placed)"
    )
    page.page.wait_for_function("document.querySelectorAll('.nearest li').length === 6")
    network = Network("mnist", Settings(data_dir=data_dir), threading.Event())
    pictures, _ = network.examples()
    layers = HiddenLayers.load("mnist")
    maps = page.page.locator(".digits .maps canvas")
    assert maps.count() == len(layers.titles) == 6
    known, new = layers(pictures[:600]), layers(framed(page))
    for number, title in enumerate(layers.titles):
        expected = placing_map(known[title]).place(new[title])[0]
        placed = [float(part) for part in maps.nth(number).get_attribute("data-placed").split()]
        np.testing.assert_allclose(placed, expected, rtol=1e-3, atol=0.011)
    page.page.mouse.move(0, 0)
    page.picture("app-digits")


def test_the_keyboard_draws_too(page: Visit) -> None:
    page.page.locator(".sketch").focus()
    for key in [*["ArrowUp"] * 3, " ", *["ArrowDown"] * 20, " "]:
        page.page.keyboard.press(key)
    said(page, "1")
    page.page.keyboard.press("Delete")
    page.page.wait_for_function("!document.querySelector('.bars .best')")


def test_an_example_of_the_training_can_be_shown(page: Visit) -> None:
    page.page.get_by_role("button", name="Show an example").click()
    page.page.wait_for_selector(".bars .best")
    assert (
        page.page.locator("#digits [data-shown]").first.get_attribute("data-shown") in "0123456789"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it(visit: Opens, scheme: str) -> None:
    page = visit(viewport={"width": 360, "height": 800}, has_touch=True, color_scheme=scheme)
    page.tab("Digits")
    page.page.wait_for_selector(".digits .maps canvas[data-placed]")
    page.page.locator(".sketch").tap()
    page.page.wait_for_selector(".bars .best")
    assert page.page.evaluate("document.documentElement.scrollWidth") <= 360


def test_without_mnist_the_embedded_digits_are_the_examples(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    network = Network("mnist", Settings(data_dir=tmp_path), threading.Event())
    pictures, labels = network.examples()
    assert pictures.shape[1:] == (28, 28)
    assert len(pictures) == len(labels) > 1000
    place = int(np.flatnonzero(labels == 0)[3])
    assert place in network.nearest(pictures[place])


def test_without_any_example_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    network = Network("mnist", Settings(data_dir=tmp_path), threading.Event())
    with pytest.raises(DataError, match=r"--data-dir with MNIST's files, or pip install"):
        network.examples()
    assert network.classifier(np.zeros((1, 28, 28), np.float32)).shape == (1, 10)


def test_only_the_networks_of_the_page_answer(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from tinysignal.app.digits import Answers
    from tinysignal.app.site import Site

    answers = Answers(Site(Settings(), tmp_path))
    ink = base64.b64encode(bytes(140 * 140)).decode()
    assert answers.look({"model": "mnist", "ink": ink}) == {"empty": True}
    for model in ("default", "/etc/passwd", str(tmp_path)):
        assert "is not on this page" in answers.look({"model": model, "ink": ink})["error"]
    assert "expected 140 x 140" in answers.look({"model": "mnist", "ink": "AAAA"})["error"]
