"""Claims about the page and its pictures that need no browser."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_inspection import METHODS, sample_inspection

from tinysignal.errors import DataError, FileError
from tinysignal.inspect.page import render_page, write_page
from tinysignal.inspect.page.images import TEN, class_colours, make_sprite
from tinysignal.inspect.page.pictures import (
    examples_figure,
    free_place,
    map_figure,
    render_pictures,
)
from tinysignal.inspect.result import Inspection

image = pytest.importorskip("PIL.Image")

_VOID = {"meta", "link", "br", "img", "line", "circle", "path", "polyline"}


class Page(HTMLParser):
    """Elements, texts and attributes of a page; an element that is not closed is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(name)) is not None]

    @property
    def data(self) -> dict[str, object]:
        at = self.tags.index(("script", {"id": "data", "type": "application/json"}))
        assert at
        return json.loads(next(text for text in self.texts if text.startswith('{"classes"')))


def test_every_part_of_the_page_is_there_and_closed() -> None:
    inspection = sample_inspection()
    page = Page(render_page(inspection))
    assert {"best", "worst", "progress", "maps", "layers", "glossary"} <= set(page.attributes("id"))
    text = " ".join(page.texts)
    for row in inspection.table:
        assert row.name in text
    assert page.attributes("class").count("map") == len(inspection.layers) * len(METHODS)
    ranked = sum(len(r.best) + len(r.worst) for r in inspection.rankings)
    assert page.attributes("class").count("example") == ranked


def test_errors_are_marked_among_the_best_too() -> None:
    inspection = sample_inspection()
    answers = inspection.predicted.copy()
    answers[inspection.rankings[1].best[1]] = 2
    inspection = replace(inspection, predicted=answers)
    best = [int(one) for ranking in inspection.rankings for one in ranking.best]
    wrong = [one for one in best if inspection.predicted[one] != inspection.labels[one]]
    assert 0 < len(wrong) < len(best)
    text = render_page(inspection).partition('id="best"')[2].partition('id="worst"')[0]
    items = [item.partition("</li>")[0] for item in text.split("<li>")[1:]]
    marked = [item for item in items if 'class="wrong"' in item]
    shown = [int(item.partition('data-shown="')[2].partition('"')[0]) for item in marked]
    assert len(items) == len(best)
    assert sorted(shown) == sorted(wrong)
    figure = examples_figure(inspection, "best")
    red = [one for one in figure.axes[0].texts if one.get_color() == "#c1121f"]
    assert len(red) == len(wrong)


def test_a_name_stands_beside_the_dots_of_its_class() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[100.0, 100.0], [300.0, 110.0], [200.0, 250.0]])
    dots = np.concatenate([rng.normal(one, 20, (200, 2)) for one in centres])
    taken: list[tuple[float, float, float, float]] = []
    for middle in centres:
        x, y = free_place(dots, middle, (60, 20), taken, (0, 0, 400, 300))
        assert not ((abs(dots[:, 0] - x) < 30) & (abs(dots[:, 1] - y) < 10)).any()
        assert np.hypot(x - middle[0], y - middle[1]) < 120
        box = (x - 30, y - 10, x + 30, y + 10)
        assert box[0] >= 0
        assert box[3] <= 300
        assert not any(
            box[0] < r and box[2] > left and box[1] < t and box[3] > b for left, b, r, t in taken
        )
        taken.append(box)
    crowded = rng.uniform(0, 100, (5000, 2))
    place = free_place(crowded, np.array([50.0, 50.0]), (40, 20), [], (0, 0, 100, 100))
    assert np.isfinite(place).all()


def test_names_are_off_the_points_of_a_picture() -> None:
    inspection = sample_inspection(shown=300)
    figure = map_figure(inspection, inspection.layers[-1], inspection.layers[-1].maps[0])
    axes = figure.axes[0]
    figure.draw_without_rendering()
    dots = axes.transData.transform(inspection.layers[-1].maps[0].points)
    assert [text.get_text() for text in axes.texts] == list(inspection.classes)
    for text in axes.texts:
        box = text.get_window_extent()
        inside = (dots > [box.x0, box.y0]) & (dots < [box.x1, box.y1])
        assert not inside.all(axis=1).any()


def test_links_within_the_page_lead_somewhere_and_none_leads_out() -> None:
    page = Page(render_page(sample_inspection(), pictures="x-pictures"))
    places = set(page.attributes("id"))
    for link in page.attributes("href"):
        assert link in ("data:,", "x-pictures/") or link.removeprefix("#") in places
    assert not page.attributes("src")
    urls = re.findall(r"url\(([^)]{1,20})", render_page(sample_inspection()))
    assert all(url.startswith('"data:') for url in urls)
    assert "http://" not in (text := render_page(sample_inspection()))
    assert "https://" not in text


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "</script><b>", "a\"b'c&d", "<!--", "$title", "{}", "日本"],
)
def test_names_are_shown_as_they_are_and_never_run(name: str) -> None:
    inspection = sample_inspection(
        classes=(name, "one"), title=name, layers=("input", name), shown=24
    )
    plain = Page(render_page(sample_inspection(classes=("zero", "one"), layers=("input", "h"))))
    page = Page(render_page(replace(inspection, data=name, notes=(name,))))
    assert sum(tag == "script" for tag, _ in page.tags) == 2
    assert {tag for tag, _ in page.tags} - {"ul", "li"} == {tag for tag, _ in plain.tags} - {
        "ul",
        "li",
    }
    assert page.data["classes"] == [name, "one"]
    assert name in page.texts


@settings(max_examples=25)
@given(st.text(max_size=20))
def test_any_text_comes_back_from_the_pages_data(name: str) -> None:
    inspection = sample_inspection(classes=(name, "one"), shown=8, layers=("input",))
    text = render_page(inspection)
    assert Page(text).data["classes"] == [name, "one"]


def test_the_policy_allows_this_script_and_nothing_from_outside() -> None:
    import hashlib

    page = Page(render_page(sample_inspection()))
    policy = next(p for p in page.attributes("content") if "default-src" in p)
    script = next(text for text in page.texts if '"use strict"' in text)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_pages_data_is_what_was_measured() -> None:
    inspection = sample_inspection()
    data = Page(render_page(inspection)).data
    assert data["labels"] == inspection.labels.tolist()
    assert data["sample"] == inspection.sample.tolist()
    maps = [one for layer in inspection.layers for one in layer.maps]
    for found, one in zip(data["maps"], maps, strict=True):
        np.testing.assert_allclose(np.reshape(found, (-1, 2)), one.points, rtol=1e-3, atol=1e-6)
    for shown, flat in enumerate(data["top"]):
        likeliest = dict(zip(flat[::2], flat[1::2], strict=True))
        assert flat[0] == inspection.predicted[shown]
        assert inspection.labels[shown] in likeliest
        for label, probability in likeliest.items():
            assert probability == pytest.approx(inspection.probabilities[shown, label], abs=1e-4)


def test_the_true_class_is_on_the_card_even_where_it_is_the_unlikeliest() -> None:
    inspection = sample_inspection(classes=tuple("abcdefgh"))
    probabilities = np.tile(np.linspace(0.3, 0.01, 8, dtype=np.float32), (60, 1))
    inspection = replace(inspection, probabilities=probabilities, predicted=np.zeros(60, np.int64))
    top = Page(render_page(inspection)).data["top"]
    assert [flat[::2] for flat in top[:8]] == [
        [0, 1, 2],
        [0, 1, 2],
        [0, 1, 2],
        *([0, 1, label] for label in range(3, 8)),
    ]


def test_the_same_inspection_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        write_page(sample_inspection(), tmp_path / folder / "page.html")
        for folder in map(str, [_made(tmp_path / "a"), _made(tmp_path / "b")])
    )
    assert [path.name for path in first] == [path.name for path in second]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_pictures_lie_beside_the_page_one_a_map(tmp_path: Path) -> None:
    written = write_page(sample_inspection(), tmp_path / "look.html", pictures=True)
    assert written[0] == tmp_path / "look.html"
    names = {path.name for path in written[1:]}
    assert names == {
        "best.png",
        "worst.png",
        "spectra.png",
        *(
            f"{number:02}-{layer}-{method}.png"
            for number, layer in enumerate(_LAYERS)
            for method in _SLUGS
        ),
    }
    for path in written[1:]:
        assert path.parent == tmp_path / "look-pictures"
        with image.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
    assert 'href="look-pictures/"' in written[0].read_text(encoding="utf-8")


_LAYERS, _SLUGS = ("input", "hidden-1", "output"), ("pca", "t-sne")


@pytest.mark.parametrize("name", ["$\\frac{$", "_hidden", "a" * 300, "日本", "$x$"])
def test_any_name_can_be_drawn(name: str) -> None:
    inspection = sample_inspection(
        classes=(name, "one"), layers=("input", name, name), title=name, shown=24
    )
    names = [file for file, _ in render_pictures(inspection)]
    assert len(set(names)) == len(names) == 3 + 3 * len(METHODS)


def test_a_page_that_cannot_be_drawn_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def fail(inspection: Inspection) -> list[tuple[str, bytes]]:
        raise KeyboardInterrupt

    monkeypatch.setattr("tinysignal.inspect.page.page.render_pictures", fail)
    with pytest.raises(KeyboardInterrupt):
        write_page(sample_inspection(), page, pictures=True)
    assert page.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="there is no folder"):
        write_page(sample_inspection(), tmp_path / "no" / "page.html")
    (tmp_path / "page-pictures").write_text("a file")
    with pytest.raises(FileError, match="page-pictures"):
        write_page(sample_inspection(), tmp_path / "page.html", pictures=True)
    assert not (tmp_path / "page.html").exists()


def test_parts_that_do_not_fit_together_are_named() -> None:
    inspection = sample_inspection()
    with pytest.raises(DataError, match="60 images and 59 labels"):
        render_page(replace(inspection, labels=inspection.labels[:-1]))
    one = inspection.layers[0].maps[0]
    lost = replace(one, points=np.full_like(one.points, np.nan))
    layers = (replace(inspection.layers[0], maps=(lost,)), *inspection.layers[1:])
    with pytest.raises(DataError, match="PCA map of input"):
        render_page(replace(inspection, layers=layers))


@pytest.mark.parametrize(
    "change",
    [
        {"layers": (), "table": (), "rankings": ()},
        {"notes": ("fewer points than asked",)},
    ],
)
def test_a_bare_inspection_makes_a_page(change: dict[str, tuple[object, ...]]) -> None:
    Page(render_page(replace(sample_inspection(), **change)))  # type: ignore[arg-type]


def test_a_layer_without_a_spectrum_and_a_map_of_unknown_method_have_their_places() -> None:
    inspection = sample_inspection()
    row = replace(
        inspection.table[0],
        singular_values=None,
        effective_rank=None,
        rank_energy_95=None,
        dead_share=None,
        shape="",
        note="its cost is not counted",
    )
    layer = inspection.layers[0]
    other = replace(layer.maps[0], method="Isomap")
    changed = replace(
        inspection, table=(row,), layers=(replace(layer, maps=(other,)), *inspection.layers[1:])
    )
    text = " ".join(Page(render_page(changed)).texts)
    assert "its cost is not counted" in text
    assert "Isomap" in text
    assert "spectra.png" not in [name for name, _ in render_pictures(changed)]


def test_the_advice_names_the_layer_that_saves_most() -> None:
    inspection = sample_inspection()
    rows = [
        replace(inspection.table[0], name="wide", rank_energy_95=2),  # 1 - 2 * 38 / 240
        replace(inspection.table[0], name="narrow", rank_energy_95=6),
    ]
    text = re.sub(
        r"\s+", " ", " ".join(Page(render_page(replace(inspection, table=tuple(rows)))).texts)
    )
    assert "Layer wide (8 x 30) keeps 95 % of its energy at rank 2" in text
    assert "68 % fewer weights" in text


@pytest.mark.parametrize("count", [1, 2, 7, 49, 50])
def test_a_sprite_holds_every_picture_where_it_says(count: int) -> None:
    images = np.random.default_rng(count).integers(0, 256, (count, 4, 3), dtype=np.uint8)
    sprite = make_sprite(images)
    sheet = np.asarray(image.open(io.BytesIO(sprite.png)))
    assert sheet.shape == (sprite.rows * 4, sprite.columns * 3)
    for number in range(count):
        x, y = sprite.place(number)
        # CSS: the offset is that share of what the sheet is larger than the picture.
        left = round(x / 100 * (sheet.shape[1] - 3))
        top = round(y / 100 * (sheet.shape[0] - 4))
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 3], images[number])


def test_large_pictures_are_averaged_down_to_the_limit() -> None:
    images = np.zeros((10, 40, 60), np.uint8)
    images[:, :, 30:] = 200
    sprite = make_sprite(images, most_pixels=3000)
    assert 10 * sprite.width * sprite.height <= 3000
    assert sprite.width / sprite.height == pytest.approx(1.5, rel=0.1)
    sheet = np.asarray(image.open(io.BytesIO(sprite.png)))
    assert set(np.unique(sheet)) <= {0, 200}


@pytest.mark.parametrize(
    "images", [np.zeros((0, 4, 4), np.uint8), np.zeros((2, 4), np.uint8), np.zeros((2, 4, 4))]
)
def test_pictures_of_another_kind_are_refused(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="expected uint8"):
        make_sprite(images)


def test_a_page_of_2000_points_and_14_maps_stays_below_6_mb() -> None:
    rng = np.random.default_rng(0)
    layers = ("input", *(f"hidden {i}" for i in range(1, 6)), "output")
    inspection = sample_inspection(
        classes=tuple("0123456789"), shown=2200, layers=layers, split=(98, 64)
    )
    noise = rng.integers(0, 256, inspection.images.shape, dtype=np.uint8)  # compresses worst
    assert len(render_page(replace(inspection, images=noise)).encode()) < 6e6


def test_colours_are_distinct_however_many_classes() -> None:
    assert class_colours(10) == TEN
    for count in (1, 3, 12, 40):
        colours = class_colours(count)
        assert len(set(colours)) == count
        assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours)
