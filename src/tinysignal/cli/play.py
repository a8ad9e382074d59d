"""``tinysignal play``: hear a recording, and then the same without its noise."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from tinysignal.audio import Reader
from tinysignal.cli.denoise_options import Model
from tinysignal.cli.sound_device import load_sounddevice, unusable
from tinysignal.denoise_file import FileOptions, denoise_file
from tinysignal.denoiser import Denoiser
from tinysignal.model_file import DEFAULT_MODEL
from tinysignal.video import TrackReader, open_sound


def play(
    file: Annotated[Path, typer.Argument(help="A sound file.")],
    *,
    model: Model = DEFAULT_MODEL,
) -> None:
    """Play a recording, then the same denoised; needs the 'play' extra and a sound device.

    Example: tinysignal play talk.wav
    """
    device = load_sounddevice()
    denoiser = Denoiser.load(model)
    with tempfile.TemporaryDirectory(prefix="tinysignal-") as folder:
        cleaned = Path(folder) / "cleaned.wav"
        denoise_file(file, cleaned, denoiser=denoiser, options=FileOptions(subtype="FLOAT"))
        for title, path in (("before", file), ("after", cleaned)):
            print(f"{title} ...", file=sys.stderr)
            with open_sound(path) as reader:
                _play(device, reader)


def _play(device: Any, reader: Reader | TrackReader) -> None:
    info = reader.info
    try:
        with device.OutputStream(
            samplerate=info.sample_rate_hz, channels=info.channels, dtype="float32"
        ) as stream:
            for block in reader.blocks():
                stream.write(block.T.copy())  # (time, channels)
    except device.PortAudioError as error:
        raise unusable(error) from None
