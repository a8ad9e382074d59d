"""Claims about the server of the page: who gets in, what it keeps, how it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from served import serving

from tinysignal.app.settings import Settings
from tinysignal.cli.main import run
from tinysignal.errors import ConfigError
from watched import Watch, compile_trap


def test_other_machines_need_a_password(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "--host", "0.0.0.0", "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "error: --host 0.0.0.0 lets other machines in. Pass --auth USER:PASSWORD as well.\n"
    )
    assert Settings(host="0.0.0.0", auth="ann:secret").login == ("ann", "secret")
    for host in ("127.0.0.1", "127.3.2.1", "::1", "localhost"):
        assert Settings(host=host).login is None


@pytest.mark.parametrize("auth", ["ann", "ann:", ":secret", ""])
def test_a_login_has_two_parts(auth: str) -> None:
    with pytest.raises(ConfigError, match="expected USER:PASSWORD"):
        Settings(auth=auth)


def test_a_run_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["app", "--run", "absent", "--no-browser"]) == 2
    assert "absent: no such folder" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert run(["app", "--port", str(port), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert f"127.0.0.1:{port} cannot be used" in said
    assert said.count("\n") == 1


def test_without_gradio_the_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['gradio'] = None; from tinysignal.cli.main import run; "
        "sys.exit(run(['app', '--port', '0', '--no-browser']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "error: the page (gradio) needs the 'app' extra: pip install 'tinysignal[app]'.\n"
    )


def uploaded(url: str, content: bytes) -> int:
    """Send a file as a browser does."""
    head = 'Content-Disposition: form-data; name="files"; filename="talk.wav"'
    body = f"--x\r\n{head}\r\n\r\n".encode() + content + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    return answer(urllib.request.Request(f"{url}/gradio_api/upload", body, kind))


def answer(url: str | urllib.request.Request) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_fetches_nothing_and_shows_no_file_of_others(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    (tmp_path / "secret.txt").write_text("secret")
    with serving(tmp_path / "served", "--max-mb", "1") as server:
        assert answer(server.url) == 200
        assert uploaded(server.url, bytes(900_000)) == 200
        assert uploaded(server.url, bytes(1_100_000)) == 413
        for path in (f"{server.url}/config", "http://127.0.0.1:9/x", "https://example.com/x"):
            assert answer(f"{server.url}/gradio_api/file={path}") == 404
        assert answer(f"{server.url}/gradio_api/file={tmp_path / 'secret.txt'}") in (403, 404)
        [private] = server.temporary.glob(".tinysignal-*")
        assert private.stat().st_mode & 0o077 == 0
        (private / "files" / "upload.wav").write_bytes(b"sound")
        status, said = server.end(signal.SIGTERM)
        assert (status, said) == (143, "error: interrupted.\n")
        assert list(server.temporary.iterdir()) == []


def test_ctrl_c_is_the_way_to_end_it_and_a_login_keeps_others_out(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    with serving(tmp_path / "served", "--auth", "ann:secret") as server:
        assert answer(f"{server.url}/config") == 401
        assert server.end(signal.SIGINT) == (0, "")
        assert list(server.temporary.iterdir()) == []


def test_the_server_sends_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    watch = Watch(compile_trap(tmp_path), tmp_path / "watched")
    seen = watch.python("-c", _SERVE_AND_END)
    assert seen.stdout.startswith("http://127.0.0.1:")
    assert (seen.calls, seen.files) == ([], [])


_SERVE_AND_END = """
import os, signal
from tinysignal.app import Settings, serve
def end(url):
    print(url)
    os.kill(os.getpid(), signal.SIGINT)
try:
    serve(Settings(port=0), on_ready=end)
except KeyboardInterrupt:
    pass
"""
