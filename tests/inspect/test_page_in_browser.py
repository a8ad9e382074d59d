"""Claims about the page in a real browser: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_inspection import sample_inspection

from tinysignal.inspect.page import write_page

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
image = pytest.importorskip("PIL.Image")
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if _CHROMIUM is None:
    pytest.skip("Chromium is not installed", allow_module_level=True)

_FLAGS = (
    "--no-sandbox",  # it would refuse to run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_EVIL = "<script>document.title = 'ran'</script><img src=x onerror=\"document.title = 'ran'\">"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=_CHROMIUM, args=list(_FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "inspect.html"
    inspection = sample_inspection(classes=(_EVIL, "one", "two & <b>"), title=_EVIL)
    write_page(inspection, path)
    return path


class Visit:
    """An open page, and what it complained about or asked the network for."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.url = file.as_uri()
        self.page.goto(self.url)
        self.page.wait_for_function("document.querySelector('.plot canvas').width > 0")

    def _hear(self, said: Any) -> None:
        if "willReadFrequently" not in said.text:  # the tests look at the canvases, not the page
            self.complaints.append(said.text)

    def pixels(self, plot: int, layer: int = 0) -> np.ndarray:
        """One of a map's two canvases, uint8 (rows, columns, 4): 0 the dots, 1 the marks."""
        picture = self.page.evaluate(
            """([plot, layer]) =>
                document.querySelectorAll(".plot")[plot].children[layer].toDataURL()""",
            [plot, layer],
        )
        content = base64.b64decode(picture.partition(",")[2])
        return np.asarray(image.open(io.BytesIO(content)).convert("RGBA"))

    def count(self, colour: str, plot: int = 0) -> int:
        """Pixels of exactly a class's colour."""
        channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        return int((self.pixels(plot)[..., :3] == channels).all(axis=2).sum())

    def data(self, name: str) -> Any:
        return self.page.evaluate(
            "name => JSON.parse(document.getElementById('data').textContent)[name]", name
        )

    def dot(self, plot: int, colour: str) -> tuple[float, float]:
        """Where on the screen a dot of a colour is, after scrolling to its map."""
        place = self.page.locator(".plot").nth(plot)
        place.evaluate("plot => plot.scrollIntoView({block: 'center', behavior: 'instant'})")
        pixels = self.pixels(plot)
        channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        rows, columns = np.nonzero((pixels[..., :3] == channels).all(axis=2))
        box = place.bounding_box()
        scale = box["width"] / pixels.shape[1]
        return box["x"] + (columns[0] + 1) * scale, box["y"] + (rows[0] + 1) * scale


@pytest.fixture
def visit(browser: Any, page_file: Path) -> Iterator[Visit]:
    """A visit that must end without a complaint and without a request but for the page."""
    visit = Visit(browser, page_file, viewport={"width": 1280, "height": 900})
    yield visit
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [visit.url]
    visit.context.close()


def test_every_map_is_drawn(visit: Visit) -> None:
    for plot in range(visit.page.locator(".plot").count()):
        for colour in visit.data("colours"):
            assert visit.count(colour, plot) > 10


def test_names_from_outside_are_text(visit: Visit) -> None:
    assert visit.page.title() == _EVIL
    assert visit.page.locator("h1").inner_text() == _EVIL
    assert visit.page.locator("[data-class='0']").inner_text() == _EVIL
    visit.page.mouse.move(*visit.dot(0, visit.data("colours")[0]))
    assert _EVIL in visit.page.locator("#card").inner_text()
    assert visit.page.locator("#card img, #card script").count() == 0


def test_pointing_at_a_dot_shows_the_example_and_marks_it_on_all_maps(visit: Visit) -> None:
    assert visit.page.locator("#card").is_hidden()
    visit.page.mouse.move(*visit.dot(3, visit.data("colours")[1]))
    card = visit.page.locator("#card")
    assert card.is_visible()
    text = card.inner_text()
    position = int(text.split("example ")[1])
    shown = visit.data("positions").index(position)
    assert visit.data("labels")[shown] == 1
    assert "true: one" in text
    for plot in range(visit.page.locator(".plot").count()):
        assert visit.pixels(plot, 1).any()
    visit.page.mouse.move(2, 2)
    assert card.is_hidden()
    assert not visit.pixels(0, 1).any()


def test_a_clicked_dot_stays_marked_until_escape(visit: Visit) -> None:
    visit.page.mouse.click(*visit.dot(0, visit.data("colours")[2]))
    visit.page.mouse.move(2, 2)
    assert visit.page.locator("#card").is_visible()
    assert visit.pixels(2, 1).any()
    assert visit.page.locator("#said").inner_text()
    visit.page.keyboard.press("Escape")
    assert visit.page.locator("#card").is_hidden()
    assert not visit.pixels(2, 1).any()


def test_the_card_shows_the_examples_own_picture(visit: Visit) -> None:
    example = visit.page.locator(".example").nth(3)
    wanted = example.locator(".pic").evaluate("e => getComputedStyle(e).backgroundPosition")
    example.hover()
    card = visit.page.locator("#card .pic")
    found = card.evaluate("e => getComputedStyle(e).backgroundPosition")
    numbers = [[float(part.rstrip("%")) for part in text.split()] for text in (wanted, found)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)


def test_a_class_is_hidden_on_all_maps_and_shown_again(visit: Visit) -> None:
    first, second, _ = visit.data("colours")
    before = visit.count(second, 4)
    visit.page.locator("[data-tool='names']").click()  # a name may cover dots
    button = visit.page.locator("[data-class='0']")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    for plot in range(visit.page.locator(".plot").count()):
        assert visit.count(first, plot) == 0
        assert visit.count(second, plot) > 0
    button.click()
    assert visit.count(first) > 0
    assert visit.count(second, 4) >= before
    visit.page.locator("[data-class='1']").dblclick()
    assert visit.count(first) == 0
    assert visit.count(second) > 0


def test_errors_can_be_seen_alone(visit: Visit) -> None:
    every = (visit.pixels(0)[..., 3] > 0).sum()
    visit.page.locator("[data-tool='names']").click()
    visit.page.locator("[data-tool='errors']").click()
    errors = (visit.pixels(0)[..., 3] > 0).sum()
    assert 0 < errors < every / 2


def test_keys_alone_go_from_dot_to_dot_and_zoom(visit: Visit) -> None:
    plot = visit.page.locator(".plot").first
    plot.focus()
    seen = set()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"):
        visit.page.keyboard.press(key)
        seen.add(visit.page.locator("#card").inner_text())
    assert len(seen) >= 3
    before = visit.pixels(0)
    visit.page.keyboard.press("+")
    assert (visit.pixels(0) != before).any()
    visit.page.keyboard.press("0")
    np.testing.assert_array_equal(visit.pixels(0), before)
    visit.page.locator(".example").first.focus()
    visit.page.keyboard.press("ArrowRight")
    focused = visit.page.evaluate("document.activeElement.dataset.shown")
    assert focused == visit.page.locator(".example").nth(1).get_attribute("data-shown")


def test_the_wheel_scrolls_past_a_map_and_zooms_one_that_was_clicked(visit: Visit) -> None:
    visit.page.locator(".plot").first.scroll_into_view_if_needed()
    box = visit.page.locator(".plot").first.bounding_box()
    at = box["x"] + 20, box["y"] + 20
    visit.page.mouse.move(*at)
    before = visit.pixels(0)
    visit.page.mouse.wheel(0, -40)
    visit.page.wait_for_timeout(200)
    np.testing.assert_array_equal(visit.pixels(0), before)
    visit.page.mouse.click(
        box["x"] + 20, visit.page.locator(".plot").first.bounding_box()["y"] + 20
    )
    visit.page.mouse.wheel(0, -200)
    visit.page.wait_for_timeout(200)
    assert (visit.pixels(0) != before).any()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 1280])
def test_nothing_is_wider_than_the_screen(
    browser: Any, page_file: Path, width: int, scheme: str
) -> None:
    visit = Visit(browser, page_file, viewport={"width": width, "height": 800}, color_scheme=scheme)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.complaints == []
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    levels = [int(part) for part in paper[4:-1].split(",")]
    assert (max(levels) < 60) == (scheme == "dark")
    visit.context.close()


def test_a_tap_holds_an_example(browser: Any, page_file: Path) -> None:
    visit = Visit(browser, page_file, viewport={"width": 400, "height": 800}, has_touch=True)
    visit.page.touchscreen.tap(*visit.dot(0, visit.data("colours")[1]))
    assert visit.page.locator("#card").is_visible()
    assert "true: one" in visit.page.locator("#card").inner_text()
    assert visit.complaints == []
    visit.context.close()
