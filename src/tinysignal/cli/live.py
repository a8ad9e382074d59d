"""``tinysignal live``: from the microphone to the speakers, without the noise."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tinysignal import audio
from tinysignal.cli.options import (
    DENOISE_NAMES,
    Model,
    Report,
    check_rate_option,
    chosen,
    with_options_of,
)
from tinysignal.cli.terminal import Console
from tinysignal.denoise_file import FileOptions, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.errors import AudioFileError, ConfigError, MissingExtraError, TinysignalError
from tinysignal.files import json_text
from tinysignal.gain import DenoiseOptions
from tinysignal.model import DEFAULT_MODEL
from tinysignal.stream import DenoiserStream

_SHOWN_EVERY_S = 0.1
_METER_DB, _METER_WIDTH = 60, 20  # the meter's lowest level below full scale, and its columns
_SILENCE = 1e-10
_PORTAUDIO = (
    "'apt install libportaudio2' on Debian and Ubuntu, 'dnf install portaudio' on Fedora, "
    "'pacman -S portaudio' on Arch, 'brew install portaudio' on macOS"
)


@dataclass
class Session:
    """What has happened so far.

    Parameters
    ----------
    blocks : int
    dropouts : int
        Blocks of which the device lost samples, on the way in or out.
    invalid : int
        Blocks with NaN or infinite samples, which count as silence there.
    slowest_s : float
        The longest that one block took in the network.
    """

    blocks: int = 0
    dropouts: int = 0
    invalid: int = 0
    slowest_s: float = 0.0


@with_options_of(DenoiseOptions, rename=DENOISE_NAMES, leave_out=["channel_mode"])
def live(
    *,
    model: Model = DEFAULT_MODEL,
    source: Annotated[
        str | None,
        typer.Option("--input", "-i", help="Microphone: a number or part of a name."),
    ] = None,
    sink: Annotated[
        str | None,
        typer.Option("--output", help="Speakers or a virtual device: a number or part of a name."),
    ] = None,
    list_devices: Annotated[
        bool, typer.Option("--list-devices", help="Show the devices and end.")
    ] = False,
    sample_rate_hz: Annotated[
        int | None, typer.Option("--rate", min=1, help="In Hz; the microphone's own by default.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="End after this long; until Ctrl-C by default.")
    ] = None,
    as_json: Report = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No level meters.")] = False,
    **options: Any,
) -> None:
    """Clean the microphone on its way to the speakers, or to a virtual device that others record.

    Use headphones, or the microphone hears the speakers. Needs the 'play' extra. Ctrl-C ends it.

    Example: tinysignal live --output 'Virtual Cable'
    """
    sound = chosen(DenoiseOptions, options, rename=DENOISE_NAMES)
    if sample_rate_hz is not None:
        check_rate_option("--rate", sample_rate_hz)
    device = load_sounddevice()
    try:
        if list_devices:
            _show_devices(device, as_json=as_json)
            return
        ends = (_device(source), _device(sink))
        rate_hz = sample_rate_hz or round(
            device.query_devices(ends[0], "input")["default_samplerate"]
        )
        stream = Denoiser.load(model, **vars(sound)).stream(sample_rate_hz=rate_hz)
        print(
            f"{rate_hz} Hz, {1000 * stream.latency_s:.0f} ms and the device's own latency; "
            "Ctrl-C ends",
            file=sys.stderr,
        )
        with device.Stream(
            samplerate=rate_hz,
            blocksize=stream.hop_samples,
            device=ends,
            channels=1,
            dtype="float32",
            latency="low",
        ) as line:
            session = _run(line, stream, rate_hz=rate_hz, seconds=seconds, quiet=quiet)
    except device.PortAudioError as error:
        raise unusable(error) from None
    except ValueError as error:  # sounddevice's word for a device that is not there
        if isinstance(error, TinysignalError):
            raise
        raise ConfigError(f"{error} See 'tinysignal live --list-devices'.") from None
    facts = {
        "sample_rate_hz": rate_hz,
        "seconds": session.blocks * stream.hop_samples / rate_hz,
        "dropouts": session.dropouts,
        "invalid_blocks": session.invalid,
        "latency_ms": 1000 * stream.latency_s,
        "block_ms": 1000 * stream.hop_samples / rate_hz,
        "slowest_block_ms": 1000 * session.slowest_s,
    }
    if as_json:
        print(json_text(facts))
        return
    invalid = f"{session.invalid} blocks with NaN, " if session.invalid else ""
    print(
        f"{facts['seconds']:.1f} s, {session.dropouts} dropouts, {invalid}"
        f"slowest block {facts['slowest_block_ms']:.1f} ms of {facts['block_ms']:.1f} ms"
    )


def _run(
    line: Any, stream: DenoiserStream, *, rate_hz: int, seconds: float | None, quiet: bool
) -> Session:
    """Read, denoise and write block by block, until the time is over or Ctrl-C."""
    session, hop = Session(), stream.hop_samples
    # What comes out of the stream is this much later than what goes in.
    waiting = np.zeros((1, stream.latency_samples - hop), np.float32)
    last = float("inf") if seconds is None else round(seconds * rate_hz / hop)
    shown_s = 0.0
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as screen:
        try:
            while session.blocks < last:
                heard, lost_in = line.read(hop)
                if not np.isfinite(heard).all():  # as some drivers give at their start
                    session.invalid += 1
                    heard = np.nan_to_num(heard, nan=0.0, posinf=0.0, neginf=0.0)
                started_s = time.perf_counter()
                waiting = np.concatenate([waiting, stream.feed(heard.T)], axis=1)
                now_s = time.perf_counter()
                played, waiting = waiting[:, :hop], waiting[:, hop:]
                lost_out = line.write(np.ascontiguousarray(played.T))
                session.blocks += 1
                session.dropouts += bool(lost_in) + bool(lost_out)
                session.slowest_s = max(session.slowest_s, now_s - started_s)
                if not quiet and console.is_terminal and now_s - shown_s > _SHOWN_EVERY_S:
                    screen.update(_meters(heard, played, session), refresh=True)
                    shown_s = now_s
        except KeyboardInterrupt:
            pass  # the way to end it
    return session


def _meters(heard: NDArray[np.float32], played: NDArray[np.float32], session: Session) -> Text:
    return Text(f"in {_meter(heard)}  out {_meter(played)}  dropouts {session.dropouts}")


def _meter(block: NDArray[np.float32]) -> str:
    """Root mean square in dB below full scale, as a bar and a number."""
    level_db = 10 * np.log10(float(np.mean(np.square(block))) + _SILENCE)
    filled = round(_METER_WIDTH * min(1.0, max(0.0, 1 + level_db / _METER_DB)))
    return f"{'█' * filled}{'░' * (_METER_WIDTH - filled)} {level_db:4.0f} dBFS"


def _device(name: str | None) -> int | str | None:
    """sounddevice takes a number, part of a name, or None for the default."""
    return int(name) if name is not None and name.isdecimal() else name


def _show_devices(device: Any, *, as_json: bool) -> None:
    facts = [
        {
            "number": number,
            "name": found["name"],
            "inputs": found["max_input_channels"],
            "outputs": found["max_output_channels"],
            "sample_rate_hz": round(found["default_samplerate"]),
        }
        for number, found in enumerate(device.query_devices())
    ]
    if as_json:
        print(json_text(facts))
        return
    table = Table("number", "name", "inputs", "outputs", "rate in Hz", box=None)
    for row in facts:
        table.add_row(*(Text(str(value)) for value in row.values()))  # brackets are not markup
    Console().print(table)


@with_options_of(DenoiseOptions, rename=DENOISE_NAMES)
def play(
    file: Annotated[Path, typer.Argument(help="A sound file.")],
    *,
    model: Model = DEFAULT_MODEL,
    as_json: Report = False,
    **options: Any,
) -> None:
    """Play a recording, then the same denoised; needs the 'play' extra and a sound device.

    Example: tinysignal play talk.wav
    """
    sound = chosen(DenoiseOptions, options, rename=DENOISE_NAMES)
    device = load_sounddevice()
    denoiser = Denoiser.load(model, **vars(sound))
    with tempfile.TemporaryDirectory(prefix="tinysignal-") as folder:
        cleaned = Path(folder) / "cleaned.wav"
        stored = FileOptions(subtype="FLOAT")
        report = denoise_file(file, cleaned, denoiser=denoiser, options=stored)
        for title, path in (("before", file), ("after", cleaned)):
            print(f"{title} ...", file=sys.stderr)
            with audio.open(path) as reader:
                _play(device, reader)
    if as_json:
        print(json_text({"file": str(file), **report.to_dict()}))


def _play(device: Any, reader: audio.SoundReader) -> None:
    info = reader.info
    try:
        with device.OutputStream(
            samplerate=info.sample_rate_hz, channels=info.channels, dtype="float32"
        ) as stream:
            for block in reader.blocks():
                stream.write(block.T.copy())  # (time, channels)
    except device.PortAudioError as error:
        raise unusable(error) from None


def load_sounddevice() -> Any:
    """The sounddevice module.

    Raises
    ------
    MissingExtraError
        It is not installed.
    AudioFileError
        It is, but PortAudio is not.
    """
    try:
        import sounddevice
    except ImportError:
        raise MissingExtraError("Playing and recording sound", "play") from None
    except OSError as error:  # the module is there, PortAudio is not
        raise AudioFileError(
            f"the PortAudio library is missing ({error}). Install it: {_PORTAUDIO}."
        ) from None
    return sounddevice


def unusable(error: Exception) -> AudioFileError:
    """The one line for a device that is missing, taken or gone."""
    return AudioFileError(f"no sound device can be used ({error}).")
