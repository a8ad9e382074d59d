"""The page on time: where the sound stands after one and two passes."""

from __future__ import annotations

from tables_markdown import Report, page, table

CODECS = {
    "libmp3lame": "MP3",
    "libopus": "Opus",
    "aac": "AAC",
    "ac3": "AC-3",
    "eac3": "E-AC-3",
    "mp2": "MP2",
    "flac": "FLAC",
    "alac": "ALAC",
    "wavpack": "WavPack",
    "tta": "TTA",
    "wmav1": "WMA 1",
    "wmav2": "WMA 2",
}


def sync(report: Report) -> str:
    """Start and length by container and codec."""
    rows = []
    for row in report["rows"]:
        codec = CODECS.get(row["codec"], row["codec"])
        cells = [f"`.{row['container']}`", codec, f"{row['frame_samples']:,}"]
        for one in row["passes"]:
            cells += [f"{one['start_samples']:+d}", f"{one['length_samples']:+d}"]
        rows.append([*cells, "; ".join(row["notes"])])
    header = ["file", "codec", "frame", "start, once", "length, once"]
    header += ["start, twice", "length, twice", "note"]
    held = sum(
        abs(one["start_samples"]) <= 1 and abs(one["length_samples"]) <= row["frame_samples"]
        for row in report["rows"]
        for one in row["passes"]
    )
    return page(
        "Sound and picture in step",
        f"{report['seconds']} s of sound at 48 kHz in every container and codec that is written "
        "through FFmpeg, made as other programs make it and denoised once and twice with "
        "`--mix 0`. In films the sound begins "
        f"{report['start_s']} s after the picture. Start, by cross-correlation against the "
        "picture, and length, in samples more than the source's as FFmpeg decodes it. `frame` is "
        "the number of samples that the codec cannot divide; 1 for lossless codecs.",
        f"{held} of {2 * len(report['rows'])} passes start within one sample and keep the length "
        "within one frame.",
        table(header, rows),
        f"PyAV {report['versions']['av']}, Python {report['versions']['python']}.",
        "Where a container states the encoder's delay (MP4, Matroska, Ogg), players leave it out. "
        "Elsewhere (AVI, ASF, FLV, MPEG, bare streams, and MP4 whose sound begins later than the "
        "picture) the encoder is primed with silence up to a whole number of frames, and these "
        "frames are not written; the first frame of the sound then lacks its overlap with the one "
        "before and fades in.",
    )
