"""The tabs in one page, and how it looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import gradio as gr

from tinysignal.app import compress, denoise, digits, inspect, live, train
from tinysignal.app.settings import Settings
from tinysignal.app.site import Site, web

_WAITING = 20  # events in the queue, beyond which the page says that it is busy
_KEPT_S = 6 * 3600  # what an open page made is kept for this long
_SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]


TABS = {
    "Denoise": denoise.build,
    "Live": live.build,
    "Digits": digits.build,
    "Compress": compress.build,
    "Inspect": inspect.build,
    "Train": train.build,
}


def build(site: Site) -> Any:
    """The page as Gradio's Blocks."""
    with gr.Blocks(
        title="tinysignal", analytics_enabled=False, delete_cache=(600, _KEPT_S)
    ) as blocks:
        gr.HTML(web("head.html"), apply_default_css=False, js_on_load=None)
        with gr.Tabs(overflow_behavior="wrap"):
            for title, build_tab in TABS.items():
                with gr.Tab(title):
                    build_tab(site)
    return blocks


@contextmanager
def launch(settings: Settings, folder: Path, *, port: int) -> Iterator[None]:
    """The page, answering while the block runs."""
    site = Site(settings, folder)
    blocks = build(site)
    blocks.queue(max_size=_WAITING, default_concurrency_limit=4)
    with redirect_stdout(StringIO()):  # Gradio prints what it likes
        blocks.launch(
            server_name=settings.host,
            server_port=port,
            auth=settings.login,
            max_file_size=settings.max_mb * 1_000_000,
            theme=_theme(),
            css=web("page.css"),
            head=f"<script>{web('page.js')}</script>",
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            share=False,
            show_error=True,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            pwa=False,
            footer_links=[],
            allowed_paths=[str(folder / "files")],
            app_kwargs={"middleware": [(_OnlyHere, (), {})]},
        )
    try:
        yield
    finally:
        site.ended.set()
        with redirect_stdout(StringIO()):
            blocks.close(verbose=False)


class _OnlyHere:
    """Refuses what would make Gradio fetch something from elsewhere and pass it on."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and ":/" in scope["path"]:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._app(scope, receive, send)


def _theme() -> Any:
    """Gradio's plainest, with the fonts of the system."""
    return gr.themes.Base(
        font=_SANS, font_mono=_MONO, radius_size="md", primary_hue="blue", neutral_hue="slate"
    )
