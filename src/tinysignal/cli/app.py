"""``tinysignal app``: the page on this machine."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from tinysignal.app.settings import Settings
from tinysignal.files import json_text
from tinysignal.privacy import LOOPBACK


def serve_page(
    *,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port; 0 for any that is free.")
    ] = 7860,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other than loopback it needs --auth.")
    ] = LOOPBACK,
    auth: Annotated[
        str | None, typer.Option(metavar="USER:PASSWORD", help="What the page asks for.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN", help="Run folder to show; can be given again."),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(envvar="TINYSIGNAL_DATA", help="Folder of MNIST's files, for the maps."),
    ] = None,
    max_mb: Annotated[
        int, typer.Option(min=1, help="Largest file that is taken, in millions of bytes.")
    ] = 500,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Show a page to denoise, draw digits, compress and look at runs, on this machine alone.

    Needs the 'app' extra. Ctrl-C ends it and removes what was uploaded.

    Example: tinysignal app --run digits
    """
    from tinysignal.app import serve

    settings = Settings(
        host=host,
        port=port,
        auth=auth,
        runs=tuple(runs or ()),
        data_dir=data_dir,
        max_mb=max_mb,
    )

    def tell(url: str) -> None:
        print(json_text({"url": url}) if as_json else url, flush=True)
        if browser:
            webbrowser.open(url)

    with suppress(KeyboardInterrupt):  # the way to end it
        serve(settings, on_ready=tell)
