"""The routes of the service, and who may use them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from tinysignal.denoiser import Denoiser
from tinysignal.serve.figures import Figures
from tinysignal.serve.files import Files
from tinysignal.serve.settings import LOOPBACK_NAMES, ServeSettings
from tinysignal.serve.streams import Streams


def create_app(settings: ServeSettings | None = None) -> Starlette:
    """The service as an ASGI application, for uvicorn or any other server.

    Parameters
    ----------
    settings : ServeSettings or None
        Address and port are those of the server that runs it.

    Returns
    -------
    Starlette

    Raises
    ------
    ModelError
        The model cannot be used.

    Examples
    --------
    >>> from starlette.testclient import TestClient  # doctest: +SKIP
    >>> from tinysignal.serve import create_app
    >>> client = TestClient(create_app(), base_url="http://127.0.0.1")  # doctest: +SKIP
    >>> client.get("/healthz").json()["status"]  # doctest: +SKIP
    'ok'
    """
    settings = settings or ServeSettings()
    denoiser, figures = Denoiser.load(settings.model), Figures()
    streams = Streams(settings, denoiser, figures)
    files = Files(settings, denoiser, figures)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="tinysignal-") as folder:  # for this user alone
            files.folder = Path(folder)
            yield

    async def health(_: Request) -> Response:
        return JSONResponse(
            {"status": "ok", "model": denoiser.spec.name, "streams": streams.open_now}
        )

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)

    middleware = [
        Middleware(CORSMiddleware, allow_origins=settings.origins, allow_methods=["POST"],
                   allow_headers=["Authorization"], expose_headers=["Tinysignal-Report"]),
        Middleware(partial(_Door, settings=settings, figures=figures)),
    ]  # fmt: skip
    if settings.is_local:  # a page elsewhere cannot come in by a name that leads here
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_NAMES))
    routes = [
        Route("/healthz", health),
        Route("/metrics", metrics),
        Route("/denoise", files.denoise, methods=["POST"]),
        WebSocketRoute("/stream", streams.serve),
    ]
    return Starlette(routes=routes, middleware=middleware, lifespan=lifespan)


class _Door:
    """Lets in who carries the token, and no web page of another origin."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, figures: Figures) -> None:
        self._app = app
        self._settings = settings
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = None if scope["type"] == "lifespan" else self._refusal(HTTPConnection(scope))
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, why = refusal
        self._figures.refused.labels(why).inc()
        answer: ASGIApp = JSONResponse({"error": f"{why}."}, status_code=status)
        if scope["type"] == "websocket":
            answer = WebSocketClose(1008, why)
        await answer(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> tuple[int, str] | None:
        origin, own = connection.headers.get("origin"), connection.headers.get("host")
        if origin not in (None, *self._settings.origins) and urlsplit(origin).netloc != own:
            return 403, "this page's origin is not allowed"
        token = self._settings.token
        if token is None or connection.url.path == "/healthz":
            return None
        given = _bearer(connection.headers) or connection.query_params.get("token", "")
        if secrets.compare_digest(given.encode(), token.encode()):
            return None
        return 401, "the token is missing or wrong"


def _bearer(headers: Headers) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
