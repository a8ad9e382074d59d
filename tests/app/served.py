"""The page as a user has it: a server of its own, and Chromium that notes every complaint."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--no-sandbox",  # it would refuse to run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)
# Gradio says this whenever a stream of answers ends.
_GRADIOS = ("Method not implemented.",)
DOCS = Path(__file__).parent.parent.parent / "docs"
PICTURES = "TINYSIGNAL_SCREENSHOTS"  # set it to write the pictures of docs/app.md


class Server:
    """``tinysignal app`` in a process of its own, with a folder for what it writes."""

    def __init__(self, folder: Path, *options: str | Path) -> None:
        self.temporary = folder
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tinysignal", "app", "--port", "0", "--no-browser"]
        self.process = subprocess.Popen(
            [*command, *map(str, options)],
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit status, and what it said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextmanager
def serving(folder: Path, *options: str | Path) -> Iterator[Server]:
    server = Server(folder, *options)
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url), server.end()
        yield server
    finally:
        if server.process.poll() is None:
            server.end()


class Visit:
    """An open page, what it complained about, and what it asked the network for."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.url = url
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, **options}
        )
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)  # no test is timed: a loaded machine is slow
        self.page.on("console", lambda said: self._hear(said.text))
        self.page.on("pageerror", lambda error: self._hear(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(url)
        self.page.wait_for_selector(".ts-head")

    def _hear(self, text: str) -> None:
        if text not in _GRADIOS:
            self.complaints.append(text)

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name, exact=True).click()

    def number(self, where: str, value: float) -> None:
        """Set a slider by its number."""
        box = self.page.locator(f"{where} input[type=number]")
        box.fill(str(value))
        box.press("Tab")

    def fetched(self, name: str | Any, path: Path) -> tuple[str, bytes]:
        """The name and content of what a button downloads."""
        button = self.page.locator(name) if isinstance(name, str) else name
        with self.page.expect_download() as download:
            button.click()
        download.value.save_as(path)
        return download.value.suggested_filename, path.read_bytes()

    def picture(self, name: str) -> None:
        """For the documentation, where it is wanted."""
        if os.environ.get(PICTURES):
            image = pytest.importorskip("PIL.Image")
            shot = image.open(io.BytesIO(self.page.screenshot(full_page=True)))
            shot.convert("RGB").quantize(256).save(DOCS / f"{name}.png", optimize=True)

    def close(self) -> None:
        """Leave; nothing may have gone wrong or elsewhere."""
        self.context.close()
        assert self.complaints == []
        outside = [u for u in self.requests if not u.startswith((self.url, "data:", "blob:"))]
        assert outside == []


def need_browser() -> Any:
    """Playwright, or a skip where it, Chromium or Gradio is missing."""
    pytest.importorskip("gradio", reason="the page needs the 'app' extra")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed", allow_module_level=True)
    return playwright
