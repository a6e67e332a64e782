"""Every mode of image file becomes 8-bit RGB."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.datasets.images import read_image, to_rgb
from sslbench.errors import DataError


def flat(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def write_png16(path: Path, values: np.ndarray) -> None:
    """A 16-bit greyscale PNG, written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_rgb_is_left_alone(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, size=(5, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    np.testing.assert_array_equal(flat(tmp_path / "a.png"), pixels)


def test_greyscale_is_repeated(tmp_path: Path) -> None:
    grey = np.arange(0, 250, 10, dtype=np.uint8).reshape(5, 5)
    Image.fromarray(grey).save(tmp_path / "a.png")
    np.testing.assert_array_equal(flat(tmp_path / "a.png"), np.repeat(grey[..., None], 3, axis=2))


def test_one_bit_becomes_black_and_white(tmp_path: Path) -> None:
    bits = np.eye(4, dtype=bool)
    Image.fromarray(bits).save(tmp_path / "a.png")
    np.testing.assert_array_equal(flat(tmp_path / "a.png")[..., 0], bits * 255)


def test_palette(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(flat(tmp_path / "a.png"), [[[200, 100, 50], [10, 20, 30]]])


def test_rgba_drops_alpha(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (10, 200, 30, 0)).save(tmp_path / "a.png")
    assert (flat(tmp_path / "a.png") == (10, 200, 30)).all()


def test_grey_with_alpha_drops_alpha(tmp_path: Path) -> None:
    Image.new("LA", (2, 2), (77, 3)).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as stored:
        assert stored.mode == "LA"
    assert (flat(tmp_path / "a.png") == 77).all()


def test_cmyk_jpeg(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    with Image.open(tmp_path / "a.jpg") as stored:
        assert stored.mode == "CMYK"
    np.testing.assert_allclose(flat(tmp_path / "a.jpg"), np.broadcast_to([255, 0, 0], (16, 16, 3)), atol=4)


def test_sixteen_bit_greyscale_is_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    write_png16(tmp_path / "a.png", values)
    np.testing.assert_array_equal(flat(tmp_path / "a.png")[0, :, 0], [0, 1, 128, 255])


def test_a_dark_sixteen_bit_picture_stays_dark(tmp_path: Path) -> None:
    # Scaled by the depth of the file, not by what its brightest pixel happens to be.
    write_png16(tmp_path / "a.png", np.array([[0, 200, 255]], dtype=np.uint16))
    assert flat(tmp_path / "a.png").max() == 1


def test_integers_and_floats_within_eight_bits_keep_their_values() -> None:
    for dtype, mode in ((np.int32, "I"), (np.float32, "F")):
        image = Image.fromarray(np.array([[0, 100, 255]], dtype=dtype))
        assert image.mode == mode
        np.testing.assert_array_equal(np.asarray(to_rgb(image))[0, :, 0], [0, 100, 255])


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, size=(64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cannot read the image .*cut\.jpg.*truncated.*--sslbench-bad-images skip"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"this is no image", b"\x89PNG\r\n\x1a\n"])
def test_no_image_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(content)
    with pytest.raises(DataError, match=r"no\.png"):
        read_image(tmp_path / "no.png")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.png"):
        read_image(tmp_path / "absent.png")
