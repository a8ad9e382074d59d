"""Claims about the service: what goes in comes out denoised, and nothing else does."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from tinysignal import Denoiser
from tinysignal.denoise_file import denoise_file
from tinysignal.errors import ConfigError

try:
    import httpx
    from starlette.testclient import TestClient
    from starlette.websockets import WebSocketDisconnect
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    from tinysignal.serve import ServeSettings, create_app
except ModuleNotFoundError:
    pytest.skip("the service needs the 'serve' extra", allow_module_level=True)

RATE_HZ = 16_000
HOME = "http://127.0.0.1"
STREAM = "ws://127.0.0.1/stream"


def noisy(seconds: float = 1.0, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.05, round(seconds * RATE_HZ)).astype(np.float32)


def wav(samples: NDArray[np.float32], subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype=subtype)
    return file.getvalue()


def client(onset_model: Path, **settings: Any) -> TestClient:
    return TestClient(create_app(ServeSettings(model=str(onset_model), **settings)), base_url=HOME)


@pytest.fixture
def service(onset_model: Path) -> Iterator[TestClient]:
    with client(onset_model, streams=2, jobs=1, queue=0, max_mb=1, token="a long secret") as made:
        made.headers["Authorization"] = "Bearer a long secret"
        yield made


def streamed(service: TestClient, samples: NDArray[np.float32], block: int) -> bytes:
    out = b""
    with service.websocket_connect(f"{STREAM}?format=f32le&token=a+long+secret") as socket:
        assert json.loads(socket.receive_text())["latency_samples"] == 512
        for start in range(0, samples.size, block):
            socket.send_bytes(samples[start : start + block].tobytes())
        socket.send_text("end")
        while len(out) < samples.nbytes:
            out += socket.receive_bytes()
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_bytes()
        assert end.value.code == 1000
    return out


# Files


def test_a_file_comes_back_as_the_command_would_write_it(
    service: TestClient, onset_model: Path, tmp_path: Path
) -> None:
    source, target = tmp_path / "talk.wav", tmp_path / "clean.flac"
    source.write_bytes(wav(noisy()))
    options = {"mix": 0.5, "attenuation_limit_db": 12}
    denoise_file(source, target, denoiser=Denoiser.load(onset_model, **options))
    answer = service.post(
        "/denoise",
        params={"name": "../tälk.wav", "format": "flac", **options},
        content=source.read_bytes(),
    )
    assert answer.status_code == 200
    assert answer.content == target.read_bytes()
    assert answer.headers["content-disposition"].endswith("t%C3%A4lk.clean.flac")
    assert json.loads(answer.headers["tinysignal-report"])["samples"] == RATE_HZ


@pytest.mark.parametrize(
    ("params", "content", "status", "says"),
    [
        ({"name": "x.wav"}, b"no sound", 422, "x.wav: not a readable audio file"),
        ({"name": "x.wav"}, b"", 422, "x.wav"),
        ({"name": "x.wav"}, bytes(1_000_001), 413, "larger than 1 million bytes"),
        ({"name": "x"}, wav(noisy(0.1)), 400, "expected one with an extension"),
        ({"name": "x.wav", "format": "xyz"}, wav(noisy(0.1)), 400, "format 'xyz'"),
        ({"name": "x.wav", "mix": "loud"}, wav(noisy(0.1)), 400, "mix 'loud', expected a number"),
        ({"name": "x.wav", "mix": "7"}, wav(noisy(0.1)), 400, "mix"),
        ({"name": "x.wav", "strength": "7"}, wav(noisy(0.1)), 400, "no such parameter"),
    ],
)
def test_a_file_that_cannot_be_done_is_one_line(
    service: TestClient, params: dict[str, str], content: bytes, status: int, says: str
) -> None:
    answer = service.post("/denoise", params=params, content=content)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert says in error
    assert "\n" not in error
    assert "/tmp" not in error
    assert "Traceback" not in error


def test_a_body_that_hides_its_length_is_measured(service: TestClient) -> None:
    pieces = (bytes(100_000) for _ in range(11))
    assert service.post("/denoise?name=x.wav", content=pieces).status_code == 413


def test_no_file_is_left_behind(service: TestClient, onset_model: Path) -> None:
    app: Any = service.app
    [files] = [r.endpoint.__self__ for r in app.routes if r.path == "/denoise"]
    service.post("/denoise?name=x.wav", content=wav(noisy()))
    service.post("/denoise?name=x.wav", content=b"no sound")
    assert files.folder.stat().st_mode & 0o77 == 0
    assert list(files.folder.iterdir()) == []


def test_more_files_than_may_wait_are_sent_away(
    service: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(*given: Any, **options: Any) -> Any:
        begun.set()
        assert go.wait(30)
        return denoise_file(*given, **options)

    monkeypatch.setattr("tinysignal.serve.files.denoise_file", slow)
    answers: list[int] = []
    ask = lambda: service.post("/denoise?name=x.wav", content=wav(noisy())).status_code  # noqa: E731
    first = threading.Thread(target=lambda: answers.append(ask()))
    first.start()
    assert begun.wait(30)
    refused = service.post("/denoise?name=x.wav", content=wav(noisy()))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    go.set()
    first.join()
    assert answers == [200]


# Streams


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("block", [1, 160, 777, 16_000])
def test_a_stream_gives_the_samples_of_the_whole(onset_model: Path, block: int, jobs: int) -> None:
    samples = noisy(0.2 if block == 1 else 1.0)
    expected = Denoiser.load(onset_model)(samples, sample_rate_hz=RATE_HZ)
    with client(onset_model, jobs=jobs) as service:
        assert streamed(service, samples, block) == expected.tobytes()


def test_streams_side_by_side_do_not_mix(service: TestClient, onset_model: Path) -> None:
    denoiser = Denoiser.load(onset_model)
    found: dict[int, bytes] = {}
    ask = lambda seed: found.update({seed: streamed(service, noisy(seed=seed), 160)})  # noqa: E731
    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(2):
        assert found[seed] == denoiser(noisy(seed=seed), sample_rate_hz=RATE_HZ).tobytes()


@pytest.mark.parametrize(
    ("query", "sent", "code", "says"),
    [
        ("rate=12", None, 1007, "12"),
        ("rate=-1", None, 1007, "expected a whole number"),
        ("channels=99", None, 1007, "99 channels"),
        ("format=mp3", None, 1007, "format 'mp3'"),
        ("format=f32le", np.float32([np.nan]).tobytes(), 1007, "NaN"),
        ("", "stop", 1007, "expected samples, or 'end'"),
    ],
)
def test_a_stream_that_makes_no_sense_is_closed_with_the_reason(
    service: TestClient, query: str, sent: bytes | str | None, code: int, says: str
) -> None:
    with service.websocket_connect(f"{STREAM}?token=a+long+secret&{query}") as socket:
        if sent is not None:
            socket.receive_text()
            socket.send_bytes(sent) if isinstance(sent, bytes) else socket.send_text(sent)
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_bytes()
    assert end.value.code == code
    assert says in end.value.reason


def test_a_stream_too_many_is_sent_away_until_one_has_gone(service: TestClient) -> None:
    address = f"{STREAM}?token=a+long+secret"
    with service.websocket_connect(address), service.websocket_connect(address):
        assert service.get("/healthz").json()["streams"] == 2
        with pytest.raises(WebSocketDisconnect) as end, service.websocket_connect(address):
            pass
        assert end.value.code == 1013
    with service.websocket_connect(address) as socket:
        socket.receive_text()


def test_a_silent_stream_is_closed(onset_model: Path) -> None:
    with client(onset_model, idle_s=0.05) as made, made.websocket_connect(STREAM) as socket:
        socket.receive_text()
        with pytest.raises(WebSocketDisconnect) as end:
            socket.receive_bytes()
        assert end.value.reason == "silent for 0.05 s"


# Who may come in


def test_without_the_token_only_health_answers(service: TestClient) -> None:
    del service.headers["Authorization"]
    assert service.get("/healthz").status_code == 200
    assert service.get("/metrics").status_code == 401
    assert service.post("/denoise", content=b"").status_code == 401
    wrong = service.get("/metrics", headers={"Authorization": "Bearer a long secre"})
    assert wrong.json() == {"error": "the token is missing or wrong."}
    with pytest.raises(WebSocketDisconnect), service.websocket_connect(STREAM):
        pass


def test_pages_of_other_origins_are_kept_out(onset_model: Path) -> None:
    page = {"Origin": "https://evil.example"}
    with client(onset_model, origins=("https://good.example",)) as made:
        assert made.post("/denoise", headers=page).status_code == 403
        with pytest.raises(WebSocketDisconnect):
            made.websocket_connect(STREAM, headers=page).__enter__()
        assert made.get("/metrics", headers={"Origin": HOME}).status_code == 200
        good = made.get("/metrics", headers={"Origin": "https://good.example"})
        assert good.headers["access-control-allow-origin"] == "https://good.example"
        assert made.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"host": "0.0.0.0"}, "lets other machines in"), ({"token": "short"}, "8 or more")],
)
def test_a_door_left_open_is_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ServeSettings(**settings)  # type: ignore[arg-type]


def test_metrics_count_what_was_done(service: TestClient) -> None:
    service.post("/denoise?name=x.wav", content=wav(noisy(2.0)))
    service.post("/denoise?name=x.wav", content=b"no sound")
    streamed(service, noisy(), 160)
    told = dict(
        line.rsplit(" ", 1)
        for line in service.get("/metrics").text.splitlines()
        if not line.startswith("#")
    )
    assert told['tinysignal_files_total{result="done"}'] == "1.0"
    assert told['tinysignal_files_total{result="failed"}'] == "1.0"
    assert float(told["tinysignal_file_seconds_total"]) == 2
    assert float(told["tinysignal_stream_seconds_total"]) == pytest.approx(1)
    assert told["tinysignal_block_seconds_count"] == "100.0"
    assert told["tinysignal_streams"] == "0.0"


# The command


@pytest.fixture
def command(onset_model: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tinysignal", "serve", "--port", "0", "-m", onset_model],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )
    assert process.stdout is not None
    yield process, process.stdout.readline().strip()
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, (0, "")), (signal.SIGTERM, (143, "error: interrupted.\n"))],
)
def test_the_command_serves_until_a_signal(
    command: tuple[subprocess.Popen[str], str], number: int, end: tuple[int, str]
) -> None:
    process, url = command
    answer = httpx.post(f"{url}/denoise?name=x.wav", content=wav(noisy()), timeout=60)
    assert soundfile.read(io.BytesIO(answer.content))[0].size == RATE_HZ
    with connect(f"ws{url[4:]}/stream") as socket:
        assert socket.protocol.extensions == []  # samples are not compressed
        socket.recv()
        socket.send(bytes(3200))
        assert len(socket.recv()) > 0
        process.send_signal(number)
        rest: list[object] = []
        with pytest.raises(ConnectionClosed, match="1012"):
            rest.extend(iter(lambda: socket.recv(timeout=30), None))
    out, said = process.communicate(timeout=60)
    assert out == ""
    assert (process.returncode, said) == end


def test_a_taken_port_is_one_line(
    command: tuple[subprocess.Popen[str], str], onset_model: Path
) -> None:
    _, url = command
    second = subprocess.run(
        [sys.executable, "-m", "tinysignal", "serve", "--port", url.rsplit(":", 1)[1],
         "-m", onset_model],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 2
    assert second.stderr.startswith("error: 127.0.0.1:")
    assert len(second.stderr.splitlines()) == 1
