"""Colour JPEG decoded without PIL: PIL's pixels, or left to PIL."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.datasets import jpeg
from sslbench.datasets.decoding import read_image
from sslbench.datasets.jpeg import colour_size, decode_colour_jpeg

pytestmark = pytest.mark.skipif(jpeg.decoder() is None, reason="torchvision without a JPEG decoder")


def picture(width: int = 61, height: int = 43, seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, size=(7, 9, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_pixels_are_those_of_pil(quality: int, subsampling: int, progressive: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().save(path, quality=quality, subsampling=subsampling, progressive=progressive)
    decoded = decode_colour_jpeg(path)
    assert decoded is not None
    np.testing.assert_array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(read_image(path)))


def test_orientation_is_ignored_as_by_pil(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "a.jpg", exif=exif)
    decoded = decode_colour_jpeg(tmp_path / "a.jpg")
    assert decoded is not None
    assert decoded.shape == (3, 43, 61)
    np.testing.assert_array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(read_image(tmp_path / "a.jpg")))


def test_rgb_stored_without_colour_conversion(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", keep_rgb=True)
    decoded = decode_colour_jpeg(tmp_path / "a.jpg")
    assert decoded is not None
    np.testing.assert_array_equal(decoded.permute(1, 2, 0).numpy(), np.asarray(read_image(tmp_path / "a.jpg")))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_modes_are_left_to_pil(mode: str, tmp_path: Path) -> None:
    picture().convert(mode).save(tmp_path / "a.jpg")
    assert decode_colour_jpeg(tmp_path / "a.jpg") is None


def test_other_formats_are_left_to_pil_whatever_their_name(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.jpg", format="PNG")
    assert decode_colour_jpeg(tmp_path / "a.jpg") is None


def test_damaged_and_absent_files_are_left_to_pil(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert decode_colour_jpeg(path) is None
    picture(300, 300).save(path, quality=95)
    whole = path.read_bytes()
    for length in (0, 2, 3, 20, 200, len(whole) // 2):
        path.write_bytes(whole[:length])
        assert decode_colour_jpeg(path) is None, length


def test_what_pil_finds_too_large_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 61 * 43 - 1)
    assert decode_colour_jpeg(tmp_path / "a.jpg") is None
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode_colour_jpeg(tmp_path / "a.jpg") is not None


def test_a_torchvision_without_decoder_leaves_all_to_pil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "a.jpg")
    monkeypatch.setattr(jpeg, "decoder", lambda: None)
    assert decode_colour_jpeg(tmp_path / "a.jpg") is None


def test_the_size_is_read_behind_comments_and_fill_bytes() -> None:
    buffer = io.BytesIO()
    picture().save(buffer, format="JPEG", comment=b"\xff\xc0" * 40)
    whole = buffer.getvalue()
    assert colour_size(whole) == (61, 43)
    assert colour_size(whole[:2] + b"\xff\xff" + whole[2:]) == (61, 43)
    assert colour_size(b"\xff\xd8\xff" + bytes(50)) is None
