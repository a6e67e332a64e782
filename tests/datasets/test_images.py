"""Every mode of image file becomes 8-bit RGB."""

from __future__ import annotations

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.datasets.decoding import read_image, read_or_skip, to_rgb
from sslbench.errors import DataError, UnclearPixelsError


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


def write_tiff(path: Path, bands: int, bits: int) -> None:
    """A TIFF of 2 x 2 pixels with any number of bands, as satellites send them, written by hand."""
    pixels = bytes(4 * bands * bits // 8)
    depths = struct.pack(f"<{bands}H", *[bits] * bands)
    start = 8 + 2 + 10 * 12 + 4
    entries = [
        (256, 3, 1, 2), (257, 3, 1, 2), (258, 3, bands, start if bands > 2 else int.from_bytes(depths, "little")),
        (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, start + len(depths)), (277, 3, 1, bands), (278, 3, 1, 2),
        (279, 4, 1, len(pixels)), (284, 3, 1, 1),
    ]  # fmt: skip
    directory = struct.pack("<H", 10) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + directory + depths + pixels)


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


def test_a_dark_pgm_of_sixteen_bits_stays_dark(tmp_path: Path) -> None:
    # PIL gives it in the mode of 32-bit integers.
    values = np.array([[0, 200, 255]], dtype=">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535\n" + values.tobytes())
    assert flat(tmp_path / "a.pgm").max() == 1
    (tmp_path / "b.pgm").write_bytes(b"P5 3 1 65535\n" + (257 * values).astype(">u2").tobytes())
    assert flat(tmp_path / "b.pgm")[0, :, 0].tolist() == [0, 200, 255]


def test_floats_are_black_to_white_from_0_to_1(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)
    # A picture that is dark all over stays dark beside it, and rounding does not count.
    for name, values in (("bright", ramp), ("dark", ramp / 4), ("rounded", ramp * np.float32(1 + 3e-7) - 1e-7)):
        Image.fromarray(values).save(tmp_path / f"{name}.tif")
        expected = np.rint(np.clip(values, 0, 1).astype(np.float64) * 255)
        np.testing.assert_array_equal(flat(tmp_path / f"{name}.tif")[..., 0], expected)
    Image.fromarray(ramp).save(tmp_path / "a.pfm")
    np.testing.assert_array_equal(flat(tmp_path / "a.pfm")[..., 1], np.arange(256).reshape(16, 16))


def test_integers_of_32_bits_keep_their_values_up_to_255(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 100, 255]], dtype=np.int32))
    assert image.mode == "I"
    np.testing.assert_array_equal(np.asarray(to_rgb(image))[0, :, 0], [0, 100, 255])
    image.save(tmp_path / "a.tif")
    assert flat(tmp_path / "a.tif")[0, :, 2].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.float32([[-1, 0.5, 1]]), "32-bit floats run from -1 to 1, and only from 0 .* to 1"),
        (np.float32([[0, 100, 255]]), "32-bit floats run from 0 to 255, and only from 0 .* to 1"),
        (np.float32([[3, 3000]]), "32-bit floats run from 3 to 3000"),
        (np.float32([[0.5, np.nan, np.inf]]), "2 of its 3 pixels are NaN or infinite"),
        (np.int32([[0, 3000]]), "32-bit integers run from 0 to 3000, and only from 0 .* to 255"),
        (np.int32([[-9999, 200]]), "32-bit integers run from -9999 to 200"),
    ],
)
def test_other_scales_are_refused_by_name_and_not_skipped(values: np.ndarray, told: str, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    for read in (read_image, lambda path: read_or_skip(path, "skip")):
        with pytest.raises(
            UnclearPixelsError, match=rf"brightness in the image .*a\.tif: .*{told}.*Save the pictures with 8"
        ):
            read(path)


def test_several_bands_are_read_or_refused(tmp_path: Path) -> None:
    for mode, colour, expected in (
        ("RGBX", (10, 20, 30, 99), (10, 20, 30)),
        ("YCbCr", (76, 85, 255), (254, 0, 0)),
    ):
        Image.new(mode, (4, 4), colour).save(tmp_path / "a.tif")
        assert tuple(flat(tmp_path / "a.tif")[0, 0]) == expected, mode
    for bands, bits in ((2, 8), (5, 8), (4, 16), (3, 32)):
        write_tiff(tmp_path / "bands.tif", bands, bits)
        with pytest.raises(DataError, match=r"cannot read the image .*bands\.tif"):
            read_image(tmp_path / "bands.tif")


def test_transparency_of_a_palette_is_dropped(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    image.save(tmp_path / "one.png", transparency=0)
    image.save(tmp_path / "many.png", transparency=bytes([0, 128]))
    for name in ("one.png", "many.png"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(flat(tmp_path / name), [[[200, 100, 50], [10, 20, 30]]])


def test_the_first_of_several_pictures_is_read(tmp_path: Path) -> None:
    first, second = (Image.new("RGB", (4, 4), colour) for colour in ((255, 0, 0), (0, 0, 255)))
    for name in ("a.gif", "a.tif", "a.png", "a.webp"):
        first.save(
            tmp_path / name, save_all=True, append_images=[second], **({"lossless": True} if "webp" in name else {})
        )
        assert tuple(flat(tmp_path / name)[0, 0]) == (255, 0, 0), name


def test_orientation_is_ignored_but_where_pil_turns_the_picture_itself(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.png", "a.webp", "a.tif"):
        Image.new("RGB", (8, 4), (9, 9, 9)).save(tmp_path / name, exif=exif)
        assert flat(tmp_path / name).shape == ((8, 4, 3) if name == "a.tif" else (4, 8, 3)), name


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
