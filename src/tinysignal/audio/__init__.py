"""Sound in memory and in files; owns "(channels, time) float32".

::

    files.py          open, info, read, write, resample: any file that libsndfile or FFmpeg reads
    reader.py         what the two readers have in common
    validate.py       the one validator of signals, rates and channels
    formats.py        containers and subtypes
    pcm.py            bare samples, and WAV files that flow through pipes
    headers.py        files that end before their header says
    libsndfile.py     Reader and Writer of libsndfile's formats
    ffmpeg.py         the sound track of a film, and what only FFmpeg reads
    ffmpeg_writer.py  a sound track written back into its container
"""

from tinysignal.audio.files import SOUND_SUFFIXES, info, open, read, resample, write
from tinysignal.audio.formats import AudioInfo
from tinysignal.audio.reader import SoundReader
from tinysignal.audio.validate import Signal, check_signal

__all__ = [
    "SOUND_SUFFIXES",
    "AudioInfo",
    "Signal",
    "SoundReader",
    "check_signal",
    "info",
    "open",
    "read",
    "resample",
    "write",
]
