"""Sound in memory and in files; owns "(channels, time) float32".

::

    files.py          open, info, read, write, resample: any file that libsndfile or FFmpeg reads
    reader.py         what the two readers have in common
    validate.py       the one validator of signals, rates and channels
    formats.py        containers and subtypes
    headers.py        files that end before their header says
    libsndfile.py     Reader and Writer of libsndfile's formats
    ffmpeg.py         the sound track of a film, and what only FFmpeg reads
    ffmpeg_writer.py  a sound track written back into its container
"""

from tinysignal.audio.files import SOUND_SUFFIXES, info, open, read, resample, write
from tinysignal.audio.formats import AudioFormat, AudioInfo, choose_format
from tinysignal.audio.libsndfile import Writer
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import (
    MAX_AMPLITUDE,
    MAX_CHANNELS,
    MAX_RATE_HZ,
    MIN_RATE_HZ,
    Signal,
    check_block,
    check_channels,
    check_rate,
    check_signal,
)

__all__ = [
    "MAX_AMPLITUDE",
    "MAX_CHANNELS",
    "MAX_RATE_HZ",
    "MIN_RATE_HZ",
    "SOUND_SUFFIXES",
    "AudioFormat",
    "AudioInfo",
    "Signal",
    "SoundReader",
    "Writer",
    "check_block",
    "check_channels",
    "check_rate",
    "check_signal",
    "choose_format",
    "info",
    "open",
    "read",
    "resample",
    "write",
]
