"""One server and one browser for the tests of a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from served import CHROMIUM, FLAGS, Server, Visit, need_browser, serving


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with need_browser().sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def options() -> list[Any]:
    """Of the module's server; a module may have others."""
    return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, options: list[Any]) -> Iterator[Server]:
    need_browser()
    with serving(tmp_path_factory.mktemp("served"), *options) as running:
        yield running


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Callable[..., Visit]]:
    """Opens the page; at the end, nothing may have gone wrong or to the network."""
    opened = []

    def open_page(**options: Any) -> Visit:
        opened.append(Visit(browser, server.url, **options))
        return opened[-1]

    yield open_page
    for one in opened:
        one.close()
