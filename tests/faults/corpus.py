"""Small files of every kind that is read, made by code, and seeded mutations of them."""

from __future__ import annotations

import copy
import json
import random
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from onnx import helper

TESTS = Path(__file__).resolve().parent.parent
sys.path.append(str(TESTS))

from onset import save_onset_model  # noqa: E402
from speech import save_m4a, speech_like  # noqa: E402
from templates import STRIPES, save_template_model, stripes  # noqa: E402

RATE_HZ = 16_000
_KINDS = [
    ("wav", "WAV", "PCM_16"),
    ("24.wav", "WAV", "PCM_24"),
    ("float.wav", "WAV", "FLOAT"),
    ("ima.wav", "WAV", "IMA_ADPCM"),
    ("gsm.wav", "WAV", "GSM610"),
    ("rf64.wav", "RF64", "PCM_16"),
    ("extensible.wav", "WAVEX", "PCM_16"),
    ("w64", "W64", "PCM_16"),
    ("aiff", "AIFF", "PCM_16"),
    ("au", "AU", "PCM_16"),
    ("caf", "CAF", "PCM_16"),
    ("alac.caf", "CAF", "ALAC_16"),
    ("flac", "FLAC", "PCM_16"),
    ("ogg", "OGG", "VORBIS"),
    ("opus", "OGG", "OPUS"),
    ("mp3", "MP3", "MPEG_LAYER_III"),
]


def sounds(folder: Path) -> list[Path]:
    """One short sound of every kind, mono and stereo, with a title."""
    folder.mkdir()
    made = []
    for number, (name, container, subtype) in enumerate(_KINDS):
        channels = 1 + number % 2 if subtype != "GSM610" else 1
        signal = np.tile(speech_like(0.4, rate_hz=RATE_HZ, seed=number), (channels, 1))
        path = folder / f"{channels}.{name}"
        with soundfile.SoundFile(
            path, "w", RATE_HZ, channels, format=container, subtype=subtype
        ) as file:
            with suppress(soundfile.LibsndfileError):  # not every kind has titles
                file.title = "A title"
            file.write(signal.T)
        made.append(path)
    if find_spec("av"):
        made.append(save_m4a(folder / "1.m4a", speech_like(0.4, rate_hz=RATE_HZ)))
    return made


def models(folder: Path) -> list[Path]:
    """A denoiser with a state and a classifier."""
    folder.mkdir()
    return [
        save_onset_model(folder / "onset.onnx"),
        save_template_model(folder / "stripes.onnx", stripes(), STRIPES),
    ]


def pictures(folder: Path) -> list[Path]:
    """A small picture of every kind."""
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    made = []
    for suffix in ("png", "jpg", "gif", "bmp", "webp", "tiff"):
        for mode in ("L", "RGB", "P"):
            if (suffix, mode) in {("jpg", "P"), ("webp", "P")}:
                continue
            path = folder / f"{mode}.{suffix}"
            Image.fromarray(rng.integers(0, 256, (12, 9, 3), np.uint8)).convert(mode).save(path)
            made.append(path)
    return made


def runs(folder: Path) -> list[Path]:
    """A trained classifier, the same compressed, and a denoiser with its pair of recordings."""
    from tinysignal.budget import Budget
    from tinysignal.runs import report
    from tinysignal.runs.compress import CompressOptions, compress_run
    from tinysignal.train.classification.config import ClassifierConfig
    from tinysignal.train.classification.task import train_classifier
    from tinysignal.train.denoising.config import DenoiserConfig
    from tinysignal.train.denoising.task import train_denoiser

    folder.mkdir()
    report.SECONDS = 0.0  # times are no concern here
    digits, small, denoiser = (folder / name for name in ("digits", "small", "denoiser"))
    machine: dict[str, Any] = {"device": "cpu", "threads": 1}
    config = ClassifierConfig(width=16, depth=1, epochs=2, **machine)
    train_classifier(config, digits, quiet=True)
    compress_run(digits, small, CompressOptions(budget=Budget(rank=4)))
    clean, noisy = pair(folder)
    options: dict[str, Any] = {"arch": "linear", "width": 8, "epochs": 2, "clip_s": 0.0}
    size = {"window_samples": 128, "hop_samples": 64}
    train_denoiser(
        DenoiserConfig(pair=(str(clean), str(noisy)), **options, **size, **machine),
        denoiser,
        quiet=True,
    )
    return [digits, small, denoiser]


def pair(folder: Path) -> tuple[Path, Path]:
    """A clean and a noisy recording."""
    clean = speech_like(1.0, rate_hz=RATE_HZ)
    noise = np.random.default_rng(0).normal(0, 0.05, clean.shape)
    places = folder / "clean.wav", folder / "noisy.wav"
    for path, signal in zip(places, (clean, clean + noise), strict=True):
        soundfile.write(path, signal.T, RATE_HZ, subtype="FLOAT")
    return places


# Mutations. Each takes a random state and the content, and returns other content.

_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_HEADER = 256  # most of what is decided is decided by the first bytes

Mutation = Callable[[random.Random, bytes], bytes]


def _place(rng: random.Random, content: bytes) -> int:
    end = len(content) if rng.random() < 0.4 else min(_HEADER, len(content))
    return rng.randrange(max(1, end))


def flipped(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        changed[_place(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def numbered(rng: random.Random, content: bytes) -> bytes:
    """A number of two, four or eight bytes replaced by an extreme one."""
    at, form = _place(rng, content), rng.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
    number = rng.choice(_NUMBERS) * rng.choice((1, 1, 1 << 31))
    number &= (1 << 8 * struct.calcsize(form)) - 1
    packed = struct.pack(form, number)
    return content[:at] + packed + content[at + len(packed) :]


def truncated(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content))]


def removed(rng: random.Random, content: bytes) -> bytes:
    at = _place(rng, content)
    return content[:at] + content[at + rng.choice((1, 2, 4, 8, 64, 1024)) :]


def inserted(rng: random.Random, content: bytes) -> bytes:
    at, size = _place(rng, content), rng.choice((1, 2, 4, 8, 64, 5000))
    what = rng.choice((bytes(size), b"\xff" * size, rng.randbytes(size), b"[" * size))
    return content[:at] + what + content[at:]


def repeated(rng: random.Random, content: bytes) -> bytes:
    at, size = _place(rng, content), rng.choice((4, 16, 100, 1000))
    return content[:at] + content[at : at + size] * rng.choice((2, 3, 100)) + content[at:]


BYTES: tuple[Mutation, ...] = (flipped, numbered, truncated, removed, inserted, repeated)


def mutated(rng: random.Random, content: bytes, ways: tuple[Mutation, ...] = BYTES) -> bytes:
    """One to three mutations of a file's bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        content = rng.choice(ways)(rng, content or b"\0")
    return content


_WEIRD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**70), 10**300, 1e308, 0.5, -0.0),
    *("", "x", "\x1b]0;owned\x07\x1b[31m", "\u202e", "../../../etc/passwd", "a\0b", "x" * 5000),
    *("<script>alert(1)</script>", "NaN", [], {}, [[]], [None] * 1000, {"": ""}),
)


def weird(rng: random.Random) -> Any:
    """A value that nobody expects."""
    return copy.deepcopy(rng.choice(_WEIRD))


def _nodes(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nodes(inner, (*path, key))


def json_changed(rng: random.Random, text: str) -> str:
    """JSON text with one or two values replaced, removed, renamed or nested."""
    values = json.loads(text)
    for _ in range(rng.choice((1, 1, 2))):
        *path, last = rng.choice([p for p in _nodes(values) if p] or [("x",)])
        place = values
        for key in path:
            place = place[key]
        what = rng.randrange(5)
        if what == 0 and isinstance(place, dict):
            place.pop(last, None)
        elif what == 1 and isinstance(place, dict):
            place[rng.choice(("", "x", "\x1b[2J", "name ", str(last) * 2))] = place.pop(last, None)
        elif what == 2 and isinstance(place, list):
            place.extend([place[last]] * rng.choice((1, 3, 2000)))
        else:
            place[last] = weird(rng)
    made = json.dumps(values, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.05:
        made = made.replace(":", ":" + "[" * 50_000, 1)
    return made


def toml_changed(rng: random.Random, text: str) -> str:
    """TOML text with lines replaced, removed, repeated or given another value."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        name = lines[at].partition(" = ")[0]
        value = rng.choice(
            ('"x"', "0", "-1", "1.5", "inf", "nan", "true", "[]", "[[1], 2]", "{}", "9" * 4000,
             "9" * 5000, "[" * 5000, '"' + "x" * 20_000 + '"', '"\\u001b[31m"', "1e400", "65536",
             "2147483648", "[0, 1]", '["", ""]', "1979-05-27", '"../../../etc/passwd"', "0x", "=")
        )  # fmt: skip
        lines[at] = rng.choice(
            (f"{name} = {value}", f"{name} = {value}", "", f"{lines[at]}\n{lines[at]}",
             f"[{name}]", f"{name}x = {value}", "\x1b" * 9)
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def safetensors_changed(rng: random.Random, content: bytes) -> bytes:
    """A safetensors file with another header, of which the length is right most of the time."""
    size = int.from_bytes(content[:8], "little")
    header = json_changed(rng, content[8 : 8 + size].decode()).encode("utf-8", "surrogatepass")
    stated = len(header) if rng.random() < 0.9 else rng.choice(_NUMBERS) << 20
    return struct.pack("<Q", stated) + header + content[8 + size :]


def state_changed(rng: random.Random, content: bytes) -> bytes:
    """A checkpoint whose JSON text is another, the tensors as they were."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"]["tinysignal"] = json_changed(rng, header["__metadata__"]["tinysignal"])
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + size :]


def spec_changed(rng: random.Random, content: bytes) -> bytes:
    """A model file with another spec."""
    model = onnx.load_from_string(content)
    [spec] = [entry.value for entry in model.metadata_props if entry.key == "tinysignal"]
    text = json_changed(rng, spec)
    helper.set_model_props(model, {"tinysignal": text.encode("utf-8", "replace").decode()})
    return bytes(model.SerializeToString())


def graph_changed(rng: random.Random, content: bytes) -> bytes:
    """A model file with another operator, shape, type, name or attribute."""
    model = onnx.load_from_string(content)
    node = rng.choice(model.graph.node)
    port = rng.choice([*model.graph.input, *model.graph.output])
    what = rng.randrange(7)
    if what == 0:
        node.op_type = rng.choice(("Loop", "Exp", "Log", "Tile", "Expand", "Range", "Div", "If"))
    elif what == 1:
        node.input[:] = rng.sample(list(node.input), len(node.input)) or ["x"]
    elif what == 2 and port.type.tensor_type.shape.dim:
        dim = rng.choice(port.type.tensor_type.shape.dim)
        dim.dim_value = rng.choice((0, 1, 2**40, -1, 257))
    elif what == 3:
        port.type.tensor_type.elem_type = rng.randrange(20)
    elif what == 4:
        tensor = rng.choice(model.graph.initializer)
        tensor.dims[:] = [rng.choice((0, 1, 2**20, 2**62)) for _ in range(rng.randrange(3))]
    elif what == 5:
        tensor = rng.choice(model.graph.initializer)
        tensor.raw_data = rng.randbytes(len(tensor.raw_data))
    else:
        rng.choice((node, port, model.graph)).name = str(weird(rng))[:200]
    return bytes(model.SerializeToString())


def csv_changed(rng: random.Random, text: str) -> str:
    """CSV text with cells replaced, and rows and columns repeated."""
    rows = [line.split(",") for line in text.splitlines()]
    for _ in range(rng.choice((1, 2, 3))):
        row = rng.choice(rows)
        at = rng.randrange(len(row))
        what = rng.randrange(5)
        if what == 0:
            row[at] = str(weird(rng))
        elif what == 1:
            row[:] = row * rng.choice((2, 2000))
        elif what == 2:
            rows += [row] * rng.choice((1, 3000))
        elif what == 3:
            row[at] = '"' + row[at]
        else:
            del row[at:]
            row.append("../secret.wav")
    return "\n".join(map(",".join, rows)) + "\n"
