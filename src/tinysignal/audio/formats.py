"""Containers and subtypes: what a file name asks for, and what can hold a signal unchanged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import soundfile as sf

from tinysignal.audio.bitrate import BitRate
from tinysignal.errors import AudioFileError, ConfigError

CONTAINERS = {
    ".wav": "WAV",
    ".wave": "WAV",
    ".rf64": "RF64",
    ".w64": "W64",
    ".aif": "AIFF",
    ".aiff": "AIFF",
    ".aifc": "AIFF",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".oga": "OGG",
    ".opus": "OGG",
    ".mp3": "MP3",
    ".caf": "CAF",
    ".au": "AU",
    ".snd": "AU",
    ".nist": "NIST",
    ".sph": "NIST",
    ".ircam": "IRCAM",
    ".sf": "IRCAM",
    ".paf": "PAF",
    ".pvf": "PVF",
    ".avr": "AVR",
    ".voc": "VOC",
}
_FAMILY = {"WAVEX": "WAV", "RF64": "WAV"}  # they share .wav
SUFFIXES = {container: suffix for suffix, container in reversed(CONTAINERS.items())}

LOSSY = frozenset({"VORBIS", "OPUS", "MPEG_LAYER_III"})
# Bits of one sample; what is absent takes floating point or cannot be written to the sample.
# ALAC of more than 16 bits is absent because libsndfile 1.2.2 garbles loud noise in it.
BITS = {
    "PCM_S8": 8,
    "PCM_U8": 8,
    "PCM_16": 16,
    "PCM_24": 24,
    "PCM_32": 32,
    "ULAW": 16,
    "ALAW": 16,
    "ALAC_16": 16,
}
STORED_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_24": 3, "DOUBLE": 8}
_NEXT_BEST = {
    "FLOAT": ("FLOAT", "PCM_24"),
    "DOUBLE": ("DOUBLE", "FLOAT", "PCM_24"),
    "PCM_32": ("PCM_32", "PCM_24"),
    "ALAC_32": ("PCM_32", "PCM_24"),
    "ALAC_24": ("PCM_24",),
    "ALAC_20": ("PCM_24",),
    "PCM_24": ("PCM_24",),
    "PCM_U8": ("PCM_U8", "PCM_S8"),
    "PCM_S8": ("PCM_S8", "PCM_U8"),
    # FFmpeg's names.
    "pcm_f32le": ("FLOAT", "PCM_24"),
    "pcm_s32le": ("PCM_32", "PCM_24"),
    "pcm_s24le": ("PCM_24",),
    "flac": ("PCM_24",),
    "alac": ("PCM_24",),
}
_FOUR_GIB = 1 << 32
_HEADER_BYTES = 1 << 20  # room for the header and the tags


@dataclass(frozen=True, kw_only=True)
class AudioInfo:
    """The facts of a sound file; container and subtype are libsndfile's (or FFmpeg's) names.

    The bit rate is known of MP3 and Ogg files.
    """

    sample_rate_hz: int
    channels: int
    samples: int
    container: str
    subtype: str
    tags: Mapping[str, str] = field(default_factory=dict)
    endian: str = "FILE"
    bit_rate: BitRate | None = None

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples / self.sample_rate_hz


@dataclass(frozen=True)
class AudioFormat:
    """How samples are stored: libsndfile's names, such as ``WAV`` and ``PCM_24``."""

    container: str
    subtype: str
    endian: str = "FILE"

    @property
    def is_float(self) -> bool:
        """Whether samples beyond full scale keep their value."""
        return self.subtype in ("FLOAT", "DOUBLE")


def choose_format(
    source: AudioInfo, suffix: str, *, subtype: str | None = None
) -> tuple[AudioFormat, str | None]:
    """The format to write: the source's own as far as the file name's suffix allows.

    Parameters
    ----------
    source : AudioInfo
        The input.
    suffix : str
        Of the output: ``.wav``. One that names no container stands for the source's.
    subtype : str or None
        What to use instead of the source's.

    Returns
    -------
    AudioFormat
    str or None
        What could not be kept, as one line.

    Raises
    ------
    ConfigError
        The container does not take the subtype.
    AudioFileError
        The suffix names no container, nor does libsndfile write the source's.
    """
    container = _container(source.container, suffix.lower())
    endian = source.endian if container == source.container else "FILE"
    if subtype is not None:
        wanted = subtype.upper()
        if wanted not in sf.available_subtypes(container):
            names = ", ".join(sf.available_subtypes(container))
            raise ConfigError(f"subtype '{subtype}', but {container} takes one of: {names}.")
        return AudioFormat(container, wanted, endian), None
    if suffix.lower() == ".opus":
        return AudioFormat(container, "OPUS"), None
    even = source.samples * source.channels % 2 == 0
    if _takes(container, source.subtype, even=even):
        return AudioFormat(container, source.subtype, endian), None
    found = AudioFormat(container, _next_best(container, source.subtype, even=even))
    if _FAMILY.get(container, container) != source.container.upper():
        return found, None
    return found, (
        f"{source.subtype} in {source.container} cannot be written to the sample; "
        f"{found.subtype} is written instead"
    )


def _container(source: str, suffix: str) -> str:
    named = CONTAINERS.get(suffix)
    if named is None:
        if source not in sf.available_formats():
            raise AudioFileError(
                f"'{suffix}' is not the extension of an audio file. Expected one of: "
                f"{', '.join(sorted(CONTAINERS))}."
            )
        return source
    same_family = _FAMILY.get(source, source) == _FAMILY.get(named, named)
    return source if same_family and suffix != ".rf64" else named


def _takes(container: str, subtype: str, *, even: bool) -> bool:
    """Whether the length is kept: block codecs fill up their last block, chunks an odd byte."""
    known = subtype in BITS or subtype in ("FLOAT", "DOUBLE")
    known = known or (subtype in LOSSY and container in ("OGG", "MP3"))
    pads = container in ("AIFF", "VOC") and STORED_BYTES.get(subtype) == 1 and not even
    pads = pads or (container == "PAF" and subtype == "PCM_24")
    return known and not pads and subtype in sf.available_subtypes(container)


def _next_best(container: str, subtype: str, *, even: bool) -> str:
    if container == "OGG":
        return "VORBIS"
    if container == "MP3":
        return "MPEG_LAYER_III"
    for candidate in (*_NEXT_BEST.get(subtype, ()), "PCM_16", "PCM_24"):
        if _takes(container, candidate, even=even):
            return candidate
    return str(sf.default_subtype(container))


def wide_enough(wanted: AudioFormat, *, channels: int, samples: int) -> AudioFormat:
    """The format, or RF64 in place of a WAV that would outgrow the 4 GiB of its length fields.

    Raises
    ------
    AudioFileError
        An AIFF beyond 4 GiB: the format has no 64-bit variant.
    """
    size = samples * channels * STORED_BYTES.get(wanted.subtype, BITS.get(wanted.subtype, 32) // 8)
    if size + _HEADER_BYTES < _FOUR_GIB or wanted.container not in ("WAV", "WAVEX", "AIFF"):
        return wanted
    if wanted.container == "AIFF":
        raise AudioFileError(
            f"AIFF holds at most 4 GiB, this sound takes {size / 2**30:.1f}. "
            "Write .w64, .caf or .wav instead."
        )
    return AudioFormat("RF64", wanted.subtype)
