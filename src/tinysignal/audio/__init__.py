"""Sound in memory and in files; owns "(channels, time) float32".

::

    files.py          open, info, read, write, resample: any file that libsndfile or FFmpeg reads
    reader.py         what the two readers have in common
    validate.py       the one validator of signals, rates and channels
    formats.py        containers and subtypes
    bitrate.py        bit rates of lossy files, and encoder settings for them
    chunks.py         chunks of WAV, RF64, W64, AIFF and CAF, carried over as they are
    tags.py           tags, covers and chapters from any kind to any kind
    metadata.py       all that is not sound, carried from a file to its denoised copy
    pcm.py            bare samples, and WAV files that flow through pipes
    headers.py        files that end before their header says
    mp3.py            frames of MP3
    libsndfile.py     Reader and Writer of libsndfile's formats
    ffmpeg.py         Reader of a sound track of a film, and of what only FFmpeg reads
    ffmpeg_tracks.py     which endings, which sound track
    ffmpeg_structure.py  damage that FFmpeg passes over; ffmpeg_frames.py in bare streams
    ffmpeg_writer.py     a film or sound file with cleaned sound tracks
    ffmpeg_source.py     what the writer has to know of its source
    ffmpeg_encoder.py    one sound track, to the sample where the codec allows
    ffmpeg_copies.py     everything else of the film; mp4_tracks.py what FFmpeg cannot write
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
