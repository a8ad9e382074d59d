"""Claims about the documentation's site: strict, whole, and complete without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import public_names

for needed in ("mkdocs", "material", "mkdocstrings", "nbconvert", "latex2mathml"):
    pytest.importorskip(needed, reason="the site needs the 'dev' extra")

ROOT = Path(__file__).resolve().parent.parent
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").glob("**/*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").exists()


def test_every_public_name_is_described(site: Path) -> None:
    for package in public_names.packages():
        content = (site / "reference" / f"{package}.html").read_text("utf-8")
        for home in public_names.homes(package).values():
            if not public_names.is_module(home):
                assert f'id="{home}"' in content, home


def test_pages_fetch_nothing_from_elsewhere(site: Path) -> None:
    fetched = r"""<(?:script|link|img|audio|iframe)\b[^>]*\b(?:src|href)=["']?(https?:[^"'\s>]+)"""
    for page in site.glob("**/*.html"):
        assert not re.findall(fetched, page.read_text("utf-8")), page


@pytest.fixture(scope="module")
def home(site: Path) -> Any:
    """The first page, opened as a file."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if _CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    with playwright.sync_playwright() as driver:
        flags = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.complaints = []
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto((site / "index.html").as_uri())
        yield page
        assert page.complaints == []
        browser.close()


def test_the_player_keeps_its_place_when_it_switches(home: Any) -> None:
    sounds = "[...document.querySelectorAll('.player audio')]"
    home.wait_for_function(f"{sounds}.every((sound) => sound.duration > 9)")
    home.locator(".player input").fill("0.5")
    places = home.evaluate(f"{sounds}.map((sound) => sound.currentTime)")
    assert places[0] == pytest.approx(4.98, abs=0.1)
    home.get_by_role("button", name="clean").click()
    places = home.evaluate(f"{sounds}.map((sound) => sound.currentTime)")
    assert places[1] == pytest.approx(places[0], abs=0.01)
    home.locator(".player").press("3")
    pressed = home.locator(".player button[aria-pressed=true]").all_inner_texts()
    assert pressed == ["removed"]
    home.locator(".player").press(" ")
    home.wait_for_function(f"{sounds}[2].currentTime > 5")
    home.get_by_role("button", name="Pause").click()
    assert home.evaluate(f"{sounds}.every((sound) => sound.paused)")


def test_search_finds_pages_without_a_server(home: Any) -> None:
    home.locator("input.md-search__input").fill("attenuation limit")
    found = home.locator(".md-search-result__item").first
    found.wait_for(timeout=20_000)
    assert home.locator(".md-search-result__item").count() > 2
