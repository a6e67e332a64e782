"""Memory of a picture is bounded by its size before it is decoded and before it is resized."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslbench.backbones import load_backbone
from sslbench.backbones import preprocessing as preprocessing_module
from sslbench.backbones.preprocessing import MOST_PIXELS, Preprocessing
from sslbench.datasets import ImageFiles, decoding, jpeg
from sslbench.datasets.decoding import LONGEST_SIDE, read_image, read_or_skip
from sslbench.errors import DataError
from sslbench.features.extract import extract_features
from sslbench.features.loading import loader_of
from tests.pictures import Pictures


def blank_png(path: Path, width: int, height: int) -> None:
    """One bit a pixel, all black, a few kilobytes whatever the size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(height * (1 + (width + 7) // 8)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def files(paths: list[Path], bad_images: str) -> ImageFiles:
    return ImageFiles(f"limits:{bad_images}", paths, bad_images)


@pytest.mark.parametrize(
    ("width", "height", "told"),
    [
        (100_000_000, 1, r"100000000 x 1 pixels are more than the 89,478,485 of PIL\.Image\.MAX_IMAGE_PIXELS"),
        (1, 9_000_000, r"1 x 9000000 pixels one side is longer than 1,048,576"),
        (10_000, 9_000, r"10000 x 9000 pixels are more than the 89,478,485"),
        (20_000, 20_000, r"exceeds limit of 178956970 pixels"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_is_too_large_is_refused_before_it_is_decoded(
    width: int, height: int, told: str, tmp_path: Path
) -> None:
    blank_png(tmp_path / "a.png", width, height)
    assert (tmp_path / "a.png").stat().st_size < 60_000
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=rf"cannot read the image .*a\.png: .*{told}"):
            read_image(tmp_path / "a.png")
        assert read_or_skip(tmp_path / "a.png", "skip") is None
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_small_picture_in_a_huge_tile_is_refused(tmp_path: Path) -> None:
    """libtiff decodes a tile whole: 1.6 GB for a picture of 10 x 10."""
    data = zlib.compress(bytes(100))
    entries = [
        (256, 3, 1, 10), (257, 3, 1, 10), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1), (277, 3, 1, 1),
        (322, 4, 1, 40_000), (323, 4, 1, 40_000), (324, 4, 1, 200), (325, 4, 1, len(data)),
    ]  # fmt: skip
    directory = struct.pack("<H", 10) + b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    (tmp_path / "a.tif").write_bytes((b"II*\0" + struct.pack("<I", 8) + directory).ljust(200, b"\0") + data)
    with pytest.raises(
        DataError, match=r"a\.tif: its tiles of 40000 x 40000 pixels are more than the 89,478,485 of PIL"
    ):
        read_image(tmp_path / "a.tif")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("size", "told"), [((60_000, 60_000), "exceeds limit"), ((20_000, 5_000), "20000 x 5000 pixels are")]
)
def test_a_frame_larger_than_its_screen_is_refused(size: tuple[int, int], told: str, tmp_path: Path) -> None:
    screen = struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    frame = b"," + struct.pack("<HHHHB", 0, 0, *size, 0) + b"\x02\x02\x4c\x01\0;"
    (tmp_path / "a.gif").write_bytes(b"GIF89a" + screen + frame)
    with pytest.raises(DataError, match=rf"a\.gif: .*{told}"):
        read_image(tmp_path / "a.gif")


def test_the_limit_is_pils_and_can_be_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 199)
    with (
        pytest.warns(Image.DecompressionBombWarning),
        pytest.raises(DataError, match=r"20 x 10 pixels are more than the 199 of PIL"),
    ):
        read_image(tmp_path / "a.png")
    for enough in (200, None):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", enough)
        assert read_image(tmp_path / "a.png").size == (20, 10)
    monkeypatch.setattr(decoding, "LONGEST_SIDE", 19)
    with pytest.raises(DataError, match="longer than 19"):
        read_image(tmp_path / "a.png")
    assert LONGEST_SIDE == 2**20


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("size", [(10, 20_000), (20_000, 10)])
@pytest.mark.parametrize("extraction", ["fast", "exact"])
def test_a_shape_that_no_resize_can_hold_is_refused_by_name(
    extraction: str, size: tuple[int, int], name: str, tmp_path: Path
) -> None:
    """The shorter side becomes 224 first, so that a strip of 200 kB would take gigabytes."""
    Image.new("RGB", size).save(tmp_path / name)
    Image.new("RGB", (40, 30)).save(tmp_path / "b.jpg")
    told = rf"cannot use the image .*{name}: its {size[0]} x {size[1]} pixels would become .*448000.* before the crop"
    paths, out = [tmp_path / name, tmp_path / "b.jpg"], np.zeros((2, 224, 224, 3), dtype=np.uint8)
    preprocessing = Preprocessing()
    assert MOST_PIXELS < 224 * 448_000
    with pytest.raises(DataError, match=told):
        loader_of(files(paths, "fail"), preprocessing, extraction).load(0, 2, out)
    assert loader_of(files(paths, "skip"), preprocessing, extraction).load(0, 2, out) == [False, True]


def test_a_stretched_picture_may_have_any_shape(tmp_path: Path) -> None:
    Image.new("RGB", (10, 20_000)).save(tmp_path / "a.png")
    out = np.zeros((1, 224, 224, 3), dtype=np.uint8)
    for resize in (None, (257, 257)):
        assert loader_of(files([tmp_path / "a.png"], "fail"), Preprocessing(resize=resize), "exact").load(
            0, 1, out
        ) == [True]


def test_pictures_in_memory_are_bounded_too() -> None:
    wide = [Image.new("RGB", (20_000, 10)), Image.new("RGB", (40, 30))]
    source = Pictures("wide:1", 2, wide.__getitem__)
    out = np.zeros((2, 224, 224, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"cannot use the image 0 of wide:1: its 20000 x 10 pixels"):
        loader_of(source, Preprocessing(), "fast").load(0, 2, out)


def test_skipped_shapes_are_left_out_of_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, size in enumerate([(40, 30), (90, 10), (30, 40)]):
        Image.new("RGB", size, (50 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
    monkeypatch.setattr(preprocessing_module, "MOST_PIXELS", 64 * 64 * 5)
    paths = sorted(tmp_path.glob("*.jpg"))
    assert extract_features(load_backbone("pixels"), files(paths, "skip"))["rows"].tolist() == [0, 2]
    with pytest.raises(DataError, match=r"1\.jpg: its 90 x 10 pixels"):
        extract_features(load_backbone("pixels"), files(paths, "fail"))


def test_a_file_too_large_to_read_at_once_is_left_to_pil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "a.jpg")
    monkeypatch.setattr(jpeg, "MOST_BYTES", (tmp_path / "a.jpg").stat().st_size - 1)
    assert jpeg.decode_colour_jpeg(tmp_path / "a.jpg") is None
    assert read_image(tmp_path / "a.jpg").size == (40, 30)
