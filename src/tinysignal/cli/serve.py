"""``tinysignal serve``: denoising for other programs, over HTTP and WebSocket."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from tinysignal.cli.options import Model
from tinysignal.errors import MissingExtraError
from tinysignal.files import json_text
from tinysignal.model import DEFAULT_MODEL
from tinysignal.privacy import LOOPBACK


def serve(
    *,
    model: Model = DEFAULT_MODEL,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Other than loopback it needs --token.")
    ] = LOOPBACK,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port; 0 for any that is free.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="TINYSIGNAL_TOKEN", help="What every request must carry."),
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", help="Origin of web pages that may use it; can be given again."),
    ] = None,
    streams: Annotated[int, typer.Option(min=0, help="Live streams at once.")] = 64,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=0, help="Files at once; 0 for one a processor.")
    ] = 0,
    queue: Annotated[int, typer.Option(min=0, help="Files that may wait.")] = 32,
    max_mb: Annotated[
        int, typer.Option(min=1, help="Largest file that is taken, in millions of bytes.")
    ] = 500,
    idle_s: Annotated[
        float, typer.Option(min=1, help="Close a stream that is silent for so long.")
    ] = 60.0,
    drain_s: Annotated[
        int, typer.Option(min=0, help="Let requests go on for so long at the end.")
    ] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Denoise files and live streams for other programs: HTTP and WebSocket.

    POST /denoise takes a file and gives one, WS /stream takes samples and gives samples; /healthz
    and /metrics tell how it is. Needs the 'serve' extra. Ctrl-C ends it.

    Example: tinysignal serve --port 8000
    """
    try:
        from tinysignal.serve import ServeSettings
        from tinysignal.serve import serve as run
    except ModuleNotFoundError:
        raise MissingExtraError("tinysignal serve", "serve") from None
    settings = ServeSettings(
        host=host, port=port, token=token, origins=tuple(origins or ()), model=model,
        streams=streams, jobs=jobs, queue=queue, max_mb=max_mb, idle_s=idle_s, drain_s=drain_s,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # the way to end it
        run(
            settings,
            on_ready=lambda url: print(json_text({"url": url}) if as_json else url, flush=True),
        )
