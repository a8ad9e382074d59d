"""The sound card, for the commands that listen or play."""

from __future__ import annotations

from typing import Any

from tinysignal.errors import AudioFileError, MissingExtraError


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
        raise unusable(error) from None
    return sounddevice


def unusable(error: Exception) -> AudioFileError:
    """The one line for a device that is missing, taken or gone."""
    return AudioFileError(f"no sound device can be used ({error}).")
