"""``tinysignal live`` on a sound card that is not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from onset import save_onset_model
from tinysignal.cli.live import _meter
from tinysignal.cli.main import run
from tinysignal.denoiser import Denoiser

DEVICES = [
    {"name": "Microphone", "max_input_channels": 1, "max_output_channels": 0},
    {"name": "Virtual Cable: [hw:1,0]", "max_input_channels": 0, "max_output_channels": 2},
]


class FakeCard(ModuleType):
    """sounddevice, as far as it is used: it hears noise, and keeps what it is given."""

    def __init__(self, rate_hz: int = 48_000, *, lost_at: int = -1, fails_at: int = -1) -> None:
        super().__init__("sounddevice")
        self.rate_hz, self.lost_at, self.fails_at = rate_hz, lost_at, fails_at
        self.heard: list[np.ndarray] = []
        self.played: list[np.ndarray] = []
        self.opened: dict[str, Any] = {}
        self.closed = False
        self.random = np.random.default_rng(0)
        self.PortAudioError = RuntimeError
        self.Stream = self._open

    def query_devices(self, device: object = None, kind: str | None = None) -> Any:
        if device == "Nobody":
            raise ValueError("No input device matching 'Nobody'.")
        found = [{**facts, "default_samplerate": float(self.rate_hz)} for facts in DEVICES]
        return found if kind is None else found[0]

    def _open(self, **options: Any) -> FakeCard:
        self.opened = options
        return self

    def __enter__(self) -> FakeCard:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True

    def read(self, frames: int) -> tuple[np.ndarray, bool]:
        if len(self.heard) == self.fails_at:
            raise RuntimeError("unplugged")
        block = self.random.normal(0, 0.1, (frames, 1)).astype(np.float32)
        self.heard.append(block)
        return block, len(self.heard) == self.lost_at

    def write(self, block: np.ndarray) -> bool:
        assert block.dtype == np.float32
        assert block.flags.c_contiguous
        self.played.append(block)
        return len(self.played) == self.lost_at


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> FakeCard:
    made = FakeCard()
    monkeypatch.setitem(sys.modules, "sounddevice", made)
    return made


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("lookahead", [0, 3])
def test_what_is_played_is_what_was_heard_denoised_and_late(
    rate_hz: int, lookahead: int, card: FakeCard, tmp_path: Path
) -> None:
    model = save_onset_model(tmp_path / "m.onnx", lookahead_frames=lookahead)
    card.rate_hz = rate_hz
    assert run(["live", "-m", str(model), "--seconds", "0.5", "--quiet"]) == 0
    heard, played = (np.concatenate(blocks)[:, 0] for blocks in (card.heard, card.played))
    assert heard.size == played.size
    assert heard.size / rate_hz == pytest.approx(0.5, abs=0.02)
    stream = Denoiser.load(model).stream(sample_rate_hz=rate_hz)
    late = stream.latency_samples - stream.hop_samples
    expected = Denoiser.load(model)(heard, sample_rate_hz=rate_hz)
    assert not played[:late].any()
    np.testing.assert_allclose(played[late:], expected[: played.size - late], atol=1e-5)
    assert card.closed


def test_devices_and_rate_are_those_asked_for(card: FakeCard, onset_model: Path) -> None:
    arguments = ["live", "-m", str(onset_model), "--input", "0", "--output", "Cable"]
    assert run([*arguments, "--rate", "32000", "--seconds", "0.1"]) == 0
    assert card.opened["device"] == (0, "Cable")
    assert card.opened["samplerate"] == 32_000
    assert card.opened["blocksize"] == 512  # 16 ms


def test_lost_samples_are_counted_on_both_ways(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card.lost_at = 3
    assert run(["live", "-m", str(onset_model), "--seconds", "0.2"]) == 0
    assert "2 dropouts" in capsys.readouterr().out


def test_samples_that_are_no_numbers_are_counted_and_silent(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    read = card.read

    def read_nan_first(frames: int) -> tuple[np.ndarray, bool]:
        block, lost = read(frames)
        if len(card.heard) == 1:
            block[frames // 2 :] = np.nan
        return block, lost

    card.read = read_nan_first  # type: ignore[method-assign]
    assert run(["live", "-m", str(onset_model), "--seconds", "0.3", "--quiet"]) == 0
    assert "1 blocks with NaN" in capsys.readouterr().out
    assert np.isfinite(np.concatenate(card.played)).all()
    assert np.concatenate(card.played).any()


def test_ctrl_c_ends_it_with_the_summary(
    card: FakeCard,
    onset_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(block: np.ndarray) -> bool:
        card.played.append(block)
        if len(card.played) == 5:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(card, "write", interrupted, raising=False)
    assert run(["live", "-m", str(onset_model)]) == 0
    assert "0 dropouts" in capsys.readouterr().out
    assert card.closed


def test_the_devices_are_listed(card: FakeCard, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["live", "--list-devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["number", "0", "1"]
    assert "Virtual Cable: [hw:1,0]" in lines[2]
    assert not card.opened


def test_the_summary_and_the_devices_are_also_json(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", "-m", str(onset_model), "--seconds", "0.2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["sample_rate_hz"], found["dropouts"]) == (48_000, 0)
    assert found["seconds"] == pytest.approx(0.2, abs=0.02)
    assert found["slowest_block_ms"] > 0
    assert run(["live", "--list-devices", "--json"]) == 0
    devices = json.loads(capsys.readouterr().out)
    assert [device["name"] for device in devices] == ["Microphone", "Virtual Cable: [hw:1,0]"]


def test_a_device_that_is_unplugged_ends_in_one_line(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card.fails_at = 4
    assert run(["live", "-m", str(onset_model), "--quiet"]) == 1
    assert "no sound device can be used (unplugged)" in capsys.readouterr().err
    assert card.closed


def test_an_unknown_device_is_named(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", "-m", str(onset_model), "--input", "Nobody"]) == 2
    error = capsys.readouterr().err.strip()
    assert "'Nobody'" in error
    assert "--list-devices" in error
    assert len(error.splitlines()) == 1


def test_an_absurd_rate_is_not_blamed_on_the_device(
    card: FakeCard, onset_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["live", "-m", str(onset_model), "--rate", "10"]) == 2
    error = capsys.readouterr().err
    assert "10" in error
    assert "--list-devices" not in error


@pytest.mark.parametrize(
    ("level", "columns", "shown"), [(0.0, 0, "-100"), (1.0, 20, "0"), (10**-1.5, 10, "-30")]
)
def test_the_meter_shows_the_level(level: float, columns: int, shown: str) -> None:
    bar, number, unit = _meter(np.full((256, 1), level, np.float32)).split()
    assert (bar.count("█"), len(bar), number.lstrip("-") or "0", unit) == (
        columns,
        20,
        shown.lstrip("-"),
        "dBFS",
    )


def test_live_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run(["live"]) == 2
    assert "tinysignal[play]" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["live"], ["play", "x.wav"]])
def test_a_missing_portaudio_names_what_to_install(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Finder:
        """As sounddevice's import fails where the system has no PortAudio."""

        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            if name == "sounddevice":
                raise OSError("PortAudio library not found")

    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert run(command) == 1
    error = capsys.readouterr().err
    assert "libportaudio2" in error
    assert "brew install portaudio" in error
    assert error.count("\n") == 1
