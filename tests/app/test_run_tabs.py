"""Claims about the tabs of runs in a real browser: compress, inspect, train."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from served import Visit, need_browser

pytest.importorskip("torch", reason="runs need the 'train' extra")
need_browser()

Opens = Callable[..., Visit]
PAGE = "<!doctype html><title>x</title><h1>A page of a run</h1><script>document.title='y'</script>"


@pytest.fixture(scope="module")
def run(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that may be written beside."""
    copy = tmp_path_factory.mktemp("runs") / "digits"
    shutil.copytree(digits_run, copy)
    return copy


@pytest.fixture(scope="module")
def young(run: Path) -> Path:
    """A training that has just begun."""
    folder = run.with_name("young")
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def options(run: Path, young: Path) -> list[Any]:
    return ["--run", run, "--run", young]


def shown(page: Visit, name: str) -> str:
    text: str = page.page.locator(f".compress [data-of={name}]").inner_text()
    return text


def slide(page: Visit, place: int) -> int:
    """Move the slider, and wait for the answer: the rank."""
    before = page.page.evaluate("document.querySelector('#compress [data-rank]')?.dataset.rank")
    page.page.locator(".compress .rank input").evaluate(
        "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('input'));"
        " slider.dispatchEvent(new Event('change')); }",
        place,
    )
    page.page.wait_for_function(
        "before => document.querySelector('#compress [data-rank]')?.dataset.rank !== before"
        " && document.querySelector('.compress .state').textContent === ''",
        arg=before,
    )
    return int(page.page.locator("#compress [data-rank]").first.get_attribute("data-rank"))


def test_the_slider_cuts_the_network_as_the_library_does(visit: Opens, run: Path) -> None:
    from tinysignal.compress import apply, plan, profile
    from tinysignal.runs import open_run

    page = visit()
    page.tab("Digits")
    page.page.locator(".which select").first.select_option(str(run))
    page.page.wait_for_selector(".digits .maps canvas[data-placed]")
    page.page.get_by_role("button", name="Show an example").click()
    page.page.wait_for_selector(".bars .best")
    page.tab("Compress")
    page.page.wait_for_selector("#compress [data-rank]")
    trained = open_run(run)
    found = profile(trained.net, trained.batches)
    assert page.page.locator(".compress .legend li").count() == len(found.layers)
    ranks = []
    for place in (0, 30):
        rank = slide(page, place)
        ranks.append(rank)
        net = apply(trained.net, plan(found, rank=rank, method="svd"), found, refine=0)
        accuracy = trained.score(net)["accuracy"]
        assert shown(page, "score") == f"{100 * accuracy:.2f} %"
        parameters = sum(part.numel() for part in net.parameters())
        assert shown(page, "parameters").replace("\u202f", "") == str(parameters)
        assert shown(page, "ms").endswith(" ms")
    assert ranks[0] == 10 < ranks[1]
    assert page.page.locator(".compress .pairs i.after").count() == 10  # the drawing's answers
    page.picture("app-compress")
    page.page.get_by_role("button", name="Export this network").click()
    page.page.wait_for_function(
        "document.querySelector('.exported').textContent.startsWith('written')"
    )
    made = run.with_name(f"digits-rank-{ranks[1]}")
    kept = json.loads((made / "plan.json").read_text())["layers"]
    assert {layer["rank"] for layer in kept} <= {ranks[1], None}  # None: kept whole
    assert (made / "report.json").exists()


def test_a_run_of_ones_own_answers_the_drawing(visit: Opens, run: Path) -> None:
    page = visit()
    page.tab("Digits")
    page.page.locator(".which select").first.select_option(str(run))
    page.page.wait_for_selector(".digits .maps canvas[data-placed]")
    page.page.get_by_role("button", name="Show an example").click()
    page.page.wait_for_selector(".bars .best")
    page.page.wait_for_function("document.querySelectorAll('.nearest li').length === 6")
    assert page.page.locator(".seen").evaluate("canvas => canvas.width") == 8


def test_the_page_of_a_run_is_shown_without_an_origin(visit: Opens, run: Path) -> None:
    page = visit()
    page.tab("Inspect")
    page.page.get_by_role("button", name="Make its page now").wait_for()
    (run / "inspect.html").write_text(PAGE)
    page.page.locator(".inspect .run").dispatch_event("change")
    inside = page.page.frame_locator(".inspect iframe")
    assert inside.locator("h1").inner_text() == "A page of a run"
    origin = inside.locator("h1").evaluate("() => window.origin")
    assert origin == "null"


def test_a_curve_grows_on_the_page_and_its_file_is_only_read(visit: Opens, young: Path) -> None:
    page = visit()
    page.tab("Train")
    page.page.locator(".train .run").select_option(str(young))
    state = "document.querySelector('.train .state').textContent"
    page.page.wait_for_function(f"{state} === 'nothing measured yet'")
    curve, text = young / "curve.csv", "epoch,step,minutes,learning_rate,loss,valid_accuracy\n"
    curve.write_text(text + "1,43,0.1,0.001,0.9,\n")
    page.page.wait_for_function(f"{state} === '43 steps, going on'")
    curve.write_text(text + "1,43,0.1,0.001,0.9,\n2,86,0.2,0.001,0.5,0.75\n")
    page.page.wait_for_function(f"{state} === '86 steps, going on'")
    labels = [c.get_attribute("aria-label") for c in page.page.locator(".train canvas").all()]
    assert labels == [
        "loss over 86 steps: from 0.9 to 0.5",
        "valid_accuracy over 86 steps: from 0.75 to 0.75",
    ]
    (young / "metrics.json").write_text("{}")
    page.page.wait_for_function(f"{state} === '86 steps, over'")
    assert sorted(path.name for path in young.iterdir()) == ["curve.csv", "metrics.json"]


def test_only_the_runs_of_the_page_are_read(tmp_path: Path) -> None:
    from tinysignal.app import compress, inspect, train
    from tinysignal.app.settings import Settings
    from tinysignal.app.site import Site

    (tmp_path / "curve.csv").write_text("step,loss\n1,1\n")
    (tmp_path / "inspect.html").write_text("secret")
    site = Site(Settings(), tmp_path)
    asked = {"run": str(tmp_path), "make": False, "method": "svd", "rank": 3}
    for ask in (
        compress.Answers(site).open,
        compress.Answers(site).cut,
        compress.Answers(site).export,
        inspect.Pages(site).written,
        train.Curves(site).curve,
    ):
        assert ask(asked) == {"error": f"'{tmp_path}' is not on this page."}
