"""Where the sound stands after a film or sound file was denoised once, and once more.

    python benchmarks/sync.py

Every container is made with every codec that it is written in, beside a moving picture where it
takes one, and denoised twice with a mix of 0, so that the signal itself stays. Its start against
the picture is measured by cross-correlation with the source as FFmpeg decodes it. Writes
benchmarks/reports/sync.json; tables.py makes the page. Needs the 'video' extra.
"""

from __future__ import annotations

import platform
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tinysignal import Denoiser, audio
from tinysignal.denoise_file import denoise_file
from tinysignal.files import write_json

REPORT = Path(__file__).resolve().parent / "reports" / "sync.json"
SECONDS, START_S = 3.0162, 0.25  # not whole frames of any codec
FILMS = {
    "mp4": ("mpeg4", "aac alac flac libopus ac3 eac3 libmp3lame"),
    "mov": ("mpeg4", "aac alac pcm_s16le pcm_s24le adpcm_ima_qt"),
    "m4v": ("mpeg4", "aac"),
    "3gp": ("mpeg4", "aac"),
    "mkv": ("mpeg4", "aac ac3 eac3 libmp3lame mp2 libopus flac alac wavpack pcm_s16le pcm_f32le"),
    "webm": ("libvpx", "libopus"),
    "avi": ("mpeg4", "libmp3lame pcm_s16le ac3 mp2 aac adpcm_ima_wav adpcm_ms"),
    "wmv": ("wmv2", "wmav2 wmav1 libmp3lame"),
    "flv": ("flv", "aac libmp3lame"),
    "ts": ("mpeg2video", "aac mp2 ac3 libmp3lame libopus"),
    "mts": ("libx264", "ac3"),
    "mpg": ("mpeg2video", "mp2 ac3"),
    "vob": ("mpeg2video", "ac3 mp2"),
}
SOUNDS = {
    "m4a": "aac alac",
    "m4b": "aac",
    "mka": "libopus flac aac",
    "weba": "libopus",
    "aac": "aac",
    "ac3": "ac3",
    "eac3": "eac3",
    "mp2": "mp2",
    "wma": "wmav2",
    "tta": "tta",
    "wv": "wavpack",
}
FORMATS = {
    "m4v": "mp4",
    "mka": "matroska",
    "weba": "webm",
    "mts": "mpegts",
    "ts": "mpegts",
    "m4b": "ipod",
    "aac": "adts",
}
CASES = [(s, codec, p) for s, (p, names) in FILMS.items() for codec in names.split()]
CASES += [(s, codec, None) for s, names in SOUNDS.items() for codec in names.split()]
LOSSLESS = ("pcm_", "flac", "alac", "wavpack", "tta")


@dataclass(frozen=True)
class Heard:
    """The sound of a file as FFmpeg decodes it."""

    signal: NDArray[np.float32]
    start_s: float  # of its first sample, after the first picture
    rate_hz: int
    frame_samples: int


def signal_of(seconds: float, rate_hz: int) -> NDArray[np.float32]:
    """Noise without rumble and treble, which every codec keeps: float32 (1, time)."""
    noise = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate_hz) + 63)
    return np.convolve(noise, np.hanning(64) / 32, "valid")[np.newaxis].astype(np.float32)


def make(path: Path, codec: str, picture: str | None) -> None:
    """A file as other programs write it; the sound of a film begins after its picture."""
    rate_hz = 48_000
    signal = signal_of(SECONDS, rate_hz)
    with av.open(str(path), "w", format=FORMATS.get(path.suffix[1:])) as film:
        film_track = None
        if picture is not None:
            film_track = film.add_stream(picture, rate=25)
            film_track.width, film_track.height, film_track.pix_fmt = 64, 48, "yuv420p"
        track = film.add_stream(codec, rate=rate_hz, layout="mono")
        if not codec.startswith((*LOSSLESS, "adpcm")):
            track.codec_context.bit_rate = 128_000
        start = 0 if picture is None else round(START_S * rate_hz)
        frame = av.AudioFrame.from_ndarray(signal, format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), start
        packets: list[Any] = [*track.encode(frame), *track.encode(None)]
        if film_track is not None:
            for i in range(90):
                grey = np.full((48, 64, 3), 2 * i, np.uint8)
                packets += film_track.encode(av.VideoFrame.from_ndarray(grey, format="rgb24"))
            packets += film_track.encode(None)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            film.mux(packet)


def heard(path: Path) -> Heard:
    """What FFmpeg makes of a file, without this package."""
    with av.open(str(path)) as film:
        track = film.streams.audio[0]
        converter = av.AudioResampler(format="fltp")
        pieces, start_s, picture_s = [], None, None
        frame_samples = 1
        for packet in film.demux():
            if packet.stream.type == "video" and packet.pts is not None:
                at_s = float(packet.pts * packet.time_base)
                picture_s = at_s if picture_s is None else min(picture_s, at_s)
            if packet.stream is not track:
                continue
            for frame in packet.decode():
                if start_s is None:
                    start_s = float((frame.pts or 0) * frame.time_base)
                frame_samples = max(frame_samples, frame.samples)
                pieces += [part.to_ndarray() for part in converter.resample(frame)]
        return Heard(
            np.concatenate(pieces, axis=1),
            (start_s or 0.0) - (picture_s or 0.0),
            track.codec_context.sample_rate,
            frame_samples,
        )


def lag_samples(found: NDArray[np.float32], reference: NDArray[np.float32]) -> int:
    """How much later ``found`` is, by the peak of the cross-correlation."""
    size = 1 << (found.shape[1] + reference.shape[1]).bit_length()
    spectrum = np.fft.rfft(found[0], size) * np.conj(np.fft.rfft(reference[0], size))
    lag = int(np.argmax(np.fft.irfft(spectrum, size)))
    return lag if lag < size // 2 else lag - size


def measure(folder: Path, case: tuple[str, str, str | None], denoiser: Denoiser) -> dict[str, Any]:
    """One container, codec and picture: the source against what was denoised once and twice."""
    suffix, codec, picture = case
    paths = [folder / f"{name}.{suffix}" for name in ("source", "once", "twice")]
    make(paths[0], codec, picture)
    notes = [denoise_file(*pair, denoiser=denoiser).notes for pair in pairwise(paths)]
    source, *passes = map(heard, paths)
    rows = []
    for path, found in zip(paths[1:], passes, strict=True):
        lag = lag_samples(found.signal, source.signal)
        late_s = found.start_s - source.start_s + lag / source.rate_hz
        rows.append(
            {
                "start_samples": round(late_s * source.rate_hz),
                "length_samples": found.signal.shape[1] - source.signal.shape[1],
                "read_samples": audio.read(path)[0].shape[1] - audio.read(paths[0])[0].shape[1],
            }
        )
    return {
        "container": suffix,
        "codec": codec,
        "frame_samples": 1 if codec.startswith(LOSSLESS) else source.frame_samples,
        "passes": rows,
        "notes": list(notes[0]),
    }


def main() -> None:
    """Measure all and write the report."""
    rows = []
    denoiser = Denoiser.load(mix=0)
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(Path(folder), case, denoiser))
        print(rows[-1], flush=True)
    versions = {"av": av.__version__, "python": platform.python_version()}
    write_json(REPORT, {"versions": versions, "seconds": SECONDS, "start_s": START_S, "rows": rows})


if __name__ == "__main__":
    main()
