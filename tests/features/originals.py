"""Files of several shapes and modes, opened for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sslbench.datasets import ImageFiles, Images
from sslbench.features.originals import Originals, open_originals
from sslbench.features.pictures import Pictures

# Several of (width, height), some with a shorter side above SIDE, one of one pixel.
SIDE = 24
SHAPES = [(30, 20), (24, 24), (1, 1), (60, 50), (25, 90), (200, 40), (7, 60)]


def files_source(root: Path, count: int = 10, bad: tuple[int, ...] = (), policy: str = "skip") -> ImageFiles:
    """JPEG, every third a PNG, one grey and one with transparency; `bad` ones are no images."""
    root.mkdir(exist_ok=True)
    paths = []
    for row in range(count):
        path = root / f"{row}.{'png' if row % 3 == 2 else 'jpg'}"
        small = np.random.default_rng(row).integers(0, 256, size=(5, 5, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize(SHAPES[row % len(SHAPES)], Image.Resampling.BILINEAR)
        image.convert({1: "L", 5: "RGBA"}.get(row, "RGB")).save(path, quality=95)
        if row in bad:
            path.write_bytes(b"no image")
        paths.append(path)
    return ImageFiles(f"files:{count}:{bad}", paths, policy)


def opened(
    source: Images, pictures: Pictures, side: int = SIDE, extraction: str = "fast", device: str = "cpu"
) -> Originals:
    return open_originals(source, side, extraction=extraction, pictures=pictures, device=device)


def by_pil(source: Images, row: int, side: int = SIDE) -> np.ndarray:
    (image,) = source.load([row])
    width, height = image.size
    if min(width, height) > side:
        shorter, longer = min(width, height), max(width, height)
        long = int(side * longer / shorter)
        image = image.resize((side, long) if width <= height else (long, side), Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1)


def all_of(originals: Originals) -> list[np.ndarray]:
    return [picture.numpy().copy() for picture in originals.take(range(len(originals)))]


def assert_same(got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def file_of(pictures: Pictures) -> Path:
    (path,) = pictures.root.glob("*.pictures")
    return path
