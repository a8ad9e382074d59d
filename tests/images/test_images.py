"""Pictures: every kind of file, and handwriting on paper as MNIST would have it."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinysignal.datasets import load_dataset
from tinysignal.errors import DataError, SignalError
from tinysignal.images.files import frame_image, image_size, read_framed, read_image
from tinysignal.images.framing import resize
from tinysignal.spec import ImageInput

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

MASS = ImageInput(height=28, width=28, framing="mass", box=20)
BOX = ImageInput(height=28, width=28, framing="box", box=20)
WHOLE = ImageInput(height=28, width=28)
DATA = os.environ.get("TINYSIGNAL_DATA")
needs_mnist = pytest.mark.skipif(
    not (DATA and (Path(DATA) / "mnist").is_dir()),
    reason="TINYSIGNAL_DATA names no folder with mnist/",
)
RAMP = np.arange(35, dtype=np.uint8).reshape(5, 7) * 7


def drawn(size: int = 280) -> np.ndarray:
    """A 2 or so, light on black: an arc, a slope and a line, strokes a twelfth of the size."""
    y, x = np.mgrid[0:size, 0:size] / size
    arc = (np.abs(np.hypot(x - 0.5, y - 0.35) - 0.17) < 0.04) & ((y < 0.37) | (x > 0.62))
    slope = (np.abs((x - 0.31) - (0.8 - y)) < 0.055) & (y > 0.42) & (y < 0.8)
    line = (np.abs(y - 0.8) < 0.04) & (x > 0.3) & (x < 0.72)
    return (arc | slope | line).astype(np.float32)


def on_paper(
    drawing: np.ndarray, *, seed: int = 0, noise: float = 0.03, page: tuple[int, int] = (600, 800)
) -> np.ndarray:
    """Dark on light, somewhere on a page under uneven light, photographed with some noise."""
    rng = np.random.default_rng(seed)
    height, width = drawing.shape
    top, left = rng.integers(0, page[0] - height + 1), rng.integers(0, page[1] - width + 1)
    paper = np.ones(page)
    paper[top : top + height, left : left + width] -= 0.7 * drawing
    y, x = np.mgrid[0 : 1 : page[0] * 1j, 0 : 1 : page[1] * 1j]
    photo = paper * (0.95 - 0.3 * x - 0.15 * y * y) + rng.normal(0, noise, page)
    return np.clip(photo, 0, 1).astype(np.float32)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "pgm", "webp"])
def test_lossless_files_give_their_values(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(RAMP).save(path, **({"lossless": True} if suffix == "webp" else {}))
    np.testing.assert_allclose(read_image(path), RAMP / np.float32(255), atol=1e-7)
    assert read_image(path).dtype == np.float32
    assert image_size(path) == (5, 7)


def test_a_jpeg_comes_close(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(read_image(tmp_path / "a.jpg"), smooth / 255, atol=0.02)


def in_modes() -> dict[str, Any]:
    grey = Image.fromarray(RAMP)
    clear = grey.convert("LA")
    clear.putalpha(Image.fromarray(np.where(RAMP > 100, 255, 0).astype(np.uint8)))
    deep = Image.fromarray(RAMP.astype(np.uint16) * 257)
    over = np.where(RAMP > 100, RAMP, 255) / 255
    return {
        "palette": (grey.convert("P"), RAMP / 255, "png"),
        "one bit": (grey.convert("1", dither=0), RAMP > 127, "png"),
        "16 bits": (deep, RAMP / 255, "png"),
        "16 bits in TIFF": (deep, RAMP / 255, "tif"),
        "floats": (Image.fromarray((RAMP / 255).astype(np.float32)), RAMP / 255, "tif"),
        "colour": (grey.convert("RGB"), RAMP / 255, "png"),
        "four inks": (grey.convert("RGB").convert("CMYK"), RAMP / 255, "tif"),
        "alpha": (clear, over, "png"),
        "colour with alpha": (clear.convert("RGBA"), over, "png"),
        "palette with alpha": (clear.convert("RGBA").quantize(256), over, "png"),
    }


@pytest.mark.parametrize("mode", in_modes())
def test_every_mode_is_read(tmp_path: Path, mode: str) -> None:
    picture, expected, suffix = in_modes()[mode]
    picture.save(tmp_path / f"a.{suffix}")
    # A palette of colours with alpha is not exact.
    np.testing.assert_allclose(read_image(tmp_path / f"a.{suffix}"), expected, atol=8 / 255)


def test_the_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    Image.fromarray(RAMP).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_allclose(read_image(tmp_path / "a.png"), np.rot90(RAMP, -1) / 255, atol=1e-6)
    assert image_size(tmp_path / "a.png") == (7, 5)


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (51, 204)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(read_image(tmp_path / "a.gif"), 0.2, atol=0.01)


def test_files_that_are_no_pictures_are_refused_by_name(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(
        tmp_path / "good.png"
    )
    whole = (tmp_path / "good.png").read_bytes()
    contents = {"empty": b"", "text": b"hello", "cut": whole[: len(whole) // 2]}
    contents["garbled"] = whole[:60] + bytes(64) + whole[124:]
    for name, content in contents.items():
        (tmp_path / f"{name}.png").write_bytes(content)
        with pytest.raises(DataError, match=rf"{name}\.png") as caught:
            read_image(tmp_path / f"{name}.png")
        assert "\n" not in str(caught.value)
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(DataError, match=path.name):
            read_image(path)


def test_values_beyond_the_range_are_refused(tmp_path: Path) -> None:
    for values in (np.full((4, 4), np.nan, np.float32), np.full((4, 4), 1e6, np.float32)):
        Image.fromarray(values).save(tmp_path / "a.tif")
        with pytest.raises(DataError, match=r"a\.tif: values from .*, expected 0 to 1"):
            read_image(tmp_path / "a.tif")


def test_decompression_bombs_are_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        sums = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + sums

    for side in (9_900, 30_000):  # Pillow warns of the first and refuses the second
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        parts = (b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", b""))
        (tmp_path / "bomb.png").write_bytes(b"".join(parts))
        with pytest.raises(DataError, match=r"bomb\.png: more than 30 million pixels"):
            read_image(tmp_path / "bomb.png")


def test_a_large_picture_takes_less_than_500_mb(tmp_path: Path) -> None:
    """As a page, with transparency and the camera's orientation, which decode into copies."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak is read from /proc")
    side = 5_400
    tone = Image.new("L", (side, side), 200)
    tone.paste(20, (2_000, 2_000, 2_100, 3_400))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture = Image.merge("RGBA", [tone] * 4)
    picture.save(tmp_path / "a.png", compress_level=1, exif=turned)
    program = (
        "import sys; from tinysignal.images.files import read_framed\n"
        "from tinysignal.spec import ImageInput\n"
        "spec = ImageInput(height=28, width=28, framing='mass', box=20)\n"
        "assert read_framed(sys.argv[1], spec).max() > 0.5\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500_000


@given(
    rows=st.integers(1, 63),
    columns=st.integers(1, 63),
    kind=st.sampled_from(["noise", "dots", "lines", "grain", "speck"]),
    box=st.sampled_from([MASS, BOX]),
    seed=st.integers(0, 10**6),
)
def test_a_small_picture_with_anything_on_it_is_framed(
    rows: int, columns: int, kind: str, box: ImageInput, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    picture = np.ones((rows, columns))
    if kind == "noise":
        picture = rng.random(picture.shape)
    elif kind == "dots":
        picture = (rng.random(picture.shape) > 0.3 * rng.random()).astype(np.float64)
    elif kind == "lines":
        picture[rng.integers(rows)] = rng.random()
        picture[:, rng.integers(columns)] = rng.random()
    elif kind == "grain":
        picture = np.clip(0.5 + rng.normal(0, 0.2 * rng.random(), picture.shape), 0, 1)
    else:
        picture[rng.integers(rows), rng.integers(columns)] = rng.random()
    try:
        framed = frame_image(picture, box)
    except DataError:
        assert np.ptp(picture) < 0.7  # or all of it is ink
    else:
        assert framed.shape == box.shape
        assert framed.min() == 0
        assert framed.max() == pytest.approx(1)


@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_resizing_keeps_even_tones_and_the_range(
    rows: int, columns: int, height: int, width: int
) -> None:
    np.testing.assert_allclose(resize(np.full((rows, columns), 0.3), height, width), 0.3, atol=1e-6)
    noise = np.random.default_rng(0).random((rows, columns))
    resized = resize(noise, height, width)
    assert resized.shape == (height, width)
    assert noise.min() - 1e-6 <= resized.min() <= resized.max() <= noise.max() + 1e-6


@given(factor=st.integers(1, 9), rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_shrinking_takes_means_of_areas(factor: int, rows: int, columns: int) -> None:
    small = np.random.default_rng(0).random((rows, columns))
    large = np.kron(small, np.ones((factor, factor)))
    np.testing.assert_allclose(resize(large, rows, columns), small, atol=1e-6)
    uneven = np.random.default_rng(1).random((rows * factor, columns * factor))
    blocks = uneven.reshape(rows, factor, columns, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(uneven, rows, columns), blocks, atol=1e-6)


@pytest.mark.parametrize("spec", [MASS, BOX])
@pytest.mark.parametrize("noise", [0.0, 0.03, 0.06])
def test_a_photo_of_a_drawing_is_the_drawing(spec: ImageInput, noise: float) -> None:
    expected = frame_image(drawn(), spec)
    for seed in range(3):
        found = frame_image(on_paper(drawn(), seed=seed, noise=noise), spec)
        assert correlation(found, expected) > 0.95


def test_paper_may_be_dark_or_light_and_ink_faint() -> None:
    expected = frame_image(drawn(), MASS)
    rng = np.random.default_rng(0)
    for paper, ink in ((1.0, 0.0), (0.8, 0.6), (0.2, 0.5), (0.0, 0.2), (0.6, 0.1)):
        page = np.pad(drawn(), 60) * (ink - paper) + paper + rng.normal(0, 0.01, (400, 400))
        found = frame_image(np.clip(page, 0, 1), MASS)
        assert correlation(found, expected) > 0.97
        assert found.max() == 1


def test_dirt_and_the_table_s_edge_are_left_out() -> None:
    page = np.full((500, 700), 0.9)
    page[100:380, 200:480] -= 0.7 * drawn()
    expected = frame_image(page, MASS)
    page[40:46, 640:646] = 0.1
    page[:, :12] = 0.2
    assert correlation(frame_image(page, MASS), expected) > 0.97


@pytest.mark.parametrize("spec", [MASS, BOX])
def test_ink_is_fitted_into_the_box_and_centred(spec: ImageInput) -> None:
    for turned in (drawn()[60:240, 80:210], drawn()[60:240, 80:210].T):
        found = frame_image(np.pad(turned, ((10, 200), (300, 20))), spec)
        rows, columns = np.flatnonzero(found.any(axis=1)), np.flatnonzero(found.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis, places in ((1, rows), (0, columns)):
            profile = found.sum(axis=axis)
            of_mass = profile @ np.arange(28) / profile.sum() - 14
            of_box = (places[0] + places[-1]) / 2 - 13.5
            assert abs(of_mass if spec is MASS else of_box) <= 0.51


def test_an_empty_page_says_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for page in (np.ones((28, 28)), np.zeros((500, 400)), 0.7 + rng.normal(0, 0.05, (600, 400))):
        with pytest.raises(DataError, match="nothing drawn"):
            frame_image(np.clip(page, 0, 1), MASS)
    with pytest.raises(DataError, match="nothing drawn"):
        frame_image(on_paper(np.zeros((10, 10))), BOX)
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    with pytest.raises(DataError, match=r"blank\.png: there is nothing drawn"):
        read_framed(tmp_path / "blank.png", MASS)
    assert read_framed(tmp_path / "blank.png", WHOLE).min() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 3), (5, 5)])
def test_tiny_pictures_do_not_fail_unkindly(shape: tuple[int, int]) -> None:
    picture = np.zeros(shape)
    picture.flat[picture.size // 2] = 1
    for spec in (MASS, BOX, WHOLE):
        with suppress(DataError):  # nothing drawn
            assert frame_image(picture, spec).shape == (28, 28)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((3, 3), np.uint8),
        np.zeros((3, 3, 3)),
        np.zeros((0, 3)),
        np.full((3, 3), np.nan),
        np.full((3, 3), 2.0),
    ],
)
def test_arrays_that_are_no_grey_pictures_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(SignalError, match="expected"):
        frame_image(bad, MASS)


@needs_mnist
def test_mnist_s_own_pictures_pass_unchanged() -> None:
    data = load_dataset("mnist", data_dir=Path(DATA or ""))
    digits = data.test.as_float()[:300]
    framed = np.stack([frame_image(digit, MASS) for digit in digits])
    np.testing.assert_allclose(framed, digits, atol=0.03)


@pytest.mark.skipif(
    not (DATA and (Path(DATA) / "fashion-mnist").is_dir()),
    reason="TINYSIGNAL_DATA names no folder with fashion-mnist/",
)
def test_fashion_mnist_s_own_pictures_pass_nearly_unchanged() -> None:
    data = load_dataset("fashion-mnist", data_dir=Path(DATA or ""))
    assert isinstance(data.input, ImageInput)
    pictures = data.test.as_float()[:300]
    framed = [frame_image(picture, data.input) for picture in pictures]
    found = [correlation(a, b) for a, b in zip(framed, pictures, strict=True)]
    # 1 in 20 is moved by a pixel: a faint edge of its own decides.
    assert np.mean(np.array(found) > 0.98) > 0.9


@needs_mnist
def test_mnist_s_digits_on_paper_are_recognised() -> None:
    data = load_dataset("mnist", data_dir=Path(DATA or ""))
    digits = data.test.as_float()[:40]
    found = [
        correlation(frame_image(on_paper(np.kron(d, np.ones((10, 10))), seed=n), MASS), d)
        for n, d in enumerate(digits)
    ]
    assert np.mean(found) > 0.95  # 0.98 when written; a pixel's shift costs a digit 0.3
    assert np.min(found) > 0.6
