"""An object store and a web server on this machine, and what makes them fail."""

from __future__ import annotations

import functools
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

BUCKET = "bucket"
SECRET = "a-secret-that-nobody-may-see"
ROOT = Path(__file__).parent.parent.parent
# A real server in a process of its own: it lives on while a client of it is killed.
SERVER = """
import logging, sys
from werkzeug.serving import make_server
from moto.server import DomainDispatcherApplication, create_backend_app
logging.getLogger("werkzeug").disabled = True
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server, in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def surroundings(endpoint: str) -> dict[str, str]:
    """The variables that lead to a store; no request leaves the machine."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_MAX_ATTEMPTS": "2",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


def run_command(
    *arguments: str | Path, env: dict[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "tinysignal", *map(str, arguments)],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


class Faulty:
    """A proxy before a server that fails as it is told.

    Attributes
    ----------
    seen : list of str
        Method and path of every request.
    fault : callable
        Of method and path; a status to answer with, "cut" to end the connection in the middle of
        the answer, "drop" to end it in the middle of the request, or None to pass it on.
    """

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.seen: list[str] = []
        self.fault: Callable[[str, str], int | str | None] = lambda method, path: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                pass

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client is gone
                    self.close_connection = True

            def pass_on(self) -> None:
                proxy.seen.append(f"{self.command} {self.path}")
                fault = proxy.fault(self.command, self.path)
                length = int(self.headers.get("Content-Length") or 0)
                if fault == "drop":
                    self.rfile.read(length // 2)
                    self.close_now()
                    return
                body = self.rfile.read(length)
                if isinstance(fault, int):
                    code = {403: "AccessDenied", 503: "SlowDown"}.get(fault, "InternalError")
                    answer = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
                    self.answer(fault, {"Content-Type": "application/xml"}, answer, len(answer))
                    return
                status, headers, answer = proxy.ask(self.command, self.path, self.headers, body)
                if fault == "cut":
                    self.answer(status, headers, answer[: len(answer) // 2], len(answer))
                    self.close_now()
                    return
                size = int(headers.get("Content-Length") or len(answer))
                self.answer(status, headers, answer, size)

            def answer(self, status: int, headers: Any, body: bytes, size: int) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "connection", "date", "server"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(size))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def close_now(self) -> None:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)

        for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        return Handler

    def ask(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any, bytes]:
        kept = {k: v for k, v in headers.items() if k.lower() not in ("connection", "expect")}
        connection = http.client.HTTPConnection(self.behind.removeprefix("http://"))
        try:
            connection.request(method, path, body=body or None, headers=kept)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The address of a plain web server over a folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def wait_until(true: Callable[[], object], *, most_s: float = 60.0) -> None:
    """Wait for what another process does."""
    end_s = time.monotonic() + most_s
    while not true():
        assert time.monotonic() < end_s, "it did not happen"
        time.sleep(0.01)
