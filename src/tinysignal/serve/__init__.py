"""Denoising for other programs, over HTTP and WebSocket; the ``serve`` extra.

::

    settings.py  address, token, limits
    service.py   the routes: who may come in, health, metrics
    files.py     POST /denoise: a file in, a file out
    streams.py   WS /stream: samples in, samples out, block by block
    turns.py     short blocks of many streams, computed together
    figures.py   what /metrics tells Prometheus
    server.py    uvicorn around the service
"""

from tinysignal.serve.server import serve
from tinysignal.serve.service import create_app
from tinysignal.serve.settings import ServeSettings

__all__ = ["ServeSettings", "create_app", "serve"]
