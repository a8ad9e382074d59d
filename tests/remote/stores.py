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


SFTP_SERVER = """
import asyncio, sys, asyncssh
root, user, password = sys.argv[1:]
class Server(asyncssh.SSHServer):
    def password_auth_supported(self):
        return True
    def validate_password(self, *given):
        return given == (user, password)
async def main():
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=Server,
        server_host_keys=[asyncssh.generate_private_key("ssh-rsa")],
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=root.encode()),
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()
asyncio.run(main())
"""
AZURE_KEY = (  # of every Azurite
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of an S3 server, in a process of its own."""
    with _program(SERVER) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def sftp_server(folder: Path) -> Iterator[str]:
    """The URL of a folder on an SFTP server, with user and password."""
    with _program(SFTP_SERVER, str(folder), "somebody", SECRET) as port:
        yield f"sftp://somebody:{SECRET}@127.0.0.1:{port}"


@contextmanager
def gs_server() -> Iterator[str]:
    """The address of a server like Google's, with `BUCKET` in it."""
    port = _free_port()
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--in-memory",
        "--default-bucket",
        BUCKET,
    ]
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", *options]
    with _listening(command, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def azure_server(azurite: str) -> Iterator[str]:
    """What leads to an Azurite: a connection string."""
    port = _free_port()
    options = ["--blobPort", str(port), "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    with _listening([azurite, *options, "--skipApiVersionCheck"], port):
        yield (
            f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={AZURE_KEY};"
            f"BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
        )


@contextmanager
def _program(source: str, *arguments: str) -> Iterator[str]:
    """The first line that a Python program says; it is ended after the block."""
    command = [sys.executable, "-c", source, *arguments]
    with _running(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the server did not start"
        yield port


@contextmanager
def _listening(command: list[str], port: int) -> Iterator[None]:
    with _running(command, stdout=subprocess.DEVNULL):
        wait_until(lambda: _answers(port))
        yield


@contextmanager
def _running(command: list[str], stdout: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


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
